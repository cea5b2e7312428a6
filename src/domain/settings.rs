//! The settings of the installation for all rules: the chart's values.

use super::person::Identities;
use api::Duration;

/// The label with its name that the API server adds to each namespace. No client can change it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The labels of namespaces that only users with a permission may change: the chart's `guardedLabels`. An admission policy denies the
/// change to all other users (T20).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardedLabels {
    /// Whole keys.
    pub keys: Vec<String>,
    /// Prefixes of keys.
    pub prefixes: Vec<String>,
}

impl GuardedLabels {
    /// Returns true for a label that only users with that permission may change.
    #[must_use]
    pub fn guards(&self, key: &str) -> bool {
        key == NAME_LABEL || self.keys.iter().any(|guarded| guarded == key) || self.prefixes.iter().any(|begin| key.starts_with(begin))
    }
}

/// The chart's values that the rules read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the operator, in which nothing is granted.
    pub operator_namespace: String,
    /// Maximum duration of any grant.
    pub max_grant: Duration,
    /// How user names are compared.
    pub identities: Identities,
    /// Namespaces of the cluster itself in which the chart allows grants (`systemNamespaces`).
    pub system_namespaces: Vec<String>,
    /// Labels of namespaces that only users with a permission may change.
    pub guarded_labels: GuardedLabels,
}
