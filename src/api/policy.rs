//! `ApprovalPolicy`: what an activation needs.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{Duration, schema_with_zero},
    eligibility::is_false,
    identity::{People, PrincipalName, Stamp},
    text::Line,
};

/// What an activation needs: approvals, evidence, limits, hours.
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
    doc = "What an activation needs: approvals, evidence, limits, hours.",
    printcolumn(name = "STAGES", type_ = "string", json_path = ".spec.approval.stages[*].name"),
    printcolumn(name = "MAX", type_ = "string", json_path = ".spec.limits.maxDuration"),
    printcolumn(name = "READY", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "REASON", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalPolicySpec {
    /// Who must agree.
    pub approval: Approval,
    /// Who may revoke, besides the approvers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revokers: Option<People>,
    /// What a request must bring with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// Bounds of an activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Hours in which an activation may start; none: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
    /// Activation in an emergency, reviewed afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// What an eligibility under this policy must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligibility: Option<EligibilityRules>,
    /// What happens when the role comes to allow something else while it is active; absent: Revoke where that outlives a grant and the
    /// eligibility's `acceptRisks` does not list it, Report otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_role_change: Option<OnRoleChange>,
    /// How long an ended request and its decisions are kept; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
}

impl ApprovalPolicySpec {
    /// Everybody whom it lists: approvers, revokers and reviewers.
    pub fn people(&self) -> impl Iterator<Item = &People> {
        let reviewers = self.emergency.iter().filter_map(|emergency| emergency.reviewers.as_ref());
        self.approval.stages.iter().map(|stage| &stage.approvers).chain(&self.revokers).chain(reviewers)
    }
}

/// Who must agree: nobody, said on purpose, or people in stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.automatic) != (has(self.stages) && size(self.stages) > 0)")
    .message("exactly one of `automatic: {}` and `stages` must be given: approval without anybody must be said on purpose"))]
pub struct Approval {
    /// Set to `{}`: every request of an eligible person is approved at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
    /// Stages in order; one opens when the one before it is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_STAGES))]
    pub stages: Vec<Stage>,
    /// How long people have to decide; absent: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// True: an approver must write a comment.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_comment: bool,
}

/// Most stages of a policy.
pub const MAX_STAGES: usize = 5;
/// Most people that a stage may ask for.
pub const MAX_REQUIRED: usize = 16;

/// Approval without anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Automatic {}

/// One stage of approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// What the stage is called.
    #[schemars(length(min = 1))]
    pub name: Line<63>,
    /// Who may approve in it. A user counts only in the first stage that lists them.
    #[x_kube(validation = Rule::new("(has(self.users) && size(self.users) > 0) || (has(self.groups) && size(self.groups) > 0)")
        .message("a stage must have at least one approver in `users` or `groups`"))]
    pub approvers: People,
    /// How many different people; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_REQUIRED))]
    pub required: Option<i32>,
}

/// What a request must bring with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<JustificationRule>,
    /// A ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRule>,
    /// How the person signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationRule>,
}

/// What a justification must be like. Present: it must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JustificationRule {
    /// Fewest characters; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1024))]
    pub min_length: Option<i32>,
    /// A regular expression that the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Line<256>>,
}

/// What a ticket must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketRule {
    /// True: there must be one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// The only ticket system that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Line<63>>,
    /// A regular expression that the whole number must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Line<256>>,
}

/// Evidence of authentication, read from `userInfo.extra`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationRule {
    /// Every entry must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub claims: Vec<Claim>,
    /// How long ago the person may have signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<MaxAge>,
    /// Whom it is asked of; absent: the requester.
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
    /// Any of these values.
    #[schemars(length(min = 1, max = 16))]
    pub any_of: Vec<Line<256>>,
}

/// Freshness of a sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaxAge {
    /// Key in `userInfo.extra` that holds the time of the sign-in in seconds since 1970.
    #[schemars(length(min = 1))]
    pub key: Line<256>,
    /// Oldest sign-in.
    pub duration: Duration,
}

