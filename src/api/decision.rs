//! `ActivationDecision`: the decision of one person on one request.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::Duration, identity::Stamp, text::Line};

/// The decision of one person on one request: Approve, Deny, Revoke or Review, or Deactivate by the requester. It cannot be changed.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "jitrbac.dev",
    version = "v1alpha1",
    kind = "ActivationDecision",
    plural = "activationdecisions",
    namespaced,
    shortname = "adec",
    category = "jit",
    selectable = ".spec.requestRef.name",
    derive = "PartialEq",
    doc = "The decision of one person on one request: Approve, Deny, Revoke or Review, or Deactivate by the requester. It cannot be changed.",
    printcolumn(name = "REQUEST", type_ = "string", json_path = ".spec.requestRef.name"),
    printcolumn(name = "DECISION", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "USER", type_ = "string", json_path = ".spec.decider.username"),
    printcolumn(name = "COMMENT", type_ = "string", json_path = ".spec.comment", priority = 1),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a decision cannot be changed: create another one"))]
#[x_kube(validation = Rule::new("self.decision != 'Approve' || (has(self.digest) && self.digest != '')")
    .message("Approve needs `digest`: the request's status.digest as you saw it"))]
#[x_kube(validation = Rule::new("self.decision == 'Approve' || !has(self.duration)").message("only Approve may have a `duration`, to shorten the requested one"))]
pub struct ActivationDecisionSpec {
    /// The request, in the same namespace.
    pub request_ref: RequestRef,
    /// The decision: Approve, Deny, Revoke, Review or Deactivate.
    pub decision: Verb,
    /// For Approve, and required there: the `status.digest` of the request that the approver reviewed, with all of its 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = Rule::new("self.matches('^((sha256:)?[0-9a-f]{64})?$')")
        .message("must be the request's whole status.digest: sha256: and 64 hex digits"))]
    pub digest: Option<String>,
    /// For Approve: a duration that is shorter than the requested one. Default: the requested duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Comment for the requester: one line of at most 1024 characters. It is part of the record. The policy can require it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Line<1024>>,
    /// The user who created the decision. Written by admission, which overwrites what a client sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decider: Option<Stamp>,
}

/// A reference to the request that is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRef {
    /// Name of the request.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-][a-z0-9.-]*$')")
        .message("must be the name of a request: lower case letters, digits, '-' and '.'"))]
    pub name: String,
    /// UID of the request. Written by admission, so that the decision does not apply to a later request of the same name.
    // T3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// User name of the requester. Written by admission, so that an admission policy can refuse the approval of your own request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Line<256>>,
}

/// The kind of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Approves, as an approver of the open stage.
    Approve,
    /// Denies the request; an active grant is revoked.
    Deny,
    /// Ends an active or scheduled grant.
    Revoke,
    /// Reviews an emergency activation afterwards.
    Review,
    /// Deactivates the requester's own grant, or withdraws their request.
    Deactivate,
}

impl Verb {
    /// Returns the value in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Deny => "Deny",
            Self::Revoke => "Revoke",
            Self::Review => "Review",
            Self::Deactivate => "Deactivate",
        }
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
