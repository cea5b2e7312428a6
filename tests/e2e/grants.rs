//! The life of a grant, from the point of view of a requester, an approver and a revoker.

mod revocation;
mod status_and_events;
mod terminating_objects;

use std::sync::Arc;

use control_plane::ADMIN;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    status_helpers::{did, refused, says},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    let mut all = test_cases![
        cluster_role_grant_allows_access_only_while_active,
        role_grant_allows_access_only_while_active,
        request_without_duration_gets_the_default,
        requester_deactivates_a_grant,
        reapplied_completed_request_grants_nothing,
        generate_name_creates_a_new_request,
        t37_inv_30_namespace_is_deleted_during_a_grant,
    ];
    all.extend(terminating_objects::test_cases());
    all.extend(revocation::test_cases());
    all.extend(status_and_events::test_cases());
    all
}

/// Applies a request of dev and waits until it is granted.
async fn granted(scene: &Scene, name: &str, offer: &str, duration: &str) -> Result<Value, Error> {
    scene.apply("dev", &scene.request(name, offer, duration)).await?.ok()?;
    scene.until_state(name, "Active", SOON).await
}

/// Returns the seconds between two instants of a status.
fn seconds(status: &Value, from: &str, to: &str) -> Result<i64, Error> {
    let at = |key: &str| status[key].as_str().unwrap_or_default().parse::<Timestamp>().map_err(|error| format!("{key}: {error}"));
    Ok(at(to)?.duration_since(at(from)?).as_secs())
}

