//! `ApprovalPolicy`: the requirements for an activation.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{Duration, schema_with_zero},
    eligibility::is_false,
    identity::{People, PrincipalName, Stamp},
    text::Line,
    timeline::{MAX_TIMELINE, TimelineEntry},
};

/// The requirements for an activation: approvals, evidence, limits and time windows.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "jitrbac.dev",
    version = "v1alpha1",
    kind = "ApprovalPolicy",
    plural = "approvalpolicies",
    shortname = "apol",
    category = "jit",
    status = "ApprovalPolicyStatus",
    derive = "PartialEq",
    doc = "The requirements for an activation: approvals, evidence, limits and time windows.",
    printcolumn(name = "STAGES", type_ = "string", json_path = ".spec.approval.stages[*].name"),
    printcolumn(name = "MAX", type_ = "string", json_path = ".spec.limits.maxDuration"),
    printcolumn(name = "READY", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "REASON", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalPolicySpec {
    /// How requests are approved: automatically or in stages. Required.
    pub approval: Approval,
    /// Users and groups that may revoke grants, in addition to the approvers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revokers: Option<People>,
    /// Requirements for a request: justification, ticket and sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// Limits for durations, starts and the number of activations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Time windows in which an activation may start. Default: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
    /// Emergency activations, which need no approval and are reviewed afterwards. Default: not allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// Requirements for the eligibilities that refer to this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligibility: Option<EligibilityRules>,
    /// What happens to an active grant when its role starts to allow something else. Default: Revoke if the role gained a risk class that
    /// outlives a grant and is not in `acceptRisks` of the eligibility, otherwise Report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_role_change: Option<OnRoleChange>,
    /// How long a completed request and its decisions are kept after its end, for example 2160h. Default: forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
}

impl ApprovalPolicySpec {
    /// Returns all approvers, revokers and reviewers.
    pub fn people(&self) -> impl Iterator<Item = &People> {
        let reviewers = self.emergency.iter().filter_map(|emergency| emergency.reviewers.as_ref());
        self.approval.stages.iter().map(|stage| &stage.approvers).chain(&self.revokers).chain(reviewers)
    }
}

/// How requests are approved: automatically, which must be explicit, or by approvers in stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.automatic) != (has(self.stages) && size(self.stages) > 0)")
    .message("exactly one of `automatic: {}` and `stages` must be given: automatic approval must be explicit"))]
pub struct Approval {
    /// Set it to `{}` to approve every request of an eligible user at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
    /// Stages, in order. A stage opens when the previous one is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_STAGES))]
    pub stages: Vec<Stage>,
    /// Time limit for the whole approval, counted from the creation of the request. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// True: an approver must write a comment to approve or deny. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_comment: bool,
}

/// Most stages of a policy.
pub const MAX_STAGES: usize = 5;
/// Most approvals that a stage may require.
pub const MAX_REQUIRED: usize = 16;

/// Approval without an approver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Automatic {}

/// One stage of approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Name of the stage, unique in the policy.
    #[schemars(length(min = 1))]
    pub name: Line<63>,
    /// Users and groups that may approve in this stage. A user counts only in the first stage that lists them.
    #[x_kube(validation = Rule::new("(has(self.users) && size(self.users) > 0) || (has(self.groups) && size(self.groups) > 0)")
        .message("a stage must have at least one approver in `users` or `groups`"))]
    pub approvers: People,
    /// Number of different approvers that this stage requires. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_REQUIRED))]
    pub required: Option<i32>,
}

/// Requirements for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// Requirements for the justification. Default: no justification is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<JustificationRule>,
    /// Requirements for the ticket. Default: no ticket is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRule>,
    /// Required evidence of how the user signed in. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationRule>,
}

/// Requirements for the justification. If this is set, a request must have a justification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JustificationRule {
    /// Minimum length in characters. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1024))]
    pub min_length: Option<i32>,
    /// Regular expression that the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Line<256>>,
}

/// Requirements for the ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketRule {
    /// True: a request must have a ticket. Default: false. A ticket must match `system` and `pattern` also if none is required.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// The ticket system that a ticket must name. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Line<63>>,
    /// Regular expression that the whole ticket number must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Line<256>>,
}

/// Required evidence of authentication. It is read from `userInfo.extra`, as the API server reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationRule {
    /// Required claims. Every entry must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub claims: Vec<Claim>,
    /// Maximum age of the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<MaxAge>,
    /// Who must show the evidence: Requester, Approver or both. Default: Requester.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub applies_to: Vec<Party>,
}

/// One key of `userInfo.extra` and the values that satisfy it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Key in `userInfo.extra`.
    #[schemars(length(min = 1))]
    pub key: Line<256>,
    /// Accepted values, of which the key must have at least one.
    #[schemars(length(min = 1, max = 16))]
    pub any_of: Vec<Line<256>>,
}

