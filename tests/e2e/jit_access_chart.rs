//! The chart `jit-access`, installed with the real Helm: the named subjects can make requests, and no other user can.

mod upgrades;

use std::{path::Path, sync::Arc};

use control_plane::ADMIN;
use serde_json::{Value, json};

use self::upgrades::*;
use crate::{
    ensure,
    env::{self, Env, Error, Outcome, SOON, Scene, TestCase, eligibility},
    status_helpers::until_condition,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        chart_values_define_eligibilities,
        invalid_chart_values_fail_before_the_installation,
        f26_helm_wait_waits_only_for_objects_in_progress,
        f59_suspension_is_not_rolled_back_by_a_health_check,
        f26_helm_wait_treats_a_completed_request_as_ready,
        f22_namespaced_requesters_read_only_their_namespaces,
        f29_requests_and_decisions_support_server_side_apply,
        f44_chart_upgrade_removes_eligibilities_and_changes_the_role,
    ]
}

/// Runs Helm on the scene's control plane with `values` in a values file, and returns its output.
async fn helm(scene: &Scene, args: &[&str], values: Option<&Value>) -> Result<(bool, String), Error> {
    let mut further = Vec::new();
    if let Some(values) = values {
        let path = scene.fixture.cluster().directory().join(format!("{}.json", scene.name));
        std::fs::write(&path, values.to_string())?;
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jit-access");
        further = vec![chart.display().to_string(), "--values".to_owned(), path.display().to_string()];
    }
    let further: Vec<&str> = further.iter().map(String::as_str).collect();
    run(scene, &[args, &further].concat()).await
}

