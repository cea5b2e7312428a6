//! `RoleEligibility`: who may activate which role, where, until when, under which policy.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::Duration, identity::Subject, text::Line};

/// Who may activate which role, where and until when. An eligibility gives no permission by itself.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "jitrbac.dev",
    version = "v1alpha1",
    kind = "RoleEligibility",
    plural = "roleeligibilities",
    shortname = "rel",
    category = "jit",
    status = "RoleEligibilityStatus",
    derive = "PartialEq",
    doc = "Who may activate which role, where, until when and under which policy. It gives no permission by itself.",
    printcolumn(name = "ROLE", type_ = "string", json_path = ".spec.roleRef.name"),
    printcolumn(name = "POLICY", type_ = "string", json_path = ".spec.policyRef.name"),
    printcolumn(name = "MAX", type_ = "string", json_path = ".spec.maxDuration"),
    printcolumn(name = "READY", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "USABLE", type_ = "string", json_path = r#".status.conditions[?(@.type=="Usable")].status"#),
    printcolumn(name = "REASON", type_ = "string", json_path = r#".status.conditions[?(@.type=="Usable")].reason"#),
    printcolumn(name = "RISKS", type_ = "string", json_path = ".status.role.riskSummary", priority = 1),
    printcolumn(name = "NAMESPACES", type_ = "integer", json_path = ".status.namespaces.count", priority = 1),
    printcolumn(name = "ENDS", type_ = "string", json_path = ".spec.endTime", priority = 1),
    printcolumn(name = "DESCRIPTION", type_ = "string", json_path = ".spec.description", priority = 1),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.defaultDuration) || duration(self.defaultDuration) <= duration(self.maxDuration)")
    .message("`defaultDuration` must not be longer than `maxDuration`"))]
#[x_kube(validation = Rule::new("!has(self.startTime) || !has(self.endTime) || timestamp(self.startTime) < timestamp(self.endTime)")
    .message("`startTime` must be before `endTime`"))]
pub struct RoleEligibilitySpec {
    /// The people who are eligible. A group makes each of its members eligible; what is granted names one person.
    #[schemars(length(min = 1, max = 256))]
    pub subjects: Vec<Subject>,
    /// The role that is granted. A `Role` is looked up in the namespace of the request.
    // Here and not on the type: the rules of its fields are found by their position.
    #[schemars(transform = super::identity::rbac_group)]
    pub role_ref: RoleRef,
    /// Where it may be activated: the union of names and selector.
    pub namespaces: Namespaces,
    /// The policy that says what an activation needs. Required: nothing is approved by omission.
    pub policy_ref: NameRef,
    /// Duration of a request that names none; absent: `maxDuration`. Never more than the policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_duration: Option<Duration>,
    /// Longest activation.
    pub max_duration: Duration,
    /// No activation before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<DateTime<Utc>>,
    /// No activation from this instant on, and a running one ends. Required unless the policy sets `eligibility.requireEnd: false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<DateTime<Utc>>,
    /// True: no new activation, and every running one is revoked at once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// True: `ServiceAccounts` among the subjects may activate; never under a policy that approves automatically.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_service_accounts: bool,
    /// Risk classes of the role that outlive a grant and that the author accepts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub accept_risks: Vec<RiskClass>,
    /// Why these people are eligible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<Line<1024>>,
    /// Shown to the person who chooses among eligibilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Line<256>>,
}

/// For `skip_serializing_if`, which passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Which role an eligibility is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleRef {
    /// `ClusterRole` or Role.
    pub kind: RoleKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._~:@+-]+$') && !(self in ['.', '..'])")
        .message("must be the name of a role: letters, digits and any of - . _ ~ : @ +"))]
    pub name: String,
}

/// Kind of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RoleKind {
    /// A `ClusterRole`, granted in one namespace.
    ClusterRole,
    /// A Role of the request's namespace.
    Role,
}

impl RoleKind {
    /// The kind as manifests spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterRole => "ClusterRole",
            Self::Role => "Role",
        }
    }

    /// The resource's name in RBAC rules.
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Self::ClusterRole => "clusterroles",
            Self::Role => "roles",
        }
    }
}

impl std::fmt::Display for RoleKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reference by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-][a-z0-9.-]*$')")
        .message("must be the name of an object: lower case letters, digits, '-' and '.'"))]
    pub name: String,
}

/// Where an eligibility holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.names) && size(self.names) > 0) || has(self.selector)")
    .message("at least one of `names` and `selector` must be given"))]
pub struct Namespaces {
    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// Namespaces by label. Never the system namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

/// A label selector, as everywhere in Kubernetes, but never an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
    .message("an empty selector would match every namespace; to say so on purpose write matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]"))]
pub struct Selector {
    /// Labels that the namespace must have with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels_schema")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

fn match_labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// One requirement of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0")
    .message("`values` must be given for In and NotIn, and may not be for Exists and DoesNotExist"))]
pub struct Requirement {
    /// Label key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// In, `NotIn`, Exists or `DoesNotExist`.
    pub operator: Operator,
    /// Values for In and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a [`Requirement`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// What a role allows that outlives a grant, or reaches beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RiskClass {
    /// bind, escalate, or writing roles and bindings.
    Escalation,
    /// Acting as somebody else.
    Impersonation,
    /// Making or reading tokens of `ServiceAccounts`.
    ServiceAccountTokens,
    /// Approving or signing certificate requests.
    Certificates,
    /// Webhooks, admission policies, CRDs, `APIServices`.
    Admission,
    /// Changing labels of namespaces.
    NamespaceLabels,
    /// Going through a node's kubelet.
    NodeProxy,
    /// Writing objects of this API group.
    JitObjects,
    /// Everything.
    Wildcard,
    /// A namespace of the cluster itself.
    SystemNamespace,
}

/// What the operator found out about an eligibility; readable by requesters, who can read neither roles nor namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleEligibilityStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: it is valid as it is written. Usable: it can be activated now. Reconciling and Stalled for tools that follow kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The `ClusterRole` as it stands; a Role's rules are on each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,
    /// The namespaces that are covered now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespacesStatus>,
}

/// A role's rules, bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// `ClusterRole` or Role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<RoleKind>,
    /// Name of the role.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,
    /// SHA-256 over the sorted rules.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 80))]
    pub rules_hash: String,
    /// SHA-256 over what the rules allow, however they are written: a role that changes without another of these allows the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 80))]
    pub access_hash: String,
    /// The riskiest 64 rules, the riskiest first, one a line in the form `verbs resources (names)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub rules: Vec<String>,
    /// Number of rules of the role, shown or not; absent where none is shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub rule_count: i64,
    /// True when there are more rules, or longer ones, than shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Risk classes of the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub risks: Vec<String>,
    /// The same in one text, for the column.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub risk_summary: String,
}

/// Most rules that a status shows.
pub const MAX_SHOWN_RULES: usize = 64;
/// Longest rule that a status shows, in characters.
pub const MAX_SHOWN_RULE: usize = 512;
/// Most namespaces that a status names.
pub const MAX_SHOWN_NAMESPACES: usize = 50;

/// The namespaces that an eligibility covers now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacesStatus {
    /// How many.
    pub count: i64,
    /// The first of them by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 63)))]
    pub names: Vec<String>,
}
