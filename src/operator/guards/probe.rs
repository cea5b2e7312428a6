//! Proof by dry run: a policy must deny an object whose probe label names that policy.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, Status, TypeMeta},
};
use serde_json::{Value, json};

use crate::config::Config;
use api::{ActivationDecision, ApprovalPolicy, RoleActivationRequest, RoleEligibility, names};
use domain::guards::expected::GuardKind;
use kube_io::{errors::one_line, resource};

/// Time limit of one probe.
const LIMIT: Duration = Duration::from_secs(5);
/// Name of the object that is never stored.
const NAME: &str = "jit-rbac-probe";

/// The error of a policy whose content is as expected but that does not deny the probe.
pub const NOT_IN_FORCE: &str = "is not in force: a dry run that it must deny was allowed";

/// The result of checking one guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The guard is as expected.
    Holds,
    /// The guard is not as expected, for this reason.
    Weak(String),
    /// The check failed, for this reason.
    Unknown(String),
    /// The content is as expected, and this check made no probe.
    NotAsked,
}

/// The operation that the policy must deny.
enum Probe {
    /// The creation of an object of this kind, in this namespace.
    Create(ApiResource, Option<String>, Value),
    /// A label on the webhook configuration of this name, since the operator may create no such object.
    Label(String),
}

/// Has the policy `policy`, which the chart calls `short`, deny a probe. Returns `None` where there is no probe, or where a webhook or
/// policy answered that the chart allows to answer first. The content of the policy must suffice then.
pub async fn prove(client: &Client, config: &Config, short: &str, policy: &str) -> Option<Finding> {
    let probe = probe(config, short, policy)?;
    let answer = tokio::time::timeout(LIMIT, ask(client, probe, policy)).await;
    match answer {
        Err(_) => Some(Finding::Unknown(format!("the API server did not answer a probe within {LIMIT:?}"))),
        Ok(Ok(())) => Some(Finding::Weak(NOT_IN_FORCE.to_owned())),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => refused(&status, policy, &config.guards.may_answer_first),
        Ok(Err(error)) => Some(Finding::Unknown(format!("could not be probed: {}", one_line(&error)))),
    }
}

/// Evaluates a denial. `None`: it comes from one of those that may answer first.
fn refused(status: &Status, policy: &str, may_answer_first: &[String]) -> Option<Finding> {
    // Causes contain the rule's message in a field of its own. In the status message the object's name precedes it.
    let causes = status.details.iter().flat_map(|details| &details.causes).map(|cause| cause.message.as_str());
    let said: Vec<&str> = causes.chain([status.message.as_str()]).collect();
    if said.iter().any(|said| is_by(said, policy)) {
        return Some(Finding::Holds);
    }
    if may_answer_first.iter().any(|other| said.iter().any(|said| mentions(said, other))) {
        return None;
    }
    let said = one_line(&kube::Error::Api(Box::new(status.clone())));
    Some(Finding::Unknown(format!(
        "could not be probed: {said}. If another policy or webhook answers first, exempt objects with the label {} from it, or list it in \
         the chart value admissionGuards.mayAnswerFirst",
        names::PROBE_LABEL
    )))
}

/// True for the message of the probe rule, attributed to this policy. The API server's attribution differs between releases; the rule's own
/// message is the chart's.
fn is_by(said: &str, policy: &str) -> bool {
    let rule = format!("the label {} asks the policy {policy} to refuse", names::PROBE_LABEL);
    said.split_once(&rule).is_some_and(|(before, _)| mentions(before, policy) && !before.contains("webhook"))
}

/// True where a text contains this name as a word.
fn mentions(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.').any(|word| word.trim_matches('.') == name)
}

async fn ask(client: &Client, probe: Probe, policy: &str) -> kube::Result<()> {
    match probe {
        Probe::Create(resource, namespace, object) => {
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
            let types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
            let object = DynamicObject { types, ..object };
            api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await.map(drop)
        }
        Probe::Label(name) => {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource::v1(GuardKind::ValidatingWebhookConfiguration.names()));
            let patch = json!({"metadata": {"labels": {names::PROBE_LABEL: policy}}});
            api.patch(&name, &PatchParams { dry_run: true, ..PatchParams::default() }, &Patch::Merge(patch)).await.map(drop)
        }
    }
}

