//! What every controller of this process has in its hands.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use kube::Client;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::known::Known;
use crate::{
    config::Config,
    election::Leadership,
    gather::surroundings::{LiveRequest, World},
    guards::Guards,
    observe::{events::Events, metrics::ControllerMetrics},
    queue::Queue,
    revoker::Revoker,
};
use api::{ApprovalPolicySpec, RoleActivationRequest, eligibility::RoleRef, request::ReviewState};
use domain::{Object, RequestFacts, Settings};
use kube_io::{
    cache::{Cache, Key},
    clock::Clock,
    horizon::Horizon,
};

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
    /// Roles that may be bound.
    pub bindable: Bindable,
    /// Reviews that are owed.
    pub reviews: Arc<Reviews>,
    /// Held while a review is recorded in the status of a policy.
    pub recording: tokio::sync::Mutex<()>,
    /// Requests to be worked on: those whose turn has come.
    pub waiting: Queue<Key>,
    /// Policies to be reported on.
    pub policies: Queue<Key>,
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
        let mut open = self.0.lock();
        match review.filter(|state| *state != ReviewState::Done) {
            Some(state) => drop(open.insert(key, state)),
            None => drop(open.remove(&key)),
        }
    }

    /// Forgets all: another replica knew better meanwhile, and they are listed anew.
    pub fn forget(&self) {
        self.0.lock().clear();
    }

    /// How many there are in each state.
    #[must_use]
    pub fn count(&self) -> Vec<(String, i64)> {
        let open = self.0.lock();
        let many = |state| i64::try_from(open.values().filter(|found| **found == state).count()).unwrap_or(i64::MAX);
        [ReviewState::Owed, ReviewState::Overdue].into_iter().map(|state| (state.as_str().to_owned(), many(state))).collect()
    }
}

/// Most keys that are remembered.
const MOST_KEYS: usize = 1_000;
/// Longest key that is remembered: policies ask for no longer ones.
const MAX_KEY: usize = 253;

/// Keys of `userInfo.extra` that were seen in stamps since the start of this process. Who authenticates people, or may impersonate, makes
/// as many as they like; then those are kept that policies ask for.
#[derive(Debug, Default)]
pub struct Evidence(Mutex<BTreeSet<String>>);

impl Evidence {
    /// Notes keys; true if one of them is new. `asked_for` gives the keys that policies ask for, where there are too many.
    pub fn note<'k>(&self, keys: impl Iterator<Item = &'k str>, asked_for: impl Fn() -> BTreeSet<String>) -> bool {
        let mut seen = self.0.lock();
        let mut new = false;
        for key in keys.filter(|key| key.len() <= MAX_KEY) {
            if seen.contains(key) {
                continue;
            }
            if seen.len() >= MOST_KEYS {
                let wanted = asked_for();
                if !wanted.contains(key) {
                    continue;
                }
                seen.retain(|key| wanted.contains(key));
                if seen.len() >= MOST_KEYS {
                    continue;
                }
            }
            new |= seen.insert(key.to_owned());
        }
        new
    }

    /// True for a key that was seen.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.lock().contains(key)
    }
}

/// Roles that this process may bind, as the API server said a moment ago. Nothing is granted because of it: whether a binding may be
/// made, the API server tells when it is.
#[derive(Debug, Default)]
pub struct Bindable(Mutex<HashMap<RoleRef, Instant>>);

impl Bindable {
    /// How long an answer counts.
    const COUNTS: Duration = Duration::from_mins(1);
    /// Most answers that are remembered.
    const MOST: usize = 1_000;

    /// True where the API server has said so a moment ago. What it denied is asked again each time.
    #[must_use]
    pub fn has(&self, role: &RoleRef) -> bool {
        let known = self.0.lock();
        known.get(role).is_some_and(|said| said.elapsed() < Self::COUNTS)
    }

    /// Notes that it said so now.
    pub fn note(&self, role: &RoleRef) {
        let mut known = self.0.lock();
        if known.len() >= Self::MOST {
            known.retain(|_, said| said.elapsed() < Self::COUNTS);
        }
        if known.len() < Self::MOST {
            known.insert(role.clone(), Instant::now());
        }
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

    /// An emergency was reviewed, or ended without a grant: the policies that list its review drop it.
    pub fn owes_nothing(&self, facts: &RequestFacts) {
        let world = &self.world;
        let lists = |policy: &Object<ApprovalPolicySpec>| {
            let mut owed = policy.owed.iter().flat_map(|owed| &owed.reviews);
            owed.any(|review| review.request_uid == facts.object.uid)
        };
        let listing = world.policies.pick(|key, found| found.found().filter(|policy| lists(policy)).map(|_| key.clone()));
        // The cache may not know yet what was recorded a moment ago.
        let named = world.policy_of(&facts.object.spec.eligibility_ref.name).map(Key::cluster);
        for key in listing.into_iter().chain(named) {
            self.policies.add(key);
        }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::eligibility::RoleKind;

    #[test]
    fn f20_keys_without_end_take_no_room_from_those_that_policies_ask_for() {
        let evidence = Evidence::default();
        let asked_for = || BTreeSet::from(["amr".to_owned(), "acr".to_owned()]);
        assert!(evidence.note(["amr"].into_iter(), asked_for) && !evidence.note(["amr"].into_iter(), asked_for));
        for number in 0..5 * MOST_KEYS {
            evidence.note([format!("key-{number}").as_str(), "x".repeat(MAX_KEY + 1).as_str()].into_iter(), asked_for);
        }
        assert_eq!(evidence.0.lock().len(), MOST_KEYS);
        assert!(evidence.note(["acr"].into_iter(), asked_for), "it is asked for");
        assert!(evidence.has("amr") && evidence.has("acr") && !evidence.has("other"));
    }

    #[tokio::test(start_paused = true)]
    async fn f17_what_may_be_bound_is_asked_once_a_minute() {
        let bindable = Bindable::default();
        let role = |number: usize| RoleRef { kind: RoleKind::ClusterRole, name: format!("role-{number}") };
        assert!(!bindable.has(&role(0)));
        bindable.note(&role(0));
        assert!(bindable.has(&role(0)) && !bindable.has(&RoleRef { kind: RoleKind::Role, ..role(0) }));
        tokio::time::advance(Bindable::COUNTS).await;
        assert!(!bindable.has(&role(0)));
        (0..3 * Bindable::MOST).for_each(|number| bindable.note(&role(number)));
        assert_eq!(bindable.0.lock().len(), Bindable::MOST);
    }
}
