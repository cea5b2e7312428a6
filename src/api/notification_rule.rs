//! `NotificationRule`: which events are sent to whom.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::Duration, text::Line};

/// Which events are sent to whom. How they are sent is in notification receivers.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "jitrbac.dev",
    version = "v1alpha1",
    kind = "NotificationRule",
    plural = "notificationrules",
    shortname = "nrule",
    derive = "PartialEq",
    doc = "Which events are sent to whom. How they are sent is in notification receivers.",
    printcolumn(name = "EVENT", type_ = "string", json_path = ".spec.event"),
    printcolumn(name = "RECIPIENT", type_ = "string", json_path = ".spec.recipient"),
    printcolumn(name = "LEVEL", type_ = "string", json_path = ".spec.level"),
    printcolumn(name = "RECEIVERS", type_ = "string", json_path = ".spec.receivers[*].name"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.defaultRecipients) && self.defaultRecipients) || (has(self.receivers) && size(self.receivers) > 0)")
    .message("a rule needs `receivers`, or `defaultRecipients: true`"))]
#[x_kube(validation = Rule::new("!has(self.reminders) || !has(self.reminders.undecidedAfter) || self.event == 'Activation'")
    .message("`reminders.undecidedAfter` needs `event: Activation`"))]
#[x_kube(validation = Rule::new("!has(self.reminders) || !has(self.reminders.beforeEnd) || self.event in ['Activation', 'Emergency']")
    .message("`reminders.beforeEnd` needs `event: Activation` or `event: Emergency`"))]
#[x_kube(validation = Rule::new("!has(self.reminders) || !has(self.reminders.eligibilityBeforeEnd) || self.event == 'Eligibility'")
    .message("`reminders.eligibilityBeforeEnd` needs `event: Eligibility`"))]
pub struct NotificationRuleSpec {
    /// The policies whose requests and eligibilities this rule is about. Default: all policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<PolicySelection>,
    /// What happened: Activation, Eligibility, `ActiveAssignment`, Emergency, Attestation, Finding, Guard or Record.
    pub event: RuleEvent,
    /// To whom an event must be of interest: Requester, Approver or Admin. The Requester of an eligibility is its subject.
    pub recipient: Recipient,
    /// All sends every event. Critical sends only those that someone must act on: requests for approval, emergencies, overdue reviews, lost
    /// guards and reminders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// True: the people themselves receive mail at the addresses of the chart value `notify.addresses`. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_recipients: Option<bool>,
    /// Receivers of every event that matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub receivers: Vec<ReceiverRef>,
    /// Messages at times of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminders: Option<Reminders>,
}

/// Policies by name or by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.names) && size(self.names) > 0) != has(self.selector)")
    .message("set `names` or `selector`, and not both"))]
pub struct PolicySelection {
    /// Names of policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,
    /// Labels of policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// The events of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RuleEvent {
    /// Requests and grants.
    #[default]
    Activation,
    /// Eligibilities and policies that were written, suspended or ended.
    Eligibility,
    /// `RoleBindings` that give an eligible role without jit-rbac. The chart value `notify.activeAssignments` must be true.
    ActiveAssignment,
    /// Emergency activations and their reviews.
    Emergency,
    /// Reviews of eligibilities.
    Attestation,
    /// Findings about permissions.
    Finding,
    /// The admission guards.
    Guard,
    /// The audit log.
    Record,
}

impl RuleEvent {
    /// Returns the stored value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activation => "Activation",
            Self::Eligibility => "Eligibility",
            Self::ActiveAssignment => "ActiveAssignment",
            Self::Emergency => "Emergency",
            Self::Attestation => "Attestation",
            Self::Finding => "Finding",
            Self::Guard => "Guard",
            Self::Record => "Record",
        }
    }
}

/// To whom an event must be of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Recipient {
    /// The user who requested, or who is eligible.
    #[default]
    Requester,
    /// Those who may approve or review.
    Approver,
    /// Those who administer eligibilities and policies.
    Admin,
}

impl Recipient {
    /// Returns the stored value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requester => "Requester",
            Self::Approver => "Approver",
            Self::Admin => "Admin",
        }
    }
}

/// How much a rule sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Level {
    /// Every event.
    #[default]
    All,
    /// Only what someone must act on.
    Critical,
}

/// A reference to a receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverRef {
    /// Name of the receiver.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message("must be the name of a receiver"))]
    pub name: String,
    /// Mail addresses. Only for a receiver of type Smtp, which sends nothing without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "to_schema")]
    pub to: Vec<Line<320>>,
}

fn to_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "type": "string",
            "maxLength": 320,
            "x-kubernetes-validations": [{
                "rule": r"self.matches('^[^\\p{C}\\p{Z}<>,;:@]+@[^\\p{C}\\p{Z}<>,;:@]+$')",
                "message": "must be a mail address, such as security@example.com",
            }],
        },
    })
}

/// Messages at times of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reminders {
    /// How long after the stage of an approval opened, while it is undecided, for example 15m. With other receivers than those of the first
    /// message this is an escalation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub undecided_after: Vec<Duration>,
    /// How long before the end of an active grant, for example 10m.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub before_end: Vec<Duration>,
    /// How long before the end of an eligibility, for example 336h.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub eligibility_before_end: Vec<Duration>,
}
