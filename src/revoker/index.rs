//! The managed bindings that a replica knows of.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{api::names, domain::binding::deadline_of, gather::cache::Key};

/// A managed binding: all that its end needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it is.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// When it must be gone. The earliest that was ever seen: a deadline never moves later (invariant 3).
    pub deadline: DateTime<Utc>,
    /// The request that it names.
    pub request: Key,
    /// True when a watch no longer shows it and nobody has asked the API server yet.
    pub doubted: bool,
}

/// All of them. Every event and every decision asks for those of one request, so that is answered without a look at the others.
#[derive(Debug, Default)]
pub struct Index(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    by_key: HashMap<Key, Known>,
    by_request: HashMap<Key, HashSet<Key>>,
}

impl All {
    fn insert(&mut self, known: Known) {
        self.remove(&known.key);
        self.by_request.entry(known.request.clone()).or_default().insert(known.key.clone());
        self.by_key.insert(known.key.clone(), known);
    }

    fn remove(&mut self, key: &Key) {
        let Some(known) = self.by_key.remove(key) else { return };
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
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what a binding says. One without a deadline that can be read is due `now`: nobody may hold a role without an end.
    pub fn note(&self, key: &Key, meta: &ObjectMeta, now: DateTime<Utc>) -> Known {
        let empty = std::collections::BTreeMap::new();
        let annotations = meta.annotations.as_ref().unwrap_or(&empty);
        let deadline = deadline_of(annotations).unwrap_or(now);
        let request = annotations.get(names::REQUEST).cloned().unwrap_or_default();
        let uid = meta.uid.clone().unwrap_or_default();
        self.with(|all| {
            let before = all.by_key.get(key).filter(|known| known.uid == uid).map(|known| known.deadline);
            let known = Known {
                key: key.clone(),
                uid,
                deadline: before.map_or(deadline, |before| before.min(deadline)),
                request: Key::new(&key.namespace, request),
                doubted: false,
            };
            all.insert(known.clone());
            known
        })
    }

    /// One binding.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Known> {
        self.with(|all| all.by_key.get(key).cloned())
    }

    /// The bindings that name this request.
    #[must_use]
    pub fn of_request(&self, request: &Key) -> Vec<Known> {
        self.with(|all| {
            let keys = all.by_request.get(request).into_iter().flatten();
            keys.filter_map(|key| all.by_key.get(key)).cloned().collect()
        })
    }

    /// All bindings.
    #[must_use]
    pub fn all(&self) -> Vec<Known> {
        self.with(|all| all.by_key.values().cloned().collect())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.with(|all| all.by_key.len())
    }

    /// How many should have been gone before `now`.
    #[must_use]
    pub fn overdue(&self, now: DateTime<Utc>) -> usize {
        self.with(|all| all.by_key.values().filter(|known| known.deadline < now).count())
    }

    /// Those that are not among `listed`.
    #[must_use]
    pub fn others(&self, listed: &[Key]) -> Vec<Key> {
        let listed: HashSet<&Key> = listed.iter().collect();
        self.with(|all| all.by_key.keys().filter(|key| !listed.contains(key)).cloned().collect())
    }

    /// Marks a binding as one to ask the API server about; false if it is not known.
    pub fn doubt(&self, key: &Key) -> bool {
        self.with(|all| all.by_key.get_mut(key).map(|known| known.doubted = true).is_some())
    }

    /// Takes the doubt away: it is there.
    pub fn trust(&self, key: &Key) {
        self.with(|all| {
            if let Some(known) = all.by_key.get_mut(key) {
                known.doubted = false;
            }
        });
    }

    /// Forgets a binding that is gone, unless another one has its name by now.
    pub fn forget(&self, gone: &Known) {
        self.with(|all| {
            if all.by_key.get(&gone.key).is_some_and(|known| known.uid == gone.uid) {
                all.remove(&gone.key);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(index: &Index, name: &str, uid: &str, request: &str) -> Known {
        let annotations = [(names::REQUEST.to_owned(), request.to_owned())].into();
        let meta = ObjectMeta { uid: Some(uid.to_owned()), annotations: Some(annotations), ..ObjectMeta::default() };
        index.note(&Key::new("payments", name), &meta, DateTime::UNIX_EPOCH)
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
        // Somebody writes another name on one, and another object takes the name of the other.
        noted(&index, "a", "1", "other");
        let new = noted(&index, "b", "3", "inc");
        assert_eq!((names("inc"), names("other")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        index.forget(&Known { uid: "2".to_owned(), ..new.clone() });
        assert_eq!(names("inc"), ["b"], "another one has its name by now");
        index.forget(&new);
        assert!(names("inc").is_empty() && index.count() == 1);
    }
}
