//! Proof by dry run: an object that carries a policy's name as its probe label must be refused by that policy.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};

use super::expected::GuardKind;
use crate::{
    api::{ActivationDecision, ApprovalPolicy, RoleActivationRequest, RoleEligibility, names},
    config::Config,
    errors::one_line,
};

/// Longest that one probe may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Name of what is never stored.
const NAME: &str = "jit-rbac-probe";

/// What is wrong with a policy that says what it must and does not refuse.
pub const NOT_IN_FORCE: &str = "is not in force: a dry run that it must refuse was let through";

/// What is wrong with a guard that was changed; what differs follows.
pub const DIFFERS: &str = "does not say what it must";

/// What came of looking at one guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it must be.
    Holds,
    /// It is not, and this is what is wrong.
    Weak(String),
    /// It could not be told, for this reason.
    Unknown(String),
}

/// What is asked to be refused.
enum Probe {
    /// The creation of an object.
    Create(ApiResource, Option<String>, Value),
    /// A label on the webhook configuration of this name: the operator may create no such object.
    Label(String),
}

/// Asks the policy `policy`, which the chart calls `short`, to refuse. None where nobody knows how: then what it says must be enough.
pub async fn prove(client: &Client, config: &Config, short: &str, policy: &str) -> Option<Finding> {
    let probe = probe(config, short, policy)?;
    let answer = tokio::time::timeout(LIMIT, ask(client, probe, policy)).await;
    Some(match answer {
        Err(_) => Finding::Unknown(format!("the API server did not answer a probe within {LIMIT:?}")),
        Ok(Ok(())) => Finding::Weak(NOT_IN_FORCE.to_owned()),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 && status.message.contains(&refusal(policy)) => Finding::Holds,
        Ok(Err(error)) => Finding::Unknown(format!("could not be asked to refuse: {}", one_line(&error))),
    })
}

/// How the API server says that it was this policy, by its own binding, and the rule for probes.
fn refusal(policy: &str) -> String {
    format!(
        "ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: the label {} asks the policy {policy} to refuse",
        names::PROBE_LABEL
    )
}

async fn ask(client: &Client, probe: Probe, policy: &str) -> kube::Result<()> {
    match probe {
        Probe::Create(resource, namespace, object) => {
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await.map(drop)
        }
        Probe::Label(name) => {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &GuardKind::ValidatingWebhookConfiguration.resource());
            let patch = json!({"metadata": {"labels": {names::PROBE_LABEL: policy}}});
            api.patch(&name, &PatchParams { dry_run: true, ..PatchParams::default() }, &Patch::Merge(patch)).await.map(drop)
        }
    }
}

/// Otherwise without fault, so that nobody else has a reason to refuse it.
fn probe(config: &Config, short: &str, policy: &str) -> Option<Probe> {
    let namespace = || Some(config.operator_namespace.clone());
    let labels = json!({names::PROBE_LABEL: policy});
    let authored = json!({"name": NAME, "labels": labels, "annotations": {names::AUTHOR: config.operator()}});
    let create = |resource, namespace, object| Some(Probe::Create(resource, namespace, object));
    match short {
        "requests" | "status" => create(
            ApiResource::erase::<RoleActivationRequest>(&()),
            namespace(),
            json!({
                "apiVersion": RoleActivationRequest::api_version(&()), "kind": RoleActivationRequest::kind(&()),
                "metadata": {"name": NAME, "labels": labels},
                "spec": {"eligibilityRef": {"name": NAME}, "duration": "1m"},
            }),
        ),
        "decisions" => create(
            ApiResource::erase::<ActivationDecision>(&()),
            namespace(),
            json!({
                "apiVersion": ActivationDecision::api_version(&()), "kind": ActivationDecision::kind(&()),
                "metadata": {"name": NAME, "labels": labels},
                "spec": {"requestRef": {"name": NAME}, "decision": "Deny"},
            }),
        ),
        "eligibilities" => create(
            ApiResource::erase::<RoleEligibility>(&()),
            None,
            json!({
                "apiVersion": RoleEligibility::api_version(&()), "kind": RoleEligibility::kind(&()), "metadata": authored,
                "spec": {
                    "subjects": [{"kind": "User", "name": NAME}], "roleRef": {"kind": "ClusterRole", "name": NAME},
                    "namespaces": {"names": [NAME]}, "policyRef": {"name": NAME}, "maxDuration": "1m",
                },
            }),
        ),
        "approval-policies" => create(
            ApiResource::erase::<ApprovalPolicy>(&()),
            None,
            json!({
                "apiVersion": ApprovalPolicy::api_version(&()), "kind": ApprovalPolicy::kind(&()), "metadata": authored,
                "spec": {"approval": {"automatic": {}}},
            }),
        ),
        // To its own role: nobody binds what he does not have himself.
        "bindings" => create(
            ApiResource::erase::<RoleBinding>(&()),
            namespace(),
            json!({
                "apiVersion": RoleBinding::api_version(&()), "kind": RoleBinding::kind(&()),
                "metadata": {"name": NAME, "labels": labels},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": config.controller.service_account},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": NAME}],
            }),
        ),
        "guards" => Some(Probe::Label(config.webhook.validating_configuration.clone())),
        _ => None,
    }
}
