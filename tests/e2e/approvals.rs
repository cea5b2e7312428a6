//! Approval: stages, quorum, shortening, and decisions that do not count as approval.

mod stale_approvals;
mod unauthorized_approvers;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, eligibility},
    status_helpers::{did, refused, says, until},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    let mut all = test_cases![
        duration_starts_at_the_only_approval,
        stages_open_in_order,
        quorum_counts_distinct_approvers,
        approver_can_shorten_but_not_extend_the_duration,
        inv_29_undecided_request_times_out,
        denial_ends_a_pending_request,
    ];
    all.extend(stale_approvals::test_cases());
    all.extend(unauthorized_approvers::test_cases());
    all
}

/// Applies a request of dev and waits until it awaits approval.
async fn waiting(scene: &Scene, name: &str, offer: &str, duration: &str) -> Result<Value, Error> {
    scene.apply("dev", &scene.request(name, offer, duration)).await?.ok()?;
    scene.until_state(name, "AwaitingApproval", SOON).await
}

/// Returns the digest in a status.
fn digest(status: &Value) -> &str {
    status["digest"].as_str().unwrap_or_default()
}

/// Returns an instant of a status.
fn instant(value: &Value) -> Result<Timestamp, Error> {
    let text = value.as_str().unwrap_or_default();
    Ok(text.parse().map_err(|error| format!("'{text}' is no time: {error}"))?)
}

/// Waits until this many approvals count in the open stage.
async fn until_have(scene: &Scene, request: &str, have: i64) -> Result<Value, Error> {
    until(scene, request, &format!("{have} approvals"), |status| {
        status["state"] == "AwaitingApproval" && status["awaiting"]["have"] == have
    })
    .await
}

async fn duration_starts_at_the_only_approval(env: Arc<Env>) -> Outcome {
    let scene = env.scene("one").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    let status = waiting(&scene, "now", &offer, "10m").await?;
    let awaiting = &status["awaiting"];
    ensure!(awaiting["stage"] == "first" && awaiting["have"] == 0 && awaiting["required"] == 1, "it waits for {awaiting}");
    ensure!(awaiting["approvers"] == json!({"groups": ["leads"]}), "it waits for {awaiting}");
    let waits = "waiting for approval in stage 'first': 0 of 1 (approvers: group leads), expires at 2";
    ensure!(says(&status).starts_with(waits), "it says {}", says(&status));
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may create deployments before an approval");
    ensure!(scene.bindings().await?.is_empty(), "there is a binding before an approval");

    let full = digest(&status).to_owned();
    let hex = full.strip_prefix("sha256:").ok_or("the digest has no prefix")?.to_owned();
    for who in ["outsider", "security", "dev-2"] {
        refused(
            scene.create(who, &scene.decision("now", "Approve", Some(&full))).await?,
            &[&format!("NotAnApprover: '{who}' may not approve under policy '{offer}'")],
        )?;
    }
    for part in [&hex[..15], &hex[..16], &hex[..63], &full[..70]] {
        refused(
            scene.create("lead-1", &scene.decision("now", "Approve", Some(part))).await?,
            &["spec.digest: Invalid value", "must be the request's whole status.digest: sha256: and 64 hex digits"],
        )?;
    }
    refused(scene.create("lead-1", &scene.decision("now", "Approve", Some(&format!("{}0", &hex[1..])))).await?, &["DigestStale: "])?;
    refused(scene.create("lead-1", &scene.decision("now", "Approve", None)).await?, &["Approve needs `digest`"])?;
    // The prefix may be omitted.
    scene.create("lead-1", &scene.decision("now", "Approve", Some(&hex))).await?.ok()?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(scene.can("dev", "create", "deployments").await?, "dev may not create deployments after the approval");
    let decision = scene.list("adec").await?.pop().ok_or("there is no decision")?;
    let decided = &decision["metadata"]["creationTimestamp"];
    ensure!(status["grantedAt"] == *decided, "it starts at {} instead of {decided}", status["grantedAt"]);
    ensure!(
        instant(&status["expiresAt"])?.duration_since(instant(decided)?) == SignedDuration::from_mins(10),
        "it ends at {}",
        status["expiresAt"]
    );
    ensure!(status["approvedBy"] == "lead-1" && did(&status, "lead-1", "Approved"), "the status does not name the approver: {status}");
    let approval = &status["approvals"][0];
    ensure!(
        approval["comment"] == "noted" && approval["stage"] == "first" && approval["time"] == *decided,
        "the approval is shown as {approval}"
    );
    refused(
        scene.create("lead-2", &scene.decision("now", "Approve", Some(&full))).await?,
        &["RequestCompleted: request 'now' is already Active: there is nothing left to approve"],
    )
}

