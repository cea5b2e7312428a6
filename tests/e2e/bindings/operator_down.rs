//! Bindings are changed while no replica runs, and the first replica that starts corrects them.

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, wait_for};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::forged_bindings::{managed, unowned_name};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, automatic, eligibility},
    faults::holder,
    grant_helpers::{Granted, each, stamp},
};

/// Latest removal of an overdue binding after the start of the first replica, counted from the start of its process.
const FROM_START: SignedDuration = SignedDuration::from_millis(1_500);

/// The change of an active grant, its duration, and the allowed ends of its request.
struct Case {
    suffix: &'static str,
    duration: &'static str,
    deed: Deed,
    ends: &'static [&'static str],
}

enum Deed {
    Patch(Value),
    DeleteBinding,
    DeleteRequest(&'static str),
    Nothing,
}

fn cases() -> Vec<Case> {
    let case = |suffix, duration, deed, ends| Case { suffix, duration, deed, ends };
    let later = || json!(stamp(Timestamp::now() + SignedDuration::from_hours(20)));
    let patch = |patch| Deed::Patch(patch);
    let unlabelled = json!({"jitrbac.dev/managed": null});
    let everybody = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]);
    vec![
        // Overdue when the first replica starts.
        case("expired", "6s", Deed::Nothing, &["Expired"]),
        case("expired-no-label", "6s", patch(json!({"metadata": {"labels": unlabelled}})), &["Expired"]),
        case("expired-finalizer", "6s", patch(json!({"metadata": {"finalizers": ["example.com/hold"]}})), &["Expired"]),
        case("expired-moved", "6s", patch(json!({"metadata": {"annotations": {"jitrbac.dev/expires-at": later()}}})), &["Expired"]),
        // Not yet due, and no replica observed it.
        case("no-label", "10m", patch(json!({"metadata": {"labels": unlabelled}})), &["Revoked"]),
        case("no-label-no-date", "10m", patch(json!({"metadata": {"labels": null, "annotations": null}})), &["Revoked"]),
        case("moved", "10m", patch(json!({"metadata": {"annotations": {"jitrbac.dev/expires-at": later()}}})), &["Revoked"]),
        case("no-date", "10m", patch(json!({"metadata": {"annotations": {"jitrbac.dev/expires-at": null}}})), &["Revoked"]),
        case("request", "10m", patch(json!({"metadata": {"annotations": {"jitrbac.dev/request": "another"}}})), &["Revoked"]),
        case("subjects", "10m", patch(json!({"subjects": everybody})), &["Revoked"]),
        case("removed", "10m", Deed::DeleteBinding, &["Revoked"]),
        case("orphaned", "10m", Deed::DeleteRequest("--cascade=orphan"), &[]),
        case("owned-twice", "10m", Deed::DeleteRequest("--cascade=background"), &[]),
    ]
}

/// A replica without the Lease does not trust a DELETED event either.
pub async fn t56_standby_replica_removes_a_binding_without_its_label(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.write().await;
    let scene = env.scene_on(&fixture, "standby").await?;
    scene.offers(&["now"], &automatic(), &eligibility("edit")).await?;
    let granted = scene.granted("dev", "now", "10m").await?;
    let holder = fixture.operator.controller(holder(&fixture).await?)?;
    holder.stop()?;
    scene.patch_binding(&granted.binding, &json!({"metadata": {"labels": {"jitrbac.dev/managed": null}}})).await?;
    // Sooner than another replica can hold the Lease.
    let gone = scene.until_gone(&granted.binding, Duration::from_secs(4)).await;
    holder.resume()?;
    gone?;
    scene.ends_as("now", "Revoked", &[], SOON).await?;
    Ok(())
}

