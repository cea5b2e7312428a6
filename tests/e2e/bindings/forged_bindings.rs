//! Bindings that no grant created: a name that is used in advance (T32), a copy from another namespace (T36, T53).

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Outcome, SOON, approved_by, automatic, eligibility},
    grant_helpers::{each, stamp, text},
};

/// A name of the operator's form without an owner.
pub fn unowned_name(number: u8) -> String {
    format!("jit-00000000-0000-4000-8000-0000000000{number:02x}")
}

/// The operator's label.
pub fn managed() -> Value {
    json!({"jitrbac.dev/managed": "true"})
}

pub async fn t32_existing_binding_is_never_adopted(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "squat").await?;
    scene.offers(&["bare", "labelled"], &approved_by("leads", 1), &eligibility("view")).await?;
    let later = stamp(Timestamp::now() + SignedDuration::from_hours(1));

    // Without the label it is not observed until the grant is made, and then it counts as a foreign binding.
    let stored = scene.ask("dev", "bare", "10m").await?;
    scene.until_state("bare", "AwaitingApproval", SOON).await?;
    let squatted = format!("jit-{}", text(&stored["metadata"]["uid"]));
    scene.plant(&squatted, &json!({}), &json!({"jitrbac.dev/expires-at": later})).await?;
    scene.approve("lead-1", "bare").await?;
    let status = scene.ends_as("bare", "Failed", &["BindingConflict"], SOON).await?;
    ensure!(status["grantedAt"].is_null() && status["bindingRef"].is_null(), "something was granted: {status}");
    scene.until_gone(&squatted, SOON).await?;

    // With the label it is observed and removed at once; the grant is made as usual.
    let stored = scene.ask("dev", "labelled", "10m").await?;
    scene.until_state("labelled", "AwaitingApproval", SOON).await?;
    let squatted = format!("jit-{}", text(&stored["metadata"]["uid"]));
    scene.plant(&squatted, &managed(), &json!({"jitrbac.dev/expires-at": later, "jitrbac.dev/request": "labelled"})).await?;
    scene.until_gone(&squatted, SOON).await?;
    scene.approve("lead-1", "labelled").await?;
    let granted = scene.running("labelled").await?;
    let binding = scene.get("rolebinding", &granted.binding).await?.unwrap_or_default();
    ensure!(binding["roleRef"]["name"] == "view" && binding["subjects"][0]["name"] == "dev", "it is not what was granted: {binding}");
    Ok(())
}

pub async fn t53_managed_binding_without_a_request_is_removed(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "planted").await?;
    scene.offers(&["live", "ended"], &automatic(), &eligibility("edit")).await?;
    let live = scene.granted("dev", "live", "10m").await?;
    scene.granted("dev-2", "ended", "2s").await?;
    scene.ends_as("ended", "Expired", &[], SOON).await?;
    let later = stamp(Timestamp::now() + SignedDuration::from_hours(1));
    let about = |request: &str| json!({"jitrbac.dev/expires-at": later, "jitrbac.dev/request": request});
    let cases: [(String, Value); 9] = [
        (unowned_name(1), about("nobody-made-it")),
        (unowned_name(2), about("live")),
        (unowned_name(3), about("ended")),
        (unowned_name(4), json!({"jitrbac.dev/expires-at": later})),
        (unowned_name(5), about("live/status")),
        (unowned_name(6), json!({"jitrbac.dev/request": "live"})),
        (unowned_name(7), json!({"jitrbac.dev/expires-at": "some day"})),
        (unowned_name(8), json!({"jitrbac.dev/expires-at": stamp(Timestamp::now() - SignedDuration::from_hours(1))})),
        ("any-name-at-all".to_owned(), about("../../live")),
    ];
    each(&cases, async |(name, annotations)| {
        scene.plant(name, &managed(), annotations).await?;
        let gone = scene.until_gone(name, Duration::from_secs(5)).await;
        gone.map_err(|error| -> crate::env::Error { format!("{annotations}: {error}").into() })
    })
    .await?;
    ensure!(!scene.may("outsider", "create", "apps", "deployments").await?, "outsider has access");
    ensure!(scene.status("live").await?["state"] == "Active", "an active grant ended with them");
    ensure!(scene.get("rolebinding", &live.binding).await?.is_some(), "the binding of an active grant was removed with them");
    Ok(())
}
