//! The clock of this process. It only says when to look: how long somebody has access follows from stored times alone.
//!
//! Stored times are the API server's. So a clock that is far from the API server's is put right by what that says in its answers:
//! no replica may take access away before its time, or leave it, because its own machine's clock is wrong (**T35**).

use std::{fmt, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, MutexGuard};

/// A clock that is not further off than this for certain is believed. What keeps time by NTP stays within.
const BELIEVED: TimeDelta = TimeDelta::seconds(2);
/// The API server says its time in whole seconds.
const GRAIN: TimeDelta = TimeDelta::seconds(1);

/// Where the present time comes from. Clones share what was heard.
#[derive(Clone)]
pub struct Clock {
    own: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    ahead: Arc<Mutex<Option<Ahead>>>,
}

/// By how much the own clock is ahead of the API server's: at least and at most. Negative where it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    least: TimeDelta,
    most: TimeDelta,
}

impl Ahead {
    /// What follows when the API server said `servers` between these two times of the own clock.
    fn heard(servers: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> Self {
        Self { least: before - (servers + GRAIN), most: after - servers }
    }

    /// Both hold; where they cannot, one of the clocks was set and the later one counts.
    fn and(self, later: Self) -> Self {
        let both = Self { least: self.least.max(later.least), most: self.most.min(later.most) };
        if both.least <= both.most { both } else { later }
    }

    /// What to take off the own clock: nothing while it may be right. Otherwise so much that it is never ahead.
    fn correction(self) -> TimeDelta {
        if self.least > BELIEVED || self.most < -BELIEVED { self.most } else { TimeDelta::zero() }
    }
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::from(Utc::now)
    }

    /// Another clock, such as one that runs wrong on purpose.
    pub fn from(own: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self { own: Arc::new(own), ahead: Arc::default() }
    }

    /// The present time, by the API server's clock where the own one is far from it.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let correction = self.lock().map_or_else(TimeDelta::zero, Ahead::correction);
        self.own() - correction
    }

    /// What the own clock says, right or wrong.
    #[must_use]
    pub fn own(&self) -> DateTime<Utc> {
        (self.own)()
    }

    /// The API server said `servers`, in whole seconds, between these two times of the own clock.
    pub fn heard(&self, servers: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) {
        let heard = Ahead::heard(servers, before, after);
        let mut ahead = self.lock();
        *ahead = Some(ahead.map_or(heard, |known| known.and(heard)));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ahead>> {
        self.ahead.lock()
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

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
    }

    /// A clock that stands still at the API server's `now` and so many milliseconds, after it has heard answers at these times.
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
                let late = at(5_000) - clock(off, heard, 5_000).now();
                assert!(late >= TimeDelta::zero() && late <= TimeDelta::milliseconds(1_010), "{off} {heard:?}: {late}");
            }
        }
        let late = at(5_000) - clock(600_000, &[100, 2_900, 4_001], 5_000).now();
        assert!(late < TimeDelta::milliseconds(10), "answers near the change of a second tell it best: {late}");
    }

    #[test]
    fn t35_a_clock_that_was_set_is_measured_anew() {
        let clock = clock(600_000, &[100, 900], 5_000);
        clock.heard(at(2_000), at(2_100), at(2_110));
        assert_eq!(clock.own(), clock.now(), "it is right now");
    }
}