pub async fn t36_first_replica_reverts_changes_made_during_downtime(env: Arc<Env>) -> Outcome {
    // Alone: the other tests on this control plane need the operator.
    let fixture = env.unguarded().await?.write().await;
    let scene = env.scene_on(&fixture, "down").await?;
    let cases = cases();
    scene.offers(&cases.iter().map(|c| c.suffix).collect::<Vec<_>>(), &automatic(), &eligibility("edit")).await?;
    let granted = each(&cases, |case| scene.granted("dev", case.suffix, case.duration)).await?;
    let own_twice = granted.iter().find(|g| g.request == "owned-twice").ok_or("it was granted")?;
    own_by_another_too(&scene, own_twice).await?;

    for controller in fixture.operator.controllers() {
        controller.kill();
    }
    let all: Vec<_> = cases.iter().zip(&granted).collect();
    each(&all, |(case, granted)| act(&scene, &case.deed, granted)).await?;
    let (restored, no_date, bare) = (unowned_name(1), unowned_name(2), unowned_name(3));
    let past =
        json!({"jitrbac.dev/expires-at": stamp(Timestamp::now() - SignedDuration::from_hours(1)), "jitrbac.dev/request": "long-gone"});
    scene.plant(&restored, &managed(), &past).await?;
    scene.plant(&no_date, &managed(), &json!({})).await?;
    scene.plant(&bare, &json!({}), &json!({"jitrbac.dev/expires-at": stamp(Timestamp::now() + SignedDuration::from_hours(1))})).await?;
    wait_for("the short grants to be overdue", SOON, async || {
        granted.iter().filter(|g| is_short(g)).all(|g| g.deadline < Timestamp::now()).then_some(())
    })
    .await?;

    let mut calls = Calls::from_now(&scene)?;
    let started = Timestamp::now();
    let first = fixture.operator.controller(0)?;
    first.start()?;
    let mut overdue: Vec<String> =
        all.iter().filter(|(c, _)| c.duration == "6s" && c.suffix != "expired-moved").map(|(_, g)| g.binding.clone()).collect();
    overdue.extend([restored.clone(), no_date.clone()]);
    for binding in &overdue {
        scene.until_gone(binding, SOON).await?;
        let took = calls.removed(binding).await?.duration_since(started);
        measured("overdue binding removed after the start of the first replica's process", took);
        ensure!(took < FROM_START, "{binding} was removed {} ms after the start", took.as_millis());
    }
    for (_, granted) in all.iter().filter(|(case, _)| !matches!(case.deed, Deed::DeleteBinding)) {
        scene.until_gone(&granted.binding, SOON).await.map_err(|error| -> Error { format!("{}: {error}", granted.request).into() })?;
    }
    scene.until_gone(&bare, SOON).await?;
    for (case, granted) in all.iter().filter(|(case, _)| !case.ends.is_empty()) {
        let end = case.ends.first().copied().unwrap_or_default();
        scene.ends_as(&granted.request, end, &[], SOON).await?;
    }
    ensure!(scene.bindings().await?.is_empty(), "there are bindings: {:?}", scene.bindings().await?);
    let made = calls.bindings_made(&scene.name)?;
    ensure!(made.is_empty(), "bindings were made: {made:?}");
    for controller in fixture.operator.controllers() {
        controller.start()?;
        controller.wait_until_ready(Duration::from_secs(20)).await?;
    }
    Ok(())
}

fn is_short(granted: &Granted) -> bool {
    granted.request.starts_with("expired")
}

async fn own_by_another_too(scene: &Scene, granted: &Granted) -> Outcome {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": scene.name}});
    let map = scene.write(ADMIN, "configmap", &map).await?;
    let stored = scene.get("rolebinding", &granted.binding).await?.unwrap_or_default();
    let own = &stored["metadata"]["ownerReferences"][0];
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": map["metadata"]["uid"]});
    scene.patch_binding(&granted.binding, &json!({"metadata": {"ownerReferences": [own, owner]}})).await.map(|_| ())
}

async fn act(scene: &Scene, deed: &Deed, granted: &Granted) -> Outcome {
    match deed {
        Deed::Nothing => {}
        Deed::Patch(patch) => {
            scene.patch_binding(&granted.binding, patch).await?;
        }
        Deed::DeleteBinding => {
            scene.kubectl(ADMIN, &["delete", "rolebinding", &granted.binding, "-n", &scene.name]).await?.ok()?;
        }
        Deed::DeleteRequest(cascade) => {
            scene.kubectl(ADMIN, &["delete", "rar", &granted.request, "-n", &scene.name, cascade]).await?.ok()?;
            ensure!(
                scene.get("rolebinding", &granted.binding).await?.is_some(),
                "the binding of {} was removed without the operator",
                granted.request
            );
        }
    }
    Ok(())
}
