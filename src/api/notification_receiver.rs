//! `NotificationReceiver`: how and where messages are sent.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{eligibility::is_false, text::Line};

/// The longest address of a receiver, in characters.
const MAX_URL: usize = 2048;
/// Most ids in a [`Position`].
pub const MAX_IDS: usize = 2048;
/// Most references in a [`Position`].
pub const MAX_REFERENCES: usize = 256;

/// How and where messages are sent. What is sent to it is in notification rules.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "jitrbac.dev",
    version = "v1alpha1",
    kind = "NotificationReceiver",
    plural = "notificationreceivers",
    shortname = "nrec",
    status = "NotificationReceiverStatus",
    derive = "PartialEq",
    doc = "How and where messages are sent. What is sent to it is in notification rules.",
    printcolumn(name = "TYPE", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "READY", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "SENT", type_ = "integer", json_path = ".status.sent"),
    printcolumn(name = "FAILED", type_ = "integer", json_path = ".status.failed"),
    printcolumn(name = "REASON", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type == 'Webhook') == has(self.webhook)").message("`webhook` must be set exactly when `type` is Webhook"))]
#[x_kube(validation = Rule::new("(self.type == 'Smtp') == has(self.smtp)").message("`smtp` must be set exactly when `type` is Smtp"))]
#[x_kube(validation = Rule::new("(self.type == 'Slack') == has(self.slack)").message("`slack` must be set exactly when `type` is Slack"))]
#[x_kube(validation = Rule::new("(self.type == 'TeamsWorkflow') == has(self.teamsWorkflow)")
    .message("`teamsWorkflow` must be set exactly when `type` is TeamsWorkflow"))]
#[x_kube(validation = Rule::new("(self.type == 'PagerDuty') == has(self.pagerDuty)")
    .message("`pagerDuty` must be set exactly when `type` is PagerDuty"))]
#[x_kube(validation = Rule::new("(self.type == 'Alertmanager') == has(self.alertmanager)")
    .message("`alertmanager` must be set exactly when `type` is Alertmanager"))]
#[x_kube(validation = Rule::new("!(self.type in ['Slack', 'TeamsWorkflow', 'PagerDuty', 'Webhook']) || has(self.secretRef)")
    .message("this type needs `secretRef`: the Secret has the token, the key or the address"))]
pub struct NotificationReceiverSpec {
    /// Type of the receiver. Exactly the block with this name must be set.
    #[serde(rename = "type")]
    pub kind: ReceiverType,
    /// A CloudEvent in JSON, signed as Standard Webhooks with key `signing-key` of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSettings>,
    /// Mail. The Secret may have `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpSettings>,
    /// A message in a channel of Slack. The Secret has the `token` of a bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackSettings>,
    /// A card in Microsoft Teams, posted by a workflow. The Secret has the address of the workflow as `url`. Set it to `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams_workflow: Option<TeamsWorkflowSettings>,
    /// An event for PagerDuty. The Secret has the `routing-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pager_duty: Option<PagerDutySettings>,
    /// An alert in Alertmanager, whose own receivers reach every other service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerSettings>,
    /// The Secret with credentials. The chart value `notify.secrets` must list it: it is mounted as files, and the process has no
    /// permission to read Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Templates for the text, in the syntax of Jinja. Default: the text of jit-rbac.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates: Option<Templates>,
    /// Most messages to this receiver. Further ones wait. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// True: nothing is sent. Messages wait, up to the limit of the queue. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

/// The type of a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReceiverType {
    /// A CloudEvent over HTTPS, signed as Standard Webhooks.
    #[default]
    Webhook,
    /// Mail.
    Smtp,
    /// A message in a channel of Slack.
    Slack,
    /// A card in Microsoft Teams, posted by a workflow.
    TeamsWorkflow,
    /// An event for PagerDuty.
    PagerDuty,
    /// An alert in Alertmanager.
    Alertmanager,
}

impl ReceiverType {
    /// All types.
    pub const ALL: [Self; 6] = [Self::Webhook, Self::Smtp, Self::Slack, Self::TeamsWorkflow, Self::PagerDuty, Self::Alertmanager];

    /// Returns the stored value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "Webhook",
            Self::Smtp => "Smtp",
            Self::Slack => "Slack",
            Self::TeamsWorkflow => "TeamsWorkflow",
            Self::PagerDuty => "PagerDuty",
            Self::Alertmanager => "Alertmanager",
        }
    }

    /// True where people read each message: many at once become a summary.
    #[must_use]
    pub const fn is_read_by_people(self) -> bool {
        matches!(self, Self::Smtp | Self::Slack | Self::TeamsWorkflow)
    }
}

/// Settings of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSettings {
    /// Address, such as `https://hooks.example.com/jit`. Default: key `url` of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "url_schema")]
    pub url: Option<String>,
}

