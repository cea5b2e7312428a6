//! What is expected of one guard.

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
    /// What puts one into force.
    ValidatingAdmissionPolicyBinding,
    /// Who stamps.
    MutatingWebhookConfiguration,
    /// Who reviews.
    ValidatingWebhookConfiguration,
    /// Schema of one of our kinds.
    CustomResourceDefinition,
    /// Who serves our kinds: the API server itself, and no server behind it.
    APIService,
}

impl GuardKind {
    /// How the API server calls it.
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
    /// All of it but metadata and status; null of what is judged otherwise.
    pub says: Value,
    /// Of a policy: its name in the chart, which says how to prove it.
    #[serde(default)]
    pub probe: Option<String>,
}

impl Expected {
    /// Its name among all guards.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// Who must serve our kinds. The API server writes the object itself, from the CRDs; of what it says only who serves them matters.
#[must_use]
pub fn api_service() -> Expected {
    let name = format!("{}.{}", RoleActivationRequest::version(&()), names::GROUP);
    Expected { kind: GuardKind::APIService, name, says: Value::Null, probe: None }
}
