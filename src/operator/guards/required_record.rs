//! The chart's value `record.requireWithin`: new grants only while the audit log keeps up.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::gather::recorded::Mark;
use domain::{Refusal, guards};

/// The last confirmation of the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequiredRecord {
    /// How old it may be.
    within: Duration,
    /// When it was, by the clock of this process. None: there was none.
    confirmed: Option<Instant>,
    /// The same by the clock of the record.
    time: Option<Timestamp>,
}

impl RequiredRecord {
    /// Returns what `mark` confirms. `now` is the time of the API server.
    pub(super) fn new(within: Duration, mark: Mark, now: Timestamp) -> Self {
        let age = mark.time.map(|time| Duration::try_from(now.duration_since(time)).unwrap_or_default());
        Self { within, confirmed: age.and_then(|age| Instant::now().checked_sub(age)), time: mark.time }
    }

    /// Returns why nothing may be granted, if so.
    pub(super) fn hold(&self) -> Option<Refusal> {
        let age = self.confirmed.map(|confirmed| confirmed.elapsed());
        match age {
            Some(age) if age <= self.within => None,
            _ => Some(guards::record_unavailable(self.time, self.within.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Reason;

    #[tokio::test(start_paused = true)]
    async fn t92_a_confirmation_that_is_too_old_or_missing_holds() {
        tokio::time::advance(Duration::from_hours(1)).await;
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let at = |seconds: i64| Mark { version: 1, time: Some(now - jiff::SignedDuration::from_secs(seconds)) };
        let within = Duration::from_mins(1);
        for (mark, holds) in [(at(0), false), (at(-30), false), (at(60), false), (at(61), true), (Mark::default(), true)] {
            let hold = RequiredRecord::new(within, mark, now).hold();
            assert_eq!(hold.map(|hold| hold.reason), holds.then_some(Reason::RecordUnavailable), "{mark:?}");
        }
        let fresh = RequiredRecord::new(within, at(0), now);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(fresh.hold().is_some(), "it ages without another read");
    }
}
