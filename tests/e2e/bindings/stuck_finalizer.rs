//! A binding that cannot be deleted because of a finalizer (T28) or a second owner (T29), or created because of a quota.

use std::{sync::Arc, time::Duration};

use control_plane::ADMIN;
use serde_json::json;

use crate::{
    audit::measured,
    ensure,
    env::{Env, Outcome, SOON, Scene, automatic, eligibility},
    grant_helpers::Granted,
};

/// Latest end of access after the deadline, with room for a busy machine.
const LATE: Duration = Duration::from_secs(3);

/// A quota that blocks a grant, by the prefix of its name.
const QUOTA: &str = "e2e-quota";

/// Waits until a grant's binding is removed, not before its deadline and not much after.
async fn ends_on_time(scene: &Scene, granted: &Granted) -> Outcome {
    let gone = scene.until_gone(&granted.binding, SOON).await?;
    let late = gone.duration_since(granted.deadline);
    ensure!(late >= jiff::SignedDuration::ZERO, "it was gone {late} before its deadline");
    ensure!(Duration::try_from(late)? < LATE, "it was gone {} ms after its deadline", late.as_millis());
    Ok(())
}

pub async fn t28_finalizer_on_a_binding_keeps_no_access(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "finalizer").await?;
    scene.offers(&["expires", "given-back", "deleted"], &automatic(), &eligibility("edit")).await?;
    let finalizer = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let expires = scene.granted("dev", "expires", "3s").await?;
    scene.patch_binding(&expires.binding, &finalizer).await?;
    ends_on_time(&scene, &expires).await?;
    scene.ends_as("expires", "Expired", &["Expired"], SOON).await?;

    let given_back = scene.granted("dev", "given-back", "10m").await?;
    scene.patch_binding(&given_back.binding, &finalizer).await?;
    scene.write("dev", "adec", &scene.decision("given-back", "Deactivate", None)).await?;
    scene.until_gone(&given_back.binding, LATE).await?;
    scene.ends_as("given-back", "Deactivated", &[], SOON).await?;

    // Deleted before its end, it is still stored and grants (as in plain Kubernetes); the deadline still applies.
    let deleted = scene.granted("dev", "deleted", "4s").await?;
    scene.patch_binding(&deleted.binding, &finalizer).await?;
    scene.kubectl(ADMIN, &["delete", "rolebinding", &deleted.binding, "-n", &scene.name, "--wait=false"]).await?.ok()?;
    let held = scene.get("rolebinding", &deleted.binding).await?.unwrap_or_default();
    ensure!(held.is_null() || held["metadata"]["deletionTimestamp"].is_string(), "no finalizer keeps it: {held}");
    scene.until_gone(&deleted.binding, SOON).await?;
    ensure!(!scene.may("dev", "create", "apps", "deployments").await?, "dev still has access");
    let status = scene.ends_as("deleted", "Expired", &[], SOON).await;
    if status.is_err() {
        scene.ends_as("deleted", "Revoked", &[], SOON).await?;
    }
    Ok(())
}

pub async fn t28_subjects_are_removed_where_finalizers_cannot_be(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "stuck").await?;
    let policy = keeps_finalizers(&scene).await?;
    scene.offers(&["now", "given-back"], &automatic(), &eligibility("edit")).await?;
    let finalizer = json!({"metadata": {"finalizers": ["example.com/hold"]}});

    let granted = scene.granted("dev", "now", "3s").await?;
    scene.patch_binding(&granted.binding, &finalizer).await?;
    let shut = scene.until_shut_out("dev", SOON).await?;
    let late = shut.duration_since(granted.deadline);
    ensure!(
        late >= jiff::SignedDuration::ZERO && Duration::try_from(late)? < LATE,
        "access ended {} ms after the deadline",
        late.as_millis()
    );
    measured("access by a binding that cannot be removed ended after its deadline", late);
    let held = scene.get("rolebinding", &granted.binding).await?.ok_or("the binding was deleted although the finalizer still exists")?;
    ensure!(held["subjects"].is_null(), "it has subjects: {held}");
    // A binding that still exists has not ended in the record: an admin still has to act on it.
    ensure!(scene.status("now").await?["state"] == "Active", "its end is recorded while the binding exists");

    let given_back = scene.granted("dev", "given-back", "10m").await?;
    scene.patch_binding(&given_back.binding, &finalizer).await?;
    scene.write("dev", "adec", &scene.decision("given-back", "Deactivate", None)).await?;
    scene.until_shut_out("dev", LATE).await?;

    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        scene.kubectl(ADMIN, &["delete", kind, &policy]).await?.ok()?;
    }
    for (granted, state) in [(&granted, "Expired"), (&given_back, "Deactivated")] {
        scene.until_gone(&granted.binding, Duration::from_secs(40)).await?;
        scene.ends_as(&granted.request, state, &[], SOON).await?;
    }
    Ok(())
}

/// A foreign policy under which no RoleBinding of the scene loses a finalizer.
async fn keeps_finalizers(scene: &Scene) -> Result<String, crate::env::Error> {
    let name = format!("e2e-keeps-finalizers-{}", scene.name);
    let here = json!({"namespaceSelector": {"matchLabels": {"scene": scene.name}}});
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["rolebindings"]}]);
    let mut constraints = here;
    constraints["resourceRules"] = rules;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": [
            {"expression": "object.metadata.name != 'probe'", "message": "it is in force"},
            {
                "expression": "oldObject == null || oldObject.metadata.?finalizers.orValue([]).all(f, f in object.metadata.?finalizers.orValue([]))",
                "message": "finalizers stay",
            },
        ]},
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    scene.admin(&[policy, binding]).await?;
    let what = format!("the policy {name} to be in force");
    let probe = ["create", "rolebinding", "probe", "--clusterrole=view", "--user=nobody", "--dry-run=server", "-n", scene.name.as_str()];
    let in_force = control_plane::wait_for_ok(&what, SOON, async || match scene.kubectl(ADMIN, &probe).await {
        Ok(said) if said.stderr.contains("it is in force") => Ok(()),
        Ok(said) => Err(said.stderr),
        Err(error) => Err(error.to_string()),
    });
    in_force.await?;
    Ok(name)
}

