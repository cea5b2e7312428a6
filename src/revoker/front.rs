//! What the holder of the Lease ends itself while very many are due: another replica that helps begins behind it, or both would delete the
//! same bindings.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    AT_ONCE, FRONT,
    index::{Index, Known},
};
use crate::gather::cache::Key;

/// How long the front that was looked up is believed.
const BELIEVED: TimeDelta = TimeDelta::milliseconds(50);
/// How long one may stand in the front until the other replica ends it all the same: the call of the holder may hang.
const LONGEST: TimeDelta = TimeDelta::seconds(3);

/// The bindings that the holder is at, or comes to next.
#[derive(Debug, Default)]
pub(super) struct Front(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    at: Option<DateTime<Utc>>,
    /// The first behind the front; none where all that is due is in it.
    behind: Option<(DateTime<Utc>, Key)>,
    /// More are due than the holder ends at a time.
    many: bool,
    /// Since when these stand in it.
    since: HashMap<Key, DateTime<Utc>>,
}

impl Front {
    /// True for one that is due and best left to the holder now. Where few are due none is: then one that is late has waited for nothing else.
    pub(super) fn is_the_holders(&self, known: &Known, index: &Index, now: DateTime<Utc>) -> bool {
        let mut seen = self.lock();
        if seen.at.is_none_or(|at| !(TimeDelta::zero()..BELIEVED).contains(&(now - at))) {
            seen.at = Some(now);
            let due = |place| index.after(place).filter(|(deadline, _)| *deadline <= now);
            seen.many = due(AT_ONCE).is_some();
            seen.behind = due(FRONT);
        }
        if !seen.many {
            seen.since.clear();
            return false;
        }
        if seen.behind.as_ref().is_some_and(|behind| (known.deadline, &known.key) >= (behind.0, &behind.1)) {
            return false;
        }
        let since = *seen.since.entry(known.key.clone()).or_insert(now);
        now - since < LONGEST
    }

    /// It is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().since.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::api::names;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
    }

    fn due(index: &Index, number: usize) -> Known {
        let annotations = [(names::EXPIRES_AT.to_owned(), at(0).to_rfc3339())].into();
        let meta = ObjectMeta { uid: Some(number.to_string()), annotations: Some(annotations), ..ObjectMeta::default() };
        index.note(&Key::new("payments", format!("jit-{number:05}")), &meta, at(0))
    }

    #[test]
    fn whoever_helps_begins_behind_the_holder_and_waits_for_nothing_that_hangs() {
        let (front, index) = (Front::default(), Index::default());
        let all: Vec<Known> = (0..1_000).map(|number| due(&index, number)).collect();
        let left = |now| all.iter().filter(|known| index.get(&known.key).is_some() && front.is_the_holders(known, &index, at(now))).count();
        assert_eq!(left(1_000), FRONT);
        // The holder ends a hundred, all but one that hangs.
        for known in &all[1..=100] {
            front.forget(&known.key);
            index.forget(known);
        }
        assert_eq!(left(2_000), FRONT);
        assert!(front.is_the_holders(&all[0], &index, at(3_999)));
        assert!(!front.is_the_holders(&all[0], &index, at(4_000)), "it hangs");
        for known in &all[101..=950] {
            front.forget(&known.key);
            index.forget(known);
        }
        assert_eq!(left(4_100), 0, "few are left, and late");
        assert_eq!(left(4_101), 0);
    }
}
