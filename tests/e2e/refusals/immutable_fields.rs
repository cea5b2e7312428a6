//! Changes of immutable fields: by users without the right, and by users with every right that RBAC can give in a namespace.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::json;

use super::{Book, scene};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, approved_by, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![refused_changes_get_the_reason]
}

async fn refused_changes_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = scene(&env, "ledger").await?;
    let offer = scene.offer("view", approved_by("leads", 2), eligibility("view")).await?;
    scene.apply("dev", &scene.request("inc-4711", &offer, "45m")).await?.ok()?;
    let status = scene.until_state("inc-4711", "AwaitingApproval", SOON).await?;
    let mut approve = scene.decision("inc-4711", "Approve", status["digest"].as_str());
    approve["metadata"] = json!({"name": "inc-4711-lead-1", "namespace": scene.name});
    scene.create("lead-1", &approve).await?.ok()?;
    // Every permission in this namespace, and none elsewhere.
    let rbac = "rbac.authorization.k8s.io";
    scene
        .admin(&[
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "all", "namespace": scene.name},
                "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}),
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "all", "namespace": scene.name},
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "all"}, "subjects": [{"apiGroup": rbac, "kind": "User", "name": "dev-2"}]}),
        ])
        .await?;

    let mut book = Book::new(&scene, "Changes")?;
    let (request, decision) = ("rar/inc-4711", "adec/inc-4711-lead-1");
    let by_rbac = |verb: &str| {
        format!(
            "Error from server (Forbidden): roleactivationrequests.jitrbac.dev \"inc-4711\" is forbidden: User \"dev\" cannot {verb} resource \"roleactivationrequests\" in API group \"jitrbac.dev\" in the namespace \"ledger\""
        )
    };
    let kept = "Error from server (Forbidden): roleactivationrequests.jitrbac.dev \"inc-4711\" is forbidden: ValidatingAdmissionPolicy 'jit-rbac-requests' with binding 'jit-rbac-requests' denied request: labels, annotations, owners and finalizers of a request are immutable, since they belong to the record; create a new one instead";
    book.kubectl("By the requester", "dev", &["annotate", request, "-n", "ledger", "a=b"], kept).await?;
    book.kubectl("Its removal by the requester", "dev", &["delete", request, "-n", "ledger"], &by_rbac("delete")).await?;

    let schema = |kind: &str, name: &str, says: &str| format!("The {kind} \"{name}\" is invalid: spec: Invalid value: {says}");
    let policy = |plural: &str, name: &str, policy: &str, says: &str| {
        format!(
            "Error from server (Forbidden): {plural}.jitrbac.dev \"{name}\" is forbidden: ValidatingAdmissionPolicy 'jit-rbac-{policy}' with binding 'jit-rbac-{policy}' denied request: {says}"
        )
    };
    let of_request = |by: &str, says: &str| policy("roleactivationrequests", "inc-4711", by, says);
    let of_decision = |by: &str, says: &str| policy("activationdecisions", "inc-4711-lead-1", by, says);
    let another = "a request cannot be changed: create another one (kubectl create with metadata.generateName, or a new name)";
    for (title, spec) in [
        ("A longer duration", r#"{"spec":{"duration":"4h"}}"#),
        ("Another requester", r#"{"spec":{"requester":{"username":"dev-2","uid":"u-dev-2"}}}"#),
    ] {
        book.kubectl(
            title,
            "dev-2",
            &["patch", request, "-n", "ledger", "--type=merge", "-p", spec],
            &schema("RoleActivationRequest", "inc-4711", another),
        )
        .await?;
    }
    for (title, spec) in [
        ("Another decision", r#"{"spec":{"decision":"Deny","digest":null}}"#),
        ("Another decider", r#"{"spec":{"decider":{"username":"lead-2","uid":"u-lead-2"}}}"#),
    ] {
        let says = schema("ActivationDecision", "inc-4711-lead-1", "a decision cannot be changed: create another one");
        book.kubectl(title, "dev-2", &["patch", decision, "-n", "ledger", "--type=merge", "-p", spec], &says).await?;
    }
    let metadata = |one: &str| {
        format!(
            "labels, annotations, owners and finalizers of a {one} are immutable, since they belong to the record; create a new one instead"
        )
    };
    for (title, patch) in [
        ("Labels", r#"{"metadata":{"labels":{"a":"b"}}}"#),
        ("Annotations", r#"{"metadata":{"annotations":{"a":"b"}}}"#),
        ("Owners", r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"a"}]}}"#),
        ("Finalizers", r#"{"metadata":{"finalizers":["example.com/hold"]}}"#),
    ] {
        let words = ["patch", request, "-n", "ledger", "--type=merge", "-p", patch];
        book.kubectl(title, "dev-2", &words, &of_request("requests", &metadata("request"))).await?;
    }
    let patch = ["patch", decision, "-n", "ledger", "--type=merge", "-p", r#"{"metadata":{"ownerReferences":null}}"#];
    book.kubectl("The owner of a decision", "dev-2", &patch, &of_decision("decisions", &metadata("decision"))).await?;
    let says = "only jit-rbac itself writes status, which reports decisions and makes none. To approve, deny or revoke create an ActivationDecision";
    let patch = ["patch", request, "-n", "ledger", "--subresource=status", "--type=merge", "-p", r#"{"status":{"state":"Active"}}"#];
    book.kubectl("The status", "dev-2", &patch, &of_request("status", says)).await?;
    let record = |one: &str, plural: &str| {
        format!(
            "a {one} is a record and cannot be deleted. To end access create an ActivationDecision with decision Deactivate or Revoke; deleting the record requires the verb purge on {plural}.jitrbac.dev in the whole cluster"
        )
    };
    book.kubectl(
        "Its removal",
        "dev-2",
        &["delete", request, "-n", "ledger"],
        &of_request("requests", &record("request", "roleactivationrequests")),
    )
    .await?;
    book.kubectl(
        "The removal of a decision",
        "dev-2",
        &["delete", decision, "-n", "ledger"],
        &of_decision("decisions", &record("decision", "activationdecisions")),
    )
    .await?;

    let after = scene.status("inc-4711").await?;
    ensure!(after["digest"] == status["digest"] && after["awaiting"]["have"] == 1, "something changed: {after}");
    scene.kubectl(ADMIN, &["delete", request, "-n", "ledger"]).await?.ok()?;
    book.close()
}
