//! The permissions of the operator's two identities. No label or annotation on an object bypasses its webhook (T24, T43).

use std::{path::PathBuf, sync::Arc};

use control_plane::{ADMIN, Said};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, Scene, approved_by, automatic, eligibility},
    grant_helpers::stamp,
};

/// kubectl with the token of one of the operator's accounts, as an attacker with a stolen token.
async fn with_token(scene: &Scene, account: &str, args: &[&str], manifest: &str) -> Result<Said, Error> {
    let kubeconfig: PathBuf = scene.fixture.cluster().directory().join("kubeconfigs").join(account);
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    Ok(scene.fixture.cluster().run_with(ADMIN, &[args, &[flag.as_str()]].concat(), manifest).await?)
}

/// A binding as the operator creates it.
fn granted(scene: &Scene, namespace: &str) -> String {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {
            "name": "jit-00000000-0000-4000-8000-000000000001", "namespace": namespace, "labels": {"jitrbac.dev/managed": "true"},
            "annotations": {"jitrbac.dev/expires-at": stamp(Timestamp::now() + SignedDuration::from_mins(5)), "jitrbac.dev/request": format!("{}-none", scene.name)},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "outsider"}],
    });
    binding.to_string()
}

pub async fn t24_operator_cannot_grant_in_its_namespace_and_its_webhook_nowhere(env: Arc<Env>) -> Outcome {
    let scene = env.scene("target").await?;
    let mut everywhere = eligibility("view");
    everywhere["namespaces"] = json!({"selector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}});
    let offer = scene.offer("everywhere", automatic(), everywhere).await?;
    let stored = scene.kubectl(ADMIN, &["get", "roleeligibility", &offer, "-o", "json"]).await?.ok()?;
    let stored: Value = serde_json::from_str(&stored)?;
    let covered = stored["status"]["namespaces"]["names"].as_array().cloned().unwrap_or_default();
    ensure!(covered.contains(&json!(scene.name)), "it does not cover the scene: {covered:?}");
    for namespace in ["jit-system", "kube-system", "kube-public", "kube-node-lease"] {
        ensure!(!covered.contains(&json!(namespace)), "it covers {namespace}");
        let mut request = scene.request("mine", &offer, "5m");
        request["metadata"]["namespace"] = json!(namespace);
        let refused = scene.apply("dev", &request).await?.refused()?;
        ensure!(refused.contains(namespace) && refused.contains("jit"), "it does not say why: {refused}");
        let refused = with_token(&scene, "jit-rbac-controller", &["create", "-f", "-"], &granted(&scene, namespace)).await?.refused()?;
        ensure!(refused.contains("nothing is granted in the namespace"), "the admission policy says: {refused}");
    }
    for (account, verb, resource) in [
        ("jit-rbac-webhook", "create", "rolebindings"),
        ("jit-rbac-webhook", "delete", "rolebindings"),
        ("jit-rbac-webhook", "patch", "rolebindings"),
        ("jit-rbac-webhook", "get", "secrets"),
        ("jit-rbac-webhook", "create", "serviceaccounts/token"),
        ("jit-rbac-controller", "escalate", "clusterroles"),
        ("jit-rbac-controller", "bind", "clusterroles"),
        ("jit-rbac-controller", "impersonate", "users"),
        ("jit-rbac-controller", "get", "secrets"),
        ("jit-rbac-controller", "create", "clusterrolebindings"),
    ] {
        let said = with_token(&scene, account, &["auth", "can-i", verb, resource, "-n", &scene.name], "").await?;
        ensure!(said.stdout.trim() == "no", "{account} may {verb} {resource}: {}{}", said.stdout, said.stderr);
    }
    Ok(())
}

/// Labels and annotations with which other operators let users opt out, and some in the product's form.
fn opt_outs() -> Value {
    json!({
        "jitrbac.dev/ignore": "true", "jitrbac.dev/managed": "true", "admission.jitrbac.dev/ignore": "true", "control-plane": "controller-manager",
        "admission.gatekeeper.sh/ignore": "no-self-managing", "openpolicyagent.org/webhook": "ignore", "cert-manager.io/disable-validation": "true",
        "app.kubernetes.io/name": "jit-rbac", "app.kubernetes.io/managed-by": "Helm",
    })
}

pub async fn t43_labels_and_annotations_do_not_bypass_the_webhook(env: Arc<Env>) -> Outcome {
    let scene = env.scene("opt-out").await?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.name, "labels": opt_outs(), "annotations": opt_outs()}});
    scene.admin(&[namespace]).await?;
    scene.offers(&["staged", "more"], &approved_by("devs", 1), &eligibility("edit")).await?;
    let labelled = |mut object: Value| {
        object["metadata"]["labels"] = opt_outs();
        object["metadata"]["annotations"] = opt_outs();
        object
    };
    let request = |name: &str, duration: &str| labelled(scene.request(name, &scene.offered(name), duration));

    let refused = scene.create("outsider", &request("staged", "5m")).await?.refused()?;
    ensure!(refused.contains("outsider"), "another user was admitted, or was denied for another reason: {refused}");
    let refused = scene.create("dev", &request("more", "200h")).await?.refused()?;
    ensure!(refused.contains("200h"), "it does not name the requested value: {refused}");
    let mut forged = request("staged", "5m");
    forged["spec"]["requester"] = json!({"username": "lead-1", "groups": ["leads"]});
    let stored = scene.write("dev", "rar", &forged).await?;
    ensure!(stored["spec"]["requester"]["username"] == "dev", "the stamp is {}", stored["spec"]["requester"]);
    scene.until_state("staged", "AwaitingApproval", crate::env::SOON).await?;
    let digest = crate::grant_helpers::text(&scene.status("staged").await?["digest"]);
    let refused = scene.create("dev", &labelled(scene.decision("staged", "Approve", Some(&digest)))).await?.refused()?;
    ensure!(
        refused.contains("own request") || refused.contains("another approver"),
        "they approved their own request, or were denied for another reason: {refused}"
    );
    let mut forged = labelled(scene.decision("staged", "Approve", Some(&digest)));
    forged["spec"]["decider"] = json!({"username": "dev-2", "groups": ["devs"]});
    let refused = scene.create("outsider", &forged).await?.refused()?;
    ensure!(refused.contains("outsider"), "it does not name who was refused: {refused}");
    ensure!(scene.status("staged").await?["state"] == "AwaitingApproval", "it was granted: {}", scene.status("staged").await?);
    Ok(())
}
