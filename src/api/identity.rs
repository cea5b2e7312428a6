//! Who somebody is, as the API server says it, and whom an admin names.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{names, text::Line};

/// A user or group name. Kubernetes sets no bound; ours keeps requests small.
pub type PrincipalName = Line<256>;

/// How user names of `ServiceAccounts` begin.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Who made a request or a decision: copied from the API server's own `userInfo` at admission, never from what a client wrote.
///
/// Groups are only those that an eligibility or a policy names, `extra` only the keys that a policy reads and the credential's
/// id: people are in hundreds of groups, and requests are readable (T1, T7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// User name.
    #[schemars(length(min = 1))]
    pub username: PrincipalName,
    /// UID of the user, where the cluster's authentication gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Line<256>>,
    /// Those of the user's groups that matter to an eligibility or a policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub groups: Vec<PrincipalName>,
    /// Those of the user's extra attributes that matter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), schema_with = "extra_schema")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Most groups in a stamp.
pub const MAX_STAMPED_GROUPS: usize = 128;

fn extra_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "array", "maxItems": 16, "items": {"type": "string", "maxLength": 1024}},
    })
}

/// What a [`Subject`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// One person by user name.
    User,
    /// Every member of a group.
    Group,
    /// One `ServiceAccount`; the eligibility must also set `allowServiceAccounts`.
    ServiceAccount,
}

/// The API group that RBAC's own subjects and references have. It is accepted and says nothing: it is no field here, so that with and
/// without it a spec means the same and has the same digest.
pub(super) fn rbac_group(schema: &mut schemars::Schema) {
    let group = schemars::json_schema!({
        "description": "As in RBAC's own objects; it may be left out.",
        "type": "string",
        "enum": ["", names::RBAC_GROUP],
    });
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        properties.insert("apiGroup".to_owned(), group.into());
    }
}

/// Somebody who is eligible, in the shape of an RBAC subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rbac_group)]
#[x_kube(validation = Rule::new("self.kind == 'ServiceAccount' && has(self.apiGroup) ? self.apiGroup == '' : true")
    .message("a ServiceAccount is of the core group; leave `apiGroup` out"))]
#[x_kube(validation = Rule::new("self.kind == 'ServiceAccount' ? has(self.namespace) : !has(self.namespace)")
    .message("a ServiceAccount needs `namespace`; a User or Group may not have it"))]
#[x_kube(validation = Rule::new("self.kind == 'Group' ? !has(self.uid) : true").message("only a User or ServiceAccount has a `uid`"))]
#[x_kube(validation = Rule::new("self.kind == 'ServiceAccount' || !self.name.startsWith('system:')")
    .message("names that start with 'system:' belong to Kubernetes and cannot be eligible; for a ServiceAccount write kind: ServiceAccount"))]
pub struct Subject {
    /// User, Group or `ServiceAccount`.
    pub kind: SubjectKind,
    /// User name, group name or the `ServiceAccount`'s name, as Kubernetes sees it (with the prefix of your identity provider).
    #[schemars(length(min = 1))]
    pub name: PrincipalName,
    /// Namespace of a `ServiceAccount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Only the account with this UID, so that a later holder of the same name does not inherit (T12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub uid: Option<Line<256>>,
}

/// People by user name or by group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct People {
    /// User names. A `ServiceAccount` counts only when it is listed here by its full name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub users: Vec<PrincipalName>,
    /// Group names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub groups: Vec<PrincipalName>,
}

impl People {
    /// True without anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
}
