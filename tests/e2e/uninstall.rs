//! The uninstallation: the Job of the chart runs `jit-rbac revoke-all` before Helm removes anything. There are no pods here, so the tests
//! run it by hand, with the token of the Job's ServiceAccount.

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, Operator, OperatorOptions, program, wait_for};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::{
    audit::{Calls, measured},
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, TestCase, approved_by, automatic, eligibility},
    faults::{alone, by_hand, in_the_lease, kill_all, until},
    grant_helpers::{each, text},
    replicas::TAKEN_OVER,
    test_cases,
};

/// Its name in the Lease.
const IDENTITY: &str = "uninstall";
const GRANTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        uninstallation_revokes_every_grant_and_another_release_continues_with_the_records,
        failed_uninstallation_names_what_is_left_and_the_replicas_grant_again,
    ]
}

/// Starts `jit-rbac revoke-all`.
fn revoke_all(fixture: &ClusterFixture) -> Result<Child, Error> {
    let directory = fixture.cluster().directory();
    let kubeconfig = directory.join("kubeconfigs/jit-rbac-controller");
    let mut command = by_hand(fixture, program("jit-rbac")?, &kubeconfig, &directory.join("revoke-all.log"))?;
    let config = directory.join("operator/config.json");
    Ok(command.args(["revoke-all", "--identity", IDENTITY, "--config"]).arg(config).spawn()?)
}

fn log(fixture: &ClusterFixture) -> Result<String, Error> {
    Ok(std::fs::read_to_string(fixture.cluster().directory().join("revoke-all.log"))?)
}

async fn uninstallation_revokes_every_grant_and_another_release_continues_with_the_records(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "uninstall").await?;
    let fixture = &scene.fixture;
    scene.offers(&[&GRANTS[..], &["meanwhile", "afterwards", "again"]].concat(), &automatic(), &eligibility("edit")).await?;
    scene.offers(&["waiting"], &approved_by("leads", 1), &eligibility("edit")).await?;
    let granted = each(&GRANTS, |name| scene.granted("dev", name, "1h")).await?;
    scene.ask("dev", "waiting", "1h").await?;
    scene.until_state("waiting", "AwaitingApproval", SOON).await?;
    // Someone else holds the Lease and both replicas run: they are what may grant meanwhile.
    let mut calls = Calls::from_now(&scene)?;
    let begun = Timestamp::now();
    let mut uninstalling = revoke_all(fixture)?;
    wait_for("the Lease to be held by the uninstallation", SOON, async || {
        in_the_lease(fixture).await.ok().filter(|holder| holder == IDENTITY).map(drop)
    })
    .await?;
    scene.ask("dev", "meanwhile", "1h").await?;
    let code = tokio::time::timeout(Duration::from_mins(1), uninstalling.wait()).await??;
    ensure!(code.success(), "it failed: {}", log(fixture)?);
    measured("uninstallation of 6 grants with two running replicas", Timestamp::now().duration_since(begun));
    let ended = Timestamp::now();
    for granted in &granted {
        let at = calls.removed(&granted.binding).await?.duration_since(begun);
        measured("grant revoked after the uninstallation began", at);
        let status = scene.ends_as(&granted.request, "Revoked", &["Uninstalled"], Duration::ZERO).await?;
        ensure!(!status["endedAt"].is_null(), "it has no end: {status}");
        let timeline = status["timeline"].as_array().cloned().unwrap_or_default();
        ensure!(timeline.last().is_some_and(|last| last["event"] == "Revoked"), "the last entry is {timeline:?}");
    }
    ensure!(scene.bindings().await?.is_empty(), "bindings are left: {:?}", scene.bindings().await?);

    // Longer than a Lease lasts; one replica is new.
    scene.ask("dev", "afterwards", "1h").await?;
    scene.approve("lead-1", "waiting").await?;
    fixture.operator.controller(0)?.restart()?;
    until(ended + SignedDuration::from_secs(15)).await?;
    // The leader may have granted the request of the meantime, before it noticed. That grant was revoked as well.
    let made = calls.bindings_made(&scene.name)?;
    let after = made.iter().filter(|event| event.stage_timestamp > ended).count();
    ensure!(after == 0 && scene.bindings().await?.is_empty(), "{after} grants were made after the uninstallation, {made:?}");
    ensure!(scene.status("afterwards").await?["grantedAt"].is_null(), "it was granted: {}", scene.status("afterwards").await?);
    ensure!(in_the_lease(fixture).await? == IDENTITY, "a replica has the Lease: {}", in_the_lease(fixture).await?);

    // What Helm does next. Records stay, and have no finalizer that only the operator could remove.
    kill_all(fixture);
    fixture.operator.webhook().kill();
    helm(fixture, &["uninstall", "jit-rbac", "--namespace", "jit-system", "--wait"]).await?;
    for request in scene.list("rar").await? {
        ensure!(request["metadata"]["finalizers"].is_null(), "it has finalizers: {}", request["metadata"]);
    }
    scene.kubectl(ADMIN, &["delete", "rar", "f", "-n", &scene.name, "--timeout=10s"]).await?.ok()?;
    // Nothing guards the objects, once the API server has noticed, so this requester is invented.
    let mut forged = scene.request("forged", &scene.offered("again"), "1h");
    forged["spec"]["requester"] = json!({"username": "outsider", "groups": ["devs", "system:authenticated"]});
    scene.let_in(ADMIN, "rar", &forged).await?;

    // It knows the accounts of one release.
    fixture.inspector.finish();
    let mut options = OperatorOptions::of_checkout(std::path::Path::new(env!("CARGO_MANIFEST_DIR")))?;
    "access".clone_into(&mut options.release);
    let again = Operator::start(fixture.cluster(), fixture.plane.reaper(), options).await?;
    let bind = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "e2e-requesters"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jit-rbac-requester"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}],
    });
    scene.apply(ADMIN, &bind).await?.ok()?;
    scene.granted("dev", "again", "1h").await?;
    for name in ["a", "b"] {
        scene.ends_as(name, "Revoked", &["Uninstalled"], Duration::ZERO).await?;
    }
    let forged = scene.status("forged").await?;
    println!("a request from the time without guards: {} {}", forged["state"], forged["reason"]);
    ensure!(forged["grantedAt"].is_null(), "a request from the time without guards was granted: {forged}");
    let stored = scene.get("rar", "again").await?.unwrap_or_default();
    let bindings = scene.bindings().await?;
    let own = format!("jit-{}", text(&stored["metadata"]["uid"]));
    ensure!(bindings.len() == 1 && bindings[0]["metadata"]["name"] == own, "there are other grants: {bindings:?}");
    drop(again);
    Ok(())
}

