//! The expected content of one guard.

use serde::Deserialize;
use serde_json::Value;

use api::names;

/// Kinds of guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum GuardKind {
    /// An admission policy.
    ValidatingAdmissionPolicy,
    /// The object that puts a policy into force.
    ValidatingAdmissionPolicyBinding,
    /// The webhook that stamps.
    MutatingWebhookConfiguration,
    /// The webhook that reviews.
    ValidatingWebhookConfiguration,
    /// Schema of one of the product's kinds.
    CustomResourceDefinition,
    /// The server of the product's kinds: the API server itself, without an aggregated server.
    APIService,
}

impl GuardKind {
    /// Returns the API group, the kind and the plural. The version is `v1` for all of them.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ValidatingAdmissionPolicy => ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
            Self::ValidatingAdmissionPolicyBinding => {
                ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
            }
            Self::MutatingWebhookConfiguration => {
                ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
            }
            Self::ValidatingWebhookConfiguration => {
                ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
            }
            Self::CustomResourceDefinition => ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
            Self::APIService => ("apiregistration.k8s.io", "APIService", "apiservices"),
        }
    }
}

impl std::fmt::Display for GuardKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// One guard.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Kind.
    pub kind: GuardKind,
    /// Name.
    pub name: String,
    /// Its content without metadata and status; null if the guard is verified in another way.
    pub says: Value,
    /// For a policy: its name in the chart, which selects the probe.
    #[serde(default)]
    pub probe: Option<String>,
}

impl Expected {
    /// Returns its key among all guards.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// Returns the guard for the server of the product's kinds. The API server writes the `APIService` from the CRDs, and only its service
/// matters.
#[must_use]
pub fn api_service() -> Expected {
    let name = format!("{}.{}", names::VERSION, names::GROUP);
    Expected { kind: GuardKind::APIService, name, says: Value::Null, probe: None }
}
