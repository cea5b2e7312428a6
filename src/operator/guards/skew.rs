//! The deviation of this process's clock from the API server's, whose times are the reference for all comparisons (T35).

use chrono::{DateTime, TimeDelta, Utc};

use domain::{Refusal, guards};

/// The deviation above which nothing is granted. Clocks with NTP stay within a second; a suspended machine or an unsynchronised clock
/// exceeds the limit at once. A grant that is off by ten seconds is not yet a lasting one.
const LIMIT: TimeDelta = TimeDelta::seconds(10);

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    ours: DateTime<Utc>,
    servers: DateTime<Utc>,
    beyond: bool,
}

impl Skew {
    /// Returns the measurement that the API server reported `servers`, in whole seconds, between these two times of this process's clock.
    #[must_use]
    pub fn new(servers: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> Self {
        // Only the certain deviation counts: the API server's time was within that second, and the call took some time.
        let ahead = before - (servers + TimeDelta::seconds(1));
        let behind = servers - after;
        Self { ours: before + (after - before) / 2, servers, beyond: ahead > LIMIT || behind > LIMIT }
    }

    /// Returns the seconds by which this process's clock is ahead.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let middle_of_second = TimeDelta::milliseconds(500);
        (self.ours - self.servers - middle_of_second).as_seconds_f64()
    }

    /// Returns why nothing may be granted, if so.
    #[must_use]
    pub fn hold(&self) -> Option<Refusal> {
        self.beyond.then(|| guards::clock_skewed(self.ours, self.servers, LIMIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Reason;

    #[test]
    fn t35_a_clock_that_is_off_for_certain_holds() {
        let servers: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
        // Milliseconds by which the local clock is ahead, and the duration of the call.
        for (ours, took, beyond) in [
            (500, 0, false),
            (10_900, 0, false),
            (11_100, 0, true),
            (-9_900, 0, false),
            (-10_100, 0, true),
            (-12_000, 4_000, false),
            (3_600_000, 1_000, true),
        ] {
            let before = servers + TimeDelta::milliseconds(ours);
            let skew = Skew::new(servers, before, before + TimeDelta::milliseconds(took));
            assert_eq!(skew.hold().is_some(), beyond, "{ours} {took}");
        }
        let hold = Skew::new(servers, servers + TimeDelta::hours(1), servers + TimeDelta::hours(1)).hold().unwrap();
        assert_eq!(hold.reason, Reason::ClockSkewed);
        assert!(hold.message.contains("2026-01-01T13:00:00Z") && hold.message.contains("2026-01-01T12:00:00Z"), "{hold}");
    }
}
