//! Objects are written past the guards while no operator runs, and the guards are restored afterwards (T42, T55, invariant 14).

use std::sync::Arc;

use control_plane::{ADMIN, wait_for_ok};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Guard, until_proven, until_verified};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, approved_by, automatic, eligibility},
    faults::{alone, kill_all, start_all},
    grant_helpers::text,
};

const AWAY: [(&str, &str); 8] = [
    ("mutatingwebhookconfiguration", "jit-rbac"),
    ("validatingwebhookconfiguration", "jit-rbac"),
    ("validatingadmissionpolicy", "jit-rbac-requests"),
    ("validatingadmissionpolicy", "jit-rbac-decisions"),
    ("validatingadmissionpolicy", "jit-rbac-eligibilities"),
    ("validatingadmissionpolicy", "jit-rbac-approval-policies"),
    ("validatingadmissionpolicy", "jit-rbac-status"),
    ("validatingadmissionpolicybinding", "jit-rbac-guards"),
];

/// A stamp of another user.
fn stamp(user: &str, group: &str) -> Value {
    json!({"username": user, "uid": format!("u-{user}"), "groups": [group]})
}

pub async fn t42_t55_inv_14_objects_written_without_guards_are_never_granted(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "unguarded").await?;
    let fixture = &scene.fixture;
    scene.offers(&["forged", "before", "later"], &automatic(), &eligibility("view")).await?;
    scene.offers(&["approved"], &approved_by("leads", 1), &eligibility("view")).await?;
    let running = scene.granted("dev", "before", "30m").await?;
    let approved = scene.ask("dev", "approved", "10m").await?;
    let digest = text(&scene.until_state("approved", "AwaitingApproval", SOON).await?["digest"]);
    until_verified(fixture).await?;

    kill_all(fixture);
    let mut guards = Vec::new();
    for (kind, name) in AWAY {
        guards.push(Guard::save(fixture, kind, name).await?);
    }
    for guard in &guards {
        guard.delete(fixture).await?;
    }
    forge(&scene, &approved, &digest).await?;
    for guard in guards.iter().rev() {
        guard.restore(fixture).await?;
    }
    let back = Timestamp::now();
    start_all(fixture).await?;
    until_proven(fixture, back).await?;

    scene.ends_as("forged", "Denied", &["WrittenUnguarded"], SOON).await?;
    // The forged decision does not count, and its alleged author is never reported: not even while it was unknown when the guards were
    // disabled.
    for status in [scene.status("approved").await?, scene.until_state("approved", "AwaitingApproval", SOON).await?] {
        let told = status["timeline"].to_string();
        ensure!(status["approvals"].as_array().is_none_or(Vec::is_empty) && !told.contains("lead-1"), "it is {status}");
    }
    // The authors of the eligibility and the policy are unknown, until they are written again.
    let planted = scene.offered("planted");
    for kind in ["roleeligibility", "approvalpolicy"] {
        let wait = "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=WrittenUnguarded";
        scene.kubectl(ADMIN, &["wait", wait, "--timeout=15s", &format!("{kind}/{planted}")]).await?.ok()?;
    }
    scene.ask("dev", "planted", "10m").await?;
    let status = scene.until_state("planted", "Pending", SOON).await?;
    ensure!(status["reason"] == "WrittenUnguarded" && status["conditions"].to_string().contains("write it again"), "it is {status}");
    // An active grant under an unchanged eligibility stays active, and new grants are made.
    ensure!(scene.status("before").await?["state"] == "Active", "it is {}", scene.status("before").await?);
    ensure!(scene.get("rolebinding", &running.binding).await?.is_some(), "its binding no longer exists");
    scene.granted("dev", "later", "10m").await?;
    ensure!(scene.bindings().await?.len() == 2, "there are other bindings: {:?}", scene.bindings().await?);

    let longer = json!({"spec": {"maxDuration": "2h"}}).to_string();
    scene.kubectl(ADMIN, &["patch", "roleeligibility", &planted, "--type=merge", "-p", &longer]).await?.ok()?;
    let described = json!({"spec": {"limits": {"maxDuration": "2h"}}}).to_string();
    scene.kubectl(ADMIN, &["patch", "approvalpolicy", &planted, "--type=merge", "-p", &described]).await?.ok()?;
    scene.running("planted").await?;
    Ok(())
}

/// A write that the guards would have denied: it is accepted now.
async fn forge(scene: &Scene, approved: &Value, digest: &str) -> Outcome {
    let mut request = scene.request("forged", &scene.offered("forged"), "10m");
    request["spec"]["requester"] = stamp("dev", "devs");
    // The API server used its old caches for a moment.
    wait_for_ok("a forged request to be accepted", SOON, async || {
        scene.write("outsider", "rar", &request).await.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    let about = &approved["metadata"];
    let mut approve = scene.decision("approved", "Approve", Some(digest));
    approve["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "name": about["name"], "uid": about["uid"]},
    ]);
    approve["spec"]["decider"] = stamp("lead-1", "leads");
    approve["spec"]["requestRef"] = json!({"name": about["name"], "uid": about["uid"], "requester": "dev"});
    wait_for_ok("a forged approval to be accepted", SOON, async || {
        scene.write("outsider", "adec", &approve).await.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    wait_for_ok("an eligibility without author to be accepted", SOON, async || {
        scene.offers(&["planted"], &automatic(), &eligibility("view")).await.map_err(|error| error.to_string())
    })
    .await?;
    let stored = scene.kubectl(ADMIN, &["get", "roleeligibility", &scene.offered("planted"), "-o", "json"]).await?.ok()?;
    let stored: Value = serde_json::from_str(&stored)?;
    ensure!(stored["metadata"]["annotations"]["jitrbac.dev/author"].is_null(), "it has a stamp: {stored}");
    Ok(())
}
