//! The input of one decision: everything that was read for one request.

use std::sync::Arc;

use super::{
    binding::Binding,
    facts::{Debt, Guards, Lookup, NamespaceFacts, Object, RequestFacts, RoleFacts, Unread},
    peers::Peer,
};
use api::{ActivationDecisionSpec, ApprovalPolicySpec, RoleEligibilitySpec};

/// The activation that a request extends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The request.
    pub request: RequestFacts,
    /// The binding with its name.
    pub binding: Binding,
}

/// Everything that a decision about one request rests on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The request.
    pub request: RequestFacts,
    /// Its namespace.
    pub namespace: Lookup<NamespaceFacts>,
    /// The eligibility that it names.
    pub eligibility: Lookup<Arc<Object<RoleEligibilitySpec>>>,
    /// The policy that the eligibility names.
    pub policy: Lookup<Arc<Object<ApprovalPolicySpec>>>,
    /// The role that the eligibility names.
    pub role: Lookup<RoleFacts>,
    /// The decisions that name the request.
    pub decisions: Vec<Object<ActivationDecisionSpec>>,
    /// The decisions that are missing there.
    pub unread: Unread,
    /// The other requests that can affect it.
    pub peers: Vec<Peer>,
    /// For an emergency: the reviews that its requester owes, as the policies record them.
    pub debts: Vec<Debt>,
    /// The activation that it extends, if any.
    pub base: Option<Lookup<Box<Base>>>,
    /// The binding with its name.
    pub binding: Binding,
    /// The state of the guards.
    pub guards: Guards,
}

impl Snapshot {
    /// Returns the decisions whose author is certain, since they were made while the guards were in force.
    #[must_use]
    pub fn surely_decided(&self) -> Vec<Object<ActivationDecisionSpec>> {
        self.guards.surely_decided(&self.decisions)
    }
}
