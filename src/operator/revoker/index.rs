//! The index of the managed bindings that a replica knows.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;

use api::names;
use domain::binding::deadline_of;
use kube_io::cache::Key;

/// A managed binding, reduced to what its removal needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its namespace and name.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// When it expires. The earliest deadline that was observed counts: a deadline never moves later (invariant 3).
    pub deadline: Timestamp,
    /// The request that it names.
    pub request: Key,
    /// True when a watch has reported it as deleted and no read from the API server has verified that yet.
    pub unverified: bool,
}

/// The known bindings. Each event and each decision needs the bindings of one request, so they are indexed by request.
#[derive(Debug, Default)]
pub struct Index(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    bindings: HashMap<Key, Known>,
    by_request: HashMap<Key, HashSet<Key>>,
    /// In the order of their deadlines.
    by_deadline: BTreeSet<(Timestamp, Key)>,
}

impl All {
    fn insert(&mut self, known: Known) {
        self.remove(&known.key);
        self.by_request.entry(known.request.clone()).or_default().insert(known.key.clone());
        self.by_deadline.insert((known.deadline, known.key.clone()));
        self.bindings.insert(known.key.clone(), known);
    }

    fn remove(&mut self, key: &Key) {
        let Some(known) = self.bindings.remove(key) else { return };
        self.by_deadline.remove(&(known.deadline, known.key.clone()));
        if let Some(keys) = self.by_request.get_mut(&known.request) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_request.remove(&known.request);
            }
        }
    }
}

impl Index {
    fn with<T>(&self, act: impl FnOnce(&mut All) -> T) -> T {
        act(&mut self.0.lock())
    }

    /// Records an observed binding. A binding without a valid deadline is due `now`, because no grant may be without an end. The same
    /// applies to a binding that is being deleted: as long as a finalizer or a dependent keeps it, RBAC grants by it.
    pub fn note(&self, key: &Key, meta: &ObjectMeta, now: Timestamp) -> Known {
        let empty = std::collections::BTreeMap::new();
        let annotations = meta.annotations.as_ref().unwrap_or(&empty);
        let deadline = deadline_of(annotations).unwrap_or(now);
        let deadline = if meta.deletion_timestamp.is_some() { deadline.min(now) } else { deadline };
        let request = annotations.get(names::REQUEST).cloned().unwrap_or_default();
        let uid = meta.uid.clone().unwrap_or_default();
        self.with(|all| {
            let before = all.bindings.get(key).filter(|known| known.uid == uid).map(|known| known.deadline);
            let known = Known {
                key: key.clone(),
                uid,
                deadline: before.map_or(deadline, |before| before.min(deadline)),
                request: Key::new(&key.namespace, request),
                unverified: false,
            };
            all.insert(known.clone());
            known
        })
    }

