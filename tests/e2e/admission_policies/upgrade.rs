//! Chart upgrades with the real Helm.

use std::path::Path;

use control_plane::{ADMIN, Options, Plane, Said};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    Fixture, Outcome,
    fixture::{NAMESPACE, RELEASE, WEBHOOK, helm, passes},
    guard_objects::write_bundles,
};

const CONFIGURATIONS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The CA bundles and the Secret's data belong to the webhook. Helm applies its objects server-side or client-side, and reverts fields that
/// it once wrote itself: it must never have written these.
pub async fn an_upgrade_takes_nothing_back_that_the_webhook_wrote(_: &Fixture) -> Outcome {
    // Upgrades enable the webhooks again, which the other tests have disabled.
    let fixture = Fixture::with_webhooks().await?;
    let mut secret = passes("the Secret", fixture.get("Secret", NAMESPACE, "jit-rbac-webhook-tls").await)?;
    if secret["data"] != Value::Null {
        return Err(format!("the chart wrote into the Secret: {secret}"));
    }
    secret["data"] = json!({"ca.crt": "YQ==", "tls.key": "Yg=="});
    passes("its data", fixture.replace(WEBHOOK, "Secret", &secret).await)?;
    let mut written = Vec::new();
    for kind in CONFIGURATIONS {
        let configuration = passes("a CA bundle", write_bundles(&fixture, kind).await)?;
        written.push(bundles(&configuration));
    }
    for (seconds, more) in [
        (4, &["--server-side=true"][..]),
        (3, &["--server-side=false"]),
        (2, &["--server-side=auto"]),
        (1, &["--server-side=true", "--force-conflicts"]),
    ] {
        let set = format!("webhook.timeoutSeconds={seconds}");
        helm(fixture.cluster(), &[&["--set", &set], more].concat()).await?;
        for (kind, bundle) in CONFIGURATIONS.iter().zip(&written) {
            let after = passes("the configuration", fixture.get(kind, "", RELEASE).await)?;
            if after["webhooks"][0]["timeoutSeconds"] != seconds || bundles(&after) != *bundle {
                return Err(format!("after {more:?}: {after}"));
            }
        }
        let after = passes("the Secret", fixture.get("Secret", NAMESPACE, "jit-rbac-webhook-tls").await)?;
        if after["data"] != secret["data"] {
            return Err(format!("after {more:?}: {after}"));
        }
    }
    Ok(())
}

fn bundles(configuration: &Value) -> Vec<Value> {
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    webhooks.map(|webhook| webhook["clientConfig"]["caBundle"].clone()).filter(Value::is_string).collect()
}

/// The documented remedy for a guard that was extended by another writer: `helm upgrade` alone keeps the addition.
pub async fn f61_what_somebody_added_to_a_guard_goes_with_the_guard(_: &Fixture) -> Outcome {
    let fixture = Fixture::with_webhooks().await?;
    for (kind, field, at, added) in [
        ("ValidatingWebhookConfiguration", "/webhooks/0/namespaceSelector", "", json!({"matchLabels": {"a": "b"}})),
        ("ValidatingAdmissionPolicy", "/spec/matchConditions", "/-", json!({"name": "added", "expression": "true"})),
    ] {
        let name = if kind.ends_with("Policy") { "jit-rbac-status" } else { RELEASE };
        let before = passes("the guard", fixture.get(kind, "", name).await)?;
        let add = json!([{"op": "add", "path": format!("{field}{at}"), "value": added}]);
        passes("an addition", fixture.json_patch(ADMIN, kind, "", name, add).await)?;
        helm(fixture.cluster(), &["--server-side=true", "--force-conflicts"]).await?;
        let kept = passes("the guard", fixture.get(kind, "", name).await)?;
        if kept.pointer(field) == before.pointer(field) {
            return Err(format!("helm upgrade alone restores {kind}: the advice to delete it is out of date"));
        }
        passes("its deletion", fixture.delete(ADMIN, kind, "", name, &DeleteParams::default()).await)?;
        helm(fixture.cluster(), &[]).await?;
        let after = passes("the guard", fixture.get(kind, "", name).await)?;
        if after.pointer(field) != before.pointer(field) {
            return Err(format!("the addition still exists: {after}"));
        }
    }
    // Deleting a CRD would delete every record. Its versions are one list, which Helm overwrites by force.
    let (kind, name, field) = ("CustomResourceDefinition", "roleeligibilities.jitrbac.dev", "/spec/versions/0/additionalPrinterColumns");
    let before = passes("the CRD", fixture.get(kind, "", name).await)?;
    let add = json!([{"op": "add", "path": format!("{field}/-"), "value": {"name": "x", "type": "string", "jsonPath": ".x"}}]);
    passes("an addition", fixture.json_patch(ADMIN, kind, "", name, add).await)?;
    helm(fixture.cluster(), &["--server-side=true", "--force-conflicts"]).await?;
    let after = passes("the CRD", fixture.get(kind, "", name).await)?;
    if after.pointer(field) != before.pointer(field) || after["metadata"]["uid"] != before["metadata"]["uid"] {
        return Err(format!("the CRD is not restored: {after}"));
    }
    Ok(())
}

/// CRDs by `kubectl apply`, and the reaction of Helm and the charts.
pub async fn f69_the_chart_takes_over_kinds_that_are_there(_: &Fixture) -> Outcome {
    let plane = Plane::start(Options::default()).await.map_err(|error| error.to_string())?;
    let cluster = plane.cluster();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let access = async || {
        let mut command = cluster.helm().map_err(|error| error.to_string())?;
        command.args(["install", "jit-access"]).arg(root.join("charts/jit-access")).args(["--dry-run=server"]);
        said(&mut command).await
    };
    let without = access().await;
    if !without
        .as_ref()
        .is_err_and(|said| said.contains("this cluster does not know the kinds of jit-rbac: install the chart jit-rbac first"))
    {
        return Err(format!("jit-access without the kinds: {without:?}"));
    }
    let crds = root.join("crds").display().to_string();
    cluster.run(ADMIN, &["apply", "-f", &crds]).await.and_then(Said::ok).map_err(|error| error.to_string())?;
    let refused = helm(cluster, &[]).await;
    if !refused.as_ref().is_err_and(|said| said.contains("invalid ownership metadata")) {
        return Err(format!("Helm adopts objects that it did not create: {refused:?}"));
    }
    helm(cluster, &["--take-ownership"]).await?;
    helm(cluster, &[]).await?;
    access().await?;
    // Another release is denied, also without CRDs of its own.
    for more in [&["--set=crds.enabled=false"][..], &["--take-ownership"]] {
        let mut command = cluster.helm().map_err(|error| error.to_string())?;
        command.args(["install", "second"]).arg(root.join("charts/jit-rbac"));
        command.args(["--namespace=elsewhere", "--create-namespace", "--dry-run=server"]).args(more);
        let second = said(&mut command).await;
        let sentence = "jit-rbac is already installed in this cluster: there is the MutatingWebhookConfiguration 'jit-rbac' of release 'jit-rbac' in namespace 'jit-system'";
        if !second.as_ref().is_err_and(|said| said.contains(sentence)) {
            return Err(format!("f36: a second release with {more:?}: {second:?}"));
        }
    }
    Ok(())
}

async fn said(command: &mut tokio::process::Command) -> Result<String, String> {
    let output = command.output().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text) } else { Err(text) }
}
