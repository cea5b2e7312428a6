//! The inputs of decisions, as the log holds them: the parts of stored objects that the rules read.

use std::collections::BTreeMap;

use api::{
    ActivationDecision, ApprovalPolicy, Duration, RoleActivationRequest, RoleEligibility, eligibility::RoleKind, names, stored::StoredRole,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    canonical::{canonical, hex},
    person::Identities,
    settings::{GuardedLabels, Settings},
};

/// What kind of object an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The chart's values that the rules read.
    Settings,
    /// A request, with its status but without its timeline and conditions.
    Request,
    /// A decision.
    Decision,
    /// An eligibility.
    Eligibility,
    /// A policy.
    Policy,
    /// A namespace with its labels.
    Namespace,
    /// A role with its rules.
    Role,
}

/// One input, with the hash by which events name it.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its kind.
    pub kind: Kind,
    /// `sha256:` and 64 hex digits over kind and body.
    pub hash: String,
    /// The object.
    pub body: Value,
}

impl Input {
    /// Returns the input with this body.
    #[must_use]
    pub fn new(kind: Kind, body: Value) -> Self {
        let hash = hash(kind, &body);
        Self { kind, hash, body }
    }

    /// Returns a request. The timeline is what the events say already, and conditions say the state in other words.
    #[must_use]
    pub fn request(stored: &RoleActivationRequest) -> Self {
        let mut status = serde_json::to_value(&stored.status).unwrap_or_default();
        if let Some(status) = status.as_object_mut() {
            for noise in ["timeline", "conditions", "awaiting", "observedGeneration"] {
                status.remove(noise);
            }
        }
        let body = json!({"metadata": meta(&stored.metadata), "spec": stored.spec, "status": status});
        Self::new(Kind::Request, body)
    }

    /// Returns a decision.
    #[must_use]
    pub fn decision(stored: &ActivationDecision) -> Self {
        Self::new(Kind::Decision, json!({"metadata": meta(&stored.metadata), "spec": stored.spec}))
    }

    /// Returns an eligibility.
    #[must_use]
    pub fn eligibility(stored: &RoleEligibility) -> Self {
        Self::new(Kind::Eligibility, json!({"metadata": meta(&stored.metadata), "spec": stored.spec}))
    }

    /// Returns a policy.
    #[must_use]
    pub fn policy(stored: &ApprovalPolicy) -> Self {
        Self::new(Kind::Policy, json!({"metadata": meta(&stored.metadata), "spec": stored.spec}))
    }

    /// Returns a namespace: its labels decide which eligibilities cover it.
    #[must_use]
    pub fn namespace(stored: &ObjectMeta) -> Self {
        let labels = stored.labels.clone().unwrap_or_default();
        let mut metadata = json!({"name": stored.name, "uid": stored.uid, "labels": labels});
        if stored.deletion_timestamp.is_some()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.insert("deletionTimestamp".to_owned(), json!(stored.deletion_timestamp));
        }
        Self::new(Kind::Namespace, json!({ "metadata": metadata }))
    }

    /// Returns a role, whose `rules` are as the API server has them.
    #[must_use]
    pub fn role(kind: RoleKind, stored: &ObjectMeta, rules: &Value) -> Self {
        let metadata = json!({"name": stored.name, "namespace": stored.namespace, "uid": stored.uid});
        Self::new(Kind::Role, json!({"kind": kind.as_str(), "metadata": metadata, "rules": rules}))
    }
}

/// Returns the hash of an input.
#[must_use]
pub fn hash(kind: Kind, body: &Value) -> String {
    format!("sha256:{}", hex(&Sha256::digest(canonical(&json!({"kind": kind, "body": body})))))
}

/// The metadata that the rules read.
fn meta(stored: &ObjectMeta) -> ObjectMeta {
    let read = [names::AUTHOR, names::AUTHOR_CHECK];
    let annotations: BTreeMap<String, String> = stored
        .annotations
        .iter()
        .flatten()
        .filter(|(name, _)| read.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    ObjectMeta {
        name: stored.name.clone(),
        namespace: stored.namespace.clone(),
        uid: stored.uid.clone(),
        generation: stored.generation,
        creation_timestamp: stored.creation_timestamp.clone(),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    }
}

/// A role as the log holds it.
#[derive(Debug, Deserialize)]
pub(super) struct RoleBody {
    pub kind: RoleKind,
    #[serde(flatten)]
    pub stored: StoredRole,
}

/// The settings as the chart renders them for the operator, of which the log holds these.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingsBody {
    operator_namespace: String,
    max_grant: Duration,
    #[serde(default)]
    identity: Option<IdentityBody>,
    #[serde(default)]
    system_namespaces: Option<Vec<String>>,
    #[serde(default)]
    guarded_labels: Option<LabelsBody>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct IdentityBody {
    #[serde(default)]
    prefixes: Option<Vec<String>>,
    #[serde(default)]
    aliases: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LabelsBody {
    #[serde(default)]
    keys: Option<Vec<String>>,
    #[serde(default)]
    prefixes: Option<Vec<String>>,
}

impl SettingsBody {
    /// Returns the settings as the rules take them.
    #[must_use]
    pub fn settings(self) -> Settings {
        let identity = self.identity.unwrap_or_default();
        let labels = self.guarded_labels.unwrap_or_default();
        Settings {
            operator_namespace: self.operator_namespace,
            max_grant: self.max_grant,
            identities: Identities::new(&identity.prefixes.unwrap_or_default(), &identity.aliases.unwrap_or_default()),
            system_namespaces: self.system_namespaces.unwrap_or_default(),
            guarded_labels: GuardedLabels { keys: labels.keys.unwrap_or_default(), prefixes: labels.prefixes.unwrap_or_default() },
        }
    }

    /// Returns them as an input.
    #[must_use]
    pub fn input(&self) -> Input {
        Input::new(Kind::Settings, serde_json::to_value(self).unwrap_or_default())
    }
}
