//! Objects of Kubernetes itself, as far as they are read.

use std::collections::BTreeMap;

use k8s_openapi::{api::rbac::v1::PolicyRule, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Deserialize;

/// Most bytes of a role's rules, as the API server writes them. What is longer is not read, and the role is not granted: one object of
/// 1.5 MB can hold so many short names that they take ten times that in memory, and anybody may make some who is admin of a namespace.
pub const MAX_RULES: usize = 256 << 10;

/// Something, or the number of bytes that it has, which are too many.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Limited<T> {
    /// It.
    Within(T),
    /// So many bytes.
    Beyond(usize),
}

/// A namespace.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "NamespaceText")]
pub struct StoredNamespace {
    /// Metadata, with labels unless they are too long.
    pub metadata: ObjectMeta,
    /// True where they are.
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

/// A Role or `ClusterRole`.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredRole {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Its rules.
    #[serde(default)]
    pub rules: Option<Limited<Vec<PolicyRule>>>,
}
