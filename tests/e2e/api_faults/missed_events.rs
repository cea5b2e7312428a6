//! Watches deliver no events while the objects behind a grant change: the decision uses what is stored, not the caches.

use std::sync::Arc;

use control_plane::{ADMIN, Disorder, Disturbed, Fault, Rule};
use serde_json::{Value, json};

use super::call_sequence::proxied;
use crate::{
    audit::Calls,
    ensure,
    env::{Env, GAINING, Outcome, SOON, Scene, approved_by, automatic, eligibility},
    grant_helpers::each,
};

/// A change, by the name of the affected request, and the result of the request.
const CHANGES: [(&str, &str, &str); 5] = [
    ("tightened", "AwaitingApproval", "WaitingForApproval"),
    ("widened", "Pending", "RiskNotAccepted"),
    ("suspended", "Denied", "EligibilitySuspended"),
    ("unpolicied", "Pending", "PolicyNotFound"),
    ("moved", "AwaitingApproval", "WaitingForApproval"),
];

fn role(rules: &[Value]) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": GAINING}, "rules": rules})
}

pub async fn f03_grant_uses_stored_objects_when_caches_are_stale(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "stored").await?;
    let harmless = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    scene.admin(&[role(std::slice::from_ref(&harmless))]).await?;
    let names = CHANGES.map(|(name, ..)| name);
    scene.offers(&names, &automatic(), &eligibility(GAINING)).await?;
    scene.offers(&["strict"], &approved_by("leads", 1), &eligibility(GAINING)).await?;
    let ready: Vec<String> =
        names.iter().flat_map(|name| ["approvalpolicy", "roleeligibility"].map(|kind| format!("{kind}/{}", scene.offered(name)))).collect();
    let wait = ["wait", "--for=condition=Ready", "--timeout=30s"];
    scene.kubectl(ADMIN, &wait.into_iter().chain(ready.iter().map(String::as_str)).collect::<Vec<_>>()).await?.ok()?;

    let mut calls = Calls::from_now(&scene)?;
    let proxy = scene.fixture.proxy()?;
    let lost = ["roleeligibilities", "approvalpolicies", "clusterroles"].map(|resource| proxy.disturb(None, resource, Disorder::Lost));
    // Each request is being granted when an object that it depends on changes.
    let held = names.map(|name| proxy.place(Rule::on("list", "activationdecisions", Fault::Hold).about(name)));
    each(&names, |name| scene.ask("dev", name, "10m")).await?;
    for rule in &held {
        rule.until_hit(SOON).await?;
    }
    let spec = |name: &str| format!("roleeligibility/{}", scene.offered(name));
    let replaced = json!([{"op": "replace", "path": "/spec", "value": approved_by("leads", 1)}]);
    patch(&scene, &format!("approvalpolicy/{}", scene.offered("tightened")), "json", &replaced).await?;
    patch(&scene, &spec("suspended"), "merge", &json!({"spec": {"suspended": true}})).await?;
    patch(&scene, &spec("moved"), "merge", &json!({"spec": {"policyRef": {"name": scene.offered("strict")}}})).await?;
    // Every other one accepts the permissions that the role gains.
    for name in names.into_iter().filter(|name| *name != "widened") {
        patch(&scene, &spec(name), "merge", &json!({"spec": {"acceptRisks": ["Certificates"]}})).await?;
    }
    let signs = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"]});
    scene.admin(&[role(&[harmless, signs])]).await?;
    scene.kubectl(ADMIN, &["delete", "approvalpolicy", &scene.offered("unpolicied")]).await?.ok()?;
    drop(held);

    for (name, state, reason) in CHANGES {
        let status = scene.until_state(name, state, SOON).await?;
        ensure!(status["reason"] == reason, "{name} is {state} because of {}", status["reason"]);
    }
    ensure!(lost.iter().map(Disturbed::met).sum::<usize>() > 0, "the watches reported the changes");
    let made = calls.bindings_made(&scene.name)?;
    ensure!(made.is_empty(), "{} grants were made under objects that had changed", made.len());
    Ok(())
}

async fn patch(scene: &Scene, object: &str, kind: &str, patch: &Value) -> Outcome {
    scene.kubectl(ADMIN, &["patch", object, &format!("--type={kind}"), "-p", &patch.to_string()]).await?.ok()?;
    Ok(())
}
