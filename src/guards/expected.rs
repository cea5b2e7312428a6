//! Which objects are guards, and what they must say: policies, their bindings and webhook configurations from the file that the
//! chart renders, the CRDs from the types of this program.

use std::path::Path;

use kube::{
    Resource,
    core::{ApiResource, GroupVersionKind},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{RoleActivationRequest, crds, names};

/// Why the expectations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    /// The file cannot be read.
    #[error("cannot read the guards {path}, which the chart renders beside the configuration: {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what the chart renders.
    #[error("the guards {path} cannot be used: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// Why, with line and column.
        source: serde_json::Error,
    },
    /// It lists no guard at all, and nothing would be watched.
    #[error("the guards {path} cannot be used: none is listed")]
    Empty {
        /// Its path.
        path: String,
    },
    /// The CRDs cannot be generated.
    #[error(transparent)]
    Crds(#[from] crds::CrdError),
    /// A generated CRD cannot be read back.
    #[error("a CRD cannot be read: {0}")]
    Yaml(#[from] serde_saphyr::Error),
}

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

/// All guards: those in the file, which lies beside the configuration, and the CRDs.
pub fn read(config: &Path) -> Result<Vec<Expected>, ExpectedError> {
    let path = config.with_file_name("guards.json");
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|source| ExpectedError::Read { path: shown(), source })?;
    let mut all: Vec<Expected> = serde_json::from_str(&text).map_err(|source| ExpectedError::Parse { path: shown(), source })?;
    if all.is_empty() {
        return Err(ExpectedError::Empty { path: shown() });
    }
    all.extend(crds()?);
    all.push(api_service());
    Ok(all)
}

/// Who must serve our kinds. The API server writes the object itself, from the CRDs; of what it says only who serves them matters.
#[must_use]
pub fn api_service() -> Expected {
    let name = format!("{}.{}", RoleActivationRequest::version(&()), names::GROUP);
    Expected { kind: GuardKind::APIService, name, says: Value::Null, probe: None }
}

/// The CRDs as they must be stored.
pub fn crds() -> Result<Vec<Expected>, ExpectedError> {
    let crd = |(plural, yaml): (String, String)| {
        let crd: Value = serde_saphyr::from_str(&yaml)?;
        Ok(Expected {
            kind: GuardKind::CustomResourceDefinition,
            name: format!("{plural}.{}", names::GROUP),
            says: json!({"spec": crd.get("spec")}),
            probe: None,
        })
    };
    crds::all()?.into_iter().map(crd).collect()
}
