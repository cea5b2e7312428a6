//! The other requests that can matter to a request.

use super::{
    facts::{Debt, Object, Record, RequestFacts},
    person::Identities,
};
use api::{ApprovalPolicySpec, RoleActivationRequestSpec, Stamp};

/// Another request that can matter to this one: a live one of the same person or for the same thing; where the rules ask for it, one
/// that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its namespace.
    pub namespace: String,
    /// The stored object.
    pub object: Object<RoleActivationRequestSpec>,
    /// Its stamped requester.
    pub requester: Stamp,
    /// The policy that its eligibility names, as far as known.
    pub policy: Option<String>,
    /// What its status says.
    pub record: Record,
}

/// A request under its policy, with its peers and what else limits its requester.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The request.
    pub request: &'a RequestFacts,
    /// Who made it.
    pub requester: &'a Stamp,
    /// The policy that decides.
    pub policy: &'a Object<ApprovalPolicySpec>,
    /// The requests beside it, of the requester and of others.
    pub peers: &'a [Peer],
    /// The reviews that are owed, as policies record them.
    pub debts: &'a [Debt],
    /// Which names are one person.
    pub identities: &'a Identities,
}

impl<'a> Beside<'a> {
    /// The other requests of the requester.
    pub fn own(self) -> impl Iterator<Item = &'a Peer> {
        let others = self.peers.iter().filter(move |peer| peer.object.uid != self.request.object.uid);
        others.filter(move |peer| self.identities.same(&peer.requester, self.requester))
    }

    /// Those of them under the same policy.
    pub(super) fn under_policy(self) -> impl Iterator<Item = &'a Peer> {
        self.own().filter(move |peer| peer.policy.as_ref() == Some(&self.policy.name))
    }

    /// True for another request that comes first, in the order in which grants are made.
    pub(super) fn is_earlier(self, peer: &Peer) -> bool {
        (peer.object.created, &peer.object.uid) < (self.request.object.created, &self.request.object.uid)
    }
}
