//! The objects with events that are not recorded yet.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use api::{ApprovalPolicy, RoleActivationRequest, RoleEligibility};
use domain::activity::{self, Event as Activity};
use kube::{Api, Client, core::DeserializeGuard};
use kube_io::{
    cache::{Key, version},
    kept::Kept,
    watch::{self, Event, Source},
    watches::Watches,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::positions::{self, Positions};

/// Beyond this many waiting objects, their content is read again before they are recorded.
const MOST_HELD: usize = 2_000;

/// A watched object.
#[derive(Clone, Debug)]
pub enum Watched {
    /// A request.
    Request(Box<RoleActivationRequest>),
    /// An eligibility.
    Eligibility(Arc<RoleEligibility>),
    /// A policy.
    Policy(Arc<ApprovalPolicy>),
}

/// The kind of a watched object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedKind {
    /// Policies and eligibilities come first: requests rest on them.
    Policy,
    /// An eligibility.
    Eligibility,
    /// A request.
    Request,
}

impl Watched {
    /// Returns its events.
    #[must_use]
    pub fn events(&self) -> Vec<Activity> {
        match self {
            Self::Request(request) => activity::of_request(request),
            Self::Eligibility(eligibility) => activity::of_eligibility(eligibility),
            Self::Policy(policy) => activity::of_policy(policy),
        }
    }

    fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        match self {
            Self::Request(request) => &request.metadata,
            Self::Eligibility(eligibility) => &eligibility.metadata,
            Self::Policy(policy) => &policy.metadata,
        }
    }

    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }
}

/// The versions of an object that were observed: the present one and the one before.
#[derive(Clone, Debug)]
pub struct Versions<T> {
    /// The present one; none if it was deleted.
    pub now: Option<Arc<T>>,
    /// The one before, of another spec.
    pub before: Option<Arc<T>>,
}

/// What waits, and what is known of eligibilities and policies.
#[derive(Debug)]
struct State {
    positions: Positions,
    /// The content is missing where it must be read again.
    waiting: BTreeMap<(WatchedKind, Key), Option<Watched>>,
    held: usize,
    eligibilities: HashMap<String, Versions<RoleEligibility>>,
    policies: HashMap<String, Versions<ApprovalPolicy>>,
    /// The version up to which the watch of requests has delivered everything.
    observed: u64,
    /// The lists that are complete: requests, eligibilities, policies.
    listed: HashSet<WatchedKind>,
    /// The objects of lists that are not complete.
    listing: HashMap<WatchedKind, HashSet<u64>>,
    /// The existing objects of each kind whose list is complete.
    there: HashMap<WatchedKind, HashSet<u64>>,
}

/// The objects that wait to be recorded.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// Notified when an object waits.
    pub news: Notify,
}

/// Objects that left the outbox.
#[derive(Debug, Default)]
pub struct Taken {
    /// The objects. The content is missing where it must be read.
    pub objects: Vec<((WatchedKind, Key), Option<Watched>)>,
    /// If nothing is left: the version up to which all requests are among these or left it before.
    pub all_until: Option<u64>,
}

impl Outbox {
    /// Returns an empty outbox.
    #[must_use]
    pub fn new(positions: Positions) -> Self {
        let state = State {
            positions,
            waiting: BTreeMap::new(),
            held: 0,
            eligibilities: HashMap::new(),
            policies: HashMap::new(),
            observed: 0,
            listed: HashSet::new(),
            listing: HashMap::new(),
            there: HashMap::new(),
        };
        Self { state: Mutex::new(state), news: Notify::new() }
    }

    /// Watches the kinds, for ever.
    pub async fn follow(&self, client: &Client, watches: &Watches) {
        tokio::join!(
            self.watch(client, watches, ("policies", WatchedKind::Policy), |policy: ApprovalPolicy| Watched::Policy(Arc::new(policy))),
            self.watch(client, watches, ("eligibilities", WatchedKind::Eligibility), |eligibility: RoleEligibility| {
                Watched::Eligibility(Arc::new(eligibility))
            }),
            self.watch(client, watches, ("requests", WatchedKind::Request), |request: RoleActivationRequest| {
                Watched::Request(Box::new(request))
            }),
        );
    }