pub async fn t29_second_owner_keeps_no_binding(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "owner").await?;
    scene.offers(&["expires", "deleted"], &automatic(), &eligibility("edit")).await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": scene.name}});
    let map = scene.write(ADMIN, "configmap", &map).await?;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": map["metadata"]["uid"]});

    let expires = scene.granted("dev", "expires", "3s").await?;
    let deleted = scene.granted("dev", "deleted", "10m").await?;
    for granted in [&expires, &deleted] {
        let stored = scene.get("rolebinding", &granted.binding).await?.unwrap_or_default();
        let own = &stored["metadata"]["ownerReferences"][0];
        scene.patch_binding(&granted.binding, &json!({"metadata": {"ownerReferences": [own, owner]}})).await?;
    }
    // The garbage collector does not delete objects with a living owner.
    scene.kubectl(ADMIN, &["delete", "rar", "deleted", "-n", &scene.name]).await?.ok()?;
    scene.until_gone(&deleted.binding, LATE).await?;
    ends_on_time(&scene, &expires).await?;
    scene.ends_as("expires", "Expired", &["Expired"], SOON).await?;
    Ok(())
}

/// A user deletes a binding, and a dependent object keeps it stored: it grants nothing any more, long before its deadline.
pub async fn f74_terminating_binding_grants_nothing(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "foreground").await?;
    scene.offers(&["behind", "held"], &automatic(), &eligibility("edit")).await?;
    let behind = scene.granted("dev", "behind", "30m").await?;
    let stored = scene.get("rolebinding", &behind.binding).await?.unwrap_or_default();
    let owner = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "name": behind.binding, "uid": stored["metadata"]["uid"],
        "blockOwnerDeletion": true,
    });
    let dependent = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "dependent", "namespace": scene.name, "ownerReferences": [owner], "finalizers": ["example.com/hold"]},
    });
    scene.write(ADMIN, "configmap", &dependent).await?;
    scene
        .kubectl(ADMIN, &["delete", "rolebinding", &behind.binding, "-n", &scene.name, "--cascade=foreground", "--wait=false"])
        .await?
        .ok()?;
    let deleted = jiff::Timestamp::now();
    let gone = scene.until_gone(&behind.binding, SOON).await?;
    measured("a binding deleted in the foreground is gone", gone.duration_since(deleted));
    ensure!(
        Duration::try_from(gone.duration_since(deleted)).unwrap_or_default() < LATE,
        "it granted for {} ms more",
        gone.duration_since(deleted).as_millis()
    );
    scene.ends_as("behind", "Revoked", &["BindingRemoved"], SOON).await?;

    let held = scene.granted("dev", "held", "30m").await?;
    scene.patch_binding(&held.binding, &json!({"metadata": {"finalizers": ["example.com/hold"]}})).await?;
    scene.kubectl(ADMIN, &["delete", "rolebinding", &held.binding, "-n", &scene.name, "--wait=false"]).await?.ok()?;
    scene.until_gone(&held.binding, LATE).await?;
    scene.ends_as("held", "Revoked", &["BindingRemoved"], SOON).await?;
    scene
        .kubectl(
            ADMIN,
            &["patch", "configmap", "dependent", "-n", &scene.name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#],
        )
        .await?
        .ok()?;
    Ok(())
}

/// A quota denies further `RoleBinding` objects: the request reports it, and is granted once the quota allows it.
pub async fn f04_grant_denied_by_quota_is_retried(env: Arc<Env>) -> Outcome {
    let scene = env.scene("quota").await?;
    scene.offers(&["waits"], &automatic(), &eligibility("edit")).await?;
    let none = json!({"count/rolebindings.rbac.authorization.k8s.io": "0"});
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA, "namespace": scene.name}, "spec": {"hard": none},
    });
    scene.admin(&[quota]).await?;
    // The quota controller would compute this; this control plane has none.
    let counted = json!({"status": {"hard": none, "used": none}}).to_string();
    let args = ["patch", "resourcequota", QUOTA, "-n", &scene.name, "--subresource=status", "--type=merge", "-p", &counted];
    scene.kubectl(ADMIN, &args).await?.ok()?;
    let args = ["create", "rolebinding", "probe", "--clusterrole=view", "--user=nobody", "--dry-run=server", "-n", scene.name.as_str()];
    control_plane::wait_for_ok("the quota to be in force", SOON, async || match scene.kubectl(ADMIN, &args).await {
        Ok(said) if said.stderr.contains("exceeded quota") => Ok(()),
        Ok(said) => Err(said.stderr),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    scene.ask("dev", "waits", "10m").await?;
    let status = scene.until_state("waits", "Pending", SOON).await?;
    let said = crate::status_helpers::says(&status);
    ensure!(status["reason"] == "BindingRefused" && said.contains("quota") && said.contains("retrying until"), "it says {said}");
    scene.kubectl(ADMIN, &["delete", "resourcequota", QUOTA, "-n", &scene.name]).await?.ok()?;
    scene.running("waits").await?;
    Ok(())
}
