//! Users and groups: those that the API server authenticated, and those that an admin lists.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{names, text::Line};

/// A user or group name. Kubernetes sets no bound; this one keeps requests small.
pub type PrincipalName = Line<256>;

/// The prefix of the user names of `ServiceAccounts`.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The user who created a request or a decision. Admission copies it from the `userInfo` of the API server and overwrites what a client
/// sets.
///
/// Groups are only those that an eligibility or a policy names. `extra` has only the keys that a policy reads, and the ID of the
/// credential. Users are in hundreds of groups, and other users can read requests.
// T1, T7.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// User name.
    #[schemars(length(min = 1))]
    pub username: PrincipalName,
    /// UID of the user, if the authentication of the cluster reports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Line<256>>,
    /// Groups of the user that an eligibility or a policy names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub groups: Vec<PrincipalName>,
    /// Extra attributes of the user that a policy reads, and the ID of the credential.
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

/// The kind of a [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// One user, by user name.
    User,
    /// Every member of a group.
    Group,
    /// One ServiceAccount. The eligibility must also set `allowServiceAccounts`.
    ServiceAccount,
}

/// Adds `apiGroup` to a schema, as RBAC's own subjects and references have it. The value is accepted and ignored. It is not a field of the
/// type, so that a spec has the same digest with it and without it.
pub(super) fn rbac_group(schema: &mut schemars::Schema) {
    let group = schemars::json_schema!({
        "description": "API group, as in RBAC's own objects. Optional, without effect.",
        "type": "string",
        "enum": ["", names::RBAC_GROUP],
    });
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        properties.insert("apiGroup".to_owned(), group.into());
    }
}

/// A user, group or ServiceAccount that is eligible, in the form of an RBAC subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rbac_group)]
#[x_kube(validation = Rule::new("self.kind == 'ServiceAccount' && has(self.apiGroup) ? self.apiGroup == '' : true")
    .message("a ServiceAccount belongs to the core API group: leave `apiGroup` out"))]
#[x_kube(validation = Rule::new("self.kind == 'ServiceAccount' ? has(self.namespace) : !has(self.namespace)")
    .message("a ServiceAccount needs `namespace`; a User or Group may not have it"))]
#[x_kube(validation = Rule::new("self.kind == 'Group' ? !has(self.uid) : true").message("only a User or ServiceAccount has a `uid`"))]
#[x_kube(validation = Rule::new("self.kind == 'ServiceAccount' || !self.name.startsWith('system:')")
    .message("names that start with 'system:' belong to Kubernetes and cannot be eligible; for a ServiceAccount write kind: ServiceAccount"))]
pub struct Subject {
    /// Kind of the subject: User, Group or ServiceAccount.
    pub kind: SubjectKind,
    /// Name of the user, group or ServiceAccount as the API server reports it, including the prefix of your identity provider.
    #[schemars(length(min = 1))]
    pub name: PrincipalName,
    /// Namespace of the ServiceAccount. Required for a ServiceAccount, not allowed for other subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// UID of the user or ServiceAccount. If it is set, a later account with the same name is not eligible.
    // T12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub uid: Option<Line<256>>,
}

/// Users and groups, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct People {
    /// User names. A ServiceAccount counts only if its full user name is listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub users: Vec<PrincipalName>,
    /// Group names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub groups: Vec<PrincipalName>,
}

impl People {
    /// True if no user and no group is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
}
