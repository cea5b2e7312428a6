//! What the installation sets for all rules: the values of the chart.

use super::person::Identities;
use api::Duration;

/// The label that the API server gives each namespace, with its name. Nobody can change it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Labels of namespaces that only those may change who hold a right for it: the chart's `guardedLabels`, which a policy in the API
/// server holds against everybody else (T20).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardedLabels {
    /// Whole keys.
    pub keys: Vec<String>,
    /// Beginnings of keys.
    pub prefixes: Vec<String>,
}

impl GuardedLabels {
    /// True for a label that nobody changes without that right.
    #[must_use]
    pub fn guards(&self, key: &str) -> bool {
        key == NAME_LABEL || self.keys.iter().any(|guarded| guarded == key) || self.prefixes.iter().any(|begin| key.starts_with(begin))
    }
}

/// What the chart's values say about the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the operator: never granted in.
    pub operator_namespace: String,
    /// Longest grant of all.
    pub max_grant: Duration,
    /// How user names are compared.
    pub identities: Identities,
    /// Namespaces of the cluster itself in which the chart allows grants (`systemNamespaces`).
    pub system_namespaces: Vec<String>,
    /// Labels of namespaces that only some may change.
    pub guarded_labels: GuardedLabels,
}
