//! The observations of the watches of one replica, as keys for its queues.

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::Api;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{context::Context, queues::Queues, quiet};
use crate::gather::{
    caches::{Change, LiveRequest},
    live,
};
use api::{ActivationDecision, ApprovalPolicySpec, State, Verb, eligibility::RoleKind, request::ReviewState};
use domain::{Lookup, RequestFacts, evidence, namespace};
use kube_io::{
    cache::{Changed, Key},
    consistency::Consistency,
    kept::DecisionMark,
    watch::Event,
};

/// The delay that merges a burst of changes of namespaces and roles into one reconciliation of each eligibility.
const SWARM: Duration = Duration::from_millis(200);

/// Maps events of the watches to keys to reconcile.
pub(super) struct Follower {
    pub(super) context: Arc<Context>,
    pub(super) queues: Queues,
    pub(super) leading: tokio::sync::watch::Receiver<bool>,
    pub(super) schedule: quiet::Schedule,
    /// True once this replica has queued what existed at its start.
    pub(super) begun: tokio::sync::watch::Sender<bool>,
}

impl Follower {
    pub(super) async fn follow(&self) {
        let context = &self.context;
        tokio::join!(context.guards.follow(), context.caches.follow(|change| self.changed(&change)), self.decisions());
    }

    fn request(&self, key: Key) {
        // Earlier events are covered by `begin`, which queues everything at once.
        if *self.begun.borrow() {
            self.queues.request(key, *self.leading.borrow());
        }
    }

    /// Queues a changed request and the requests that extend it.
    fn request_changed(&self, key: Key) {
        self.note_evidence(&key);
        self.requests_in(&key.namespace, |facts| facts.object.spec.base() == Some(key.name.as_str()));
        self.request(key);
    }

    /// Records the keys of the requester's evidence, and queues the policies if a key is new.
    fn note_evidence(&self, key: &Key) {
        let Some(Lookup::Found(facts)) = self.context.requests.get(key) else { return };
        let shown = facts.object.spec.requester.iter().flat_map(|requester| requester.extra.keys());
        let asked_for = || {
            let keys = |policy: &ApprovalPolicySpec| evidence::keys(policy).into_iter().map(str::to_owned).collect::<Vec<_>>();
            let keys = self.context.caches.policies.pick(|_, found| found.found().map(|policy| keys(&policy.spec)));
            keys.into_iter().flatten().collect()
        };
        if self.context.evidence.note(shown.map(String::as_str), asked_for) {
            for key in self.context.caches.policies.pick(|key, _| Some(key.clone())) {
                self.queues.policies.add(key);
            }
        }
    }

    /// Follows the decisions. None are kept, because each reconciliation of a request lists its own.
    async fn decisions(&self) {
        let context = &self.context;
        // Only complete lists of requests and bindings show whether a decision needs a reconciliation.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
        let api: Api<ActivationDecision> = Api::all(context.client.clone());
        let (place, newest_version) = (context.caches.watches.place("decisions"), &context.decisions);
        kube_io::watch::run(&context.client, context.caches.ours(&api), &place, |event: Event<DecisionMark>| match event {
            Event::Apply(decision) | Event::InitApply(decision) => {
                newest_version.note_version(decision.metadata.resource_version.as_deref());
                self.decided(decision);
            }
            Event::Init(another_store) if another_store => {
                newest_version.distrust();
                context.known.forget();
            }
            Event::InitDone(version) => newest_version.trust(version),
            Event::Init(_) | Event::Delete(_) | Event::Interrupted => {}
        })
        .await;
    }

    fn decided(&self, decision: DecisionMark) {
        let key = Key::new(decision.metadata.namespace.unwrap_or_default(), decision.spec.request_ref.name);
        // Decisions on completed requests are kept too. Apart from reviews they need no reconciliation.
        if decision.spec.decision == Verb::Review.as_str()
            || self.context.requests.get(&key).is_some()
            || !self.context.revoker.index().of_request(&key).is_empty()
        {
            self.request(key);
        }
    }

    /// Queues everything that a change of the context of requests can affect.
    fn changed(&self, change: &Change) {
        match change {
            Change::Eligibility(key) => {
                self.queues.eligibilities.add(key.clone());
                self.requests_of(|facts| facts.object.spec.eligibility_ref.name == key.name);
            }
            Change::Policy(key) => {
                self.queues.policies.add(key.clone());
                self.eligibilities_with(|spec| spec.policy_ref.name == key.name, Duration::ZERO);
            }
            Change::ClusterRole(key) => {
                self.eligibilities_with(|spec| spec.role_ref.kind == RoleKind::ClusterRole && spec.role_ref.name == key.name, SWARM);
            }
            Change::Role(key) => {
                let named = self.eligibility_names(|spec| spec.role_ref.kind == RoleKind::Role && spec.role_ref.name == key.name);
                self.requests_in(&key.namespace, |facts| named.contains(&facts.object.spec.eligibility_ref.name));
            }
            Change::Request(key) => self.request_changed(key.clone()),
            Change::Namespace(change) => {
                let Changed { key, before, now } = change.as_ref();
                let changes = |spec: &api::RoleEligibilitySpec| namespace::coverage_changes(spec, &key.name, before.as_ref(), now.as_ref());
                for name in self.eligibility_names(changes) {
                    self.queues.eligibilities.add_in(Key::cluster(name), SWARM);
                }
                self.requests_in(&key.name, |_| true);
            }
        }
    }

