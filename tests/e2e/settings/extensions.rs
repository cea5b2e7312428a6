//! Extensions of active grants: without a gap, by the requester only, never beyond the total, and the whole chain ends together.

use std::{sync::Arc, time::Duration};

use control_plane::wait_for_ok;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{comes_to, edit, granted_before_its_end, set, term, with, withdraw};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    status_helpers::{did, refused, says},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        extension_starts_at_the_end_of_its_base,
        extension_only_of_own_active_request,
        extension_needs_approval_like_any_request,
        extension_ends_with_its_base,
        limits_max_total_duration,
    ]
}

fn extending(scene: &Scene, name: &str, base: &str, offer: &str, duration: &str) -> Value {
    with(scene.request(name, offer, duration), &json!({"extends": {"name": base}}))
}

async fn extension_starts_at_the_end_of_its_base(env: Arc<Env>) -> Outcome {
    let scene = env.scene("longer").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    let (start, end) = term(&comes_to(&scene, "dev", &scene.request("base", &offer, "15s"), "Active").await?)?;
    ensure!(end.duration_since(start) == SignedDuration::from_secs(15), "the base lasts {}", end.duration_since(start));
    let (from, to) = term(&comes_to(&scene, "dev", &extending(&scene, "more", "base", &offer, "8s"), "Active").await?)?;
    ensure!(from == end && to.duration_since(from) == SignedDuration::from_secs(8), "it extends {start} to {end} from {from} to {to}");
    ensure!(scene.bindings().await?.len() == 2, "the two do not overlap");
    // At the end of the extended request dev does not lose access.
    let expired = wait_for_ok("the base to expire", Duration::from_secs(30), async || {
        match scene.may("dev", "create", "apps", "deployments").await {
            Ok(true) => {}
            Ok(false) if Timestamp::now() < to => return Ok(Some(Timestamp::now())),
            Ok(false) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        let status = scene.status("base").await.map_err(|error| error.to_string())?;
        if status["state"] == "Expired" { Ok(None) } else { Err(status["state"].to_string()) }
    });
    if let Some(at) = expired.await? {
        return Err(format!("dev had no access at {at}, between {end} and {to}").into());
    }
    scene.until_state("more", "Expired", SOON).await?;
    ensure!(!scene.may("dev", "create", "apps", "deployments").await?, "dev may still create Deployments");
    scene.ends_as("base", "Expired", &["Expired"], SOON).await?;
    scene.until_no_binding(SOON).await
}

async fn extension_only_of_own_active_request(env: Arc<Env>) -> Outcome {
    let scene = env.scene("own").await?;
    let offer = scene.offer("view", automatic(), eligibility("view")).await?;
    let other = scene.offer("other", automatic(), eligibility("view")).await?;
    comes_to(&scene, "dev", &scene.request("base", &offer, "10m"), "Active").await?;
    comes_to(&scene, "dev-2", &scene.request("over", &offer, "10m"), "Active").await?;
    withdraw(&scene, "dev-2", "over").await?;
    for (user, base, offer, told) in [
        ("dev-2", "base", &offer, "which belongs to another user; you can extend only your own activations".to_owned()),
        ("dev-2", "over", &offer, "which is Deactivated: only an active one can be extended; request a new activation".to_owned()),
        ("dev", "base", &other, format!("which is under eligibility '{offer}', not '{other}'; name the same one in spec.eligibilityRef")),
        ("dev", "more", &offer, format!("but there is no such request in namespace '{}'; request a new activation", scene.name)),
    ] {
        let said = scene.create(user, &extending(&scene, "more", base, offer, "5m")).await?;
        refused(said, &[&format!("ExtendedRequestNotActive: spec.extends names '{base}', {told}")])?;
    }
    ensure!(scene.bindings().await?.len() == 1, "there are {} bindings", scene.bindings().await?.len());
    // One at a time, and only the last of a chain can be extended again.
    comes_to(&scene, "dev", &extending(&scene, "more", "base", &offer, "5m"), "Active").await?;
    let again = scene.create("dev", &extending(&scene, "again", "base", &offer, "5m")).await?;
    refused(again, &["AlreadyRequested: 'dev' already has the request 'more' (Active)"])?;
    comes_to(&scene, "dev", &extending(&scene, "further", "more", &offer, "5m"), "Active").await.map(drop)
}

async fn extension_needs_approval_like_any_request(env: Arc<Env>) -> Outcome {
    let scene = env.scene("asked").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    comes_to(&scene, "dev", &scene.request("base", &offer, "10m"), "AwaitingApproval").await?;
    scene.approve("lead-1", "base").await?;
    let (_, end) = term(&scene.until_state("base", "Active", SOON).await?)?;
    let waiting = comes_to(&scene, "dev", &extending(&scene, "more", "base", &offer, "10m"), "AwaitingApproval").await?;
    ensure!(waiting["grantedAt"].is_null() && scene.bindings().await?.len() == 1, "it was extended without approval: {waiting}");
    scene.approve("lead-2", "more").await?;
    let (from, to) = term(&scene.until_state("more", "Active", SOON).await?)?;
    ensure!(from == end && to.duration_since(from) == SignedDuration::from_mins(10), "it is from {from} to {to}");
    // An extension that is not approved before the end of the extended request is too late.
    comes_to(&scene, "dev", &extending(&scene, "late", "more", &offer, "10m"), "AwaitingApproval").await?;
    withdraw(&scene, "dev", "more").await?;
    scene.ends_as("late", "Denied", &["ExtendedRequestNotActive"], SOON).await?;
    scene.until_no_binding(SOON).await
}

async fn extension_ends_with_its_base(env: Arc<Env>) -> Outcome {
    let scene = env.scene("chain").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    for (given, other, told) in
        [("base", "more", "'NAME', which it extends, ended early"), ("more", "base", "'NAME', which extends it, ended early")]
    {
        let (base, more) = (format!("{given}-base"), format!("{given}-more"));
        comes_to(&scene, "dev", &scene.request(&base, &offer, "10m"), "Active").await?;
        comes_to(&scene, "dev", &extending(&scene, &more, &base, &offer, "5m"), "Active").await?;
        let (ends, goes) = if given == "base" { (&base, &more) } else { (&more, &base) };
        scene.create("dev", &scene.decision(ends, "Deactivate", None)).await?.ok()?;
        let first = scene.ends_as(ends, "Deactivated", &["DeactivatedByRequester"], SOON).await?;
        ensure!(did(&first, "dev", "Deactivated"), "the timeline names no user: {first}");
        let second = scene.ends_as(goes, "Deactivated", &["ExtendedRequestEnded"], SOON).await?;
        for status in [&first, &second] {
            ensure!(granted_before_its_end(status)?, "the times do not add up: {status}");
        }
        ensure!(says(&second) == told.replace("NAME", ends), "the {other} says {}", says(&second));
        ensure!(
            !scene.may("dev", "create", "apps", "deployments").await?,
            "dev may still create Deployments after the {given} was deactivated"
        );
        scene.until_no_binding(SOON).await?;
    }
    // The same holds for a revocation.
    comes_to(&scene, "dev", &scene.request("last", &offer, "10m"), "Active").await?;
    comes_to(&scene, "dev", &extending(&scene, "last-more", "last", &offer, "5m"), "Active").await?;
    scene.create("security", &scene.decision("last", "Revoke", None)).await?.ok()?;
    scene.ends_as("last", "Revoked", &["RevokedByUser"], SOON).await?;
    scene.ends_as("last-more", "Revoked", &["ExtendedRequestEnded"], SOON).await?;
    scene.until_no_binding(SOON).await
}

async fn limits_max_total_duration(env: Arc<Env>) -> Outcome {
    let scene = env.scene("total").await?;
    let limits = json!({"limits": {"maxTotalDuration": "20m"}});
    let offer = scene.offer("view", set(automatic(), &limits), eligibility("view")).await?;
    let alone = scene.create("dev", &scene.request("base", &offer, "21m")).await?;
    refused(
        alone,
        &["MaxTotalDurationExceeded: from 2", "the activation would last 21m with its extensions, at most 20m is allowed by policy"],
    )?;
    let (start, _) = term(&comes_to(&scene, "dev", &scene.request("base", &offer, "10m"), "Active").await?)?;
    let told = [
        "MaxTotalDurationExceeded: from 2",
        "the activation would last 25m with its extensions, at most 20m is allowed by policy",
        "(spec.limits.maxTotalDuration)",
    ];
    refused(scene.create("dev", &extending(&scene, "more", "base", &offer, "15m")).await?, &told)?;
    let (_, end) = term(&comes_to(&scene, "dev", &extending(&scene, "more", "base", &offer, "10m"), "Active").await?)?;
    ensure!(end.duration_since(start) == SignedDuration::from_mins(20), "the chain lasts {}", end.duration_since(start));
    // The total of a chain counts from its first request, wherever it is checked.
    let further = scene.create("dev", &extending(&scene, "further", "more", &offer, "2m")).await?;
    if further.status.success() {
        scene.ends_as("further", "Denied", &["MaxTotalDurationExceeded"], SOON).await?;
    } else {
        refused(further, &["MaxTotalDurationExceeded: "])?;
    }
    ensure!(scene.bindings().await?.len() == 2, "there are {} bindings", scene.bindings().await?.len());
    // A lowered total ends grants that exceed it.
    edit(&scene, "approvalpolicy", &offer, &json!({"limits": {"maxTotalDuration": "15m"}})).await?;
    let status = scene.ends_as("more", "Revoked", &["DurationNoLongerAllowed", "ExtendedRequestEnded"], SOON).await?;
    ensure!(!says(&status).is_empty(), "it says nothing");
    scene.ends_as("base", "Revoked", &["ExtendedRequestEnded", "DurationNoLongerAllowed"], SOON).await?;
    scene.until_no_binding(SOON).await
}