async fn helm(fixture: &ClusterFixture, args: &[&str]) -> Outcome {
    let output = fixture.cluster().helm()?.args(args).output().await?;
    ensure!(output.status.success(), "helm {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn failed_uninstallation_names_what_is_left_and_the_replicas_grant_again(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "not-uninstalled").await?;
    let fixture = &scene.fixture;
    scene.offers(&["kept", "later", "stopped"], &automatic(), &eligibility("edit")).await?;
    let kept = scene.granted("dev", "kept", "1h").await?;
    let name = "e2e-keeps-bindings";
    scene.admin(&policy_against_deletion(name, &kept.binding)).await?;
    wait_for("the policy to be in force", SOON, async || {
        let said = scene.kubectl(ADMIN, &["delete", "rolebinding", &kept.binding, "-n", &scene.name, "--dry-run=server"]).await.ok()?;
        (!said.status.success()).then_some(())
    })
    .await?;
    let code = tokio::time::timeout(Duration::from_mins(2), revoke_all(fixture)?.wait()).await??;
    let said = log(fixture)?;
    ensure!(!code.success(), "it succeeded: {said}");
    let last = said.lines().last().unwrap_or_default();
    for part in ["jit-rbac: RoleBindings that are left: 1", &kept.binding, "kept by an end-to-end test"] {
        ensure!(last.contains(part), "it does not say '{part}': {last}");
    }
    let since = Timestamp::now();
    scene.granted("dev", "later", "5m").await?;
    let took = Timestamp::now().duration_since(since);
    measured("next grant after a failed uninstallation", took);
    ensure!(took < SignedDuration::try_from(TAKEN_OVER)?, "the replicas granted again only after {} ms", took.as_millis());

    // The same when it is stopped, as by the time limit of the Job.
    let mut stopped = revoke_all(fixture)?;
    wait_for("the Lease to be held by the uninstallation", SOON, async || {
        in_the_lease(fixture).await.ok().filter(|holder| holder == IDENTITY).map(drop)
    })
    .await?;
    let pid = stopped.id().ok_or("it has ended")?.to_string();
    ensure!(std::process::Command::new("kill").arg(&pid).status()?.success(), "it could not be stopped");
    let code = tokio::time::timeout(SOON, stopped.wait()).await??;
    ensure!(!code.success() && log(fixture)?.contains("stopped before every grant was revoked"), "it says {}", log(fixture)?);
    scene.granted("dev", "stopped", "5m").await?;
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        scene.kubectl(ADMIN, &["delete", kind, name]).await?.ok()?;
    }
    Ok(())
}

/// A policy of another admin that denies the deletion of one binding. The inspector of all calls excuses its denials by its name.
fn policy_against_deletion(name: &str, binding: &str) -> [Value; 2] {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["rolebindings"], "resourceNames": [binding],
            }]},
            "validations": [{"expression": "false", "message": "kept by an end-to-end test"}],
        },
    });
    let bound = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    [policy, bound]
}