/// Returns a probe that is valid otherwise, so that no other policy has a reason to deny it.
fn probe(config: &Config, short: &str, policy: &str) -> Option<Probe> {
    let namespace = || Some(config.operator_namespace.clone());
    let labels = json!({names::PROBE_LABEL: policy});
    let plain = json!({"name": NAME, "labels": labels});
    let authored = json!({"name": NAME, "labels": labels, "annotations": {names::AUTHOR: config.operator()}});
    Some(match short {
        "requests" | "status" => create::<RoleActivationRequest>(
            namespace(),
            json!({"metadata": plain, "spec": {"eligibilityRef": {"name": NAME}, "duration": "1m"}}),
        ),
        "decisions" => create::<ActivationDecision>(
            namespace(),
            json!({"metadata": plain, "spec": {"requestRef": {"name": NAME}, "decision": "Deny"}}),
        ),
        "eligibilities" => create::<RoleEligibility>(
            None,
            json!({
                "metadata": authored,
                "spec": {
                    "subjects": [{"kind": "User", "name": NAME}], "roleRef": {"kind": "ClusterRole", "name": NAME},
                    "namespaces": {"names": [NAME]}, "policyRef": {"name": NAME}, "maxDuration": "1m",
                },
            }),
        ),
        "approval-policies" => create::<ApprovalPolicy>(None, json!({"metadata": authored, "spec": {"approval": {"automatic": {}}}})),
        // It binds the operator's own role, because RBAC lets no account bind permissions that it does not have.
        "bindings" => create::<RoleBinding>(
            namespace(),
            json!({
                "metadata": plain,
                "roleRef": {"apiGroup": names::RBAC_GROUP, "kind": "ClusterRole", "name": config.controller.service_account},
                "subjects": [{"apiGroup": names::RBAC_GROUP, "kind": "User", "name": NAME}],
            }),
        ),
        "guards" => Probe::Label(config.webhook.validating_configuration.clone()),
        _ => return None,
    })
}

fn create<K: Resource<DynamicType = ()>>(namespace: Option<String>, object: Value) -> Probe {
    Probe::Create(ApiResource::erase::<K>(&()), namespace, object)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "jit-rbac-requests";

    fn status(message: &str, causes: &[&str]) -> Status {
        let causes: Vec<_> = causes.iter().map(|message| json!({"message": message})).collect();
        serde_json::from_value(json!({
            "status": "Failure", "code": 403, "reason": "Forbidden", "message": message, "details": {"causes": causes},
        }))
        .unwrap()
    }

    #[test]
    fn f08_a_refusal_is_known_by_its_cause_whatever_sentence_stands_around_it() {
        let rule = format!("the label {} asks the policy {POLICY} to refuse, which proves that it is in force", names::PROBE_LABEL);
        let today = format!("ValidatingAdmissionPolicy '{POLICY}' with binding '{POLICY}' denied request: {rule}");
        let whole = format!("requests \"probe\" is forbidden: {today}");
        let proves = |status: &Status| refused(status, POLICY, &[]) == Some(Finding::Holds);
        assert!(proves(&status(&whole, &[&today])));
        assert!(proves(&status(&whole, &[])), "an API server that gives no causes");
        assert!(proves(&status("denied", &[&today])), "the message is another one by now");
        assert!(proves(&status("denied", &[&format!("policy \"{POLICY}\", binding \"{POLICY}\": {rule}")])), "so are the words");
        let other = format!("ValidatingAdmissionPolicy 'other' with binding 'other' denied request: {rule}");
        let longer = format!("ValidatingAdmissionPolicy '{POLICY}-2' with binding '{POLICY}-2' denied request: {rule}");
        let webhook = format!("admission webhook \"a.example\" of {POLICY} denied the request: {rule}");
        let another_rule = format!("ValidatingAdmissionPolicy '{POLICY}' with binding '{POLICY}' denied request: the stamp is wrong");
        for said in [&other, &longer, &webhook, &another_rule, &rule] {
            assert!(!proves(&status(said, &[said])), "{said}");
        }
    }

    #[test]
    fn f08_those_whom_the_chart_names_may_answer_first() {
        let policy = "ValidatingAdmissionPolicy 'labels' with binding 'all' denied request: every object has a label team";
        let webhook = "admission webhook \"validate.example.com\" denied the request: no";
        let first = ["labels".to_owned(), "validate.example.com".to_owned()];
        for said in [policy, webhook] {
            assert_eq!(refused(&status(said, &[]), POLICY, &first), None, "{said}");
            let Some(Finding::Unknown(why)) = refused(&status(said, &[]), POLICY, &[]) else { panic!("{said}") };
            assert!(why.contains(said) && why.contains("admissionGuards.mayAnswerFirst"), "{why}");
        }
        let stranger = "ValidatingAdmissionPolicy 'labels-too' with binding 'all' denied request: no";
        assert!(matches!(refused(&status(stranger, &[]), POLICY, &first), Some(Finding::Unknown(_))));
    }
}
