//! The `CustomResourceDefinition`s, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use api::{ActivationDecision, ApprovalPolicy, NotificationReceiver, NotificationRule, RoleActivationRequest, RoleEligibility};

/// Why the CRDs could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// A type could not be converted to JSON.
    #[error("a CRD cannot be serialised: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON could not be converted to YAML.
    #[error("a CRD cannot be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Returns all CRDs as `(plural name, YAML)`, in the order of installation.
pub fn all() -> Result<Vec<(String, String)>, CrdError> {
    let mut all = guarded()?;
    all.extend(printed([
        (NotificationReceiver::crd(), NotificationReceiver::crd_name()),
        (NotificationRule::crd(), NotificationRule::crd_name()),
    ])?);
    Ok(all)
}

/// Returns the CRDs of the kinds on which grants depend. They are admission guards; those of notifications are not, since no grant reads them.
pub fn guarded() -> Result<Vec<(String, String)>, CrdError> {
    printed([
        (RoleEligibility::crd(), RoleEligibility::crd_name()),
        (ApprovalPolicy::crd(), ApprovalPolicy::crd_name()),
        (RoleActivationRequest::crd(), RoleActivationRequest::crd_name()),
        (ActivationDecision::crd(), ActivationDecision::crd_name()),
    ])
}

fn printed<const N: usize>(crds: [(CustomResourceDefinition, &str); N]) -> Result<Vec<(String, String)>, CrdError> {
    crds.into_iter()
        .map(|(crd, name)| {
            let mut value = serde_json::to_value(crd)?;
            tidy(&mut value);
            let plural = name.split('.').next().unwrap_or(name).to_owned();
            Ok((plural, serde_saphyr::to_string(&value)?))
        })
        .collect()
}

/// Removes unwanted output of the generator: integer formats that the API server does not know, the `.0` of whole numbers, and the brackets
/// of references, which `kubectl explain` would show. It also removes `nullable`, so that the API server treats null as a missing field.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("type").is_some_and(Value::is_string) {
                map.remove("nullable");
            }
            if map.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint")) {
                map.remove("format");
            }
            if let Some(Value::String(description)) = map.get_mut("description") {
                *description = description.replace("[`", "`").replace("`]", "`");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0).and_then(|n| format!("{n:.0}").parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        _ => {}
    }
}