    /// Returns one binding.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Known> {
        self.with(|all| all.bindings.get(key).cloned())
    }

    /// Returns the bindings that name this request.
    #[must_use]
    pub fn of_request(&self, request: &Key) -> Vec<Known> {
        self.with(|all| {
            let keys = all.by_request.get(request).into_iter().flatten();
            keys.filter_map(|key| all.bindings.get(key)).cloned().collect()
        })
    }

    /// Returns all bindings.
    #[must_use]
    pub fn all(&self) -> Vec<Known> {
        self.with(|all| all.bindings.values().cloned().collect())
    }

    /// Returns how many bindings there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.with(|all| all.bindings.len())
    }

    /// Returns how many bindings expired before `now`.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> usize {
        self.with(|all| all.by_deadline.iter().take_while(|(deadline, _)| *deadline < now).count())
    }

    /// Returns the binding that expires after `many` others, and its deadline.
    #[must_use]
    pub fn after(&self, many: usize) -> Option<(Timestamp, Key)> {
        self.with(|all| all.by_deadline.iter().nth(many).cloned())
    }

    /// Returns the bindings that are not in `listed`.
    #[must_use]
    pub fn others(&self, listed: &[Key]) -> Vec<Key> {
        let listed: HashSet<&Key> = listed.iter().collect();
        self.with(|all| all.bindings.keys().filter(|key| !listed.contains(key)).cloned().collect())
    }

    /// Marks a binding as one to verify with the API server. Returns false if it is not known.
    pub fn mark_unverified(&self, key: &Key) -> bool {
        self.with(|all| all.bindings.get_mut(key).map(|known| known.unverified = true).is_some())
    }

    /// Clears the mark of a binding that exists.
    pub fn trust(&self, key: &Key) {
        self.with(|all| {
            if let Some(known) = all.bindings.get_mut(key) {
                known.unverified = false;
            }
        });
    }

    /// Removes a binding that is gone, unless another binding has its name by now.
    pub fn forget(&self, gone: &Known) {
        self.with(|all| {
            if all.bindings.get(&gone.key).is_some_and(|known| known.uid == gone.uid) {
                all.remove(&gone.key);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::instant::stamp;

    #[test]
    fn f74_a_binding_that_is_being_deleted_is_due_now() {
        let index = Index::default();
        let now: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
        let noted = |expires: &str, deleted: bool| {
            let annotations = [(names::EXPIRES_AT.to_owned(), expires.to_owned())].into();
            let deletion_timestamp = deleted.then(|| api::conditions::to_time(now));
            let meta =
                ObjectMeta { uid: Some("1".to_owned()), annotations: Some(annotations), deletion_timestamp, ..ObjectMeta::default() };
            stamp(index.note(&Key::new("payments", "a"), &meta, now).deadline)
        };
        assert_eq!(noted("2026-11-01T14:00:00Z", false), "2026-11-01T14:00:00Z");
        assert_eq!(noted("2026-11-01T14:00:00Z", true), "2026-11-01T12:00:00Z");
        assert_eq!(noted("2026-11-01T14:00:00Z", false), "2026-11-01T12:00:00Z", "an older event restores nothing");
        let late = Index::default();
        let annotations = [(names::EXPIRES_AT.to_owned(), "2026-11-01T11:00:00Z".to_owned())].into();
        let meta =
            ObjectMeta { annotations: Some(annotations), deletion_timestamp: Some(api::conditions::to_time(now)), ..ObjectMeta::default() };
        let deadline = late.note(&Key::new("payments", "b"), &meta, now).deadline;
        assert_eq!(stamp(deadline), "2026-11-01T11:00:00Z", "never later than its deadline");
    }

    fn noted(index: &Index, name: &str, uid: &str, request: &str) -> Known {
        let annotations = [(names::REQUEST.to_owned(), request.to_owned())].into();
        let meta = ObjectMeta { uid: Some(uid.to_owned()), annotations: Some(annotations), ..ObjectMeta::default() };
        index.note(&Key::new("payments", name), &meta, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_bindings_of_a_request_are_those_that_name_it_now() {
        let index = Index::default();
        let names = |request: &str| {
            let mut names: Vec<String> = index.of_request(&Key::new("payments", request)).into_iter().map(|known| known.key.name).collect();
            names.sort();
            names
        };
        noted(&index, "a", "1", "inc");
        noted(&index, "b", "2", "inc");
        assert_eq!(names("inc"), ["a", "b"]);
        // A writer changes the request that one binding names, and another object gets the name of the other binding.
        noted(&index, "a", "1", "other");
        let new = noted(&index, "b", "3", "inc");
        assert_eq!((names("inc"), names("other")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        index.forget(&Known { uid: "2".to_owned(), ..new.clone() });
        assert_eq!(names("inc"), ["b"], "another one has its name by now");
        index.forget(&new);
        assert!(names("inc").is_empty() && index.count() == 1);
    }

    #[test]
    fn bindings_stand_in_the_order_of_their_ends() {
        let index = Index::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let noted = |name: &str, second| {
            let annotations = [(names::EXPIRES_AT.to_owned(), stamp(at(second)))].into();
            let meta = ObjectMeta { uid: Some(name.to_owned()), annotations: Some(annotations), ..ObjectMeta::default() };
            index.note(&Key::new("payments", name), &meta, Timestamp::UNIX_EPOCH)
        };
        let later = noted("later", 30);
        noted("first", 10);
        noted("second", 20);
        let after = |many| index.after(many).map(|(_, key)| key.name);
        assert_eq!([after(0), after(1), after(2), after(3)], [Some("first".into()), Some("second".into()), Some("later".into()), None]);
        assert_eq!((index.overdue(at(20)), index.overdue(at(21))), (1, 2));
        noted("later", 5);
        assert_eq!((after(0), after(3)), (Some("later".into()), None), "it ends earlier than was known");
        index.forget(&later);
        assert_eq!((after(0), index.overdue(at(40))), (Some("first".into()), 2));
    }
}
