//! `kill -9` of all controllers at each step of the life of a grant (T33, T34).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{exclusive_scene, kill_all, start_all, until, verify_final_state};
use crate::{
    audit::{Calls, measured},
    blocking_webhook::BlockingWebhook,
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, approved_by, automatic, eligibility},
    grant_helpers::{text, time},
};

/// Latest end of an overdue grant, counted from the start of the first replica's process.
const FROM_START: SignedDuration = SignedDuration::from_millis(1_000);
/// Longer than the others wait for the Lease of a killed holder: grants after it need a holder.
const TAKES_OVER: &str = "20s";
/// Latest end of any grant here: no process ran for some seconds.
const LATEST: SignedDuration = SignedDuration::from_secs(15);

pub async fn t33_t34_kill_9_at_every_step_of_a_grant(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = exclusive_scene(&env, "killed").await?;
    let mut calls = Calls::from_now(&scene)?;
    scene.offers(&["running", "overdue", "fresh", "before", "status", "create", "end"], &automatic(), &eligibility("edit")).await?;
    scene.offers(&["waiting", "too-late"], &approved_by("leads", 1), &eligibility("edit")).await?;
    many_steps_at_once(&scene, &mut calls).await?;
    between_binding_and_status(&scene).await?;
    while_the_binding_is_made(&scene).await?;
    between_removal_and_record(&scene).await?;
    let late = verify_final_state(&scene, &mut calls, LATEST).await?;
    for on_time in ["running", "fresh", "before", "waiting", "status"] {
        let by = late.get(on_time).ok_or_else(|| format!("{on_time} was never granted"))?;
        ensure!(*by < FROM_START, "{on_time} ended {} ms late although a replica ran", by.as_millis());
        measured(format!("grant ended after its deadline, with a kill before it ({on_time})"), *by);
    }
    Ok(())
}

/// One kill during one grant that stays active, one that expires meanwhile, one pending request, and one that was just created. Another
/// request is created, and others are approved, while no replica runs.
async fn many_steps_at_once(scene: &Scene, calls: &mut Calls) -> Outcome {
    let fixture = &scene.fixture;
    let overdue = scene.granted("dev", "overdue", "5s").await?;
    let running = scene.granted("dev", "running", TAKES_OVER).await?;
    for waiting in [("waiting", TAKES_OVER), ("too-late", "1s")] {
        scene.ask("dev", waiting.0, waiting.1).await?;
        scene.until_state(waiting.0, "AwaitingApproval", SOON).await?;
    }
    scene.ask("dev", "fresh", TAKES_OVER).await?;
    kill_all(fixture);
    scene.ask("dev", "before", TAKES_OVER).await?;
    scene.approve("lead-1", "too-late").await?;
    until(overdue.deadline.max(Timestamp::now() + SignedDuration::from_secs(2))).await?;
    scene.approve("lead-1", "waiting").await?;
    ensure!(scene.get("rolebinding", &overdue.binding).await?.is_some(), "a grant ended although no replica ran");

    let started = Timestamp::now();
    fixture.operator.controller(1)?.start()?;
    scene.until_gone(&overdue.binding, SOON).await?;
    let took = calls.removed(&overdue.binding).await?.duration_since(started);
    measured("grant that expired while no replica ran, removed after the start of the first replica's process", took);
    ensure!(took < FROM_START, "the overdue grant was removed {} ms after the start", took.as_millis());
    start_all(fixture).await?;
    scene.ends_as("overdue", "Expired", &["Expired"], SOON).await?;
    scene.ends_as("too-late", "TimedOut", &["DeadlineExceeded"], SOON).await?;
    for request in ["fresh", "before", "waiting"] {
        scene.running(request).await.map_err(|error| -> Error { format!("{request}: {error}").into() })?;
    }
    ensure!(
        scene.status("running").await?["expiresAt"] == crate::grant_helpers::stamp(running.deadline),
        "the end of an active grant changed"
    );
    Ok(())
}

async fn between_binding_and_status(scene: &Scene) -> Outcome {
    let gate = BlockingWebhook::new(scene, "jitrbac.dev", "roleactivationrequests/status", &["UPDATE"]).await?;
    gate.hold(1);
    let stored = scene.ask("dev", "status", TAKES_OVER).await?;
    gate.until_held(1, SOON).await?;
    let binding = format!("jit-{}", text(&stored["metadata"]["uid"]));
    let made = scene.get("rolebinding", &binding).await?.ok_or("the binding does not exist")?;
    kill_all(&scene.fixture);
    gate.remove(scene).await?;
    ensure!(scene.status("status").await?["state"] != "Active", "the grant was recorded before the kill");
    start_all(&scene.fixture).await?;
    let granted = scene.running("status").await?;
    let again = scene.get("rolebinding", &granted.binding).await?.unwrap_or_default();
    ensure!(again["metadata"]["uid"] == made["metadata"]["uid"], "the binding is another one after the kill");
    ensure!(
        granted.deadline == time(&stored["metadata"]["creationTimestamp"])? + SignedDuration::from_secs(20),
        "its end is {}",
        granted.deadline
    );
    Ok(())
}

/// The call is in flight when the process dies: it may be executed or not, but never twice.
async fn while_the_binding_is_made(scene: &Scene) -> Outcome {
    let gate = BlockingWebhook::new(scene, "rbac.authorization.k8s.io", "rolebindings", &["CREATE"]).await?;
    gate.hold(1);
    scene.ask("dev", "create", TAKES_OVER).await?;
    gate.until_held(1, SOON).await?;
    kill_all(&scene.fixture);
    gate.remove(scene).await?;
    start_all(&scene.fixture).await?;
    scene.running("create").await?;
    Ok(())
}

async fn between_removal_and_record(scene: &Scene) -> Outcome {
    let gate = BlockingWebhook::new(scene, "jitrbac.dev", "roleactivationrequests/status", &["UPDATE"]).await?;
    let granted = scene.granted("dev", "end", "3s").await?;
    // The others may end at the same time; it only matters that this one is among the held calls.
    gate.hold(8);
    scene.until_gone(&granted.binding, SOON).await?;
    gate.until_held(1, SOON).await?;
    kill_all(&scene.fixture);
    gate.remove(scene).await?;
    ensure!(scene.status("end").await?["state"] == "Active", "the end was recorded before the kill");
    start_all(&scene.fixture).await?;
    scene.ends_as("end", "Expired", &["Expired"], SOON).await?;
    Ok(())
}
