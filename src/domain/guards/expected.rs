//! The expected content of one guard.

use kube::{
    Resource,
    core::{ApiResource, GroupVersionKind},
};
use serde::Deserialize;
use serde_json::Value;

use api::{RoleActivationRequest, names};

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
    /// Returns the kind's name in the API.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
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
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
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
    let name = format!("{}.{}", RoleActivationRequest::version(&()), names::GROUP);
    Expected { kind: GuardKind::APIService, name, says: Value::Null, probe: None }
}