    async fn watch<K>(&self, client: &Client, watches: &Watches, (what, kind): (&'static str, WatchedKind), wrap: fn(K) -> Watched)
    where
        K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
        DeserializeGuard<K>: Kept,
    {
        let place = watches.place(what);
        let source = Source::all(&Api::<K>::all(client.clone()), &());
        watch::run(client, source, &place, |event: Event<DeserializeGuard<K>>| match event {
            Event::Init(_) => self.begin(kind),
            Event::InitApply(object) => self.exists(kind, object, wrap, true),
            Event::InitDone(version) => self.list_done(kind, version),
            Event::Apply(object) => self.exists(kind, object, wrap, false),
            Event::Delete(object) => self.deleted(kind, object, wrap),
            Event::Interrupted => {}
        })
        .await;
    }

    fn begin(&self, kind: WatchedKind) {
        let mut state = self.state.lock();
        state.listing.insert(kind, HashSet::new());
        if kind == WatchedKind::Request {
            // The events that follow may come from another store.
            state.observed = 0;
        }
    }

    fn exists<K>(&self, kind: WatchedKind, object: DeserializeGuard<K>, wrap: fn(K) -> Watched, listed: bool)
    where
        DeserializeGuard<K>: Kept,
    {
        let (key, version) = (Key::of(object.meta()), version(object.meta()));
        let uid = positions::hash(object.meta().uid.as_deref().unwrap_or_default());
        let mut state = self.state.lock();
        let known = if listed { state.listing.entry(kind).or_default() } else { state.there.entry(kind).or_default() };
        known.insert(uid);
        // What cannot be parsed has no events that could be derived.
        if let Ok(object) = object.0 {
            state.apply(kind, key, wrap(object));
        }
        if kind == WatchedKind::Request && !listed {
            state.observed = version;
        }
        drop(state);
        self.news.notify_one();
    }

    fn list_done(&self, kind: WatchedKind, version: Option<u64>) {
        let mut state = self.state.lock();
        let there = state.listing.remove(&kind).unwrap_or_default();
        state.there.insert(kind, there);
        state.listed.insert(kind);
        if kind == WatchedKind::Request {
            state.observed = version.unwrap_or_default();
        }
        if state.listed.len() == 3 {
            let there: HashSet<u64> = state.there.values().flatten().copied().collect();
            state.positions.retain(&there);
        }
        drop(state);
        self.news.notify_one();
    }

    fn deleted<K>(&self, kind: WatchedKind, object: DeserializeGuard<K>, wrap: fn(K) -> Watched)
    where
        DeserializeGuard<K>: Kept,
    {
        let (key, version) = (Key::of(object.meta()), version(object.meta()));
        let uid = positions::hash(object.meta().uid.as_deref().unwrap_or_default());
        let mut state = self.state.lock();
        state.there.entry(kind).or_default().remove(&uid);
        match kind {
            WatchedKind::Eligibility => state.eligibilities.entry(key.name.clone()).or_default().replace(None, |a, b| a.spec == b.spec),
            WatchedKind::Policy => state.policies.entry(key.name.clone()).or_default().replace(None, |a, b| a.spec == b.spec),
            WatchedKind::Request => state.observed = version,
        }
        // Its last events may not be recorded yet.
        if let Ok(object) = object.0 {
            let object = wrap(object);
            let uid = object.uid().to_owned();
            let is_new = !state.positions.new_events(object.events()).is_empty();
            if is_new {
                state.hold(kind, key, object);
            } else {
                state.positions.forget(&uid);
            }
        }
        drop(state);
        self.news.notify_one();
    }

    /// Takes at most `limit` waiting objects.
    #[must_use]
    pub fn take(&self, limit: usize) -> Taken {
        let mut state = self.state.lock();
        // A request is recorded with what it rests on: that must be known first.
        if state.listed.len() < 3 {
            return Taken::default();
        }
        let mut taken = Taken::default();
        while taken.objects.len() < limit
            && let Some((key, object)) = state.waiting.pop_first()
        {
            if object.is_some() {
                state.held = state.held.saturating_sub(1);
            }
            taken.objects.push((key, object));
        }
        if state.waiting.is_empty() && state.observed > 0 {
            taken.all_until = Some(state.observed);
        }
        taken
    }

    /// Puts an object back that could not be recorded now, unless a newer one waits already.
    pub fn put_back(&self, key: (WatchedKind, Key), object: Option<Watched>) {
        let mut state = self.state.lock();
        if !state.waiting.contains_key(&key) {
            if object.is_some() {
                state.held += 1;
            }
            state.waiting.insert(key, object);
        }
    }

    /// Returns the number of objects that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Returns what is known of an eligibility.
    #[must_use]
    pub fn eligibility(&self, name: &str) -> Versions<RoleEligibility> {
        self.state.lock().eligibilities.get(name).cloned().unwrap_or_default()
    }

    /// Returns what is known of a policy.
    #[must_use]
    pub fn policy(&self, name: &str) -> Versions<ApprovalPolicy> {
        self.state.lock().policies.get(name).cloned().unwrap_or_default()
    }

    /// Calls `act` with the positions.
    pub fn positions<T>(&self, act: impl FnOnce(&mut Positions) -> T) -> T {
        act(&mut self.state.lock().positions)
    }
}

impl State {
    fn apply(&mut self, kind: WatchedKind, key: Key, object: Watched) {
        match &object {
            Watched::Eligibility(new) => {
                let new = Arc::clone(new);
                self.eligibilities.entry(key.name.clone()).or_default().replace(Some(new), |a, b| a.spec == b.spec);
            }
            Watched::Policy(new) => {
                let new = Arc::clone(new);
                self.policies.entry(key.name.clone()).or_default().replace(Some(new), |a, b| a.spec == b.spec);
            }
            Watched::Request(_) => {}
        }
        if self.positions.new_events(object.events()).is_empty() {
            return;
        }
        self.hold(kind, key, object);
    }

    fn hold(&mut self, kind: WatchedKind, key: Key, object: Watched) {
        let object = (self.held < MOST_HELD).then_some(object);
        let is_held = object.is_some();
        let before = self.waiting.insert((kind, key), object);
        match (before.flatten().is_some(), is_held) {
            (false, true) => self.held += 1,
            (true, false) => self.held = self.held.saturating_sub(1),
            _ => {}
        }
    }
}

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self { now: None, before: None }
    }
}

impl<T> Versions<T> {
    fn replace(&mut self, new: Option<Arc<T>>, same: impl Fn(&T, &T) -> bool) {
        let is_same = match (&self.now, &new) {
            (Some(old), Some(new)) => same(old, new),
            (None, None) => true,
            _ => false,
        };
        if !is_same && let Some(old) = self.now.take() {
            self.before = Some(old);
        }
        self.now = new;
    }
}
