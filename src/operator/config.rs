//! The configuration file that the chart renders for both processes.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Deserializer};

use api::{Duration, identity::SERVICE_ACCOUNT_PREFIX};
use domain::{Settings, person::Identities, settings::GuardedLabels};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a valid configuration.
    #[error("the configuration {path} cannot be used: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// The cause, with line and column.
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
    /// Longest duration that any grant may have.
    pub max_grant: Duration,
    /// How user names are compared.
    #[serde(default, deserialize_with = "or_default")]
    pub identity: Identity,
    /// System namespaces in which grants are allowed.
    #[serde(default, deserialize_with = "or_default")]
    pub system_namespaces: Vec<String>,
    /// Labels of namespaces that only authorised users may change.
    #[serde(default, deserialize_with = "or_default")]
    pub guarded_labels: LabelGuard,
    /// How the guards are proven.
    #[serde(default, deserialize_with = "or_default")]
    pub guards: Proof,
    /// The audit log, if there is one.
    #[serde(default)]
    pub record: Option<AuditLog>,
}

/// What the controller knows of the audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditLog {
    /// The Lease that says what is recorded.
    pub lease: String,
    /// How old its last confirmation may be for a new grant. None: grants do not depend on the log.
    #[serde(default)]
    pub require_within: Option<Duration>,
}

/// How the guards are proven.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Proof {
    /// Names of other policies and webhooks that may deny a probe before the probed guard does.
    #[serde(deserialize_with = "or_default")]
    pub may_answer_first: Vec<String>,
}

/// Names of the controller's objects in the operator's namespace.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Controller {
    /// Its `ServiceAccount`.
    pub service_account: String,
    /// The Lease that elects the leader.
    pub lease: String,
}

/// Names of the webhook's objects.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// Its `ServiceAccount`.
    pub service_account: String,
    /// Source of its serving certificate.
    pub certificate: Certificate,
    /// Name of the `MutatingWebhookConfiguration`.
    pub mutating_configuration: String,
    /// Name of the `ValidatingWebhookConfiguration`.
    pub validating_configuration: String,
}

/// Source of the webhook's serving certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Certificate {
    /// The webhook creates its own CA and certificate.
    #[serde(rename_all = "camelCase")]
    SelfManaged {
        /// Name of the Secret with both.
        secret: String,
        /// DNS names under which the API server reaches the webhook.
        dns_names: Vec<String>,
    },
    /// Another component, such as cert-manager, writes `tls.crt` and `tls.key` into this folder.
    Directory(std::path::PathBuf),
}

/// How user names are compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// Prefixes that authenticators add to a name.
    #[serde(deserialize_with = "or_default")]
    pub prefixes: Vec<String>,
    /// Other user names of the same user, by name.
    #[serde(deserialize_with = "or_default")]
    pub aliases: BTreeMap<String, String>,
}

/// Labels of namespaces that an admission policy guards.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelGuard {
    /// Whole keys.
    #[serde(deserialize_with = "or_default")]
    pub keys: Vec<String>,
    /// Prefixes of keys.
    #[serde(deserialize_with = "or_default")]
    pub prefixes: Vec<String>,
}

/// Reads a null value as a missing one: Helm renders null for a key without a value.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl Config {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown(), source })?;
        serde_json::from_str(&text).map_err(|source| ConfigError::Parse { path: shown(), source })
    }

    /// Returns the settings that the rules need.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            operator_namespace: self.operator_namespace.clone(),
            max_grant: self.max_grant,
            identities: Identities::new(&self.identity.prefixes, &self.identity.aliases),
            system_namespaces: self.system_namespaces.clone(),
            guarded_labels: GuardedLabels { keys: self.guarded_labels.keys.clone(), prefixes: self.guarded_labels.prefixes.clone() },
        }
    }

    /// Returns the user name of the controller, which the policies call "the operator".
    #[must_use]
    pub fn operator(&self) -> String {
        format!("{SERVICE_ACCOUNT_PREFIX}{}:{}", self.operator_namespace, self.controller.service_account)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns the smallest valid configuration.
    pub(crate) fn least() -> Value {
        json!({
            "operatorNamespace": "jit-system",
            "controller": {"serviceAccount": "jit-rbac-controller", "lease": "jit-rbac-controller"},
            "webhook": {
                "serviceAccount": "jit-rbac-webhook", "certificate": {"directory": "/tls"},
                "mutatingConfiguration": "jit-rbac", "validatingConfiguration": "jit-rbac",
            },
            "maxGrant": "24h",
        })
    }

    #[test]
    fn null_is_as_if_it_were_not_there() {
        let mut config = least();
        config["systemNamespaces"] = Value::Null;
        config["identity"] = json!({"prefixes": ["oidc:"], "aliases": null});
        config["guardedLabels"] = Value::Null;
        let config: Config = serde_json::from_value(config).unwrap();
        assert!(config.system_namespaces.is_empty() && config.guarded_labels.keys.is_empty());
        assert_eq!((config.identity.prefixes, config.identity.aliases), (vec!["oidc:".to_owned()], BTreeMap::new()));
    }
}
