//! The chart `jit-access`, installed by real Helm: who is named may ask, and nobody else.

use std::{path::Path, sync::Arc};

use control_plane::ADMIN;
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Journey, Outcome, SOON, Scene},
    journeys,
};

pub fn journeys() -> Vec<(&'static str, Journey)> {
    journeys![an_admin_says_with_helm_who_may_have_what, a_mistake_in_the_values_is_told_before_anything_is_installed]
}

/// Runs Helm on the scene's plane with `values` on its standard input's file, and returns what it printed.
async fn helm(scene: &Scene, args: &[&str], values: Option<&Value>) -> Result<(bool, String), Error> {
    let mut command = scene.ground.cluster().helm()?;
    command.args(args).args(["--namespace", &scene.name]);
    if let Some(values) = values {
        let path = scene.ground.cluster().directory().join(format!("{}.json", scene.name));
        std::fs::write(&path, values.to_string())?;
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jit-access")).arg("--values").arg(path);
    }
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), said))
}

fn values(name: &str) -> Value {
    let policy = format!("{name}-policy");
    json!({
        "policies": {policy.as_str(): {
            "approval": {"stages": [{"name": "lead", "approvers": {"users": ["named-approver"]}}]},
            "revokers": {"groups": ["security"]},
            "eligibility": {"requireEnd": false},
        }},
        "eligibilities": {name: {
            "subjects": [{"kind": "User", "name": "named-requester"}],
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "namespaces": {"names": [name]},
            "policyRef": {"name": policy},
            "maxDuration": "1h",
        }},
    })
}

async fn an_admin_says_with_helm_who_may_have_what(env: Arc<Env>) -> Outcome {
    let scene = env.scene("access").await?;
    let (done, said) = helm(&scene, &["upgrade", "--install", &scene.name], Some(&values(&scene.name))).await?;
    ensure!(done, "{said}");
    scene.kubectl(ADMIN, &["wait", "--for=condition=Ready", "--timeout=15s", &format!("rel/{}", scene.name)]).await?.ok()?;

    let binding =
        scene.kubectl(ADMIN, &["get", "clusterrolebinding", &format!("{}-jit-access-requester", scene.name), "-o", "json"]).await?.ok()?;
    let binding: Value = serde_json::from_str(&binding)?;
    let subjects = binding["subjects"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<&str> = subjects.iter().filter_map(|s| s["name"].as_str()).collect();
    names.sort_unstable();
    ensure!(names == ["named-approver", "named-requester", "security"], "the requester role is bound to {names:?}");
    for (user, may) in [("named-requester", "yes"), ("named-approver", "yes"), ("stranger", "no")] {
        let said = scene.kubectl(ADMIN, &["auth", "can-i", "create", "roleactivationrequests", "-n", &scene.name, "--as", user]).await?;
        ensure!(said.stdout.trim() == may, "may {user} make requests? {}", said.stdout);
    }

    let request = scene.request("now", &scene.name, "10m").to_string();
    let cluster = scene.ground.cluster();
    cluster.run_with(ADMIN, &["apply", "-f", "-", "--as", "named-requester"], &request).await?.ok()?;
    let status = scene.until_state("now", "AwaitingApproval", SOON).await?;
    let approve = scene.decision("now", "Approve", status["digest"].as_str());
    cluster.run_with(ADMIN, &["create", "-f", "-", "--as", "named-approver"], &approve.to_string()).await?.ok()?;
    scene.until_state("now", "Active", SOON).await?;

    let (done, said) = helm(&scene, &["uninstall", &scene.name], None).await?;
    ensure!(done, "{said}");
    let status = scene.until_state("now", "Revoked", SOON).await?;
    let reason = status["reason"].as_str().unwrap_or_default();
    ensure!(["EligibilityRemoved", "PolicyRemoved"].contains(&reason), "it was revoked for {reason}");
    scene.until_no_binding(SOON).await
}

async fn a_mistake_in_the_values_is_told_before_anything_is_installed(env: Arc<Env>) -> Outcome {
    let scene = env.scene("mistake").await?;
    let mut unknown = values(&scene.name);
    unknown["eligibilities"][&scene.name]["policyRef"]["name"] = json!("two-eyed");
    let (done, said) = helm(&scene, &["upgrade", "--install", &scene.name], Some(&unknown)).await?;
    ensure!(!done && said.contains("there is no policy \"two-eyed\" in this release"), "{said}");
    let mut misspelt = values(&scene.name);
    misspelt["eligibilities"][&scene.name]["maxDurration"] = json!("1h");
    let (done, said) = helm(&scene, &["upgrade", "--install", &scene.name], Some(&misspelt)).await?;
    ensure!(!done && said.contains("maxDurration"), "{said}");
    Ok(())
}