/// A side of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Party {
    /// Who asks.
    Requester,
    /// Who agrees.
    Approver,
}

/// Bounds of an activation. What is absent does not bound, unless its field says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minDuration) || !has(self.maxDuration) || duration(self.minDuration) <= duration(self.maxDuration)")
    .message("`minDuration` must not be longer than `maxDuration`"))]
pub struct Limits {
    /// Shortest activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<Duration>,
    /// Longest activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// Longest activation with its extensions; absent: the chart's `maxGrant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_duration: Option<Duration>,
    /// How far ahead a start may be scheduled; absent: 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_schedule_ahead: Option<Duration>,
    /// A stamp older than this at the start counts by user name only, no longer by group; absent: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_identity_age: Option<Duration>,
    /// Most activations of one person at a time under this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_active_per_user: Option<i32>,
    /// Most undecided requests of one person at a time under this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_pending_per_user: Option<i32>,
    /// Pause after the end of a user's grant before their next one under the same eligibility in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema_with_zero")]
    pub cooldown: Option<Duration>,
}

/// Hours in which an activation may start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Days on which it opens; none: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// Opens at, as `08:00`.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// Closes at, as `18:00`; earlier than `from`: on the next day.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
    /// Name of the time zone, as `Europe/Oslo`.
    #[schemars(length(min = 1))]
    pub time_zone: Line<63>,
    /// True: a grant ends with the window.
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

/// Activation in an emergency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.allowed) || !self.allowed || (has(self.reviewers) && ((has(self.reviewers.users) && size(self.reviewers.users) > 0) || (has(self.reviewers.groups) && size(self.reviewers.groups) > 0)))")
    .message("`allowed` needs at least one of the `reviewers`: an emergency is looked at afterwards"))]
pub struct Emergency {
    /// True: a request with `emergency: true` skips stages, windows and cooldown; never eligibility, evidence or a maximum.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allowed: bool,
    /// Longest emergency activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// Who reviews it afterwards. The requester never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewers: Option<People>,
    /// By when the review is due, counted from the start; absent: 24h. Who has an overdue one gets no other emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_within: Option<Duration>,
}

/// What an eligibility under a policy must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EligibilityRules {
    /// It must have an `endTime`; absent: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_end: Option<bool>,
    /// Longest time from its start (its creation where it has none) to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// It must say why.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_justification: bool,
}

/// What happens when a role comes to allow something else while it is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRoleChange {
    /// The request says so.
    Report,
    /// The grant ends.
    Revoke,
}

/// What the operator found out about a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalPolicyStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, and `EvidenceObserved` where the policy asks for evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Emergencies that were granted under this policy and are not reviewed. Each outlives its request: of a request that no longer exists it
    /// stays until an admin lists its `requestUID` in the annotation `jitrbac.dev/settled-reviews` of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_REVIEWS_OWED))]
    pub reviews_owed: Vec<OwedReview>,
}

/// Most reviews that one policy may be owed at a time.
pub const MAX_REVIEWS_OWED: usize = 64;

/// The review of one emergency that is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwedReview {
    /// Who was granted the emergency.
    pub requester: Debtor,
    /// The request, as namespace/name.
    #[schemars(length(max = 317))]
    pub request: String,
    /// UID of the request.
    #[serde(rename = "requestUID")]
    #[schemars(length(max = 64))]
    pub request_uid: String,
    /// By when the review is due.
    pub deadline: DateTime<Utc>,
}

/// Who owes a review.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Debtor {
    /// User name.
    pub username: PrincipalName,
    /// UID of the user, where the cluster's authentication gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Line<256>>,
}

impl Debtor {
    /// What of a stamp identifies its user.
    #[must_use]
    pub fn of(stamp: &Stamp) -> Self {
        Self { username: stamp.username.clone(), uid: stamp.uid.clone() }
    }

    /// The stamp of that user, without what a sign-in shows besides.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { username: self.username.clone(), uid: self.uid.clone(), ..Stamp::default() }
    }
}