/// Two stages: leads, then security.
fn in_two_stages() -> Value {
    let mut policy = approved_by("leads", 1);
    policy["approval"]["stages"] = json!([
        {"name": "team", "approvers": {"groups": ["leads"]}},
        {"name": "safety", "approvers": {"users": ["security"], "groups": ["leads"]}},
    ]);
    policy
}

async fn stages_open_in_order(env: Arc<Env>) -> Outcome {
    let scene = env.scene("stages").await?;
    let offer = scene.offer("edit", in_two_stages(), eligibility("edit")).await?;
    let status = waiting(&scene, "now", &offer, "10m").await?;
    ensure!(status["awaiting"]["stage"] == "team", "the open stage is {}", status["awaiting"]);
    let early = scene.create("security", &scene.decision("now", "Approve", Some(digest(&status)))).await?;
    refused(early, &["StageNotOpen: 'security' is an approver of stage 'safety', but stage 'team' is open now (0 of 1)"])?;
    scene.approve("lead-1", "now").await?;
    let status = until(&scene, "now", "the next stage", |status| status["awaiting"]["stage"] == "safety").await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "one stage of two was enough");
    // Both stages list the leads: each counts in the first only.
    let again = scene.create("lead-1", &scene.decision("now", "Approve", Some(digest(&status)))).await?;
    refused(again, &["AlreadyApproved: 'lead-1' approved request 'now' at "])?;
    let other = scene.create("lead-2", &scene.decision("now", "Approve", Some(digest(&status)))).await?;
    refused(other, &["StageNotOpen: 'lead-2' is an approver of stage 'team', but stage 'safety' is open now (0 of 1)"])?;
    scene.approve("security", "now").await?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(status["approvedBy"] == "lead-1,security", "it was approved by {}", status["approvedBy"]);
    ensure!(scene.can("dev", "create", "deployments").await?, "dev may not create deployments after both stages");
    Ok(())
}

async fn quorum_counts_distinct_approvers(env: Arc<Env>) -> Outcome {
    let scene = env.scene("quorum").await?;
    let offer = scene.offer("edit", approved_by("leads", 2), eligibility("edit")).await?;
    waiting(&scene, "now", &offer, "10m").await?;
    scene.approve("lead-1", "now").await?;
    let status = until_have(&scene, "now", 1).await?;
    ensure!(
        status["approvedBy"] == "lead-1" && says(&status).starts_with("waiting for approval in stage 'first': 1 of 2"),
        "it says {}",
        says(&status)
    );
    let again = scene.create("lead-1", &scene.decision("now", "Approve", Some(digest(&status)))).await?;
    refused(again, &["AlreadyApproved: 'lead-1' approved request 'now' at ", "another approver must approve too"])?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "one of two was enough");
    scene.approve("lead-2", "now").await?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(status["approvedBy"] == "lead-1,lead-2", "it was approved by {}", status["approvedBy"]);
    ensure!(scene.can("dev", "create", "deployments").await?, "dev may not create deployments after two approvals");
    Ok(())
}

async fn approver_can_shorten_but_not_extend_the_duration(env: Arc<Env>) -> Outcome {
    let scene = env.scene("shorter").await?;
    let mut policy = approved_by("leads", 2);
    policy["limits"] = json!({"minDuration": "2s"});
    let offer = scene.offer("edit", policy, eligibility("edit")).await?;
    let status = waiting(&scene, "now", &offer, "10m").await?;
    let with = |duration: &str| {
        let mut decision = scene.decision("now", "Approve", Some(digest(&status)));
        decision["spec"]["duration"] = json!(duration);
        decision
    };
    refused(
        scene.create("lead-1", &with("11m")).await?,
        &["DurationTooLong: duration 11m is longer than the requested 10m; an approver can only shorten it"],
    )?;
    refused(
        scene.create("lead-1", &with("1s")).await?,
        &["DurationTooShort: duration 1s is too short, at least 2s is required by policy"],
    )?;
    scene.create("lead-1", &with("6s")).await?.ok()?;
    until_have(&scene, "now", 1).await?;
    scene.create("lead-2", &with("5m")).await?.ok()?;
    let status = scene.until_state("now", "Active", SOON).await?;
    let lasts = instant(&status["expiresAt"])?.duration_since(instant(&status["grantedAt"])?);
    ensure!(lasts == SignedDuration::from_secs(6), "it lasts {lasts}");
    scene.until_state("now", "Expired", SOON).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "it lasted longer than the approver allowed");
    Ok(())
}

