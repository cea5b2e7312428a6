//! `RoleActivationRequest`: one eligibility, in one namespace, for a limited time, with a reason.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    decision::Verb,
    duration::Duration,
    eligibility::{NameRef, RoleStatus, is_false},
    identity::{People, Stamp},
    instant,
    policy::{MAX_REQUIRED, MAX_STAGES},
    text::Line,
    timeline::{MAX_TIMELINE, TimelineEntry},
};

/// The requested activation: one eligibility, in the namespace of the request, for a limited time, with a reason. It cannot be changed.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "jitrbac.dev",
    version = "v1alpha1",
    kind = "RoleActivationRequest",
    plural = "roleactivationrequests",
    namespaced,
    shortname = "rar",
    category = "jit",
    status = "RoleActivationRequestStatus",
    selectable = ".status.state",
    selectable = ".spec.requester.username",
    selectable = ".spec.eligibilityRef.name",
    selectable = ".status.review.state",
    derive = "PartialEq",
    doc = "Requests a role in this namespace for a limited time. It cannot be changed: for another activation, create another request.",
    printcolumn(name = "ROLE", type_ = "string", json_path = ".status.role.name"),
    printcolumn(name = "USER", type_ = "string", json_path = ".spec.requester.username"),
    printcolumn(name = "STATE", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "EXPIRES", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "RISKS", type_ = "string", json_path = ".status.role.riskSummary", priority = 1),
    printcolumn(name = "REVIEW", type_ = "string", json_path = ".status.review.state", priority = 1),
    printcolumn(name = "TICKET", type_ = "string", json_path = ".spec.ticket.number", priority = 1),
    printcolumn(name = "APPROVED-BY", type_ = "string", json_path = ".status.approvedBy", priority = 1),
    printcolumn(name = "DIGEST", type_ = "string", json_path = ".status.digest", priority = 1),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("a request cannot be changed: create another one (kubectl create with metadata.generateName, or a new name)"))]
#[x_kube(validation = Rule::new("!has(self.extends) || self.extends.name == '' || !has(self.startTime)")
    .message("a request with `extends` starts when the request that it extends ends: leave `startTime` out"))]
#[x_kube(validation = Rule::new("!has(self.emergency) || !self.emergency || (!has(self.startTime) && (!has(self.extends) || self.extends.name == ''))")
    .message("an emergency request starts at once and extends nothing: leave `startTime` and `extends` out"))]
#[x_kube(validation = Rule::new("!has(self.emergency) || !self.emergency || (has(self.justification) && self.justification.matches('[^ ]'))")
    .message("an emergency request needs a `justification` for its reviewers"))]
pub struct RoleActivationRequestSpec {
    /// The eligibility to activate. It must cover the namespace of the request.
    pub eligibility_ref: NameRef,
    /// Duration of the activation, for example 45m or 1h30m. Default: `defaultDuration` of the eligibility, or else its `maxDuration`;
    /// at most what the policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Start of the activation, in the future. Default: the activation starts as soon as the request is approved.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "instant")]
    #[schemars(with = "Option<Timestamp>")]
    pub start_time: Option<Timestamp>,
    /// The requester's active request that this one extends. It must be for the same eligibility and namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<Extends>,
    /// True: an emergency activation, which needs no approval and is reviewed afterwards. The policy must allow it. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub emergency: bool,
    /// Why the access is needed: one line of at most 1024 characters. It is also stored on the RoleBinding, and other users can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<Line<1024>>,
    /// The ticket for this work in another system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
    /// The user who created the request. Written by admission, which overwrites what a client sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Stamp>,
}

/// A reference to the request that is extended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extends {
    /// Name of the request, in the same namespace. "" is the same as no reference.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// A ticket in another system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Name of the ticket system, at most 63 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Line<63>>,
    /// Number of the ticket, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<Line<128>>,
}

/// The state of a request in one word, for users and field selectors. The conditions are the contract for scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// Not decided yet.
    #[default]
    Pending,
    /// Waits for approvers.
    AwaitingApproval,
    /// Approved, with a start in the future.
    Scheduled,
    /// The RoleBinding exists.
    Active,
    /// The grant reached its end.
    Expired,
    /// The requester deactivated the grant.
    Deactivated,
    /// Another user or the operator ended the grant early.
    Revoked,
    /// The requester is not eligible, a requirement is not met, or an approver denied the request.
    Denied,
    /// Not approved in time, or too late for its own deadline.
    TimedOut,
    /// The requester withdrew the request before the start.
    Withdrawn,
    /// Ended by an error, which the reason names. Nothing was granted.
    Failed,
}

