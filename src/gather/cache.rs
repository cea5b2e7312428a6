//! Facts about all objects of one kind, kept current by a watch.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt};
use kube::{Resource, runtime::watcher};
use tokio::sync::watch;
use tracing::warn;

use crate::errors::one_line;

/// Where an object is: its namespace ("" for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, or "".
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// An object in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// A cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }

    fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// By namespace first: most questions are about one, and must not cost more because others have many objects.
type ByNamespace<F> = HashMap<String, HashMap<Key, F>>;

/// The facts `F` of all objects of one kind. Objects themselves are not kept, so that the cache holds no more than the rules read.
#[derive(Debug)]
pub struct Cache<F> {
    what: &'static str,
    matters: fn(&F, &F) -> bool,
    facts: RwLock<ByNamespace<F>>,
    synced: watch::Sender<bool>,
    observed: AtomicU64,
}

impl<F: Clone + PartialEq> Cache<F> {
    /// An empty cache of `what`, such as `roles`.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self::reporting(what, |before, now| before != now)
    }

    /// An empty cache that reports a change only where it `matters`.
    #[must_use]
    pub fn reporting(what: &'static str, matters: fn(&F, &F) -> bool) -> Self {
        Self { what, matters, facts: RwLock::default(), synced: watch::Sender::new(false), observed: AtomicU64::new(0) }
    }

    /// The `resourceVersion` up to which the watch has certainly delivered all events: that of the last object it delivered. Zero
    /// before the first list is complete, and where versions are not numbers.
    #[must_use]
    pub fn observed(&self) -> u64 {
        self.observed.load(Ordering::Acquire)
    }

    /// The facts of one object, if it was seen.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<F> {
        self.read().get(&key.namespace)?.get(key).cloned()
    }

    /// The results of `pick` over all objects.
    pub fn pick<T>(&self, mut pick: impl FnMut(&Key, &F) -> Option<T>) -> Vec<T> {
        self.read().values().flatten().filter_map(|(key, facts)| pick(key, facts)).collect()
    }

    /// The results of `pick` over the objects of one namespace.
    pub fn pick_in<T>(&self, namespace: &str, mut pick: impl FnMut(&Key, &F) -> Option<T>) -> Vec<T> {
        self.read().get(namespace).into_iter().flatten().filter_map(|(key, facts)| pick(key, facts)).collect()
    }

    /// True once everything that existed at the start has been seen.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Returns when everything that existed at the start has been seen.
    pub async fn synced(&self) {
        // The sender lives in `self`, so the channel cannot close while somebody waits here.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Follows `events` for ever and calls `changed` with each object whose facts changed. Objects that only look different, such
    /// as by a status that the facts leave out, are not reported.
    pub async fn follow<K: Resource>(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
        facts: impl Fn(K) -> F,
        changed: impl Fn(Key),
    ) {
        let mut listed = ByNamespace::new();
        let mut newest = 0;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    newest = 0;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    newest = newest.max(version(&object));
                    let key = Key::of(&object);
                    listed.entry(key.namespace.clone()).or_default().insert(key, facts(object));
                }
                Ok(watcher::Event::InitDone) => {
                    let others = self.replace(std::mem::take(&mut listed));
                    self.observed.store(newest, Ordering::Release);
                    others.into_iter().for_each(&changed);
                    self.synced.send_replace(true);
                }
                Ok(watcher::Event::Apply(object)) => {
                    let (key, version) = (Key::of(&object), version(&object));
                    let matters = self.insert(key.clone(), facts(object));
                    self.observed.store(version, Ordering::Release);
                    if matters {
                        changed(key);
                    }
                }
                Ok(watcher::Event::Delete(object)) => {
                    let (key, version) = (Key::of(&object), version(&object));
                    self.remove(&key);
                    self.observed.store(version, Ordering::Release);
                    changed(key);
                }
                Err(error) => warn!(what = self.what, error = one_line(&error), "the watch was interrupted and goes on"),
            }
        }
    }

    fn insert(&self, key: Key, facts: F) -> bool {
        let mut all = self.write();
        let here = all.entry(key.namespace.clone()).or_default();
        let matters = here.get(&key).is_none_or(|before| (self.matters)(before, &facts));
        here.insert(key, facts);
        matters
    }

    fn remove(&self, key: &Key) {
        let mut all = self.write();
        if let Some(here) = all.get_mut(&key.namespace) {
            here.remove(key);
            if here.is_empty() {
                all.remove(&key.namespace);
            }
        }
    }

    fn replace(&self, listed: ByNamespace<F>) -> Vec<Key> {
        let mut all = self.write();
        let there = |all: &ByNamespace<F>, key: &Key| all.get(&key.namespace).is_some_and(|here| here.contains_key(key));
        let gone = all.values().flat_map(HashMap::keys).filter(|key| !there(&listed, key));
        let before = |key: &Key| all.get(&key.namespace)?.get(key);
        let new = listed.values().flatten().filter(|(key, now)| before(key).is_none_or(|before| (self.matters)(before, now)));
        let changed = gone.chain(new.map(|(key, _)| key)).cloned().collect();
        *all = listed;
        changed
    }

    fn read(&self) -> RwLockReadGuard<'_, ByNamespace<F>> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByNamespace<F>> {
        self.facts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `resourceVersion` of an object; 0 where it is not a number.
pub(super) fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}
