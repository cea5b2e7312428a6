//! Completed requests are kept for the retention time of their policy, and are deleted with the decisions on them.

use std::sync::Arc;

use control_plane::wait_for_ok;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    audit::{CONTROLLER, Calls, is},
    ensure,
    env::{Env, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    faults::{alone, kill_all, start_all, until},
    grant_helpers::time,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        retention_deletes_a_completed_request_and_its_decisions_on_time,
        retention_resumes_after_downtime,
        retention_unset_keeps_requests,
        retention_waits_for_extensions_and_reviews,
    ]
}

/// A policy, changed so that completed requests are kept for this long.
fn keeping(mut policy: Value, retention: &str) -> Value {
    policy["retention"] = json!(retention);
    policy
}

/// Waits until a request and the decisions on it are deleted.
async fn until_deleted(scene: &Scene, request: &str) -> Outcome {
    let what = format!("request {}/{request} and its decisions to be gone", scene.name);
    let gone = wait_for_ok(&what, SOON, async || {
        let there = scene.get("rar", request).await.map_err(|error| error.to_string())?;
        let decisions = scene.list("adec").await.map_err(|error| error.to_string())?;
        let decisions = decisions.iter().filter(|decision| decision["spec"]["requestRef"]["name"] == request).count();
        if there.is_none() && decisions == 0 { Ok(()) } else { Err(format!("request: {}, {decisions} decisions", there.is_some())) }
    });
    Ok(gone.await?)
}

/// Verifies that the operator deleted a request when it had been completed for this long, and not too late.
async fn deleted_in_time(calls: &mut Calls, request: &str, ended: Timestamp, kept: SignedDuration) -> Outcome {
    let deletion = calls.first("the deletion", |e| e.verb == "delete" && is(e, "roleactivationrequests", request)).await?;
    ensure!(deletion.user.username == CONTROLLER && deletion.code() == 200, "{} deleted it: {}", deletion.user.username, deletion.code());
    let after = deletion.request_received_timestamp.duration_since(ended);
    ensure!(after >= kept, "it was deleted {} ms after its end", after.as_millis());
    ensure!(after < kept + SignedDuration::from_secs(5), "it was deleted only {} ms after its end", after.as_millis());
    Ok(())
}

async fn retention_deletes_a_completed_request_and_its_decisions_on_time(env: Arc<Env>) -> Outcome {
    let scene = env.scene("kept").await?;
    scene.offers(&["back", "again"], &keeping(automatic(), "4s"), &eligibility("view")).await?;
    scene.offers(&["asked"], &keeping(approved_by("leads", 1), "4s"), &eligibility("view")).await?;
    let mut calls = Calls::from_now(&scene)?;
    scene.granted("dev", "back", "10m").await?;
    let running = scene.granted("dev", "again", "10m").await?;
    scene.ask("dev", "asked", "10m").await?;
    scene.until_state("asked", "AwaitingApproval", SOON).await?;

    // Deactivated, and denied by an approver: both ends leave a decision.
    scene.write("dev", "adec", &scene.decision("back", "Deactivate", None)).await?;
    let back = scene.ends_as("back", "Deactivated", &["DeactivatedByRequester"], SOON).await?;
    scene.write("lead-1", "adec", &scene.decision("asked", "Deny", None)).await?;
    let asked = scene.ends_as("asked", "Denied", &["DeniedByApprover"], SOON).await?;
    ensure!(scene.list("adec").await?.len() == 2, "both decisions are there");
    for (request, status) in [("back", back), ("asked", asked)] {
        until_deleted(&scene, request).await?;
        deleted_in_time(&mut calls, request, time(&status["endedAt"])?, SignedDuration::from_secs(4)).await?;
    }

    // Active requests are kept, and a free name can be used again.
    ensure!(scene.get("rolebinding", &running.binding).await?.is_some(), "an active grant ended with the records of others");
    let before = scene.get("rar", "again").await?.ok_or("an active request was deleted")?;
    ensure!(before["status"]["state"] == "Active", "it is {}", before["status"]["state"]);
    let anew = scene.granted("dev", "back", "10m").await?;
    ensure!(scene.get("rolebinding", &anew.binding).await?.is_some(), "the manifest, applied again, was granted again");
    Ok(())
}

