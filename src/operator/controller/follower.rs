//! What the watches of one replica observe, as keys for its queues.

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::Api;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Queues, context::Context, quiet};
use crate::gather::{
    live,
    surroundings::{Change, LiveRequest},
};
use api::{ActivationDecision, ApprovalPolicySpec, State, Verb, eligibility::RoleKind, request::ReviewState};
use domain::{Lookup, RequestFacts, evidence, namespace};
use kube_io::{
    cache::{Changed, Key},
    horizon::AsOf,
    kept::DecisionMark,
    watch::Event,
};

/// Delay that turns a burst of changes of namespaces and roles into one look at each eligibility.
const SWARM: Duration = Duration::from_millis(200);

/// Turns what the watches see into keys to work on.
pub(super) struct Follower {
    pub(super) context: Arc<Context>,
    pub(super) queues: Queues,
    pub(super) leading: tokio::sync::watch::Receiver<bool>,
    pub(super) turns: quiet::Turns,
    /// True once this replica has looked through what there was at its start.
    pub(super) begun: tokio::sync::watch::Sender<bool>,
}

impl Follower {
    pub(super) async fn follow(&self) {
        let context = &self.context;
        tokio::join!(context.guards.follow(), context.world.follow(|change| self.changed(&change)), self.decisions());
    }

    fn request(&self, key: Key) {
        // What comes before is looked through at once, and not one after the other.
        if *self.begun.borrow() {
            self.queues.request(key, *self.leading.borrow());
        }
    }

    /// A request changed, and with it what prolongs it.
    fn request_changed(&self, key: Key) {
        self.note_evidence(&key);
        self.requests_in(&key.namespace, |facts| facts.object.spec.base() == Some(key.name.as_str()));
        self.request(key);
    }

    /// Remembers in which keys somebody has shown evidence, for the policies that look there.
    fn note_evidence(&self, key: &Key) {
        let Some(Lookup::Found(facts)) = self.context.requests.get(key) else { return };
        let shown = facts.object.spec.requester.iter().flat_map(|requester| requester.extra.keys());
        let asked_for = || {
            let keys = |policy: &ApprovalPolicySpec| evidence::keys(policy).into_iter().map(str::to_owned).collect::<Vec<_>>();
            let keys = self.context.world.policies.pick(|_, found| found.found().map(|policy| keys(&policy.spec)));
            keys.into_iter().flatten().collect()
        };
        if self.context.evidence.note(shown.map(String::as_str), asked_for) {
            for key in self.context.world.policies.pick(|key, _| Some(key.clone())) {
                self.queues.policies.add(key);
            }
        }
    }

    /// Of decisions nothing is kept: each is listed with its request's when that is decided.
    async fn decisions(&self) {
        let context = &self.context;
        // Whether there is something to look at, only complete lists of requests and bindings say.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
        let api: Api<ActivationDecision> = Api::all(context.client.clone());
        let (place, horizon) = (context.world.watches.place("decisions"), &context.decisions);
        kube_io::watch::run(&context.client, context.world.ours(&api), &place, |event: Event<DecisionMark>| match event {
            Event::Apply(decision) | Event::InitApply(decision) => {
                horizon.note_version(decision.metadata.resource_version.as_deref());
                self.decided(decision);
            }
            Event::Init(another_store) if another_store => {
                horizon.distrust();
                context.known.forget();
            }
            Event::InitDone(version) => horizon.trust(version),
            Event::Init(_) | Event::Delete(_) | Event::Interrupted => {}
        })
        .await;
    }

    fn decided(&self, decision: DecisionMark) {
        let key = Key::new(decision.metadata.namespace.unwrap_or_default(), decision.spec.request_ref.name);
        // Decisions on what ended long ago are kept too, and need no look, but for reviews.
        if decision.spec.decision == Verb::Review.as_str()
            || self.context.requests.get(&key).is_some()
            || !self.context.revoker.index().of_request(&key).is_empty()
        {
            self.request(key);
        }
    }

    /// Everything that a change of something around requests can touch.
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
        self.context.world.eligibilities.pick(|key, found| found.found().filter(|e| wanted(&e.spec)).map(|_| key.name.clone()))
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

    /// A replica that becomes the holder looks at everything: nobody may have reported on it. So does the holder when it is told about
    /// guards.
    pub(super) async fn leadership(&self, stop: CancellationToken) {
        let (mut leading, mut guards) = (self.leading.clone(), self.context.guards.news());
        loop {
            // A change of the Lease first, and only that marks it as seen: news of guards must not swallow it.
            let takes_over = tokio::select! {
                biased;
                changed = leading.changed() => if changed.is_err() { return } else { true },
                changed = guards.changed() => if changed.is_err() { return } else { false },
                () = stop.cancelled() => return,
            };
            if *leading.borrow() {
                // Guards end no grant: to look at thousands that run would only keep those waiting who wait for them.
                self.requests_of(|facts| facts.record.state != Some(State::Active));
                if takes_over {
                    self.context.reviews.forget();
                    // Where something may be due at once, the others in turn.
                    for key in self.grants() {
                        let pause = if self.is_quiet(&key) { self.turns.next() } else { Duration::ZERO };
                        self.queues.requests.add_in(key, pause);
                    }
                }
                for name in self.eligibility_names(|_| true) {
                    self.queues.eligibilities.add(Key::cluster(name));
                }
                for key in self.context.world.policies.pick(|key, _| Some(key.clone())) {
                    self.queues.policies.add(key);
                }
                self.reviews().await;
            }
        }
    }

    /// A replica that has just started has everything looked at of which something may be due. The rest the holder has looked at, and
    /// whoever becomes the holder will.
    pub(super) fn begin(&self) {
        self.begun.send_replace(true);
        for key in self.grants().into_iter().filter(|key| !self.is_quiet(key)) {
            self.request(key);
        }
    }

    /// The requests that are active, and those that a binding names.
    fn grants(&self) -> HashSet<Key> {
        let active = |key: &Key, facts: &LiveRequest| facts.found().filter(|f| f.record.state == Some(State::Active)).map(|_| key.clone());
        let bindings = self.context.revoker.index().all().into_iter().map(|known| known.request);
        self.context.requests.pick(active).into_iter().chain(bindings).collect()
    }

    fn is_quiet(&self, key: &Key) -> bool {
        let found = self.context.requests.get(key);
        found.as_ref().and_then(Lookup::found).is_some_and(|facts| quiet::is_quiet(&self.context, key, facts))
    }

    /// Has the requests looked at that ended and owe a review: no cache holds them.
    async fn reviews(&self) {
        for state in [ReviewState::Owed, ReviewState::Overdue] {
            match live::requests(&self.context.client, live::Wanted::Review(state), AsOf::Now).await {
                Ok(owed) => owed.into_iter().for_each(|facts| self.request(Key::new(facts.namespace, facts.object.name))),
                Err(error) => warn!(%error, "cannot tell which reviews are owed; the next change of one tells"),
            }
        }
    }
}
