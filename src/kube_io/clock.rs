//! The clock of this process. It only schedules work: the stored times alone define how long a grant lasts.
//!
//! Stored times are those of the API server. A clock that differs much from the API server's is corrected by the times in its answers. No
//! replica may revoke access early, or keep it, because the clock of its machine is wrong (**T35**).

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Deviations that are not certainly larger than this are ignored. Clocks with NTP stay within it.
const BELIEVED: SignedDuration = SignedDuration::from_secs(2);
/// The API server reports its time in whole seconds.
const GRAIN: SignedDuration = SignedDuration::from_secs(1);

/// The source of the present time. Clones share the correction.
#[derive(Clone)]
pub struct Clock {
    own: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ahead: Arc<Mutex<Option<Ahead>>>,
}

/// By how much the local clock is ahead of the API server's: lower and upper bound. Negative where it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    least: SignedDuration,
    most: SignedDuration,
}

impl Ahead {
    /// Returns the bounds that follow when the API server reported `servers` between these two times of the local clock.
    fn heard(servers: Timestamp, before: Timestamp, after: Timestamp) -> Self {
        Self { least: before.duration_since(servers) - GRAIN, most: after.duration_since(servers) }
    }

    /// Returns the intersection. Where it is empty, one of the clocks was set, and the later measurement counts.
    fn and(self, later: Self) -> Self {
        let both = Self { least: self.least.max(later.least), most: self.most.min(later.most) };
        if both.least <= both.most { both } else { later }
    }

    /// Returns the correction of the local clock. Zero while the clock may be right; otherwise enough that it is never ahead.
    fn correction(self) -> SignedDuration {
        if self.least > BELIEVED || self.most < -BELIEVED { self.most } else { SignedDuration::ZERO }
    }
}

impl Clock {
    /// Returns the machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::from(Timestamp::now)
    }

    /// Returns another clock, such as one that deliberately deviates.
    pub fn from(own: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { own: Arc::new(own), ahead: Arc::default() }
    }

    /// Returns the present time, corrected by the API server's clock if the local clock differs too much.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let correction = self.ahead.lock().map_or(SignedDuration::ZERO, Ahead::correction);
        let own = self.own();
        own.checked_sub(correction).unwrap_or(own)
    }

    /// Returns the time of the local clock, without correction.
    #[must_use]
    pub fn own(&self) -> Timestamp {
        (self.own)()
    }

    /// Records that the API server reported `servers`, in whole seconds, between these two times of the local clock.
    pub fn heard(&self, servers: Timestamp, before: Timestamp, after: Timestamp) {
        let heard = Ahead::heard(servers, before, after);
        let mut ahead = self.ahead.lock();
        *ahead = Some(ahead.map_or(heard, |known| known.and(heard)));
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    /// Returns a clock that stays at the API server's `now` plus so many milliseconds, after answers at these times.
    fn clock(off: i64, heard: &[i64], now: i64) -> Clock {
        let clock = Clock::from(move || at(now + off));
        for time in heard {
            let servers = at(time - time.rem_euclid(1_000));
            clock.heard(servers, at(time + off - 3), at(time + off + 4));
        }
        clock
    }

    #[test]
    fn t35_a_clock_that_is_near_the_api_servers_is_believed() {
        for off in [-1_900, -300, 0, 300, 1_900] {
            assert_eq!(clock(off, &[100, 2_900, 4_500], 5_000).now(), at(5_000 + off), "{off}");
        }
        assert_eq!(clock(600_000, &[], 0).now(), at(600_000), "nothing was heard yet");
    }

    #[test]
    fn t35_inv_03_a_clock_that_is_far_off_is_put_right_and_never_ahead() {
        for off in [-86_400_000, -600_000, -3_100, 3_100, 600_000, 86_400_000] {
            for heard in [&[100_i64][..], &[900], &[100, 2_900, 4_500], &[999, 1_000]] {
                let late = at(5_000).duration_since(clock(off, heard, 5_000).now());
                assert!(late >= SignedDuration::ZERO && late <= SignedDuration::from_millis(1_010), "{off} {heard:?}: {late}");
            }
        }
        let late = at(5_000).duration_since(clock(600_000, &[100, 2_900, 4_001], 5_000).now());
        assert!(late < SignedDuration::from_millis(10), "answers near the change of a second tell it best: {late}");
    }

    #[test]
    fn t35_a_clock_that_was_set_is_measured_anew() {
        let clock = clock(600_000, &[100, 900], 5_000);
        clock.heard(at(2_000), at(2_100), at(2_110));
        assert_eq!(clock.own(), clock.now(), "it is right now");
    }
}
