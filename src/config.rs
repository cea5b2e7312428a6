//! The file that the chart renders for both processes.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::{
    api::{Duration, identity::SERVICE_ACCOUNT_PREFIX},
    domain::{Settings, namespace::GuardedLabels, person::Identities},
};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration {path} cannot be used: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// Why, with line and column.
        source: serde_json::Error,
    },
}

/// The configuration of controller and webhook.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Namespace in which the operator runs.
    pub operator_namespace: String,
    /// The controller.
    pub controller: Controller,
    /// The webhook.
    pub webhook: Webhook,
    /// Longest grant of all.
    pub max_grant: Duration,
    /// How user names are compared.
    #[serde(default)]
    pub identity: Identity,
    /// Namespaces of the cluster itself in which grants are allowed.
    #[serde(default)]
    pub system_namespaces: Vec<String>,
    /// Labels of namespaces that only some may change.
    #[serde(default)]
    pub guarded_labels: LabelGuard,
}

/// Names of the controller's objects in the operator's namespace.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Controller {
    /// Its `ServiceAccount`.
    pub service_account: String,
    /// The Lease that says which replica grants.
    pub lease: String,
}

/// Names of the webhook's objects.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// Its `ServiceAccount`.
    pub service_account: String,
    /// Where its serving certificate comes from.
    pub certificate: Certificate,
    /// Name of the `MutatingWebhookConfiguration`.
    pub mutating_configuration: String,
    /// Name of the `ValidatingWebhookConfiguration`.
    pub validating_configuration: String,
}

/// Where the webhook's serving certificate comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Certificate {
    /// The webhook makes its own CA and certificate.
    #[serde(rename_all = "camelCase")]
    SelfManaged {
        /// Name of the Secret that keeps both.
        secret: String,
        /// Names under which the API server reaches the webhook.
        dns_names: Vec<String>,
    },
    /// Somebody else (cert-manager) writes `tls.crt` and `tls.key` into this folder.
    Directory(std::path::PathBuf),
}

/// How user names are compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// Prefixes that authenticators put before a name.
    pub prefixes: Vec<String>,
    /// Other names of a person, by name.
    pub aliases: BTreeMap<String, String>,
}

/// Labels of namespaces that a policy in the API server guards.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelGuard {
    /// Whole keys.
    pub keys: Vec<String>,
    /// Beginnings of keys.
    pub prefixes: Vec<String>,
}

impl Config {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown(), source })?;
        serde_json::from_str(&text).map_err(|source| ConfigError::Parse { path: shown(), source })
    }

    /// What the rules need of it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            operator_namespace: self.operator_namespace.clone(),
            max_grant: self.max_grant,
            identities: Identities { prefixes: self.identity.prefixes.clone(), aliases: self.identity.aliases.clone() },
            system_namespaces: self.system_namespaces.clone(),
            guarded_labels: GuardedLabels { keys: self.guarded_labels.keys.clone(), prefixes: self.guarded_labels.prefixes.clone() },
        }
    }

    /// User name of the controller: "the operator" in every policy.
    #[must_use]
    pub fn operator(&self) -> String {
        format!("{SERVICE_ACCOUNT_PREFIX}{}:{}", self.operator_namespace, self.controller.service_account)
    }
}