async fn inv_29_undecided_request_times_out(env: Arc<Env>) -> Outcome {
    let scene = env.scene("late").await?;
    let mut policy = approved_by("leads", 2);
    policy["approval"]["timeout"] = json!("6s");
    let offer = scene.offer("edit", policy, eligibility("edit")).await?;
    let status = waiting(&scene, "now", &offer, "10m").await?;
    let deadline = status["awaiting"]["deadline"].clone();
    scene.approve("lead-1", "now").await?;
    let status = scene.until_state("now", "TimedOut", SOON).await?;
    ensure!(status["reason"] == "ApprovalTimedOut", "the reason is {}", status["reason"]);
    ensure!(says(&status) == format!("the approval timed out at {}", deadline.as_str().unwrap_or_default()), "it says {}", says(&status));
    let late = instant(&status["endedAt"])?.duration_since(instant(&deadline)?);
    ensure!(late >= SignedDuration::ZERO && late <= SignedDuration::from_secs(3), "it timed out {late} after its deadline");
    let too_late = scene.create("lead-2", &scene.decision("now", "Approve", Some(digest(&status)))).await?;
    refused(too_late, &["RequestCompleted: request 'now' is already TimedOut"])?;
    ensure!(scene.bindings().await?.is_empty() && !scene.can("dev", "create", "deployments").await?, "it was granted");
    Ok(())
}

async fn denial_ends_a_pending_request(env: Arc<Env>) -> Outcome {
    let scene = env.scene("against").await?;
    let mut policy = approved_by("leads", 1);
    policy["approval"]["requireComment"] = json!(true);
    let offer = scene.offer("edit", policy, eligibility("edit")).await?;
    let words = [
        ("Deny", "lead-1", "Denied", "DeniedByApprover", "denied by lead-1: \"noted\""),
        ("Revoke", "security", "Denied", "DeniedByApprover", "denied by security: \"noted\""),
        ("Deactivate", "dev", "Withdrawn", "WithdrawnByRequester", "withdrawn by dev: \"noted\""),
    ];
    for (number, (verb, who, state, reason, message)) in words.into_iter().enumerate() {
        let request = format!("r-{number}");
        let status = waiting(&scene, &request, &offer, "10m").await?;
        if verb == "Deny" {
            let mut silent = scene.decision(&request, verb, None);
            silent["spec"]["comment"] = json!("  ");
            refused(
                scene.create(who, &silent).await?,
                &["CommentMissing: policy ", "requires a comment from approvers (spec.approval.requireComment); set spec.comment"],
            )?;
            refused(
                scene.create("security", &scene.decision(&request, verb, None)).await?,
                &["NotAnApprover: 'security' may not deny under policy"],
            )?;
            refused(
                scene.create("dev", &scene.decision(&request, verb, None)).await?,
                &["SelfApprovalNotAllowed: request 'r-0' is your own: use the decision Deactivate"],
            )?;
        }
        scene.create(who, &scene.decision(&request, verb, None)).await?.ok()?;
        let ended = scene.until_state(&request, state, SOON).await?;
        ensure!(ended["reason"] == reason && says(&ended) == message, "{verb}: {} {}", ended["reason"], says(&ended));
        ensure!(did(&ended, who, state), "{verb}: the timeline names no user: {ended}");
        let after = scene.create("lead-2", &scene.decision(&request, "Approve", Some(digest(&status)))).await?;
        refused(after, &[&format!("RequestCompleted: request '{request}' is already {state}")])?;
    }
    ensure!(scene.bindings().await?.is_empty(), "one of them was granted");
    Ok(())
}
