//! An object that a grant depends on is deleted: its binding, its request, its namespace (T30, T34, T37).

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, AuditEvent, wait_for, wait_for_ok};
use serde_json::json;

use crate::{
    audit::{self, Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, approved_by, automatic, eligibility},
    grant_helpers::{each, text},
};

use crate::audit::CONTROLLER as OPERATOR;

pub async fn t34_manually_deleted_binding_is_not_recreated(env: Arc<Env>) -> Outcome {
    let scene = env.scene("by-hand").await?;
    scene.offers(&["first", "second"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let granted = scene.granted("dev", "first", "10m").await?;
    scene.kubectl(ADMIN, &["delete", "rolebinding", &granted.binding, "-n", &scene.name]).await?.ok()?;
    let status = scene.ends_as("first", "Revoked", &["BindingRemoved"], SOON).await?;
    ensure!(text(&status["conditions"][0]["message"]).contains(&granted.binding), "the message does not name it: {status}");
    // Another grant is made and ends: until then, any component that would restore the first one had time to do so.
    scene.granted("dev", "second", "2s").await?;
    scene.ends_as("second", "Expired", &[], SOON).await?;
    let made = calls.so_far(|e| e.verb == "create" && e.code() == 201 && audit::is(e, "rolebindings", &granted.binding))?;
    ensure!(made.len() == 1, "its binding was made {} times", made.len());
    ensure!(scene.bindings().await?.is_empty(), "there are bindings: {:?}", scene.bindings().await?);
    ensure!(scene.status("first").await?["state"] == "Revoked", "the end of the first one was overwritten");
    Ok(())
}

pub async fn t30_deleted_request_removes_its_binding_and_decisions(env: Arc<Env>) -> Outcome {
    let scene = env.scene("deleted").await?;
    let cascades = ["background", "foreground", "orphan"];
    scene.offers(&cascades, &approved_by("leads", 1), &eligibility("edit")).await?;
    each(&cascades, async |cascade| {
        scene.ask("dev", cascade, "10m").await?;
        scene.until_state(cascade, "AwaitingApproval", SOON).await?;
        scene.approve("lead-1", cascade).await?;
        let granted = scene.running(cascade).await?;
        let decisions = scene.list("adec").await?;
        let decision = decisions.iter().find(|d| d["spec"]["requestRef"]["uid"] == granted.uid.as_str()).ok_or("there is a decision")?;
        let decision = text(&decision["metadata"]["name"]);
        let mut calls = Calls::from_now(&scene)?;
        let cascade_flag = format!("--cascade={cascade}");
        scene.kubectl(ADMIN, &["delete", "rar", cascade, "-n", &scene.name, &cascade_flag, "--wait=false"]).await?.ok()?;
        scene.until_gone(&granted.binding, SOON).await?;
        until_no_decision_on(&scene, &granted.uid).await.map_err(|error| -> Error { format!("{cascade}: {error}").into() })?;
        let asked = calls.first("the deletion", |e| e.verb == "delete" && audit::is(e, "roleactivationrequests", cascade)).await?;
        let took = calls.removed(&granted.binding).await?.duration_since(asked.request_received_timestamp);
        ensure!(took.as_millis() < 2_000, "{cascade}: the binding outlived its request by {} ms", took.as_millis());
        measured(format!("binding of a deleted request removed ({cascade})"), took);
        // Otherwise the garbage collector may be faster; with `orphan` it deletes nothing.
        if cascade == &"orphan" {
            let tried = |e: &AuditEvent, resource: &str, name: &str| {
                e.verb == "delete" && e.user.username == OPERATOR && audit::is(e, resource, name)
            };
            calls.first("the operator to delete the decision", |e| tried(e, "activationdecisions", &decision)).await?;
            calls.first("the operator to delete the binding", |e| tried(e, "rolebindings", &granted.binding)).await?;
        }
        Ok(())
    })
    .await?;
    ensure!(!scene.may("dev", "create", "apps", "deployments").await?, "dev still has access");
    Ok(())
}

async fn until_no_decision_on(scene: &Scene, uid: &str) -> Outcome {
    let what = format!("the decisions on {uid} to be gone");
    let gone = wait_for_ok(&what, SOON, async || match scene.list("adec").await {
        Ok(all) => match all.iter().filter(|d| d["spec"]["requestRef"]["uid"] == uid).count() {
            0 => Ok(()),
            many => Err(format!("there are {many}")),
        },
        Err(error) => Err(error.to_string()),
    });
    Ok(gone.await?)
}

pub async fn t37_namespace_deletion_ends_the_grant_and_a_new_namespace_has_none(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "reborn").await?;
    scene.offers(&["now", "again"], &automatic(), &eligibility("edit")).await?;
    let granted = scene.granted("dev", "now", "10m").await?;
    let mut copy = scene.get("rolebinding", &granted.binding).await?.unwrap_or_default();
    scene.kubectl(ADMIN, &["delete", "namespace", &scene.name, "--timeout=30s"]).await?.ok()?;

    scene.create_namespace(&scene.name).await?;
    ensure!(scene.bindings().await?.is_empty(), "the new namespace has a grant from the start");
    ensure!(!scene.may("dev", "create", "apps", "deployments").await?, "dev has access to the new namespace");

    // A backup restores the old binding: its request is another one, or none.
    for key in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences"] {
        copy["metadata"].as_object_mut().map(|meta| meta.remove(key));
    }
    scene.write(ADMIN, "rolebinding", &copy).await?;
    scene.until_gone(&granted.binding, SOON).await?;
    let again = scene.granted("dev", "now", "10m").await?;
    scene.write(ADMIN, "rolebinding", &copy).await?;
    scene.until_gone(&granted.binding, SOON).await?;
    ensure!(scene.get("rolebinding", &again.binding).await?.is_some(), "the grant of the new namespace was removed too");

    // Nothing is granted in a terminating namespace; a foreign finalizer keeps it terminating.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "holds", "namespace": scene.name, "finalizers": ["example.com/hold"]}});
    scene.write(ADMIN, "configmap", &map).await?;
    scene.kubectl(ADMIN, &["delete", "namespace", &scene.name, "--wait=false"]).await?.ok()?;
    scene.until_shut_out("dev", SOON).await?;
    let refused = scene.ask("dev", "again", "10m").await;
    ensure!(refused.is_err(), "a request was accepted in a terminating namespace: {refused:?}");
    ensure!(scene.bindings().await?.is_empty(), "there are bindings");
    scene
        .kubectl(ADMIN, &["patch", "configmap", "holds", "-n", &scene.name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])
        .await?
        .ok()?;
    let what = format!("namespace {} to be gone", scene.name);
    wait_for(&what, Duration::from_secs(30), async || {
        let said = scene.kubectl(ADMIN, &["get", "namespace", &scene.name, "--ignore-not-found", "-o", "name"]).await.ok()?;
        said.stdout.trim().is_empty().then_some(())
    })
    .await?;
    Ok(())
}