/// Runs Helm on the scene's control plane and returns its output.
async fn run(scene: &Scene, args: &[&str]) -> Result<(bool, String), Error> {
    let mut command = scene.fixture.cluster().helm()?;
    command.args(args).args(["--namespace", &scene.name]);
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

async fn chart_values_define_eligibilities(env: Arc<Env>) -> Outcome {
    let scene = env.scene("access").await?;
    let (done, said) = helm(&scene, &["upgrade", "--install", &scene.name], Some(&values(&scene.name))).await?;
    ensure!(done, "{said}");
    scene.kubectl(ADMIN, &["wait", "--for=condition=Ready", "--timeout=15s", &format!("rel/{}", scene.name)]).await?.ok()?;

    let binding = scene
        .kubectl(ADMIN, &["get", "clusterrolebinding", &format!("{}-jit-access-jit-rbac-requester", scene.name), "-o", "json"])
        .await?
        .ok()?;
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
    let cluster = scene.fixture.cluster();
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

async fn invalid_chart_values_fail_before_the_installation(env: Arc<Env>) -> Outcome {
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

/// Helm's `--wait`, which uses the kstatus library.
const WAIT: [&str; 4] = ["upgrade", "--install", "--wait", "--timeout"];

/// The values with an automatic policy and these changes of the eligibility.
fn automatic(name: &str, changes: &Value) -> Value {
    let mut values = values(name);
    values["policies"][format!("{name}-policy")]["approval"] = json!({"automatic": {}});
    for (field, value) in changes.as_object().into_iter().flatten() {
        values["eligibilities"][name][field] = value.clone();
    }
    values
}

async fn usable(scene: &Scene) -> Result<String, Error> {
    let columns = "custom-columns=R:.status.conditions[?(@.type==\"Ready\")].status,U:.status.conditions[?(@.type==\"Usable\")].status,\
                   W:.status.conditions[?(@.type==\"Usable\")].reason";
    let said = scene.kubectl("dev", &["get", "rel", &scene.name, "--no-headers", "-o", columns]).await?.ok()?;
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

async fn f26_helm_wait_waits_only_for_objects_in_progress(env: Arc<Env>) -> Outcome {
    let scene = env.scene("kstatus-rel").await?;
    for (changes, expected) in [
        (json!({}), "True True Valid"),
        (json!({"startTime": "2100-01-01T00:00:00Z"}), "True False EligibilityNotStarted"),
        (json!({"endTime": "2020-01-01T00:00:00Z"}), "True False EligibilityExpired"),
        (json!({"suspended": true}), "True False EligibilitySuspended"),
        (json!({"maxDuration": "50m"}), "True True Valid"),
    ] {
        let args = [&WAIT[..], &["30s", &scene.name]].concat();
        let (done, said) = helm(&scene, &args, Some(&automatic(&scene.name, &changes))).await?;
        ensure!(done, "{changes}: {said}");
        let found = usable(&scene).await?;
        ensure!(found == expected, "{changes}: it is {found}");
    }
    let row = scene.kubectl("dev", &["get", "rel", &scene.name]).await?.ok()?;
    let columns: Vec<&str> = row.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(columns == ["NAME", "ROLE", "POLICY", "MAX", "READY", "USABLE", "REASON", "AGE"], "the columns are {columns:?}");

    // An invalid one has failed, and does not appear to be in progress.
    let policy = format!("approvalpolicy/{}-policy", scene.name);
    let stricter = json!({"spec": {"eligibility": {"requireEnd": true}}}).to_string();
    scene.kubectl(ADMIN, &["patch", &policy, "--type=merge", "-p", &stricter]).await?.ok()?;
    until_condition(&scene, &format!("rel/{}", scene.name), "Stalled", "True", "EndRequired").await?;
    let stored =
        scene.kubectl(ADMIN, &["get", "rel", &scene.name, "-o", "jsonpath={.status.observedGeneration} {.metadata.generation}"]).await?;
    let stored = stored.ok()?;
    let (observed, generation) = stored.split_once(' ').unwrap_or_default();
    ensure!(observed == generation, "the status is about generation {observed} of {generation}");
    Ok(())
}

async fn f59_suspension_is_not_rolled_back_by_a_health_check(env: Arc<Env>) -> Outcome {
    let scene = env.scene("suspended").await?;
    let granted = automatic(&scene.name, &json!({}));
    let (done, said) = helm(&scene, &[&WAIT[..], &["30s", &scene.name]].concat(), Some(&granted)).await?;
    ensure!(done, "{said}");
    let request = scene.request("now", &scene.name, "10m").to_string();
    scene.fixture.cluster().run_with(ADMIN, &["apply", "-f", "-", "--as", "named-requester"], &request).await?.ok()?;
    scene.until_state("now", "Active", SOON).await?;

    // Meanwhile the policy requires a field that this eligibility lacks: the suspension must pass admission and Helm's health check all the
    // same.
    let policy = format!("approvalpolicy/{}-policy", scene.name);
    let stricter = json!({"spec": {"eligibility": {"requireJustification": true}}}).to_string();
    scene.kubectl(ADMIN, &["patch", &policy, "--type=merge", "-p", &stricter]).await?.ok()?;
    until_condition(&scene, &format!("rel/{}", scene.name), "Ready", "False", "ReasonRequired").await?;
    let mut suspended = automatic(&scene.name, &json!({"suspended": true}));
    suspended["policies"][format!("{}-policy", scene.name)]["eligibility"] = json!({"requireEnd": false, "requireJustification": true});
    let args = [&WAIT[..], &["30s", "--rollback-on-failure", "--force-conflicts", &scene.name]].concat();
    let (done, said) = helm(&scene, &args, Some(&suspended)).await?;
    ensure!(done, "{said}");
    let status = scene.until_state("now", "Revoked", SOON).await?;
    ensure!(status["reason"] == "EligibilitySuspended", "it was revoked for {}", status["reason"]);
    scene.until_no_binding(SOON).await?;
    let found = usable(&scene).await?;
    ensure!(found == "True False EligibilitySuspended", "it is {found}");
    let (done, said) = run(&scene, &["history", &scene.name, "--max", "1", "-o", "json"]).await?;
    ensure!(done && said.contains("deployed") && !said.contains("ollback"), "{said}");

    // The end of the suspension is subject to every check.
    let (done, said) = helm(
        &scene,
        &["upgrade", &scene.name],
        Some(&{
            let mut ended = suspended.clone();
            ended["eligibilities"][&scene.name]["suspended"] = json!(false);
            ended
        }),
    )
    .await?;
    ensure!(!done && said.contains("ReasonRequired"), "{said}");
    Ok(())
}

async fn f26_helm_wait_treats_a_completed_request_as_ready(env: Arc<Env>) -> Outcome {
    let scene = env.scene("kstatus-rar").await?;
    let mut mine = eligibility("view");
    mine["subjects"] = json!([{"kind": "User", "name": ADMIN}]);
    let offer = scene.offer("free", env::automatic(), mine.clone()).await?;
    let waits = scene.offer("waits", env::approved_by("leads", 1), mine).await?;
    let chart = async |name: &str, offer: &str, duration: &str| -> Result<String, Error> {
        let directory = scene.fixture.cluster().directory().join(format!("{}-{name}", scene.name));
        std::fs::create_dir_all(directory.join("templates"))?;
        std::fs::write(directory.join("Chart.yaml"), format!("{{apiVersion: v2, name: {name}, version: 0.1.0}}"))?;
        std::fs::write(directory.join("templates/request.yaml"), scene.request(name, offer, duration).to_string())?;
        Ok(directory.display().to_string())
    };
    let ends = chart("ends", &offer, "5s").await?;
    let (done, said) = run(&scene, &[&WAIT[..], &["30s", "ends", &ends]].concat()).await?;
    ensure!(done, "while it is active: {said}");
    scene.until_state("ends", "Expired", SOON).await?;
    let (done, said) = run(&scene, &[&WAIT[..], &["30s", "ends", &ends]].concat()).await?;
    ensure!(done, "once it has expired: {said}");

    let denied = chart("denied", &waits, "5m").await?;
    let (done, said) = run(&scene, &["install", "denied", &denied]).await?;
    ensure!(done, "{said}");
    scene.until_state("denied", "AwaitingApproval", SOON).await?;
    let (done, said) = run(&scene, &[&WAIT[..], &["4s", "denied", &denied]].concat()).await?;
    ensure!(!done && said.contains("waiting for approval in stage 'first': 0 of 1"), "while it waits: {said}");
    scene.create("lead-1", &scene.decision("denied", "Deny", None)).await?.ok()?;
    scene.until_state("denied", "Denied", SOON).await?;
    let (done, said) = run(&scene, &[&WAIT[..], &["4s", "denied", &denied]].concat()).await?;
    ensure!(!done && said.contains("denied by lead-1"), "once it is denied: {said}");
    Ok(())
}
