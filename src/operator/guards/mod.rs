//! Admission guards: admission policies, their bindings, webhook configurations and CRDs. Without them, the author of stored objects cannot
//! be trusted (T41, T42, T55). Their content is watched, they are proven by dry runs, and a record of them is on the Lease.
//!
//! Nothing here takes part in a revocation: a weak guard stops new grants and has no other effect.

pub mod expected;
pub mod harmless;
mod lease_record;
mod probe;
mod prove;
mod required_record;
mod run;
mod skew;
mod state;
mod watch;

#[cfg(test)]
mod state_tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch as channel};

use self::state::State;
use crate::{config::Config, gather::caches::Caches, observe::events::Events};
use api::{ApprovalPolicySpec, RoleEligibilitySpec};
use domain::{
    Guards as Facts, Object, Refusal,
    guards::{expected::Expected, ledger::Kind},
};
use kube_io::clock::Clock;

/// The guards of one replica: watches and proves them. Only the leader proves them, and only the leader grants.
pub struct Guards {
    client: Client,
    clock: Clock,
    config: Config,
    expected: Vec<Expected>,
    caches: Arc<Caches>,
    events: Events,
    state: Mutex<State>,
    /// A proof is requested now.
    wanted: Notify,
    /// The record on the Lease differs from the state of this replica.
    unsaved: Notify,
    /// Counts when pending requests, eligibilities and policies must be reconciled again.
    news: channel::Sender<u64>,
    /// Whether requests can be decided, for readiness.
    can_judge: channel::Sender<bool>,
}

impl Guards {
    /// Returns guards of which none is proven.
    #[must_use]
    pub fn new(client: Client, clock: Clock, config: Config, expected: Vec<Expected>, caches: Arc<Caches>, events: Events) -> Self {
        Self {
            client,
            clock,
            config,
            expected,
            caches,
            events,
            state: Mutex::default(),
            wanted: Notify::new(),
            unsaved: Notify::new(),
            news: channel::Sender::new(0),
            can_judge: channel::Sender::new(false),
        }
    }

    /// Returns what the rules need for a decision on this eligibility and this policy. It makes no call and does not wait.
    #[must_use]
    pub fn facts(&self, eligibility: Option<&Object<RoleEligibilitySpec>>, policy: Option<&Object<ApprovalPolicySpec>>) -> Facts {
        let eligibility = eligibility.map(|e| (e.uid.as_str(), e.generation));
        let policy = policy.map(|p| (p.uid.as_str(), p.generation));
        Facts::Watched(self.state.lock().facts(eligibility, policy))
    }

    /// Returns why this spec of an eligibility cannot be used, if it was written while the guards were not proven.
    pub fn check_eligibility<S>(&self, object: &Object<S>) -> Result<(), Refusal> {
        self.state.lock().check(Kind::RoleEligibility, &object.name, &object.uid, object.generation)
    }

    /// Returns the same of a policy.
    pub fn check_policy<S>(&self, object: &Object<S>) -> Result<(), Refusal> {
        self.state.lock().check(Kind::ApprovalPolicy, &object.name, &object.uid, object.generation)
    }

    /// Returns each guard by name, and whether it holds as far as this replica knows. Standby replicas do not know.
    #[must_use]
    pub fn states(&self) -> Vec<(String, bool)> {
        let state = self.state.lock();
        self.expected.iter().map(Expected::key).map(|key| (key.clone(), state.holds(&key))).collect()
    }

    /// Returns the seconds by which this process's clock is ahead of the API server's, as last measured.
    #[must_use]
    pub fn skew(&self) -> Option<f64> {
        self.state.lock().skew.as_ref().map(skew::Skew::seconds)
    }

    /// Returns why grants are paused, if they are.
    #[must_use]
    pub fn hold(&self) -> Option<Refusal> {
        self.state.lock().hold()
    }

    /// Changes whenever pending requests, eligibilities and policies must be reconciled again.
    #[must_use]
    pub fn news(&self) -> channel::Receiver<u64> {
        self.news.subscribe()
    }

    /// Whether a request can be decided. True once another replica is observed to renew the Lease, or once this replica is the leader and
    /// has proven the guards. Guards that are weakened later do not make it false again.
    #[must_use]
    pub fn can_judge(&self) -> channel::Receiver<bool> {
        self.can_judge.subscribe()
    }

    fn show(&self) {
        let now = self.state.lock().can_judge();
        self.can_judge.send_if_modified(|shown| std::mem::replace(shown, now) != now);
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lease(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("coordination.k8s.io/v1".to_owned()),
            kind: Some("Lease".to_owned()),
            name: Some(self.config.controller.lease.clone()),
            namespace: Some(self.config.operator_namespace.clone()),
            ..ObjectReference::default()
        }
    }
}
