//! Upgrades of the chart `jit-access`, and server-side apply by its users.

use std::{path::Path, sync::Arc};

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{helm, values};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, automatic, eligibility},
};

pub async fn f22_namespaced_requesters_read_only_their_namespaces(env: Arc<Env>) -> Outcome {
    let scene = env.scene("narrow").await?;
    let other = format!("{}-other", scene.name);
    scene.create_namespace(&other).await?;
    // No other object binds these users.
    let mut values: Value = serde_json::from_str(&values(&scene.name).to_string().replace("named-", "narrow-"))?;
    values["requesterBindings"] = json!("Namespaces");
    let (done, said) = helm(&scene, &["upgrade", "--install", &scene.name], Some(&values)).await?;
    ensure!(done, "{said}");
    scene.kubectl(ADMIN, &["wait", "--for=condition=Ready", "--timeout=15s", &format!("rel/{}", scene.name)]).await?.ok()?;
    let request = scene.request("now", &scene.name, "10m").to_string();
    scene.fixture.cluster().run_with(ADMIN, &["apply", "-f", "-", "--as", "narrow-requester"], &request).await?.ok()?;
    for (namespace, verb, resource, may) in [
        (scene.name.as_str(), "list", "roleactivationrequests", "yes"),
        (scene.name.as_str(), "patch", "activationdecisions", "yes"),
        (other.as_str(), "list", "roleactivationrequests", "no"),
        (other.as_str(), "create", "roleactivationrequests", "no"),
        ("", "list", "roleactivationrequests", "no"),
        ("", "list", "roleeligibilities", "yes"),
        ("", "list", "approvalpolicies", "yes"),
    ] {
        let scope = if namespace.is_empty() { "--all-namespaces".to_owned() } else { format!("--namespace={namespace}") };
        for user in ["narrow-requester", "narrow-approver"] {
            let said = scene.kubectl(ADMIN, &["auth", "can-i", verb, resource, &scope, "--as", user]).await?;
            ensure!(said.stdout.trim() == may, "may {user} {verb} {resource} in '{namespace}'? {}", said.stdout);
        }
    }
    let (done, said) = helm(&scene, &["uninstall", &scene.name], None).await?;
    ensure!(done, "{said}");
    Ok(())
}

