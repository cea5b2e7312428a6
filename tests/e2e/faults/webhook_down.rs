//! The webhook is down (T44).

use std::sync::Arc;

use control_plane::{ADMIN, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, PostParams, TypeMeta},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

use super::alone;
use crate::{
    audit::Calls,
    ensure,
    env::{Env, Outcome, SOON, Scene, approved_by, automatic, eligibility},
};

/// No other call may wait for the webhook: the API server waits five seconds for each call of it.
const PROMPTLY: SignedDuration = SignedDuration::from_secs(4);
const LATEST: SignedDuration = SignedDuration::from_millis(1_000);

pub async fn t44_webhook_is_down_and_grants_still_end(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "hookless").await?;
    let fixture = &scene.fixture;
    scene.offers(&["ends", "revoked", "new"], &automatic(), &eligibility("edit")).await?;
    scene.offers(&["waiting", "deleted"], &approved_by("leads", 1), &eligibility("edit")).await?;
    scene.ask("dev", "waiting", "10m").await?;
    scene.until_state("waiting", "AwaitingApproval", SOON).await?;
    let revoked = scene.granted("dev", "revoked", "10m").await?;
    scene.ask("dev", "deleted", "10m").await?;
    scene.until_state("deleted", "AwaitingApproval", SOON).await?;
    scene.approve("lead-1", "deleted").await?;
    let deleted = scene.running("deleted").await?;
    let ends = scene.granted("dev", "ends", "12s").await?;
    let mut calls = Calls::from_now(&scene)?;
    // First it hangs, which delays each caller by five seconds; then it is down.
    fixture.operator.webhook().stop()?;
    everything_else_goes_on(&scene, "hangs").await?;
    let refused = scene.apply("dev", &scene.request("new", &scene.offered("new"), "5m")).await?.refused()?;
    ensure!(refused.contains("activations.jitrbac.dev"), "it does not say which webhook failed: {refused}");
    fixture.operator.webhook().kill();
    // No other component cleans up: there is no garbage collector either.
    fixture.plane.controller_manager().kill();

    let refused = scene.apply("dev", &scene.request("new", &scene.offered("new"), "5m")).await?.refused()?;
    ensure!(refused.contains("activations.jitrbac.dev"), "it does not say which webhook failed: {refused}");
    let refused = scene.create("lead-1", &scene.decision("waiting", "Deny", None)).await?.refused()?;
    ensure!(refused.contains("activations.jitrbac.dev"), "it does not say which webhook failed: {refused}");

    everything_else_goes_on(&scene, "gone").await?;
    // An admin's deletion takes effect, and a deleted record ends its grant.
    scene.kubectl(ADMIN, &["delete", "roleeligibility", &scene.offered("revoked")]).await?.ok()?;
    scene.until_gone(&revoked.binding, SOON).await?;
    scene.ends_as("revoked", "Revoked", &["EligibilityRemoved"], SOON).await?;
    scene.kubectl(ADMIN, &["delete", "rar", "deleted", "-n", &scene.name]).await?.ok()?;
    scene.until_gone(&deleted.binding, SOON).await?;
    wait_for_ok("its decision to be deleted", SOON, async || match scene.list("adec").await {
        Ok(left) if left.is_empty() => Ok(()),
        Ok(left) => Err(format!("there are {}", left.len())),
        Err(error) => Err(error.to_string()),
    })
    .await?;

    scene.ends_as("ends", "Expired", &["Expired"], SOON).await?;
    calls.ended_on_time(&ends.binding, ends.deadline, LATEST, "grant ended after its deadline, without a webhook").await?;

    fixture.plane.controller_manager().start()?;
    fixture.operator.webhook().start()?;
    let what = "requests to be accepted again";
    let taken = wait_for_ok(what, SOON, async || scene.ask("dev", "new", "5m").await.map_err(|error| error.to_string()));
    taken.await?;
    scene.running("new").await?;
    Ok(())
}

pub async fn everything_else_goes_on(scene: &Scene, name: &str) -> Outcome {
    let meta = json!({"name": name, "namespace": scene.name});
    let labels = json!({"app": "a"});
    let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "debug"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "outsider"}],
    });
    let others = [
        ("v1", "ConfigMap", json!({})),
        ("v1", "Secret", json!({})),
        ("v1", "ServiceAccount", json!({})),
        ("apps/v1", "Deployment", json!({"spec": {"selector": {"matchLabels": labels}, "template": pod}})),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", binding),
        ("coordination.k8s.io/v1", "Lease", json!({})),
    ];
    for (version, kind, mut object) in others {
        object["metadata"] = meta.clone();
        let kind = GroupVersionKind::try_from(TypeMeta { api_version: version.to_owned(), kind: kind.to_owned() })?;
        let api: Api<DynamicObject> = Api::namespaced_with(scene.fixture.client.clone(), &scene.name, &ApiResource::from_gvk(&kind));
        let asked = Timestamp::now();
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        api.delete(name, &DeleteParams::default()).await?;
        let took = Timestamp::now().duration_since(asked);
        ensure!(took < PROMPTLY, "a {} took {} ms: something waited for the webhook", kind.kind, took.as_millis());
    }
    Ok(())
}