async fn cluster_role_grant_allows_access_only_while_active(env: Arc<Env>) -> Outcome {
    let scene = env.scene("life").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may create deployments before the request");
    let status = granted(&scene, "now", &offer, "8s").await?;
    ensure!(scene.can("dev", "create", "deployments").await?, "dev may not create deployments while the grant is active");
    ensure!(!scene.can("dev-2", "create", "deployments").await?, "the grant reaches another member of the group");
    let bindings = scene.bindings().await?;
    ensure!(bindings.len() == 1, "there are {} bindings", bindings.len());
    let subjects = &bindings[0]["subjects"];
    ensure!(*subjects == json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev"}]), "the subjects are {subjects}");
    ensure!(status["bindingRef"]["uid"] == bindings[0]["metadata"]["uid"], "the status names another binding: {status}");
    let ended = scene.until_state("now", "Expired", SOON).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may still create deployments after the end");
    ensure!(ended["expiresAt"] == status["expiresAt"] && seconds(&ended, "grantedAt", "expiresAt")? == 8, "the end moved: {ended}");
    ensure!((0..=3).contains(&seconds(&ended, "expiresAt", "endedAt")?), "it ended late: {ended}");
    scene.until_no_binding(SOON).await
}

async fn role_grant_allows_access_only_while_active(env: Arc<Env>) -> Outcome {
    let scene = env.scene("role").await?;
    let mut debug = eligibility("debug");
    debug["roleRef"]["kind"] = json!("Role");
    let offer = scene.offer("debug", automatic(), debug).await?;
    ensure!(!scene.can("dev", "get", "pods").await?, "dev may get pods before the request");
    let status = granted(&scene, "now", &offer, "8s").await?;
    ensure!(scene.can("dev", "get", "pods").await?, "dev may not get pods while the grant is active");
    ensure!(!scene.can("dev", "delete", "pods").await? && !scene.can("dev-2", "get", "pods").await?, "the grant is wider than the role");
    let role = &status["role"];
    ensure!(role["kind"] == "Role" && role["rules"] == json!(["get,list pods,pods/log"]), "the status shows the role as {role}");
    scene.until_state("now", "Expired", SOON).await?;
    ensure!(!scene.can("dev", "get", "pods").await?, "dev may still get pods after the end");
    Ok(())
}

async fn request_without_duration_gets_the_default(env: Arc<Env>) -> Outcome {
    let scene = env.scene("default").await?;
    let mut short = eligibility("view");
    short["defaultDuration"] = json!("90s");
    for (offer, expected) in
        [(scene.offer("short", automatic(), short).await?, 90), (scene.offer("longest", automatic(), eligibility("view")).await?, 3600)]
    {
        let mut request = scene.request(&offer, &offer, "");
        request["spec"].as_object_mut().expect("a spec").remove("duration");
        scene.apply("dev", &request).await?.ok()?;
        let status = scene.until_state(&offer, "Active", SOON).await?;
        let lasts = seconds(&status, "grantedAt", "expiresAt")?;
        ensure!(lasts == expected, "{offer} lasts {lasts} s instead of {expected} s");
    }
    Ok(())
}

async fn requester_deactivates_a_grant(env: Arc<Env>) -> Outcome {
    let scene = env.scene("back").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    granted(&scene, "now", &offer, "10m").await?;
    refused(
        scene.create("dev-2", &scene.decision("now", "Deactivate", None)).await?,
        &["NotTheRequester: only 'dev' can deactivate request 'now'"],
    )?;
    ensure!(scene.can("dev", "create", "deployments").await?, "another user's Deactivate ended it");
    scene.create("dev", &scene.decision("now", "Deactivate", None)).await?.ok()?;
    let status = scene.until_state("now", "Deactivated", SOON).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may still create deployments");
    ensure!(status["reason"] == "DeactivatedByRequester" && did(&status, "dev", "Deactivated"), "the timeline names no user: {status}");
    ensure!(says(&status) == "deactivated by dev: \"noted\"", "it says {}", says(&status));
    // A second one would change nothing: it is denied, and nothing is stored.
    refused(
        scene.create("dev", &scene.decision("now", "Deactivate", None)).await?,
        &["RequestCompleted: request 'now' has already ended (Deactivated): the decision Deactivate would have no effect"],
    )?;
    ensure!(scene.list("adec").await?.len() == 1, "another decision is stored");
    scene.until_no_binding(SOON).await
}

async fn reapplied_completed_request_grants_nothing(env: Arc<Env>) -> Outcome {
    let scene = env.scene("again").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    let manifest = scene.request("now", &offer, "6s");
    scene.apply("dev", &manifest).await?.ok()?;
    let ended = scene.until_state("now", "Expired", SOON).await?;
    let said = scene.apply("dev", &manifest).await?.ok()?;
    ensure!(said.trim() == "roleactivationrequest.jitrbac.dev/now unchanged", "kubectl says {said:?}");
    // A later request is decided: any effect of the first would have come before.
    granted(&scene, "later", &offer, "10m").await?;
    ensure!(scene.status("now").await? == ended, "the completed request changed");
    ensure!(scene.bindings().await?.len() == 1, "the completed request has a binding");
    Ok(())
}

async fn generate_name_creates_a_new_request(env: Arc<Env>) -> Outcome {
    let scene = env.scene("generated").await?;
    let offer = scene.offer("view", automatic(), eligibility("view")).await?;
    let mut request = scene.request("", &offer, "10m");
    request["metadata"] = json!({"generateName": "inc-4711-", "namespace": scene.name});
    let mut names = Vec::new();
    for _ in 0..2 {
        let said = scene.create("dev", &request).await?.ok()?;
        let name = said.trim().strip_prefix("roleactivationrequest.jitrbac.dev/").and_then(|rest| rest.strip_suffix(" created"));
        let name = name.ok_or_else(|| format!("kubectl says {said:?}"))?.to_owned();
        ensure!(name.starts_with("inc-4711-") && !names.contains(&name), "the name is {name}");
        scene.until_state(&name, "Active", SOON).await?;
        scene.create("dev", &scene.decision(&name, "Deactivate", None)).await?.ok()?;
        scene.until_state(&name, "Deactivated", SOON).await?;
        names.push(name);
    }
    Ok(())
}

async fn t37_inv_30_namespace_is_deleted_during_a_grant(env: Arc<Env>) -> Outcome {
    let scene = env.scene("going").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    let waits = scene.offer("waits", approved_by("leads", 1), eligibility("edit")).await?;
    granted(&scene, "now", &offer, "10m").await?;
    scene.apply("dev", &scene.request("later", &waits, "10m")).await?.ok()?;
    scene.until_state("later", "AwaitingApproval", SOON).await?;
    let digest = scene.status("later").await?["digest"].clone();
    let before = jiff::Timestamp::now();
    scene.kubectl(ADMIN, &["delete", "namespace", &scene.name, "--wait", "--timeout=60s"]).await?.ok()?;
    let took = jiff::Timestamp::now().duration_since(before);
    ensure!(took < SignedDuration::from_secs(30), "the namespace was held for {took}");
    // A namespace of the same name is another one: no old object returns, and decisions on the old requests approve nothing here.
    scene.create_namespace(&scene.name).await?;
    ensure!(scene.bindings().await?.is_empty() && scene.list("rar").await?.is_empty(), "an object remains after the namespace deletion");
    ensure!(!scene.can("dev", "create", "deployments").await?, "the grant exists again under the name");
    scene.apply("dev", &scene.request("later", &waits, "10m")).await?.ok()?;
    let status = scene.until_state("later", "AwaitingApproval", SOON).await?;
    ensure!(status["digest"] != digest, "the digest is the same in another namespace");
    refused(scene.create("lead-1", &scene.decision("later", "Approve", digest.as_str())).await?, &["DigestStale: "])
}
