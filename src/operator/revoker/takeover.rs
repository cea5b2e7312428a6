//! Which replica removes what is due (api rule 9).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How long a standby waits since another client was last observed to remove a managed binding.
const STANDSTILL: SignedDuration = SignedDuration::from_millis(500);
/// The longest wait after the deadline, whatever else is removed.
pub const TO_END: SignedDuration = SignedDuration::from_secs(1);
/// The same for the verification of a reported deletion. The leader has verified it by then, and during mass removals a read for each
/// binding would only slow the leader.
pub const TO_LOOK: SignedDuration = SignedDuration::from_secs(3);
/// The shortest wait, so that rounding never causes a busy loop.
const SHORTEST: Duration = Duration::from_millis(5);

/// Returns true until no managed binding was removed for half a second since `due`. Until then another client removes bindings, or may
/// start to.
#[must_use]
pub fn others_go(due: Timestamp, last_gone: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last_gone.max(due)) < STANDSTILL
}

/// Returns how long to wait before removing what has been due since `due`. None: act now.
///
/// The leader acts at once. A standby acts when a binding has expired and no managed binding was removed for half a second, or when its
/// `patience` has passed. A second delete is harmless, and a delete from every replica at once only wastes calls.
#[must_use]
pub fn wait(holder: bool, due: Timestamp, patience: SignedDuration, last_gone: Timestamp, now: Timestamp) -> Option<Duration> {
    let overdue = now.duration_since(due);
    if holder || overdue >= patience || !others_go(due, last_gone, now) {
        return None;
    }
    let still = now.duration_since(last_gone.max(due));
    let left = (patience - overdue).min(STANDSTILL - still);
    Some(Duration::try_from(left).unwrap_or_default().max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    #[test]
    fn the_holder_acts_at_once_and_others_after_a_standstill_or_a_second() {
        let ms = |wait: Option<Duration>| wait.map(|w| w.as_millis());
        let never = Timestamp::MIN;
        let wait = |holder, due, last_gone, now| wait(holder, due, TO_END, last_gone, now);
        assert_eq!(ms(wait(true, at(0), never, at(0))), None);
        assert_eq!(ms(wait(false, at(0), never, at(0))), Some(500));
        assert_eq!(ms(wait(false, at(0), never, at(499))), Some(5));
        assert_eq!(ms(wait(false, at(0), never, at(500))), None);
        assert_eq!(ms(wait(false, at(0), at(300), at(500))), Some(300), "another one went just now");
        assert_eq!(ms(wait(false, at(0), at(700), at(800))), Some(200));
        assert_eq!(ms(wait(false, at(0), at(999), at(1_000))), None, "a second is enough");
        assert_eq!(ms(wait(false, at(0), at(9_000), at(5_000))), None, "also with a clock that was set back");
    }

    #[test]
    fn others_go_until_nothing_has_gone_for_half_a_second() {
        assert!(others_go(at(0), at(1_400), at(1_899)), "another replica only helps");
        assert!(!others_go(at(0), at(1_400), at(1_900)), "and does it all when nothing goes any more");
        assert!(!others_go(at(0), Timestamp::MIN, at(500)));
    }

    #[test]
    fn a_look_waits_while_others_go_and_three_seconds_at_most() {
        let ms = |wait: Option<Duration>| wait.map(|w| w.as_millis());
        let wait = |holder, last_gone, now| wait(holder, at(0), TO_LOOK, at(last_gone), at(now));
        assert_eq!(ms(wait(true, 0, 0)), None);
        assert_eq!(ms(wait(false, 1_400, 1_500)), Some(400));
        assert_eq!(ms(wait(false, 0, 500)), None, "nothing goes any more");
        assert_eq!(ms(wait(false, 2_999, 3_000)), None);
    }
}
