//! Facts about all objects of one kind, kept current by a watch.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use parking_lot::RwLock;
use tokio::sync::watch as channel;

use super::{
    kept::Kept,
    watch::{self, Event, Source},
    watches::Watches,
};

/// The key of an object: its namespace ("" for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, or "".
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Returns the key of a namespaced object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Returns the key of a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }

    /// Returns the key of the object with this metadata.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// By namespace first. Most queries are for one namespace, and the objects of other namespaces must not add to their cost.
type ByNamespace<F> = HashMap<String, HashMap<Key, F>>;

/// The facts of an object, and their approximate size in bytes.
#[derive(Debug)]
struct Known<F> {
    facts: ByNamespace<F>,
    bytes: usize,
    /// Counts the events that the watch delivered.
    changes: u64,
}

impl<F> Default for Known<F> {
    fn default() -> Self {
        Self { facts: ByNamespace::new(), bytes: 0, changes: 0 }
    }
}

/// Facts of an object before and after a change. `None` where the object does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<F> {
    /// The key of the object.
    pub key: Key,
    /// The facts before the change.
    pub before: Option<F>,
    /// The facts after the change.
    pub now: Option<F>,
}

/// The limit of a cache: an approximate number of bytes, and the function that counts them. What exceeds it is not cached, and its readers
/// ask the API server.
pub type Room<F> = (usize, fn(&F) -> usize);

/// The facts `F` of all objects of one kind. The objects themselves are not cached, so that the cache holds no more than the rules read.
#[derive(Debug)]
pub struct Cache<F> {
    what: &'static str,
    matters: fn(&F, &F) -> bool,
    room: Option<Room<F>>,
    known: RwLock<Known<F>>,
    synced: channel::Sender<bool>,
    observed: AtomicU64,
}

impl<F: Clone + PartialEq> Cache<F> {
    /// Returns an empty cache of `what`, such as `roles`.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self::reporting(what, |before, now| before != now)
    }

    /// Returns an empty cache that reports a change only where it `matters`.
    #[must_use]
    pub fn reporting(what: &'static str, matters: fn(&F, &F) -> bool) -> Self {
        Self { what, matters, room: None, known: RwLock::default(), synced: channel::Sender::new(false), observed: AtomicU64::new(0) }
    }

    /// The `resourceVersion` up to which the watch has delivered all events: that of the last list, or of the last object after it. Zero
    /// before the first list is complete and where versions are not numbers. Zero also while the delivered events may come from another
    /// store.
    #[must_use]
    pub fn observed(&self) -> u64 {
        self.observed.load(Ordering::Acquire)
    }

    /// Returns an empty cache with a limit.
    #[must_use]
    pub fn within(self, room: Room<F>) -> Self {
        Self { room: Some(room), ..self }
    }

    /// Returns the facts of one object, if they are cached.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<F> {
        self.known.read().facts.get(&key.namespace)?.get(key).cloned()
    }

    /// Returns the results of `pick` over all objects.
    pub fn pick<T>(&self, mut pick: impl FnMut(&Key, &F) -> Option<T>) -> Vec<T> {
        self.known.read().facts.values().flatten().filter_map(|(key, facts)| pick(key, facts)).collect()
    }

    /// True when `is` holds for at least one object.
    pub fn any(&self, mut is: impl FnMut(&Key, &F) -> bool) -> bool {
        self.known.read().facts.values().flatten().any(|(key, facts)| is(key, facts))
    }

    /// Returns the results of `pick` over the objects of one namespace.
    pub fn pick_in<T>(&self, namespace: &str, mut pick: impl FnMut(&Key, &F) -> Option<T>) -> Vec<T> {
        self.known.read().facts.get(namespace).into_iter().flatten().filter_map(|(key, facts)| pick(key, facts)).collect()
    }

    /// True once the first list is complete.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Returns when the first list is complete.
    pub async fn synced(&self) {
        // The sender lives in `self`, so the channel cannot close while a caller waits here.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Watches forever and calls `changed` with each object whose facts changed. Changes outside the facts, such as in a status that the
    /// facts omit, are not reported. Objects for which `facts` returns `None` are neither cached nor reported.
    pub async fn follow<K: Kept>(
        &self,
        (client, watches): (&Client, &Watches),
        source: Source,
        facts: impl Fn(K) -> Option<F>,
        changed: impl Fn(Changed<F>),
    ) {
        let place = watches.place(self.what);
        let mut listed = Known::default();
        watch::run(client, source, &place, |event: Event<K>| match event {
            Event::Init(another_store) => {
                listed = Known::default();
                if another_store {
                    self.observed.store(0, Ordering::Release);
                }
            }
            Event::InitApply(object) => {
                let key = Key::of(object.meta());
                if let Some(facts) = facts(object) {
                    self.keep(&mut listed, key, facts);
                }
            }
            Event::InitDone(version) => {
                let others = self.replace(std::mem::take(&mut listed));
                self.observed.store(version.unwrap_or_default(), Ordering::Release);
                others.into_iter().for_each(&changed);
                self.synced.send_replace(true);
            }
            Event::Apply(object) => {
                let (key, version) = (Key::of(object.meta()), version(object.meta()));
                let matters = match facts(object) {
                    Some(facts) => self.insert(key, facts),
                    None => self.remove(&key).and(None),
                };
                self.observed.store(version, Ordering::Release);
                matters.into_iter().for_each(&changed);
            }
            Event::Delete(object) => {
                let (key, version) = (Key::of(object.meta()), version(object.meta()));
                let before = self.remove(&key);
                self.observed.store(version, Ordering::Release);
                if before.is_some() || facts(object).is_some() {
                    changed(Changed { key, before, now: None });
                }
            }
            Event::Interrupted => {}
        })
        .await;
    }

    /// The number of events delivered until now, for [`Cache::fill`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.known.read().changes
    }

    /// Caches what was read from the API server after `changes`, unless the watch has delivered an event since, which may be newer.
    pub fn fill(&self, key: Key, facts: F, changes: u64) {
        let mut known = self.known.write();
        if known.changes == changes {
            self.keep(&mut known, key, facts);
        }
    }

    fn weight(&self, key: &Key, facts: &F) -> usize {
        self.room.map_or(0, |(_, weigh)| size_of::<(Key, F)>() + key.namespace.len() + key.name.len() + weigh(facts))
    }

    /// Caches facts if they fit in the limit. The previous facts of the object are dropped in any case.
    fn keep(&self, known: &mut Known<F>, key: Key, facts: F) -> Option<F> {
        let before = self.drop_from(known, &key);
        let weight = self.weight(&key, &facts);
        if self.room.is_none_or(|(room, _)| known.bytes + weight <= room) {
            known.bytes += weight;
            known.facts.entry(key.namespace.clone()).or_default().insert(key, facts);
        }
        before
    }

    fn drop_from(&self, known: &mut Known<F>, key: &Key) -> Option<F> {
        let here = known.facts.get_mut(&key.namespace)?;
        let before = here.remove(key)?;
        if here.is_empty() {
            known.facts.remove(&key.namespace);
        }
        known.bytes = known.bytes.saturating_sub(self.weight(key, &before));
        Some(before)
    }

    fn insert(&self, key: Key, facts: F) -> Option<Changed<F>> {
        let mut known = self.known.write();
        known.changes = known.changes.wrapping_add(1);
        let before = self.keep(&mut known, key.clone(), facts.clone());
        let matters = before.as_ref().is_none_or(|before| (self.matters)(before, &facts));
        matters.then_some(Changed { key, before, now: Some(facts) })
    }

    fn remove(&self, key: &Key) -> Option<F> {
        let mut known = self.known.write();
        known.changes = known.changes.wrapping_add(1);
        self.drop_from(&mut known, key)
    }

    fn replace(&self, listed: Known<F>) -> Vec<Changed<F>> {
        let mut known = self.known.write();
        let before = std::mem::replace(&mut *known, listed);
        known.changes = before.changes.wrapping_add(1);
        let there = |all: &ByNamespace<F>, key: &Key| all.get(&key.namespace).and_then(|here| here.get(key)).cloned();
        let gone = before.facts.values().flatten().filter(|(key, _)| there(&known.facts, key).is_none());
        let gone = gone.map(|(key, facts)| Changed { key: key.clone(), before: Some(facts.clone()), now: None });
        let new = known.facts.values().flatten().filter_map(|(key, now)| {
            let before = there(&before.facts, key);
            let matters = before.as_ref().is_none_or(|before| (self.matters)(before, now));
            matters.then(|| Changed { key: key.clone(), before, now: Some(now.clone()) })
        });
        gone.chain(new).collect()
    }
}

