//! `ActivationDecision`: what one person says to one request.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::Duration, identity::Stamp, text::Line};

/// One person's word on one request: approve, deny, revoke, review; or the requester's own deactivate.
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
    doc = "One person's word on one request: approve, deny, revoke, review; or the requester's own deactivate. It cannot be changed.",
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
#[x_kube(validation = Rule::new("self.decision == 'Approve' || !has(self.duration)").message("only Approve may have a `duration`, to shorten the request's"))]
pub struct ActivationDecisionSpec {
    /// The request, in the same namespace.
    pub request_ref: RequestRef,
    /// What is decided.
    pub decision: Verb,
    /// For Approve: the request's `status.digest` as the approver saw it, with all of its 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = Rule::new("self.matches('^((sha256:)?[0-9a-f]{64})?$')")
        .message("must be the request's whole status.digest: sha256: and 64 hex digits"))]
    pub digest: Option<String>,
    /// For Approve: a shorter duration than the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Said to the requester and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Line<1024>>,
    /// Who decided; stamped at admission, whatever a client writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decider: Option<Stamp>,
}

/// The request that a decision is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestRef {
    /// Name of the request.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-][a-z0-9.-]*$')")
        .message("must be the name of a request: lower case letters, digits, '-' and '.'"))]
    pub name: String,
    /// UID of the request; stamped, so that a decision is for one object and not for a name (T3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// User name of the requester; stamped, so that a policy without look-ups can refuse one's own approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Line<256>>,
}

/// What somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Agree, as an approver of the open stage.
    Approve,
    /// Refuse; a running grant is revoked.
    Deny,
    /// End a running or scheduled grant.
    Revoke,
    /// Review an emergency afterwards.
    Review,
    /// Deactivates the requester's own grant, or withdraws their request.
    Deactivate,
}

impl Verb {
    /// The word as manifests spell it.
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
