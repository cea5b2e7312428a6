//! `RoleActivationRequest`: "this eligibility, in this namespace, for so long, because ...".

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    decision::Verb,
    duration::Duration,
    eligibility::{NameRef, RoleStatus, is_false},
    identity::{People, Stamp},
    policy::{MAX_REQUIRED, MAX_STAGES},
    text::Line,
};

/// What a person asks for: one eligibility, in the namespace that the request lives in, for a while, with a reason.
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
    doc = "Asks for a role in this namespace for a while. It cannot be changed; for another activation create another one.",
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
    .message("a request with `extends` goes on where the other one ends: leave `startTime` out"))]
#[x_kube(validation = Rule::new("!has(self.emergency) || !self.emergency || (!has(self.startTime) && (!has(self.extends) || self.extends.name == ''))")
    .message("an emergency starts now and by itself: leave `startTime` and `extends` out"))]
#[x_kube(validation = Rule::new("!has(self.emergency) || !self.emergency || (has(self.justification) && self.justification.matches('[^ ]'))")
    .message("an emergency needs a `justification`, for those who review it"))]
pub struct RoleActivationRequestSpec {
    /// The eligibility to activate.
    pub eligibility_ref: NameRef,
    /// For how long; absent: the eligibility's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// A start in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<DateTime<Utc>>,
    /// A running activation of mine, under the same eligibility, that this one prolongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<Extends>,
    /// True: skip approval in an emergency; a review follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub emergency: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<Line<1024>>,
    /// The ticket that asks for this work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
    /// Who asks; stamped at admission, whatever a client writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Stamp>,
}

/// The activation that a request prolongs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extends {
    /// Name of the request; "" is none.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// A ticket in another system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Which system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Line<63>>,
    /// The ticket's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<Line<128>>,
}

/// Where a request stands, in one word for people and field selectors; conditions are the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// Not decided yet.
    #[default]
    Pending,
    /// People must decide.
    AwaitingApproval,
    /// Approved; the start lies ahead.
    Scheduled,
    /// The binding exists.
    Active,
    /// Time was up.
    Expired,
    /// The requester gave it back.
    Deactivated,
    /// Somebody or something took it away.
    Revoked,
    /// Not eligible, a requirement fails, or an approver said no.
    Denied,
    /// No decision in time, or too late for its own deadline.
    TimedOut,
    /// The requester took it back before the start.
    Withdrawn,
    /// A named error; never a grant.
    Failed,
}

impl RoleActivationRequestSpec {
    /// Name of the activation that this one prolongs, if it does.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.extends.as_ref().map(|extends| extends.name.as_str()).filter(|name| !name.is_empty())
    }
}

impl State {
    /// Every state.
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

    /// True when nothing will change any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::AwaitingApproval | Self::Scheduled | Self::Active)
    }

    /// The word as it is stored.
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

/// What became of a request. It is a report: nothing in it ever widens access.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleActivationRequestStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<crate::reason::Reason>,
    /// Active, with why in its message; Approved, Settled, Reconciling, Stalled; Ready until a grant has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What an approver approves: a hash over everything that would be granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// Who can decide now, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaiting: Option<Awaiting>,
    /// The role that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,
    /// Who approved, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_APPROVED_BY))]
    pub approved_by: Option<String>,
    /// When it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<DateTime<Utc>>,
    /// From when on its duration counts, where it extends another activation: the end of that one. Otherwise it counts from `grantedAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends_from: Option<DateTime<Utc>>,
    /// Start of the first activation of the chain, where this one prolongs another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it will end, or would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When the binding was seen to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// The binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_ref: Option<BindingRef>,
    /// Approvals that count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_APPROVALS))]
    pub approvals: Vec<ApprovalRecord>,
    /// The review that an emergency owes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewStatus>,
    /// Who did what, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub timeline: Vec<TimelineEntry>,
}

/// Most approvals that count: as many as a policy can ask for.
pub const MAX_APPROVALS: usize = MAX_STAGES * MAX_REQUIRED;
/// Longest list of approvers for the column, in characters: their names and the commas between them.
pub const MAX_APPROVED_BY: usize = MAX_APPROVALS * (256 + 1) - 1;
/// Most entries of a timeline.
pub const MAX_TIMELINE: usize = 64;

/// Who can decide now, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Awaiting {
    /// The open stage.
    pub stage: Line<63>,
    /// Approvals that count in it.
    pub have: i32,
    /// Approvals that it needs.
    pub required: i32,
    /// From this instant on the request times out.
    pub deadline: DateTime<Utc>,
    /// Who may approve in it.
    pub approvers: People,
}

/// The binding of a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingRef {
    /// Name of the `RoleBinding`.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// One approval that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRecord {
    /// The stage in which it counts.
    pub stage: Line<63>,
    /// Who.
    pub approver: Line<256>,
    /// What.
    pub decision: Verb,
    /// When, by the API server's clock.
    pub time: DateTime<Utc>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Line<1024>>,
}

/// Where the review of an emergency stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReviewState {
    /// A reviewer must look at it.
    Owed,
    /// Nobody did in time: this person gets no other emergency until somebody does.
    Overdue,
    /// A reviewer has looked at it.
    Done,
}

impl ReviewState {
    /// The word as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owed => "Owed",
            Self::Overdue => "Overdue",
            Self::Done => "Done",
        }
    }
}

/// The review of an emergency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewStatus {
    /// Where it stands.
    pub state: ReviewState,
    /// By when it is due.
    pub deadline: DateTime<Utc>,
    /// Who may review.
    #[serde(default)]
    pub reviewers: People,
    /// Who has reviewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_by: Option<Line<256>>,
    /// When, by the API server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_at: Option<DateTime<Utc>>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Line<1024>>,
}

/// One line of a request's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When.
    pub time: DateTime<Utc>,
    /// Who: a user name, or `jit-rbac` for the operator.
    pub actor: Line<256>,
    /// What, in one word.
    #[schemars(length(max = 63))]
    pub event: String,
    /// What, in a sentence.
    pub message: Line<1024>,
}
