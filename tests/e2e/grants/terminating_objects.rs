//! An object that is being deleted counts as deleted, whatever finalizers keep it stored (T28).

use std::{sync::Arc, time::Duration};

use control_plane::ADMIN;
use serde_json::json;

use super::granted;
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, automatic, eligibility},
    status_helpers::{refused, says, until_condition},
    test_cases,
};

/// The limit for "at once" on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);
const KEEP: &str = "example.com/keep";

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![f07_f52_f60_terminating_objects_keep_no_grant]
}

async fn f07_f52_f60_terminating_objects_keep_no_grant(env: Arc<Env>) -> Outcome {
    let scene = env.scene("deleting").await?;
    for (kind, reason, refusal) in [
        ("roleeligibility", "EligibilityRemoved", "EligibilityNotFound: "),
        ("approvalpolicy", "PolicyRemoved", "PolicyNotFound: "),
        ("role", "RoleRemoved", "RoleNotFound: "),
    ] {
        let mut spec = eligibility("edit");
        if kind == "role" {
            spec["roleRef"] = json!({"kind": "Role", "name": "debug"});
        }
        let offer = scene.offer(kind, automatic(), spec).await?;
        granted(&scene, kind, &offer, "10m").await?;
        let name = if kind == "role" { "debug" } else { offer.as_str() };
        let patch = |finalizers: &str| format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        let held = patch(&format!(r#"["{KEEP}"]"#));
        scene.kubectl(ADMIN, &["patch", kind, name, "-n", &scene.name, "--type=merge", "-p", &held]).await?.ok()?;
        scene.kubectl(ADMIN, &["delete", kind, name, "-n", &scene.name, "--wait=false"]).await?.ok()?;
        let status = scene.until_state(kind, "Revoked", AT_ONCE).await?;
        ensure!(status["reason"] == reason, "{kind}: the reason is {}", status["reason"]);
        let message = says(&status);
        ensure!(message.contains("is being deleted") && message.contains(KEEP), "{kind}: it says {message}");
        ensure!(scene.get(kind, name).await?.is_some(), "{kind}: it is not stored any more, so this shows nothing");
        refused(scene.apply("dev", &scene.request("again", &offer, "10m")).await?, &[refusal, "is being deleted", KEEP])?;
        match kind {
            "roleeligibility" => drop(until_condition(&scene, &format!("{kind}/{offer}"), "Ready", "False", reason).await?),
            "approvalpolicy" => {
                until_condition(&scene, &format!("{kind}/{offer}"), "Ready", "False", reason).await?;
                until_condition(&scene, &format!("roleeligibility/{offer}"), "Ready", "False", "PolicyNotFound").await?;
            }
            _ => {}
        }
        scene.kubectl(ADMIN, &["patch", kind, name, "-n", &scene.name, "--type=merge", "-p", &patch("null")]).await?.ok()?;
    }
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may still create deployments");
    scene.until_no_binding(SOON).await
}