/// Settings of a mail server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmtpSettings {
    /// Name or address of the mail server, without a port.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$') || isIP(self)")
        .message("must be a host name or an IP address, without a scheme and a port"))]
    pub host: String,
    /// Port. Default: 465 for Implicit, 587 for `StartTls`, 25 for None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Encryption of the connection. Default: Implicit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SmtpEncryption>,
    /// Sender, such as `jit-rbac <jit@example.com>`.
    #[schemars(length(min = 3))]
    #[x_kube(validation = Rule::new("self.contains('@')").message("must have a mail address"))]
    pub from: Line<320>,
    /// Address for answers. Default: that of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Line<320>>,
}

/// The encryption of the connection to a mail server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SmtpEncryption {
    /// TLS from the first byte.
    #[default]
    Implicit,
    /// TLS after the command STARTTLS. A server without it is refused.
    StartTls,
    /// No encryption. The chart value `notify.plainHosts` must list the host.
    None,
}

/// Settings of Slack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackSettings {
    /// Id or name of the channel, such as `#oncall`.
    #[schemars(length(min = 1))]
    pub channel: Line<80>,
    /// Address of the Web API. Default: `https://slack.com/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "url_schema")]
    pub api_url: Option<String>,
}

/// Settings of a workflow of Microsoft Teams. It has none: its address is a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamsWorkflowSettings {}

/// Settings of PagerDuty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PagerDutySettings {
    /// Address of the Events API. Default: `https://events.pagerduty.com/v2/enqueue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "url_schema")]
    pub url: Option<String>,
}

/// Settings of Alertmanager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertmanagerSettings {
    /// Addresses of all members of the cluster of Alertmanager. Each alert is sent to every member.
    #[schemars(schema_with = "urls_schema")]
    pub urls: Vec<String>,
    /// Further labels for each alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
}

fn url_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "maxLength": MAX_URL,
        "x-kubernetes-validations": [{
            "rule": "isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && !self.contains('@')",
            "message": "must be an address such as https://hooks.example.com/jit, without a user name and a password",
        }],
    })
}

fn urls_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "array", "minItems": 1, "maxItems": 8, "items": url_schema(generator)})
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 128},
        "x-kubernetes-validations": [{
            "rule": "self.all(name, name.matches('^[a-zA-Z_][a-zA-Z0-9_]{0,62}$') && !(name in ['alertname', 'namespace', 'jit_rbac_uid']))",
            "message": "names of labels are letters, digits and _; alertname, namespace and jit_rbac_uid are set by jit-rbac",
        }],
    })
}

/// A reference to a Secret in the namespace of jit-rbac.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message("must be the name of a Secret"))]
    pub name: String,
}

/// The templates of a receiver, in the syntax of Jinja. `docs/notifications.md` lists the variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Templates {
    /// Template of the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub title: Option<String>,
    /// Template of the text, instead of the list of details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub body: Option<String>,
}

/// The most messages in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Most messages in a minute.
    #[schemars(range(min = 1, max = 6000))]
    pub per_minute: u32,
    /// Most messages at once. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub burst: Option<u32>,
}

/// The observed state of a receiver, written by the notify process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationReceiverStatus {
    /// The `metadata.generation` for which this status was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready. It is True while the settings are valid and the last message was accepted, otherwise its message has the error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Number of messages that the receiver accepted.
    #[serde(default)]
    pub sent: i64,
    /// Number of messages that the receiver refused, or that could not be sent. They are not sent again.
    #[serde(default)]
    pub failed: i64,
    /// Number of messages that were dropped, because the queue was full or they were too old.
    #[serde(default)]
    pub dropped: i64,
    /// The last error, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// What was sent already. After a restart, sending continues here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The last test message; `kubectl jit notify test` requests it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_test: Option<LastTest>,
}

/// An error of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// Time of the error.
    pub time: Timestamp,
    /// Reason in one word.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// The error in one sentence.
    pub message: Line<1024>,
}

/// What was sent already: every event until `through`, and those with these ids after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Every event until this time was handled.
    pub through: Timestamp,
    /// The first 16 digits of the ids of later events that were handled too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_IDS), inner(length(max = 16)))]
    pub ids: Vec<String>,
    /// What the receiver calls the message of an object that is not completed, by the UID of the object. It is updated later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "references_schema")]
    pub references: BTreeMap<String, String>,
}

fn references_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": MAX_REFERENCES,
        "additionalProperties": {"type": "string", "maxLength": 256},
    })
}

/// The outcome of a test message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastTest {
    /// The id of the test, from the annotation `jitrbac.dev/test`.
    #[schemars(length(max = 63))]
    pub id: String,
    /// Time of the answer.
    pub time: Timestamp,
    /// True if the receiver accepted the message.
    pub accepted: bool,
    /// Reason in one word.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// The answer or the error in one sentence, without secrets.
    pub message: Line<1024>,
}
