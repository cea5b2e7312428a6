//! `RoleEligibility`: who may activate which role, where, until when, under which policy.

#![allow(clippy::duplicated_attributes, reason = "each printed column has a name, a type and a path")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::Duration,
    identity::Subject,
    instant,
    text::Line,
    timeline::{MAX_TIMELINE, TimelineEntry},
};

/// Who may activate which role, where, until when and under which policy. An eligibility gives no permission by itself.
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
    /// Users, groups and `ServiceAccounts` that are eligible. A group makes each of its members eligible; each grant names one user.
    #[schemars(length(min = 1, max = 256))]
    pub subjects: Vec<Subject>,
    /// The role to grant. A `Role` is read from the namespace of the request.
    // The transform is here and not on the type: the validation rules of the fields are found by their position.
    #[schemars(transform = super::identity::rbac_group)]
    pub role_ref: RoleRef,
    /// Namespaces in which the role may be activated: the union of `names` and `selector`.
    pub namespaces: Namespaces,
    /// The policy with the requirements for an activation. Required: nothing is approved by omission.
    pub policy_ref: NameRef,
    /// Duration of a request that sets none, for example 1h; at most what the policy allows. Default: `maxDuration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_duration: Option<Duration>,
    /// Longest activation, for example 4h. The `limits.maxDuration` of the policy and the `maxGrant` of the chart apply as well.
    pub max_duration: Duration,
    /// Start of the eligibility. Nothing can be activated before it. Default: the eligibility is valid at once.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "instant")]
    #[schemars(with = "Option<Timestamp>")]
    pub start_time: Option<Timestamp>,
    /// End of the eligibility. Nothing can be activated from then on, and active grants end. Required unless the policy sets
    /// `eligibility.requireEnd: false`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "instant")]
    #[schemars(with = "Option<Timestamp>")]
    pub end_time: Option<Timestamp>,
    /// True: nothing can be activated, and every active grant is revoked at once. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// True: `ServiceAccounts` among the subjects may activate the role. The policy must then require an approval. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_service_accounts: bool,
    /// Risk classes of the role that the author accepts: permissions with which access can outlive a grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub accept_risks: Vec<RiskClass>,
    /// Why the subjects are eligible: one line of at most 1024 characters. The policy can require it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<Line<1024>>,
    /// Short description for requesters who choose an eligibility: one line of at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Line<256>>,
}

/// Returns the negated value. For `skip_serializing_if`, which passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// A reference to the role of an eligibility.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleRef {
    /// Kind of the role: ClusterRole or Role.
    pub kind: RoleKind,
    /// Name of the role.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._~:@+-]+$') && !(self in ['.', '..'])")
        .message("must be the name of a role: letters, digits and any of - . _ ~ : @ +"))]
    pub name: String,
}

/// The kind of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RoleKind {
    /// A ClusterRole, granted in one namespace.
    ClusterRole,
    /// A Role in the namespace of the request.
    Role,
}

impl RoleKind {
    /// Returns the value in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterRole => "ClusterRole",
            Self::Role => "Role",
        }
    }

    /// Returns the name of the resource in RBAC rules.
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

/// A reference to an object by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-][a-z0-9.-]*$')")
        .message("must be the name of an object: lower case letters, digits, '-' and '.'"))]
    pub name: String,
}

/// The namespaces that an eligibility covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.names) && size(self.names) > 0) || has(self.selector)")
    .message("at least one of `names` and `selector` must be given"))]
pub struct Namespaces {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// Selects namespaces by their labels. It never selects the namespaces of the cluster itself or of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

/// A label selector of Kubernetes that must not be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
    .message("an empty selector would match every namespace; to select every namespace, write matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]"))]
pub struct Selector {
    /// Labels that the namespace must have with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels_schema")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements, all of which must hold.
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
    /// Operator: In, `NotIn`, Exists or `DoesNotExist`.
    pub operator: Operator,
    /// Values for the operators In and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// The operator of a [`Requirement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// A class of permissions with which access can outlive a grant or reach beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RiskClass {
    /// The verbs bind and escalate, and writing roles and bindings.
    Escalation,
    /// Impersonating other users.
    Impersonation,
    /// Creating or reading tokens of `ServiceAccounts`.
    ServiceAccountTokens,
    /// Approving or signing certificate requests.
    Certificates,
    /// Writing webhooks, admission policies, CRDs or `APIServices`.
    Admission,
    /// Changing labels of namespaces.
    NamespaceLabels,
    /// Using the kubelet API through the proxy of a node.
    NodeProxy,
    /// Writing objects of this API group.
    JitObjects,
    /// All verbs on all resources.
    Wildcard,
    /// A namespace of the cluster itself.
    SystemNamespace,
}

/// The observed state of an eligibility, written by the operator. Requesters can read it, but neither roles nor namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleEligibilityStatus {
    /// The `metadata.generation` for which this status was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready (valid as it is written), Usable (can be activated now), Reconciling and Stalled (for tools that follow kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The current rules and risks of the ClusterRole. Those of a Role are in the status of each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,
    /// The namespaces that the eligibility covers now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespacesStatus>,
    /// History of the object: its last 128 changes, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_TIMELINE))]
    pub timeline: Vec<TimelineEntry>,
}

/// The rules and risks of a role, with bounded size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// Kind of the role: ClusterRole or Role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<RoleKind>,
    /// Name of the role.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,
    /// SHA-256 hash of the sorted rules.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 80))]
    pub rules_hash: String,
    /// SHA-256 hash of what the rules allow, however they are written. While it stays the same, the role allows the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 80))]
    pub access_hash: String,
    /// The 64 riskiest rules, the riskiest first, each in the form `verbs resources (names)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub rules: Vec<String>,
    /// Number of rules of the role, including those that `rules` omits. Absent if `rules` is empty.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub rule_count: i64,
    /// True if `rules` omits or shortens rules.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Risk classes of the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub risks: Vec<String>,
    /// The risk classes in one text, for the column RISKS.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub risk_summary: String,
}

/// Most rules in a status.
pub const MAX_SHOWN_RULES: usize = 64;
/// Longest rule in a status, in characters.
pub const MAX_SHOWN_RULE: usize = 512;
/// Most namespaces in a status.
pub const MAX_SHOWN_NAMESPACES: usize = 50;

/// The namespaces that an eligibility covers now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacesStatus {
    /// Number of namespaces.
    pub count: i64,
    /// Names of the namespaces in alphabetical order, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 63)))]
    pub names: Vec<String>,
}
