//! Whose turn it is to take away what is due (api rule 9).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Another replica than the holder waits this long without seeing any managed binding go.
const STANDSTILL: TimeDelta = TimeDelta::milliseconds(500);
/// And never longer than this after the deadline, whatever else goes.
const PATIENCE: TimeDelta = TimeDelta::seconds(1);
/// The shortest wait, so that rounding never turns waiting into spinning.
const SHORTEST: Duration = Duration::from_millis(5);

/// How long to wait before acting on what has been due since `due`; none: act now.
///
/// The holder of the Lease acts at once. Another replica acts when something is overdue and no managed binding has gone for half a
/// second, or when it is a second overdue. Deleting twice is harmless; deleting from every replica at once is only wasteful.
#[must_use]
pub fn wait(holder: bool, due: DateTime<Utc>, last_gone: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    let overdue = now.signed_duration_since(due);
    let still = now.signed_duration_since(last_gone.max(due));
    if holder || overdue >= PATIENCE || still >= STANDSTILL {
        return None;
    }
    let left = (PATIENCE - overdue).min(STANDSTILL - still);
    Some(left.to_std().unwrap_or_default().max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
    }

    #[test]
    fn the_holder_acts_at_once_and_others_after_a_standstill_or_a_second() {
        let ms = |wait: Option<Duration>| wait.map(|w| w.as_millis());
        let never = DateTime::<Utc>::MIN_UTC;
        assert_eq!(ms(wait(true, at(0), never, at(0))), None);
        assert_eq!(ms(wait(false, at(0), never, at(0))), Some(500));
        assert_eq!(ms(wait(false, at(0), never, at(499))), Some(5));
        assert_eq!(ms(wait(false, at(0), never, at(500))), None);
        assert_eq!(ms(wait(false, at(0), at(300), at(500))), Some(300), "another one went just now");
        assert_eq!(ms(wait(false, at(0), at(700), at(800))), Some(200));
        assert_eq!(ms(wait(false, at(0), at(999), at(1_000))), None, "a second is enough");
        assert_eq!(ms(wait(false, at(0), at(9_000), at(5_000))), None, "also with a clock that was set back");
    }
}
