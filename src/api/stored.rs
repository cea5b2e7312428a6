//! Objects of Kubernetes, reduced to the fields that are read.

use std::collections::BTreeMap;

use k8s_openapi::{api::rbac::v1::PolicyRule, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Deserialize;

/// Most bytes of a role's rules, as the API server writes them. Longer rules are not read, and the role is not granted. One object of
/// 1.5 MB can contain so many short names that they use ten times that in memory, and every admin of a namespace can create such objects.
pub const MAX_RULES: usize = 256 << 10;

/// A value, or its size if it exceeds the limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Limited<T> {
    /// The value.
    Within(T),
    /// The size in bytes.
    Beyond(usize),
}

/// A namespace.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "NamespaceText")]
pub struct StoredNamespace {
    /// Metadata, without labels if they are too long.
    pub metadata: ObjectMeta,
    /// True if the labels are too long.
    pub labels_too_long: bool,
}

#[derive(Deserialize)]
struct NamespaceText {
    metadata: MetaText,
}

#[derive(Deserialize)]
struct MetaText {
    labels: Option<Limited<BTreeMap<String, String>>>,
    #[serde(flatten)]
    rest: ObjectMeta,
}

impl From<NamespaceText> for StoredNamespace {
    fn from(NamespaceText { metadata }: NamespaceText) -> Self {
        let (labels, labels_too_long) = match metadata.labels {
            Some(Limited::Within(labels)) => (Some(labels), false),
            Some(Limited::Beyond(_)) => (None, true),
            None => (None, false),
        };
        Self { metadata: ObjectMeta { labels, ..metadata.rest }, labels_too_long }
    }
}

/// A Role or ClusterRole.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredRole {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// The rules.
    #[serde(default)]
    pub rules: Option<Limited<Vec<PolicyRule>>>,
}
