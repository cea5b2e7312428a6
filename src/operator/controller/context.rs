//! The state that the controllers of one process share.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::known::Known;
use crate::{
    config::Config,
    election::Leadership,
    gather::caches::{Caches, LiveRequest},
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
    consistency::NewestVersion,
};

/// The shared state of the controllers of one replica.
pub struct Context {
    /// The client of the API server.
    pub client: Client,
    /// The source of the present time.
    pub clock: Clock,
    /// The chart's values.
    pub config: Config,
    /// The part of the chart's values that the rules use.
    pub settings: Settings,
    /// The caches of eligibilities, policies, namespaces and roles.
    pub caches: Arc<Caches>,
    /// The active and pending requests.
    pub requests: Arc<Cache<LiveRequest>>,
    /// Removes bindings.
    pub revoker: Arc<Revoker>,
    /// Whether this replica may grant.
    pub leadership: Leadership,
    /// Whether the admission guards are verified and stored objects can be trusted.
    pub guards: Arc<Guards>,
    /// Publishes Events.
    pub events: Events,
    /// The keys of `userInfo.extra` that were observed in requests.
    pub evidence: Evidence,
    /// The roles that may be bound.
    pub bindable: Bindable,
    /// The reviews that are owed.
    pub reviews: Arc<Reviews>,
    /// Held while a review is recorded in the status of a policy.
    pub recording: tokio::sync::Mutex<()>,
    /// The requests to reconcile that waited for a permit, which is now free.
    pub waiting: Queue<Key>,
    /// The policies to report on.
    pub policies: Queue<Key>,
    /// The completed requests to check for their retention.
    pub ended: Queue<Key>,
    /// The newest decision that this replica has observed.
    pub decisions: NewestVersion,
    /// The version up to which the caches must be current before a grant may rest on them.
    pub known: Known,
    /// The metrics of the controllers.
    pub metrics: ControllerMetrics,
}

/// The emergencies whose review is not done, as far as this replica has read them.
#[derive(Debug, Default)]
pub struct Reviews(Mutex<HashMap<Key, ReviewState>>);

impl Reviews {
    /// Records the state of a request's review, or none if it owes none.
    pub fn note(&self, key: Key, review: Option<ReviewState>) {
        let mut open = self.0.lock();
        match review.filter(|state| *state != ReviewState::Done) {
            Some(state) => drop(open.insert(key, state)),
            None => drop(open.remove(&key)),
        }
    }

    /// Forgets all reviews. Another replica was the leader meanwhile, so they are listed again.
    pub fn forget(&self) {
        self.0.lock().clear();
    }

    /// Returns how many reviews are in each state.
    #[must_use]
    pub fn count(&self) -> Vec<(String, i64)> {
        let open = self.0.lock();
        let many = |state| i64::try_from(open.values().filter(|found| **found == state).count()).unwrap_or(i64::MAX);
        [ReviewState::Owed, ReviewState::Overdue].into_iter().map(|state| (state.as_str().to_owned(), many(state))).collect()
    }
}

/// The most keys that are kept.
const MOST_KEYS: usize = 1_000;
/// The longest key that is kept. Policies cannot require longer ones.
const MAX_KEY: usize = 253;

/// The keys of `userInfo.extra` that were observed since the start of this process. An authenticator or a user who may impersonate can
/// create any number of keys. Beyond the limit only the keys that policies require are kept.
#[derive(Debug, Default)]
pub struct Evidence(Mutex<BTreeSet<String>>);

impl Evidence {
    /// Records keys. Returns true if one of them is new. `asked_for` returns the keys that policies require and is called beyond the limit.
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

    /// Returns true for a key that was observed.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.lock().contains(key)
    }
}

/// The roles that this process may bind, by recent answers of the API server. No grant rests on this: the API server decides when a binding
/// is created.
#[derive(Debug, Default)]
pub struct Bindable(Mutex<HashMap<RoleRef, Instant>>);

impl Bindable {
    /// How long an answer is valid.
    const COUNTS: Duration = Duration::from_mins(1);
    /// The most answers that are kept.
    const MOST: usize = 1_000;

    /// Returns true where the API server allowed it recently. A denial is not kept, so it is checked each time.
    #[must_use]
    pub fn has(&self, role: &RoleRef) -> bool {
        let known = self.0.lock();
        known.get(role).is_some_and(|said| said.elapsed() < Self::COUNTS)
    }

    /// Records that the API server allows it now.
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
    /// Queues a completed or reviewed request, and the one that it extends, for a check of their retention.
    pub fn has_ended(&self, key: &Key, request: &RoleActivationRequest) {
        self.ended.add(key.clone());
        if let Some(base) = request.spec.base() {
            self.ended.add(Key::new(&key.namespace, base));
        }
    }

    /// Queues the policies that list the review of an emergency which was reviewed or ended without a grant, so that they drop it.
    pub fn owes_nothing(&self, facts: &RequestFacts) {
        let caches = &self.caches;
        let lists = |policy: &Object<ApprovalPolicySpec>| {
            let mut owed = policy.owed.iter().flat_map(|owed| &owed.reviews);
            owed.any(|review| review.request_uid == facts.object.uid)
        };
        let listing = caches.policies.pick(|key, found| found.found().filter(|policy| lists(policy)).map(|_| key.clone()));
        // The cache may not contain yet what was recorded a moment ago.
        let named = caches.policy_of(&facts.object.spec.eligibility_ref.name).map(Key::cluster);
        for key in listing.into_iter().chain(named) {
            self.policies.add(key);
        }
    }

    /// Returns the present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
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
