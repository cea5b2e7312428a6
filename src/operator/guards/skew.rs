//! The deviation of this process's clock from the API server's, whose times are the reference for all comparisons (T35).

use jiff::{SignedDuration, Timestamp};

use domain::{Refusal, guards};

/// The deviation above which nothing is granted. Clocks with NTP stay within a second; a suspended machine or an unsynchronised clock
/// exceeds the limit at once. A grant that ends ten seconds late is still temporary.
const LIMIT: SignedDuration = SignedDuration::from_secs(10);

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    ours: Timestamp,
    servers: Timestamp,
    beyond: bool,
}

impl Skew {
    /// Returns the measurement that the API server reported `servers`, in whole seconds, between these two times of this process's clock.
    #[must_use]
    pub fn new(servers: Timestamp, before: Timestamp, after: Timestamp) -> Self {
        // Only the certain deviation counts: the API server's time was within that second, and the call took some time.
        let ahead = before.duration_since(servers) - SignedDuration::from_secs(1);
        let behind = servers.duration_since(after);
        Self { ours: before + after.duration_since(before) / 2, servers, beyond: ahead > LIMIT || behind > LIMIT }
    }

    /// Returns the seconds by which this process's clock is ahead.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let middle_of_second = SignedDuration::from_millis(500);
        (self.ours.duration_since(self.servers) - middle_of_second).as_secs_f64()
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
        let servers: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
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
            let before = servers + SignedDuration::from_millis(ours);
            let skew = Skew::new(servers, before, before + SignedDuration::from_millis(took));
            assert_eq!(skew.hold().is_some(), beyond, "{ours} {took}");
        }
        let hold = Skew::new(servers, servers + SignedDuration::from_hours(1), servers + SignedDuration::from_hours(1)).hold().unwrap();
        assert_eq!(hold.reason, Reason::ClockSkewed);
        assert!(hold.message.contains("2026-01-01T13:00:00Z") && hold.message.contains("2026-01-01T12:00:00Z"), "{hold}");
    }
}