/// The `resourceVersion` of an object; 0 where it is not a number.
#[must_use]
pub fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f73_a_cache_holds_no_more_than_it_has_room_for() {
        let cache: Cache<String> = Cache::new("roles").within((2_000, String::len));
        let key = |name: &str| Key::new("a", name);
        let large = |size: usize| "x".repeat(size);
        assert_eq!(cache.insert(key("one"), large(1_000)).unwrap().now, Some(large(1_000)));
        // The change is reported, and readers ask the API server.
        assert!(cache.insert(key("two"), large(1_000)).is_some() && cache.get(&key("two")).is_none());
        assert!(cache.insert(key("two"), large(10)).is_some() && cache.get(&key("two")).is_some());
        // Facts that exceed the limit are not cached, and the previous facts are dropped.
        let changed = cache.insert(key("one"), large(3_000)).unwrap();
        assert!(changed.before == Some(large(1_000)) && cache.get(&key("one")).is_none());
        assert!(cache.insert(key("three"), large(1_500)).is_some() && cache.get(&key("three")).is_some());
        assert_eq!(cache.remove(&key("three")), Some(large(1_500)));
        assert_eq!(cache.known.read().bytes, cache.weight(&key("two"), &large(10)));
    }

    #[test]
    fn what_was_read_fills_a_cache_unless_the_watch_told_something_meanwhile() {
        let cache: Cache<u8> = Cache::new("roles");
        let key = |name: &str| Key::new("a", name);
        let changes = cache.changes();
        cache.fill(key("one"), 1, changes);
        assert_eq!(cache.get(&key("one")), Some(1));
        let changes = cache.changes();
        assert!(cache.insert(key("two"), 2).is_some() && cache.remove(&key("two")).is_some());
        cache.fill(key("two"), 2, changes);
        assert_eq!(cache.get(&key("two")), None, "it is gone since");
    }

    #[test]
    fn a_list_tells_what_changed_since() {
        let cache: Cache<u8> = Cache::new("x");
        let key = |name: &str| Key::new("a", name);
        for (name, facts) in [("same", 1), ("other", 1), ("gone", 1)] {
            cache.insert(key(name), facts);
        }
        let mut listed = Known::default();
        for (name, facts) in [("same", 1), ("other", 2), ("new", 1)] {
            cache.keep(&mut listed, key(name), facts);
        }
        let mut changed: Vec<_> = cache.replace(listed).into_iter().map(|c| (c.key.name, c.before, c.now)).collect();
        changed.sort();
        let expected = [("gone", Some(1), None), ("new", None, Some(1)), ("other", Some(1), Some(2))];
        assert_eq!(changed, expected.map(|(name, before, now)| (name.to_owned(), before, now)));
    }
}