pub async fn f44_chart_upgrade_removes_eligibilities_and_changes_the_role(env: Arc<Env>) -> Outcome {
    let scene = env.scene("overlay").await?;
    let mut values = values(&scene.name);
    let second = format!("{}-second", scene.name);
    values["eligibilities"][&second] = values["eligibilities"][&scene.name].clone();
    let (done, said) = helm(&scene, &["upgrade", "--install", &scene.name], Some(&values)).await?;
    ensure!(done, "{said}");
    let overlay = scene.fixture.cluster().directory().join(format!("{}-overlay.json", scene.name));
    std::fs::write(&overlay, json!({"eligibilities": {second.as_str(): null}, "requesterClusterRole": "view"}).to_string())?;
    let overlay = overlay.display().to_string();
    // The overlay is applied after the values, so it takes precedence.
    let (done, said) = helm(&scene, &["upgrade", &scene.name, "--values", &overlay], None).await?;
    ensure!(!done, "helm takes an upgrade without a chart: {said}");
    let mut command = scene.fixture.cluster().helm()?;
    command.args(["upgrade", &scene.name, "--namespace", &scene.name]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jit-access"));
    command.arg("--values").arg(scene.fixture.cluster().directory().join(format!("{}.json", scene.name))).args(["--values", &overlay]);
    let output = command.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left = scene.kubectl(ADMIN, &["get", "rel", &scene.name, &second, "-o", "name", "--ignore-not-found"]).await?;
    ensure!(left.stdout.trim() == format!("roleeligibility.jitrbac.dev/{}", scene.name), "these are left: {}", left.stdout);
    let label = format!("app.kubernetes.io/instance={}", scene.name);
    let roles =
        scene.kubectl(ADMIN, &["get", "clusterrolebindings", "-l", &label, "-o", "jsonpath={.items[*].roleRef.name}"]).await?.ok()?;
    ensure!(roles.trim() == "view", "bound are {roles}");
    let (done, said) = helm(&scene, &["uninstall", &scene.name], None).await?;
    ensure!(done, "{said}");
    Ok(())
}

/// `dev` has exactly the chart's ClusterRole for requesters.
pub async fn f29_requests_and_decisions_support_server_side_apply(env: Arc<Env>) -> Outcome {
    let scene = env.scene("applied").await?;
    let offer = scene.offer("edit", automatic(), eligibility("view")).await?;
    let cluster = scene.fixture.cluster();
    let apply = ["apply", "--server-side", "-f", "-"];
    // A requester's claims about their identity are overwritten, as with every other way to create it.
    let mut forged = scene.request("forged", &offer, "10m");
    forged["spec"]["requester"] = json!({"username": "lead-1"});
    cluster.run_with("dev", &apply, &forged.to_string()).await?.ok()?;
    let stored = scene.get("rar", "forged").await?.ok_or("it is stored")?;
    ensure!(stored["spec"]["requester"]["username"] == "dev", "the stamp is {}", stored["spec"]["requester"]);
    scene.until_state("forged", "Active", SOON).await?;
    scene.create("dev", &scene.decision("forged", "Deactivate", None)).await?.ok()?;
    scene.until_no_binding(SOON).await?;

    let request = scene.request("now", &offer, "10m");
    cluster.run_with("dev", &apply, &request.to_string()).await?.ok()?;
    scene.until_state("now", "Active", SOON).await?;
    let stored = scene.get("rar", "now").await?.ok_or("it is stored")?;
    ensure!(stored["spec"]["requester"]["username"] == "dev", "the stamp is {}", stored["spec"]["requester"]);

    let decision = json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ActivationDecision", "metadata": {"name": "back", "namespace": scene.name},
        "spec": {"requestRef": {"name": "now"}, "decision": "Deactivate"},
    });
    for object in [&request, &request] {
        cluster.run_with("dev", &apply, &object.to_string()).await?.ok()?;
    }
    nothing_is_changed(&scene, "rar", "now").await?;
    ensure!(scene.bindings().await?.len() == 1, "applied again, it is granted again");
    cluster.run_with("dev", &apply, &decision.to_string()).await?.ok()?;
    scene.until_state("now", "Deactivated", SOON).await?;
    cluster.run_with("dev", &apply, &decision.to_string()).await?.ok()?;
    cluster.run_with("dev", &apply, &request.to_string()).await?.ok()?;
    nothing_is_changed(&scene, "adec", "back").await?;
    let status = scene.status("now").await?;
    ensure!(status["state"] == "Deactivated", "applied again, it is {status}");
    scene.until_no_binding(SOON).await?;
    let said = scene.kubectl("dev", &["label", "rel", &offer, "a=b"]).await?.refused()?;
    ensure!(said.contains("cannot patch resource \"roleeligibilities\""), "{said}");

    // Helm 4 applies server-side. Its own record needs Secrets.
    let own = json!([
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "helm", "namespace": scene.name},
         "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "helm", "namespace": scene.name},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "helm"},
         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev"}]},
    ]);
    scene.admin(own.as_array().ok_or("a list")?).await?;
    let chart = cluster.directory().join(format!("{}-chart", scene.name));
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: request\nversion: 0.1.0\n")?;
    std::fs::write(chart.join("templates/request.yaml"), scene.request("by-helm", &offer, "10m").to_string())?;
    for _ in 0..2 {
        let mut command = cluster.helm()?;
        command.env("KUBECONFIG", cluster.kubeconfig_of("dev")?);
        command.args(["upgrade", "--install", "request"]).arg(&chart).args(["--namespace", &scene.name]);
        let output = command.output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    scene.until_state("by-helm", "Active", SOON).await?;
    Ok(())
}

/// Every patch of a record by its requester is denied.
async fn nothing_is_changed(scene: &Scene, kind: &str, name: &str) -> Outcome {
    let before = scene.get(kind, name).await?.ok_or("it is stored")?;
    let spec = if kind == "rar" { json!({"duration": "5h"}) } else { json!({"comment": "other"}) };
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]);
    let kept = "are immutable, since they belong to the record";
    for (patch, said) in [
        (json!({"spec": spec}), "cannot be changed"),
        (json!({"metadata": {"labels": {"a": "b"}}}), kept),
        (json!({"metadata": {"annotations": {"a": "b"}}}), kept),
        (json!({"metadata": {"finalizers": ["a.example/b"]}}), kept),
        (json!({"metadata": {"ownerReferences": owner}}), kept),
        (json!({"metadata": {"generateName": "other-"}}), kept),
    ] {
        let patch = patch.to_string();
        let answer = scene.kubectl("dev", &["patch", kind, name, "-n", &scene.name, "--type=merge", "-p", &patch]).await?.refused()?;
        ensure!(answer.contains(said), "{patch}: {answer}");
    }
    let state = json!({"status": {"state": "Denied"}}).to_string();
    scene.kubectl("dev", &["patch", kind, name, "-n", &scene.name, "--type=merge", "-p", &state]).await?.ok()?;
    if kind == "rar" {
        let args = ["patch", kind, name, "-n", &scene.name, "--subresource=status", "--type=merge", "-p", &state];
        let said = scene.kubectl("dev", &args).await?.refused()?;
        ensure!(said.contains("roleactivationrequests/status"), "{said}");
    }
    let after = scene.get(kind, name).await?.ok_or("it is stored")?;
    for part in ["spec", "status"] {
        ensure!(after[part] == before[part], "{part} was {} and is {}", before[part], after[part]);
    }
    Ok(())
}
