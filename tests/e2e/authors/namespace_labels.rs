//! Labels of namespaces: which users control what a selector matches (T20).

use std::sync::Arc;

use control_plane::{ADMIN, wait_for_ok};
use serde_json::{Value, json};

use super::{
    LABELLER,
    matrix::{binding, cluster_object, user},
};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, automatic, eligibility},
};

const GUARDED: &str = "reach.jitrbac.dev/team";

fn namespace(name: &str, label: Option<(&str, &str)>) -> Value {
    let labels: Value = label.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// Waits until the policy for namespaces is evaluated.
async fn guarded(scene: &Scene) -> Outcome {
    let probe = namespace("probe", Some(("jitrbac.dev/probe", "jit-rbac-namespaces"))).to_string();
    let looked = wait_for_ok("the policy for namespaces to be in force", SOON, async || {
        let said = scene.fixture.cluster().run_with(ADMIN, &["create", "--dry-run=server", "-f", "-"], &probe).await;
        let refused = said.map_err(|error| error.to_string())?.stderr;
        if refused.contains("jit-rbac-namespaces") { Ok(()) } else { Err(format!("kubectl says {refused}")) }
    });
    Ok(looked.await?)
}

pub async fn t20_tenant_cannot_widen_an_eligibility_with_a_guarded_label(env: Arc<Env>) -> Outcome {
    let scene = env.scene("reach").await?;
    guarded(&scene).await?;
    let who = LABELLER;
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]}]});
    let role = format!("{}-tenant", scene.name);
    scene.admin(&[cluster_object("ClusterRole", &role, &rules), binding(&role, None, &role, &[user(who)])]).await?;
    let team = scene.name.clone();
    let mut offer = eligibility("view");
    offer["namespaces"] = json!({"selector": {"matchLabels": {GUARDED: team}}});
    let offer = scene.offer("team", automatic(), offer).await?;
    let [theirs, new] = ["theirs", "new"].map(|name| format!("{}-{name}", scene.name));
    scene.create_namespace(&theirs).await?;

    let label = |value: &str| format!("{GUARDED}{value}");
    let ours = scene.name.as_str();
    scene.kubectl(ADMIN, &["label", "namespace", ours, &label(&format!("={team}"))]).await?.ok()?;
    let says = |refused: &str| refused.contains("verb administer on namespacelabels.jitrbac.dev") && refused.contains(GUARDED);
    let added = label(&format!("={team}"));
    for (what, args) in [
        ("adding", vec!["label", "namespace", &theirs, &added]),
        ("changing", vec!["label", "namespace", ours, "reach.jitrbac.dev/team=x", "--overwrite"]),
        ("removing", vec!["label", "namespace", ours, "reach.jitrbac.dev/team-"]),
    ] {
        let refused = scene.kubectl(who, &args).await?.refused()?;
        ensure!(says(&refused), "{what}: {refused}");
    }
    let patch = json!({"metadata": {"labels": {GUARDED: team}}}).to_string();
    let refused =
        scene.kubectl(who, &["patch", "namespace", &theirs, "--subresource=status", "--type=merge", "-p", &patch]).await?.refused()?;
    ensure!(says(&refused), "through the status: {refused}");
    let mut finalize = serde_json::from_str::<Value>(&scene.kubectl(who, &["get", "namespace", &theirs, "-o", "json"]).await?.ok()?)?;
    finalize["metadata"]["labels"][GUARDED] = json!(team);
    let finalizing = format!("/api/v1/namespaces/{theirs}/finalize");
    let said =
        scene.fixture.cluster().run_with(who, &["replace", "--raw", &finalizing, "-f", "-"], &finalize.to_string()).await?.refused()?;
    ensure!(says(&said), "through finalize: {said}");
    let refused = scene.create(who, &namespace(&new, Some((GUARDED, &team)))).await?.refused()?;
    ensure!(says(&refused), "by a new namespace: {refused}");
    let mut request = scene.request("in-theirs", &offer, "5m");
    request["metadata"]["namespace"] = json!(theirs);
    let refused = scene.apply("dev", &request).await?.refused()?;
    ensure!(refused.contains("NamespaceNotCovered"), "the eligibility was widened: {refused}");

    // All other writes to namespaces are allowed as before.
    scene.create(who, &namespace(&new, Some(("team", &team)))).await?.ok()?;
    scene.kubectl(who, &["label", "namespace", ours, "other=label"]).await?.ok()?;
    scene.kubectl(who, &["delete", "namespace", &new, "--timeout=60s"]).await?.ok()?;
    scene.kubectl(ADMIN, &["label", "namespace", &theirs, &added]).await?.ok()?;
    scene.apply("dev", &request).await?.ok()?;
    // With the verb and the right to label, the user may.
    scene.admin(&[binding(&format!("{role}-reach"), None, "jit-rbac-admin", &[user(who)])]).await?;
    scene.kubectl(who, &["label", "namespace", &theirs, "reach.jitrbac.dev/team-"]).await?.ok()?;
    scene.create(who, &namespace(&format!("{new}-2"), Some((GUARDED, &team)))).await?.ok()?;
    // A labelled namespace is deleted like any other, through the finalize call of the namespace controller.
    scene.kubectl(who, &["delete", "namespace", &format!("{new}-2"), "--timeout=60s"]).await?.ok()?;
    Ok(())
}

pub async fn t20_selector_on_unguarded_labels_is_warned_about(env: Arc<Env>) -> Outcome {
    let scene = env.scene("told").await?;
    for (selector, warned) in [
        (
            json!({"matchLabels": {"team": "payments", GUARDED: "x"}}),
            Some("users who may label namespaces can widen this eligibility: no guard on team."),
        ),
        (
            json!({"matchExpressions": [{"key": GUARDED, "operator": "DoesNotExist"}]}),
            Some("users who may create namespaces can widen this eligibility"),
        ),
        (json!({"matchLabels": {GUARDED: "x"}}), None),
        (json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [scene.name]}]}), None),
    ] {
        let mut spec = eligibility("view");
        spec["namespaces"] = json!({"selector": selector});
        spec["policyRef"] = json!({"name": "nobody-wrote-it"});
        let object = cluster_object("RoleEligibility", &format!("{}-told", scene.name), &json!({"spec": spec}));
        let said = scene.apply(ADMIN, &object).await?;
        let warnings = said.stderr.clone();
        said.ok()?;
        ensure!(warnings.contains("can widen") == warned.is_some(), "{selector}: {warnings}");
        ensure!(warned.is_none_or(|warned| warnings.contains(&format!("Warning: {warned}"))), "{selector}: {warnings}");
    }
    Ok(())
}