impl RoleActivationRequestSpec {
    /// Returns the name of the request that this one extends, if any.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.extends.as_ref().map(|extends| extends.name.as_str()).filter(|name| !name.is_empty())
    }
}

impl State {
    /// All states.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::AwaitingApproval,
        Self::Scheduled,
        Self::Active,
        Self::Expired,
        Self::Deactivated,
        Self::Revoked,
        Self::Denied,
        Self::TimedOut,
        Self::Withdrawn,
        Self::Failed,
    ];

    /// True if the state is final.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::AwaitingApproval | Self::Scheduled | Self::Active)
    }

    /// Returns the stored value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Scheduled => "Scheduled",
            Self::Active => "Active",
            Self::Expired => "Expired",
            Self::Deactivated => "Deactivated",
            Self::Revoked => "Revoked",
            Self::Denied => "Denied",
            Self::TimedOut => "TimedOut",
            Self::Withdrawn => "Withdrawn",
            Self::Failed => "Failed",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The observed state of a request, written by the operator. It is a report: no value in it grants access.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleActivationRequestStatus {
    /// The `metadata.generation` for which this status was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// State of the request in one word, for users and field selectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Reason for the state, in one word. `kubectl jit explain REASON` explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<crate::reason::Reason>,
    /// Conditions: Active, whose message explains the state; Approved, Settled, Reconciling and Stalled; and Ready until a grant has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Hash of everything that would be granted. An approval must contain it, and counts only while it stays the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// The open stage of the approval: who can approve in it, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaiting: Option<Awaiting>,
    /// The requested role, with its rules and risks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,
    /// User names of the approvers, separated by commas, for the column APPROVED-BY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_APPROVED_BY))]
    pub approved_by: Option<String>,
    /// Time of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Timestamp>,
    /// Only for an extension: the time from which its duration counts, which is the end of the request that it extends. Other durations
    /// count from `grantedAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends_from: Option<Timestamp>,
    /// Only for an extension: the start of the first activation in its extension chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End of the grant as it was granted, also if the grant ended earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Time at which the operator observed that the RoleBinding no longer exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The RoleBinding of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_ref: Option<BindingRef>,
    /// The approvals that count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_APPROVALS))]
    pub approvals: Vec<ApprovalRecord>,
    /// The review of an emergency activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewStatus>,
    /// History of the request: at most 128 entries, oldest first. No entry is changed or removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_TIMELINE))]
    pub timeline: Vec<TimelineEntry>,
}

/// Most approvals that count: as many as a policy can require.
pub const MAX_APPROVALS: usize = MAX_STAGES * MAX_REQUIRED;
/// Longest list of approvers in `approvedBy`, in characters: their names and the commas between them.
pub const MAX_APPROVED_BY: usize = MAX_APPROVALS * (256 + 1) - 1;

/// The open stage of an approval: who can approve in it, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Awaiting {
    /// Name of the open stage.
    pub stage: Line<63>,
    /// Number of approvals that count in this stage.
    pub have: i32,
    /// Number of approvals that this stage requires.
    pub required: i32,
    /// Time at which the request times out.
    pub deadline: Timestamp,
    /// Users and groups that may approve in this stage.
    pub approvers: People,
}

/// A reference to the RoleBinding of a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingRef {
    /// Name of the RoleBinding, in the namespace of the request.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the RoleBinding.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// One approval that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRecord {
    /// Name of the stage in which the approval counts.
    pub stage: Line<63>,
    /// User name of the approver.
    pub approver: Line<256>,
    /// Kind of the decision.
    pub decision: Verb,
    /// Time of the decision, by the API server's clock.
    pub time: Timestamp,
    /// Comment of the approver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Line<1024>>,
}

/// The state of the review of an emergency activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReviewState {
    /// Not reviewed yet.
    Owed,
    /// Not reviewed in time. The requester gets no other emergency activation until a reviewer reviews this one.
    Overdue,
    /// Reviewed.
    Done,
}

impl ReviewState {
    /// Returns the stored value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owed => "Owed",
            Self::Overdue => "Overdue",
            Self::Done => "Done",
        }
    }
}

/// The review of an emergency activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewStatus {
    /// State of the review: Owed, Overdue or Done.
    pub state: ReviewState,
    /// Time by which the review is due.
    pub deadline: Timestamp,
    /// Users and groups that may review.
    #[serde(default)]
    pub reviewers: People,
    /// User name of the reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_by: Option<Line<256>>,
    /// Time of the review, by the API server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_at: Option<Timestamp>,
    /// Comment of the reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Line<1024>>,
}
