//! The due bindings that only the leader removes while very many are due. A standby that helps starts with later ones, because otherwise
//! both replicas would delete the same bindings.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::index::{Index, Known};
use kube_io::cache::Key;

/// The most bindings that one replica removes at the same time.
pub(super) const AT_ONCE: usize = 64;
/// How many of the due bindings only the leader removes. It removes the earliest first, and a standby removes later ones.
const FRONT: usize = 4 * AT_ONCE;
/// How long the front that was read from the index stays valid.
const BELIEVED: SignedDuration = SignedDuration::from_millis(50);
/// How long a standby leaves a binding of the front to the leader, because a call of the leader may hang. For as long the leader keeps the
/// last bindings after many were due. Neither applies while no binding is removed at all.
const LONGEST: SignedDuration = SignedDuration::from_secs(3);

/// The due bindings that the leader removes now or next.
#[derive(Debug, Default)]
pub(super) struct Front(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    at: Option<Timestamp>,
    /// The first binding that the leader does not remove now, and the first behind the front. None where fewer are due.
    next: Option<(Timestamp, Key)>,
    behind: Option<(Timestamp, Key)>,
    /// When more bindings than the leader removes at a time were last due.
    many: Option<Timestamp>,
    /// Since when the leader should be removing these bindings.
    since: HashMap<Key, Timestamp>,
}

impl Front {
    /// Reads from the index how many bindings are due. The caller calls it for each due binding, so that the last of many are not mistaken
    /// for few.
    pub(super) fn look(&self, index: &Index, now: Timestamp) {
        let mut seen = self.0.lock();
        if seen.at.is_some_and(|at| (SignedDuration::ZERO..BELIEVED).contains(&now.duration_since(at))) {
            return;
        }
        let due = |place| index.after(place).filter(|(deadline, _)| *deadline <= now);
        (seen.at, seen.next, seen.behind) = (Some(now), due(AT_ONCE), due(FRONT));
        if seen.next.is_some() {
            seen.many = Some(now);
        } else if seen.many.is_some_and(|many| !(SignedDuration::ZERO..LONGEST).contains(&now.duration_since(many))) {
            (seen.many, seen.since) = (None, HashMap::new());
        }
    }

    /// Returns true for a due binding that is left to the leader for now. Where few are due it returns false: a late binding has not waited
    /// behind others then.
    pub(super) fn is_the_holders(&self, known: &Known, now: Timestamp) -> bool {
        let mut seen = self.0.lock();
        let stands_before =
            |place: &Option<(Timestamp, Key)>| place.as_ref().is_none_or(|(at, key)| (known.deadline, &known.key) < (*at, key));
        if seen.many.is_none() || !stands_before(&seen.behind) {
            return false;
        }
        if !stands_before(&seen.next) {
            return true;
        }
        let since = *seen.since.entry(known.key.clone()).or_insert(now);
        now.duration_since(since) < LONGEST
    }

    /// Removes a binding that is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().since.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use api::{instant::stamp, names};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    fn due(index: &Index, number: usize) -> Known {
        let annotations = [(names::EXPIRES_AT.to_owned(), stamp(at(0)))].into();
        let meta = ObjectMeta { uid: Some(number.to_string()), annotations: Some(annotations), ..ObjectMeta::default() };
        index.note(&Key::new("payments", format!("jit-{number:05}")), &meta, at(0))
    }

    #[test]
    fn whoever_helps_begins_behind_the_holder_and_waits_for_nothing_that_hangs() {
        let (front, index) = (Front::default(), Index::default());
        let all: Vec<Known> = (0..1_000).map(|number| due(&index, number)).collect();
        let left = |now| {
            front.look(&index, at(now));
            all.iter().filter(|known| index.get(&known.key).is_some() && front.is_the_holders(known, at(now))).count()
        };
        let gone = |known: &[Known]| {
            for known in known {
                front.forget(&known.key);
                index.forget(known);
            }
        };
        assert_eq!(left(1_000), FRONT);
        // The leader removes a hundred bindings, except one whose call hangs.
        gone(&all[1..=100]);
        assert_eq!(left(2_000), FRONT);
        assert!(front.is_the_holders(&all[0], at(3_999)));
        assert!(!front.is_the_holders(&all[0], at(4_000)), "it hangs");
        gone(&all[101..=950]);
        assert_eq!(left(4_100), 49, "the holder is at the last of them");
        assert_eq!(left(5_100), 0, "and hangs");
    }

    #[test]
    fn few_that_are_late_are_left_to_nobody() {
        let (front, index) = (Front::default(), Index::default());
        let all: Vec<Known> = (0..AT_ONCE).map(|number| due(&index, number)).collect();
        front.look(&index, at(1_000));
        assert!(all.iter().all(|known| !front.is_the_holders(known, at(1_000))));
    }
}