/// Maximum age of a sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaxAge {
    /// Key in `userInfo.extra` that holds the time of the sign-in in seconds since 1970.
    #[schemars(length(min = 1))]
    pub key: Line<256>,
    /// Maximum age of the sign-in when the request or decision is created, for example 15m.
    pub duration: Duration,
}

/// A party to an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Party {
    /// The requester.
    Requester,
    /// The approver.
    Approver,
}

/// Limits of an activation. A limit that is absent does not apply, unless its field has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minDuration) || !has(self.maxDuration) || duration(self.minDuration) <= duration(self.maxDuration)")
    .message("`minDuration` must not be longer than `maxDuration`"))]
pub struct Limits {
    /// Shortest activation, for example 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<Duration>,
    /// Longest activation, for example 4h. The `maxDuration` of the eligibility and the chart's `maxGrant` apply as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// Longest activation including its extensions. Default: the chart's `maxGrant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_duration: Option<Duration>,
    /// How far in the future `startTime` of a request may be. Default: 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_schedule_ahead: Option<Duration>,
    /// How long the groups that were recorded with the request make the requester eligible. If they are older at the start, only the
    /// user name counts. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_identity_age: Option<Duration>,
    /// Maximum number of active and scheduled activations of one person under this policy, in all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_active_per_user: Option<i32>,
    /// Maximum number of pending requests of one person under this policy, in all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_pending_per_user: Option<i32>,
    /// Minimum time between the end of a user's grant and the start of their next one for the same eligibility and namespace. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema_with_zero")]
    pub cooldown: Option<Duration>,
}

/// A time window in which an activation may start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Days on which the window opens. Default: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// Local time at which the window opens, for example 08:00.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// Local time at which the window closes, for example 18:00. If it is earlier than `from`, the window closes on the next day.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
    /// IANA name of the time zone, for example Europe/Oslo.
    #[schemars(length(min = 1))]
    pub time_zone: Line<63>,
    /// True: a grant ends when the window closes. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ends_grant: bool,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Settings for emergency activations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.allowed) || !self.allowed || (has(self.reviewers) && ((has(self.reviewers.users) && size(self.reviewers.users) > 0) || (has(self.reviewers.groups) && size(self.reviewers.groups) > 0)))")
    .message("`allowed` needs at least one entry in `reviewers`: an emergency activation is reviewed afterwards"))]
pub struct Emergency {
    /// True: a request with `emergency: true` skips stages, windows and cooldown, but never eligibility, evidence or a maximum.
    /// Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allowed: bool,
    /// Longest emergency activation, in addition to the other limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// Users and groups that review emergency activations afterwards. The requester cannot review their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewers: Option<People>,
    /// Time limit for the review, counted from the start of the grant. A requester with an overdue review gets no other emergency
    /// activation. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_within: Option<Duration>,
}

/// Requirements for the eligibilities under a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EligibilityRules {
    /// True: an eligibility must have an `endTime`. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_end: Option<bool>,
    /// Longest time from the start of an eligibility (or its creation, if it has no `startTime`) to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// True: an eligibility must have a `justification`. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_justification: bool,
}

/// What happens to an active grant when its role starts to allow something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRoleChange {
    /// The status of the request reports the change.
    Report,
    /// The grant is revoked.
    Revoke,
}

/// The observed state of a policy, written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalPolicyStatus {
    /// The `metadata.generation` for which this status was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready, Reconciling and Stalled, and `EvidenceObserved` if the policy requires evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Emergency activations under this policy that are not reviewed yet, at most 64. If the request no longer exists, its entry stays
    /// until an admin adds its `requestUID` to the annotation `jitrbac.dev/settled-reviews` of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_REVIEWS_OWED))]
    pub reviews_owed: Vec<OwedReview>,
    /// The keys of `userInfo.extra` that this policy requires and that a request has contained, written by the operator. A key stays listed as
    /// long as the policy requires it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub evidence_observed: Vec<String>,
    /// History of the object: its last 128 changes, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_TIMELINE))]
    pub timeline: Vec<TimelineEntry>,
}

/// Most missing reviews under one policy.
pub const MAX_REVIEWS_OWED: usize = 64;

/// The missing review of one emergency activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwedReview {
    /// The requester of the emergency activation.
    pub requester: Debtor,
    /// The request in the form namespace/name.
    #[schemars(length(max = 317))]
    pub request: String,
    /// UID of the request.
    #[serde(rename = "requestUID")]
    #[schemars(length(max = 64))]
    pub request_uid: String,
    /// Time by which the review is due.
    pub deadline: Timestamp,
}

/// The user whose emergency activation must be reviewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Debtor {
    /// User name.
    pub username: PrincipalName,
    /// UID of the user, if the authentication of the cluster reports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Line<256>>,
}

impl Debtor {
    /// Returns the part of a stamp that identifies its user.
    #[must_use]
    pub fn of(stamp: &Stamp) -> Self {
        Self { username: stamp.username.clone(), uid: stamp.uid.clone() }
    }

    /// Returns a stamp of that user without groups and extra attributes.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { username: self.username.clone(), uid: self.uid.clone(), ..Stamp::default() }
    }
}