    fn eligibility_names(&self, wanted: impl Fn(&api::RoleEligibilitySpec) -> bool) -> Vec<String> {
        self.context.caches.eligibilities.pick(|key, found| found.found().filter(|e| wanted(&e.spec)).map(|_| key.name.clone()))
    }

    fn eligibilities_with(&self, wanted: impl Fn(&api::RoleEligibilitySpec) -> bool, pause: Duration) {
        let names = self.eligibility_names(wanted);
        for name in &names {
            self.queues.eligibilities.add_in(Key::cluster(name), pause);
        }
        self.requests_of(|facts| names.contains(&facts.object.spec.eligibility_ref.name));
    }

    fn requests_in(&self, namespace: &str, wanted: impl Fn(&RequestFacts) -> bool) {
        let wanted = |key: &Key, facts: &LiveRequest| facts.found().filter(|f| wanted(f)).map(|_| key.clone());
        for key in self.context.requests.pick_in(namespace, wanted) {
            self.request(key);
        }
    }

    fn requests_of(&self, wanted: impl Fn(&RequestFacts) -> bool) {
        for key in self.context.requests.pick(|key, facts| facts.found().filter(|f| wanted(f)).map(|_| key.clone())) {
            self.request(key);
        }
    }

    /// Queues everything when this replica becomes the leader, because the previous leader may not have reported it. A change of the guards
    /// queues everything but the active requests.
    pub(super) async fn leadership(&self, stop: CancellationToken) {
        let (mut leading, mut guards) = (self.leading.clone(), self.context.guards.news());
        loop {
            // The Lease has priority, and only this branch marks its change as observed: news of guards must not hide it.
            let takes_over = tokio::select! {
                biased;
                changed = leading.changed() => if changed.is_err() { return } else { true },
                changed = guards.changed() => if changed.is_err() { return } else { false },
                () = stop.cancelled() => return,
            };
            if *leading.borrow() {
                // A change of guards ends no grant. A reconciliation of thousands of active requests would delay the pending ones.
                self.requests_of(|facts| facts.record.state != Some(State::Active));
                if takes_over {
                    self.context.reviews.forget();
                    // A grant that may have something due is queued at once, and the others with a delay.
                    for key in self.grants() {
                        let pause = if self.is_quiet(&key) { self.schedule.next() } else { Duration::ZERO };
                        self.queues.requests.add_in(key, pause);
                    }
                }
                for name in self.eligibility_names(|_| true) {
                    self.queues.eligibilities.add(Key::cluster(name));
                }
                for key in self.context.caches.policies.pick(|key, _| Some(key.clone())) {
                    self.queues.policies.add(key);
                }
                self.reviews().await;
            }
        }
    }

    /// Queues each grant that may have something due when this replica has started. The leader has reconciled the others, and the next
    /// leader will do so too.
    pub(super) fn begin(&self) {
        self.begun.send_replace(true);
        for key in self.grants().into_iter().filter(|key| !self.is_quiet(key)) {
            self.request(key);
        }
    }

    /// Returns the active requests and the requests that a binding names.
    fn grants(&self) -> HashSet<Key> {
        let active = |key: &Key, facts: &LiveRequest| facts.found().filter(|f| f.record.state == Some(State::Active)).map(|_| key.clone());
        let bindings = self.context.revoker.index().all().into_iter().map(|known| known.request);
        self.context.requests.pick(active).into_iter().chain(bindings).collect()
    }

    fn is_quiet(&self, key: &Key) -> bool {
        let found = self.context.requests.get(key);
        found.as_ref().and_then(Lookup::found).is_some_and(|facts| quiet::is_quiet(&self.context, key, facts))
    }

    /// Queues the completed requests that owe a review, because no cache contains them.
    async fn reviews(&self) {
        for state in [ReviewState::Owed, ReviewState::Overdue] {
            match live::requests(&self.context.client, live::Wanted::Review(state), Consistency::Latest).await {
                Ok(owed) => owed.into_iter().for_each(|facts| self.request(Key::new(facts.namespace, facts.object.name))),
                Err(error) => warn!(%error, "cannot list the owed reviews; each is queued with its next change"),
            }
        }
    }
}