async fn retention_resumes_after_downtime(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "caught").await?;
    scene.offers(&["early"], &keeping(automatic(), "5s"), &eligibility("view")).await?;
    scene.granted("dev", "early", "10m").await?;
    scene.write("dev", "adec", &scene.decision("early", "Deactivate", None)).await?;
    let status = scene.ends_as("early", "Deactivated", &[], SOON).await?;
    kill_all(&scene.fixture);
    until(time(&status["endedAt"])? + SignedDuration::from_secs(6)).await?;
    ensure!(scene.get("rar", "early").await?.is_some(), "it was deleted although no replica ran");
    start_all(&scene.fixture).await?;
    until_deleted(&scene, "early").await
}

/// Grants and deactivates, so that when its record is deleted, other requests that ended before would have been deleted too.
async fn measure(scene: &Scene) -> Outcome {
    scene.granted("dev", "measure", "10m").await?;
    scene.write("dev", "adec", &scene.decision("measure", "Deactivate", None)).await?;
    scene.ends_as("measure", "Deactivated", &[], SOON).await?;
    until_deleted(scene, "measure").await
}

async fn retention_waits_for_extensions_and_reviews(env: Arc<Env>) -> Outcome {
    let scene = env.scene("kept").await?;
    let mut policy = keeping(automatic(), "2s");
    policy["emergency"] = json!({"allowed": true, "reviewers": {"groups": ["security"]}, "reviewWithin": "1h"});
    scene.offers(&["base", "emergency", "measure"], &policy, &eligibility("view")).await?;

    scene.granted("dev", "base", "6s").await?;
    let mut longer = scene.request("longer", &scene.offered("base"), "10m");
    longer["spec"]["extends"] = json!({"name": "base"});
    scene.write("dev", "rar", &longer).await?;
    scene.running("longer").await?;
    let mut emergency = scene.request("emergency", &scene.offered("emergency"), "10m");
    emergency["spec"]["emergency"] = json!(true);
    scene.write("dev", "rar", &emergency).await?;
    scene.running("emergency").await?;
    scene.write("dev", "adec", &scene.decision("emergency", "Deactivate", None)).await?;
    scene.ends_as("emergency", "Deactivated", &[], SOON).await?;
    scene.ends_as("base", "Expired", &["Expired"], SOON).await?;

    measure(&scene).await?;
    for kept in ["base", "longer", "emergency"] {
        ensure!(scene.get("rar", kept).await?.is_some(), "{kept} was deleted");
    }
    scene.write("dev", "adec", &scene.decision("longer", "Deactivate", None)).await?;
    scene.write("security", "adec", &scene.decision("emergency", "Review", None)).await?;
    for request in ["base", "longer", "emergency"] {
        until_deleted(&scene, request).await?;
    }
    Ok(())
}

async fn retention_unset_keeps_requests(env: Arc<Env>) -> Outcome {
    let scene = env.scene("kept").await?;
    scene.offers(&["for-ever"], &automatic(), &eligibility("view")).await?;
    scene.offers(&["orphan", "measure"], &keeping(automatic(), "3s"), &eligibility("view")).await?;
    for request in ["for-ever", "orphan"] {
        scene.granted("dev", request, "10m").await?;
    }
    // Without its eligibility there is no retention time: it ends, and stays.
    let eligibility = format!("roleeligibility/{}", scene.offered("orphan"));
    scene.kubectl(control_plane::ADMIN, &["delete", &eligibility]).await?.ok()?;
    scene.ends_as("orphan", "Revoked", &["EligibilityRemoved"], SOON).await?;
    scene.write("dev", "adec", &scene.decision("for-ever", "Deactivate", None)).await?;
    scene.ends_as("for-ever", "Deactivated", &[], SOON).await?;
    measure(&scene).await?;
    for kept in ["for-ever", "orphan"] {
        ensure!(scene.get("rar", kept).await?.is_some(), "{kept} was deleted");
    }
    ensure!(scene.list("adec").await?.len() == 1, "the decision on a kept request exists");
    Ok(())
}
