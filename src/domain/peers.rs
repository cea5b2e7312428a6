//! The other requests that can affect the decision on a request.

use super::{
    facts::{Debt, Object, Record, RequestFacts},
    person::Identities,
};
use api::{ApprovalPolicySpec, RoleActivationRequestSpec, Stamp};

/// Another request that can affect this one: an active or pending one of the same person or for the same eligibility and namespace.
/// Completed requests are included where the rules need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its namespace.
    pub namespace: String,
    /// The stored object.
    pub object: Object<RoleActivationRequestSpec>,
    /// Its stamped requester.
    pub requester: Stamp,
    /// The policy that its eligibility names, if known.
    pub policy: Option<String>,
    /// Its status.
    pub record: Record,
}

/// A request under its policy, with its peers and the other input of its requester's limits.
#[derive(Clone, Copy, Debug)]
pub struct LimitsInput<'a> {
    /// The request.
    pub request: &'a RequestFacts,
    /// Its requester.
    pub requester: &'a Stamp,
    /// The policy that decides.
    pub policy: &'a Object<ApprovalPolicySpec>,
    /// The other requests, of the requester and of others.
    pub peers: &'a [Peer],
    /// The owed reviews that policies record.
    pub debts: &'a [Debt],
    /// The rules by which names belong to one person.
    pub identities: &'a Identities,
}

impl<'a> LimitsInput<'a> {
    /// Returns the other requests of the requester.
    pub fn own(self) -> impl Iterator<Item = &'a Peer> {
        let others = self.peers.iter().filter(move |peer| peer.object.uid != self.request.object.uid);
        others.filter(move |peer| self.identities.same(&peer.requester, self.requester))
    }

    /// Returns those of them under the same policy.
    pub(super) fn under_policy(self) -> impl Iterator<Item = &'a Peer> {
        self.own().filter(move |peer| peer.policy.as_ref() == Some(&self.policy.name))
    }

    /// Returns true for another request that has precedence, in the order in which grants are made.
    pub(super) fn is_earlier(self, peer: &Peer) -> bool {
        (peer.object.created, &peer.object.uid) < (self.request.object.created, &self.request.object.uid)
    }
}
