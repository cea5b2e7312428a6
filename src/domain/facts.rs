//! What the rules look at: plain values, read before and without any tie to where they came from.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::{binding::Binding, person::Identities};
use crate::api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, Reason, RoleActivationRequestSpec, RoleEligibilitySpec, Stamp, State,
    eligibility::{RoleKind, RoleRef},
    request::BindingRef,
};

/// The result of looking an object up. An error on the way is none of these: who gathers stops there and tries again, so that
/// nothing is granted and nothing revoked because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// The API server says that there is none.
    Absent,
    /// It is there and cannot be understood, for this reason.
    Unreadable(String),
}

impl<T> Lookup<T> {
    /// The object, if it is there.
    pub const fn found(&self) -> Option<&T> {
        match self {
            Self::Found(object) => Some(object),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

/// A stored object: its spec and what of its metadata counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<S> {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The API server's time of its creation.
    pub created: DateTime<Utc>,
    /// True once somebody asked for its deletion.
    pub deleting: bool,
    /// What it says.
    pub spec: S,
}

/// The request that is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The namespace it lives in, the only one that it can be for (T21).
    pub namespace: String,
    /// The stored object.
    pub object: Object<RoleActivationRequestSpec>,
    /// What its status says. Nothing in it can widen access.
    pub record: Record,
}

/// What the status of a request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// State that was reported last.
    pub state: Option<State>,
    /// Start that was reported.
    pub granted_at: Option<DateTime<Utc>>,
    /// Deadline that was reported.
    pub expires_at: Option<DateTime<Utc>>,
    /// Digest that was reported.
    pub digest: Option<String>,
    /// Binding that was reported.
    pub binding: Option<BindingRef>,
    /// Role that was reported.
    pub role: Option<RoleRef>,
    /// Reason that was reported.
    pub reason: Option<Reason>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// UID.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// True once it is going away.
    pub terminating: bool,
}

/// A role, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// `ClusterRole` or Role.
    pub kind: RoleKind,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Its rules.
    pub rules: Arc<super::role::Rules>,
}

/// Another request for the same eligibility in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The API server's time of its creation.
    pub created: DateTime<Utc>,
    /// Its stamped requester.
    pub requester: Stamp,
    /// Its state, as far as reported.
    pub state: Option<State>,
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
    /// Live requests beside it.
    pub peers: Vec<Peer>,
    /// The binding that bears its name.
    pub binding: Binding,
}

/// What the chart's values say about the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the operator: never granted in.
    pub operator_namespace: String,
    /// Longest grant of all.
    pub max_grant: Duration,
    /// How user names are compared.
    pub identities: Identities,
}
