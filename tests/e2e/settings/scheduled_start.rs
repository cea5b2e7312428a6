//! Scheduled starts: no access before, and all rules are evaluated again at the start.

use std::sync::Arc;

use control_plane::{ADMIN, wait_for_ok};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{ahead, comes_to, edit, term, with};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    grant_helpers::time,
    status_helpers::{conditions, did, refused, says, until},
    test_cases,
};

const STALE: &str = "; an earlier approval no longer counts because what it approved has changed";

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        start_time_grants_nothing_before_and_the_full_duration_after,
        scheduled_request_is_reevaluated_on_changes,
        scheduled_request_can_be_withdrawn_and_revoked,
        t17_role_change_between_approval_and_start_requires_new_approval,
    ]
}

/// A request that starts in an hour, approved where the offer requires that.
async fn scheduled(scene: &Scene, name: &str, offer: &str) -> Result<Value, Error> {
    let request = with(scene.request(name, offer, "10m"), &json!({"startTime": ahead(3600)}));
    scene.create("dev", &request).await?.ok()?;
    let status =
        until(scene, name, "to be decided", |status| ["AwaitingApproval", "Scheduled"].iter().any(|s| status["state"] == *s)).await?;
    if status["state"] == "AwaitingApproval" {
        scene.approve("lead-1", name).await?;
    }
    scene.until_state(name, "Scheduled", SOON).await
}

async fn start_time_grants_nothing_before_and_the_full_duration_after(env: Arc<Env>) -> Outcome {
    let scene = env.scene("ahead").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    let start = ahead(14);
    comes_to(&scene, "dev", &with(scene.request("now", &offer, "6s"), &json!({"startTime": start})), "AwaitingApproval").await?;
    scene.approve("lead-1", "now").await?;
    let status = scene.until_state("now", "Scheduled", SOON).await?;
    ensure!(status["reason"] == "StartScheduled" && says(&status).contains(&format!("from {start} until ")), "it says {}", says(&status));
    ensure!(status["approvedBy"] == "lead-1" && did(&status, "lead-1", "Approved"), "the approval is not shown: {status}");
    let said = conditions(&status)?;
    for (kind, expected) in [("Approved", "True"), ("Settled", "False"), ("Ready", "False"), ("Reconciling", "True"), ("Active", "False")] {
        ensure!(said.get(kind).is_some_and(|is| is == expected), "{kind} is {:?}", said.get(kind));
    }
    ensure!(scene.bindings().await?.is_empty(), "there is a binding before the start");
    ensure!(!scene.may("dev", "create", "apps", "deployments").await?, "dev may create Deployments before the start");
    // In whatever state it is observed, there is no access before the start.
    let what = "the grant to begin";
    let begun = wait_for_ok(what, std::time::Duration::from_secs(30), async || {
        let may = scene.may("dev", "create", "apps", "deployments").await.map_err(|error| error.to_string())?;
        let now = jiff::Timestamp::now();
        if may { Ok(now) } else { Err("not yet".to_owned()) }
    });
    let begun = begun.await?;
    ensure!(begun >= time(&json!(start))?, "dev had access at {begun}, before {start}");
    let ended = scene.until_state("now", "Expired", SOON).await?;
    let (from, to) = term(&ended)?;
    ensure!(ended["grantedAt"] == start && to.duration_since(from) == SignedDuration::from_secs(6), "it was from {from} to {to}");
    ensure!(!scene.may("dev", "create", "apps", "deployments").await?, "dev may still create Deployments");
    Ok(())
}

async fn scheduled_request_is_reevaluated_on_changes(env: Arc<Env>) -> Outcome {
    let scene = env.scene("again").await?;
    let debug = || {
        let mut debug = eligibility("debug");
        debug["roleRef"]["kind"] = json!("Role");
        debug
    };
    let removed = scene.offer("removed", automatic(), debug()).await?;
    let suspended = scene.offer("suspended", automatic(), debug()).await?;
    let edited = scene.offer("edited", approved_by("leads", 1), debug()).await?;
    for (name, offer) in [("removed", &removed), ("suspended", &suspended), ("edited", &edited)] {
        scheduled(&scene, name, offer).await?;
    }
    scene.kubectl(ADMIN, &["delete", "roleeligibility", &removed]).await?.ok()?;
    edit(&scene, "roleeligibility", &suspended, &json!({"suspended": true})).await?;
    for (name, reason) in [("removed", "EligibilityRemoved"), ("suspended", "EligibilitySuspended")] {
        let status = scene.ends_as(name, "Revoked", &[reason], SOON).await?;
        ensure!(status["bindingRef"].is_null() && status["grantedAt"].is_null(), "{name}: something was granted: {status}");
    }
    // The approved content is no longer what would be granted: approvers are asked again, and see the reason.
    edit(&scene, "approvalpolicy", &edited, &json!({"limits": {"maxDuration": "30m"}})).await?;
    let status = scene.until_state("edited", "AwaitingApproval", SOON).await?;
    ensure!(says(&status).ends_with(STALE) && status["awaiting"]["have"] == 0, "it says {}", says(&status));
    scene.approve("lead-2", "edited").await?;
    scene.until_state("edited", "Scheduled", SOON).await?;
    ensure!(scene.bindings().await?.is_empty(), "something was granted");
    Ok(())
}

async fn scheduled_request_can_be_withdrawn_and_revoked(env: Arc<Env>) -> Outcome {
    let scene = env.scene("taken").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    for (name, verb, who, state) in
        [("back", "Deactivate", "dev", "Withdrawn"), ("denied", "Deny", "lead-2", "Revoked"), ("revoked", "Revoke", "security", "Revoked")]
    {
        scheduled(&scene, name, &offer).await?;
        scene.create(who, &scene.decision(name, verb, None)).await?.ok()?;
        let status = scene.ends_as(name, state, &[], SOON).await?;
        ensure!(did(&status, who, state) && says(&status).contains(who), "{name}: the timeline names no user: {status}");
        ensure!(status["bindingRef"].is_null(), "{name}: something was granted");
    }
    scene.until_no_binding(SOON).await
}

async fn t17_role_change_between_approval_and_start_requires_new_approval(env: Arc<Env>) -> Outcome {
    let scene = env.scene("drifted").await?;
    let mut debug = eligibility("debug");
    debug["roleRef"]["kind"] = json!("Role");
    let offer = scene.offer("debug", approved_by("leads", 1), debug).await?;
    let before = scheduled(&scene, "now", &offer).await?;
    let wider = r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["events"],"verbs":["get"]}}]"#;
    scene.kubectl(ADMIN, &["patch", "role", "debug", "-n", &scene.name, "--type=json", "-p", wider]).await?.ok()?;
    let after = scene.until_state("now", "AwaitingApproval", SOON).await?;
    ensure!(says(&after).ends_with(STALE) && after["awaiting"]["have"] == 0, "it says {}", says(&after));
    ensure!(after["role"]["rules"] == json!(["get events", "get,list pods,pods/log"]), "the approver sees {}", after["role"]);
    let stale = scene.create("lead-2", &scene.decision("now", "Approve", before["digest"].as_str())).await?;
    refused(stale, &["DigestStale: "])?;
    scene.approve("lead-2", "now").await?;
    let status = scene.until_state("now", "Scheduled", SOON).await?;
    ensure!(status["digest"] == after["digest"] && status["approvedBy"] == "lead-2", "it is {status}");
    ensure!(scene.bindings().await?.is_empty(), "something was granted");
    Ok(())
}
