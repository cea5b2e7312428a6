//! What every controller of this process has in its hands.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use kube::Client;

use super::{events::Events, known::Known, lease::Leadership};
use crate::{
    api::{RoleActivationRequest, request::ReviewState},
    clock::Clock,
    config::Config,
    domain::Settings,
    gather::{
        cache::{Cache, Key},
        horizon::Horizon,
        surroundings::{LiveRequest, World},
    },
    guards::Guards,
    observe::metrics::ControllerMetrics,
    queue::Queue,
    revoker::Revoker,
};

/// Field manager of all that the controller writes.
pub const FIELD_MANAGER: &str = "jit-rbac";

/// Shared by the controllers of one replica.
pub struct Context {
    /// Talks to the API server.
    pub client: Client,
    /// When to look.
    pub clock: Clock,
    /// The chart's values.
    pub config: Config,
    /// What of them the rules need.
    pub settings: Settings,
    /// Eligibilities, policies, namespaces, roles.
    pub world: Arc<World>,
    /// Requests that are not at an end.
    pub requests: Arc<Cache<LiveRequest>>,
    /// Ends bindings.
    pub revoker: Arc<Revoker>,
    /// Whether this replica may grant.
    pub leadership: Leadership,
    /// Whether what is stored can be trusted.
    pub guards: Arc<Guards>,
    /// Tells people.
    pub events: Events,
    /// Keys of `userInfo.extra` that somebody has shown.
    pub evidence: Evidence,
    /// Reviews that are owed.
    pub reviews: Arc<Reviews>,
    /// Requests to be worked on: those whose turn has come.
    pub waiting: Queue<Key>,
    /// Ended requests to be looked at for their retention.
    pub ended: Queue<Key>,
    /// The newest decision that this replica has observed.
    pub decisions: Horizon,
    /// What the caches must know before a grant may rest on them.
    pub known: Known,
    /// Counts what is done.
    pub metrics: ControllerMetrics,
}

/// Emergencies whose review is not done, as far as this replica has looked at them.
#[derive(Debug, Default)]
pub struct Reviews(Mutex<HashMap<Key, ReviewState>>);

impl Reviews {
    /// Notes where the review of a request stands; none where it owes none.
    pub fn note(&self, key: Key, review: Option<ReviewState>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match review.filter(|state| *state != ReviewState::Done) {
            Some(state) => drop(open.insert(key, state)),
            None => drop(open.remove(&key)),
        }
    }

    /// Forgets all: another replica knew better meanwhile, and they are listed anew.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many there are in each state.
    #[must_use]
    pub fn count(&self) -> Vec<(String, i64)> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let many = |state| i64::try_from(open.values().filter(|found| **found == state).count()).unwrap_or(i64::MAX);
        [ReviewState::Owed, ReviewState::Overdue].into_iter().map(|state| (state.as_str().to_owned(), many(state))).collect()
    }
}

/// Keys of `userInfo.extra` that were seen in stamps since the start of this process.
#[derive(Debug, Default)]
pub struct Evidence(Mutex<BTreeSet<String>>);

impl Evidence {
    /// Notes keys; true if one of them is new.
    pub fn note<'k>(&self, keys: impl Iterator<Item = &'k str>) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.fold(false, |new, key| if seen.contains(key) { new } else { seen.insert(key.to_owned()) })
    }

    /// True for a key that was seen.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}

impl Context {
    /// A request was reported to be at an end, or an emergency of it to be reviewed: how long is it kept, and the one that it prolonged?
    pub fn has_ended(&self, key: &Key, request: &RoleActivationRequest) {
        self.ended.add(key.clone());
        if let Some(base) = request.spec.base() {
            self.ended.add(Key::new(&key.namespace, base));
        }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}
