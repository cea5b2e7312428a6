//! Rendered charts, applied as tools for continuous delivery do: with the library of Flux's kustomize-controller (`testing/gitops`), and with server-side apply
//! by force, as Argo CD does. Both repeat it all the time, and must not fight with what the operator writes.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use control_plane::{ADMIN, Binaries};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase},
    faults::alone,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![gitops_tools_apply_repair_and_prune_without_a_fight]
}

async fn gitops_tools_apply_repair_and_prune_without_a_fight(env: Arc<Env>) -> Outcome {
    let flux = tokio::task::spawn_blocking(Binaries::gitops).await??;
    let (scene, _permit) = alone(&env, "gitops").await?;
    let cluster = scene.fixture.cluster();
    let run = async |verb: &str, manifests: &str| -> Result<BTreeMap<String, String>, Error> {
        let said = cluster.run_program(ADMIN, &flux, &[verb], Some(manifests)).await?.ok()?;
        // Such as `ConfigMap/jit-system/jit-rbac-config unchanged`.
        Ok(said.lines().filter_map(|line| line.rsplit_once(' ')).map(|(object, action)| (object.to_owned(), action.to_owned())).collect())
    };
    let values = cluster.directory().join("operator/values.json");
    let operator = rendered(&scene, "jit-rbac", "jit-rbac", &values).await?;
    let access = cluster.directory().join("access.json");
    std::fs::write(&access, access_values(&scene).to_string())?;
    let access = rendered(&scene, "jit-access", "jit-access", &access).await?;

    // Adds the tool's labels, and waits until every object is healthy by kstatus.
    let first = run("apply", &operator).await?;
    ensure!(first.len() > 30 && first.values().any(|action| action == "configured"), "it applied {first:?}");
    let written = operators_writes(&scene).await?;
    fight_free(&run("apply", &operator).await?)?;
    run("apply", &access).await?;
    fight_free(&run("apply", &access).await?)?;
    let granted = scene.apply("dev", &scene.request("inc", &scene.offered("oncall"), "1h")).await?;
    granted.ok()?;
    scene.running("inc").await?;
    fight_free(&run("apply", &access).await?)?;
    let forced = ["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-"];
    for manifests in [&operator, &access] {
        cluster.run_with(ADMIN, &forced, manifests).await?.ok()?;
    }
    fight_free(&run("apply", &operator).await?)?;
    let after = operators_writes(&scene).await?;
    ensure!(after == written, "what the operator had written was {written:?}, and is {after:?}");
    scene.until_state("inc", "Active", SOON).await?;

    // Self-heal: a changed guard is restored, and a deleted one is created again.
    let weaken =
        ["patch", "validatingadmissionpolicy", "jit-rbac-requests", "--type=merge", "-p", r#"{"spec":{"failurePolicy":"Ignore"}}"#];
    scene.kubectl(ADMIN, &weaken).await?.ok()?;
    scene.kubectl(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-status"]).await?.ok()?;
    let healed = run("apply", &operator).await?;
    for (guard, wanted) in
        [("ValidatingAdmissionPolicy/jit-rbac-requests", "configured"), ("ValidatingAdmissionPolicyBinding/jit-rbac-status", "created")]
    {
        let action = healed.get(guard);
        ensure!(action.is_some_and(|action| action == wanted), "{guard} was {action:?} of {healed:?}");
    }

    // Prune, in the foreground: the grant ends with its eligibility, and nothing hangs.
    run("delete", &access).await?;
    scene.ends_as("inc", "Revoked", &["EligibilityRemoved"], SOON).await?;
    scene.until_no_binding(SOON).await?;
    // The processes still run, as pods do for a moment, and lose their permissions.
    scene.fixture.inspector.finish();
    // Even with all CRDs, which a tool deletes unless an annotation protects them.
    run("delete", &operator).await?;
    let left = scene.kubectl(ADMIN, &["get", "crd", "-o", "name"]).await?.ok()?;
    ensure!(!left.contains("jitrbac.dev"), "these are left: {left}");
    Ok(())
}

/// Fails unless a repeated apply changes nothing.
fn fight_free(applied: &BTreeMap<String, String>) -> Outcome {
    let changed: Vec<_> = applied.iter().filter(|(_, action)| *action != "unchanged").collect();
    ensure!(!applied.is_empty() && changed.is_empty(), "a repeated apply changes {changed:?}");
    Ok(())
}

/// Renders a chart as such tools do, without its hooks, which are not part of the desired state.
async fn rendered(scene: &Scene, release: &str, chart: &str, values: &Path) -> Result<String, Error> {
    let mut helm = scene.fixture.cluster().helm()?;
    helm.args(["template", release]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts").join(chart));
    let output = helm.args(["--namespace", "jit-system", "--no-hooks", "--values"]).arg(values).output().await?;
    ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn access_values(scene: &Scene) -> Value {
    let name = scene.offered("oncall");
    let eligibility = json!({
        "subjects": [{"kind": "User", "name": "dev"}], "roleRef": {"kind": "ClusterRole", "name": "view"}, "maxDuration": "1h",
        "namespaces": {"names": [scene.name]}, "policyRef": {"name": name},
    });
    let policy = json!({"approval": {"automatic": {}}, "eligibility": {"requireEnd": false}});
    json!({"policies": {&name: policy}, "eligibilities": {&name: eligibility}})
}

/// What only the operator writes into objects of the chart: the webhook's CA, its Secret, the status of an object.
async fn operators_writes(scene: &Scene) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for (kind, name, path) in [
        ("mutatingwebhookconfiguration", "jit-rbac", "{.webhooks[*].clientConfig.caBundle}"),
        ("validatingwebhookconfiguration", "jit-rbac", "{.webhooks[*].clientConfig.caBundle}"),
        ("secret", "jit-rbac-webhook-tls", "{.data}"),
    ] {
        let path = format!("jsonpath={path}");
        let said = scene.kubectl(ADMIN, &["get", kind, name, "-n", "jit-system", "-o", &path]).await?.ok()?;
        ensure!(said.len() > 100, "{kind} {name} has {said}");
        found.push(said);
    }
    Ok(found)
}
