//! The guards: admission policies, their bindings, webhook configurations and CRDs, without which what is stored may be anybody's
//! word (T41, T42, T55). They are watched by what they say, proven by dry runs, and kept account of on the Lease.
//!
//! Nothing here ever takes part in an end of a grant: a guard that is weak keeps new grants back and nothing else.

pub mod expected;
pub mod harmless;
mod lease_record;
mod probe;
mod prove;
mod run;
mod skew;
mod state;
mod watch;

#[cfg(test)]
mod state_tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch as channel};

use self::state::State;
use crate::{config::Config, gather::surroundings::World, observe::events::Events};
use api::{ApprovalPolicySpec, RoleEligibilitySpec};
use domain::{
    Guards as Facts, Object, Refusal,
    guards::{expected::Expected, ledger::Kind},
};
use kube_io::clock::Clock;

/// Watches and proves the guards of one replica. Only the holder of the Lease proves; only it grants.
pub struct Guards {
    client: Client,
    clock: Clock,
    config: Config,
    expected: Vec<Expected>,
    world: Arc<World>,
    events: Events,
    state: Mutex<State>,
    /// Somebody wants a proof now.
    wanted: Notify,
    /// The record on the Lease is not what is known.
    unsaved: Notify,
    /// Counts when waiting requests, eligibilities and policies must be looked at again.
    news: channel::Sender<u64>,
    /// Whether requests can be decided, as readiness understands it.
    can_judge: channel::Sender<bool>,
}

impl Guards {
    /// Nothing is proven yet.
    #[must_use]
    pub fn new(client: Client, clock: Clock, config: Config, expected: Vec<Expected>, world: Arc<World>, events: Events) -> Self {
        Self {
            client,
            clock,
            config,
            expected,
            world,
            events,
            state: Mutex::default(),
            wanted: Notify::new(),
            unsaved: Notify::new(),
            news: channel::Sender::new(0),
            can_judge: channel::Sender::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What the rules need to know, for a decision that rests on this eligibility and this policy. It asks nobody and waits for nothing.
    #[must_use]
    pub fn facts(&self, eligibility: Option<&Object<RoleEligibilitySpec>>, policy: Option<&Object<ApprovalPolicySpec>>) -> Facts {
        let eligibility = eligibility.map(|e| (e.uid.as_str(), e.generation));
        let policy = policy.map(|p| (p.uid.as_str(), p.generation));
        Facts::Watched(self.lock().facts(eligibility, policy))
    }

    /// Why this spec of an eligibility cannot be used, if it was written while the guards were not proven.
    pub fn check_eligibility<S>(&self, object: &Object<S>) -> Result<(), Refusal> {
        self.lock().check(Kind::RoleEligibility, &object.name, &object.uid, object.generation)
    }

    /// The same of a policy.
    pub fn check_policy<S>(&self, object: &Object<S>) -> Result<(), Refusal> {
        self.lock().check(Kind::ApprovalPolicy, &object.name, &object.uid, object.generation)
    }

    /// Each guard by name, and whether it holds as far as this replica knows. Replicas that do not hold the Lease do not know.
    #[must_use]
    pub fn states(&self) -> Vec<(String, bool)> {
        let state = self.lock();
        self.expected.iter().map(Expected::key).map(|key| (key.clone(), state.holds(&key))).collect()
    }

    /// Seconds by which this process's clock is ahead of the API server's, as last measured.
    #[must_use]
    pub fn skew(&self) -> Option<f64> {
        self.lock().skew.as_ref().map(skew::Skew::seconds)
    }

    /// Why nothing is granted at present, if so.
    #[must_use]
    pub fn hold(&self) -> Option<Refusal> {
        self.lock().hold()
    }

    /// Changes whenever waiting requests, eligibilities and policies must be looked at again.
    #[must_use]
    pub fn news(&self) -> channel::Receiver<u64> {
        self.news.subscribe()
    }

    /// Whether a request can be decided: true once another replica is seen to renew the Lease, or this one holds it and has proven the guards. Guards
    /// that are weakened later do not make it false again.
    #[must_use]
    pub fn can_judge(&self) -> channel::Receiver<bool> {
        self.can_judge.subscribe()
    }

    fn show(&self) {
        let now = self.lock().can_judge();
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
