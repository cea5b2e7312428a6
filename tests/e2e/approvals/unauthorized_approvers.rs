//! Users who try to approve without the right to.

use std::sync::Arc;

use control_plane::ADMIN;
use futures::future::join_all;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{digest, until_have, waiting};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, eligibility},
    status_helpers::{Account, Guise, refused, until},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t4_requester_cannot_approve_under_another_name,
        t4_service_account_approves_only_by_name,
        t5_each_approver_counts_once,
        t22_forged_status_grants_nothing,
        t40_denial_wins_the_race_with_the_grant,
    ]
}

/// Creates a decision as a user through the user's own client, for concurrent decisions.
async fn decide(scene: &Scene, user: &str, decision: &Value) -> Result<(), Error> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("jitrbac.dev", "v1alpha1", "ActivationDecision"));
    let api: Api<DynamicObject> = Api::namespaced_with(scene.fixture.cluster().client(user).await?, &scene.name, &kind);
    api.create(&PostParams::default(), &serde_json::from_value(decision.clone())?).await?;
    Ok(())
}

async fn t4_requester_cannot_approve_under_another_name(env: Arc<Env>) -> Outcome {
    let scene = env.scene("own").await?;
    let mut policy = approved_by("leads", 1);
    policy["approval"]["stages"][0]["approvers"]["users"] = json!(["dev"]);
    let offer = scene.offer("edit", policy, eligibility("edit")).await?;
    let status = waiting(&scene, "now", &offer, "10m").await?;
    let approve = scene.decision("now", "Approve", Some(digest(&status)));
    refused(
        scene.create("dev", &approve).await?,
        &["you cannot approve your own request; ask one of the approvers in its status.awaiting"],
    )?;
    let own = |name: &str| format!("SelfApprovalNotAllowed: '{name}' created request 'now' and cannot approve it; another approver must");
    // The same account under another name, and other spellings of the same name; all of them in the approvers' group.
    for (name, uid) in [("dev-at-home", "u-dev"), ("DEV", ""), ("\u{ff44}\u{ff45}\u{ff56}", "u-other")] {
        let guise = Guise { name, uid, groups: &["leads"] };
        refused(guise.create(&scene, &approve).await?, &[&own(name)])?;
    }
    ensure!(scene.status("now").await?["awaiting"]["have"] == 0, "one of them was counted");
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev approved their own request");
    // Another user, unrelated to the requester.
    Guise { name: "lead-9", uid: "u-lead-9", groups: &["leads"] }.create(&scene, &approve).await?.ok()?;
    scene.until_state("now", "Active", SOON).await.map(drop)
}

async fn t4_service_account_approves_only_by_name(env: Arc<Env>) -> Outcome {
    let scene = env.scene("robot").await?;
    let (named, other) = tokio::try_join!(Account::new(&scene, "named"), Account::new(&scene, "other"))?;
    // A subject that admission denies in every write: the groups that all ServiceAccounts are in.
    let mut wide = approved_by("system:serviceaccounts", 1);
    let policy = |spec: &Value| json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": format!("{}-wide", scene.name)}, "spec": spec});
    refused(scene.apply(ADMIN, &policy(&wide)).await?, &["cannot approve, revoke or review: system:serviceaccounts"])?;
    wide["approval"]["stages"][0]["approvers"] = json!({"groups": [format!("system:serviceaccounts:{}", scene.name)]});
    refused(scene.apply(ADMIN, &policy(&wide)).await?, &["cannot approve, revoke or review: system:serviceaccounts:"])?;

    let mut spec = approved_by("leads", 1);
    spec["approval"]["stages"][0]["approvers"]["users"] = json!([named.username]);
    let offer = scene.offer("edit", spec, eligibility("edit")).await?;
    let status = waiting(&scene, "now", &offer, "10m").await?;
    let approve = scene.decision("now", "Approve", Some(digest(&status)));
    refused(other.create(&scene, &approve).await?, &[&format!("NotAnApprover: '{}' may not approve", other.username)])?;
    // Also not if another user gave it an approvers' group: a ServiceAccount counts by its name alone.
    let joined = Guise { name: &other.username, uid: &other.uid, groups: &["leads", "system:serviceaccounts"] };
    refused(joined.create(&scene, &approve).await?, &[&format!("NotAnApprover: '{}' may not approve", other.username)])?;
    named.create(&scene, &approve).await?.ok()?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(status["approvedBy"] == named.username, "it was approved by {}", status["approvedBy"]);
    Ok(())
}

async fn t5_each_approver_counts_once(env: Arc<Env>) -> Outcome {
    let scene = env.scene("twice").await?;
    let offer = scene.offer("edit", approved_by("leads", 2), eligibility("edit")).await?;
    let status = waiting(&scene, "now", &offer, "10m").await?;
    let approve = scene.decision("now", "Approve", Some(digest(&status)));
    // At once, so that some of them reach a webhook that has not observed the others.
    let answers = join_all((0..8).map(|_| decide(&scene, "lead-1", &approve))).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    ensure!(taken >= 1, "none of them was accepted: {answers:?}");
    // The same user under another name, and under another spelling.
    for (name, uid) in [("lead-one", "u-lead-1"), ("Lead-1", "u-other")] {
        let said = Guise { name, uid, groups: &["leads"] }.create(&scene, &approve).await?;
        refused(said, &["AlreadyApproved: 'lead-1' approved request 'now' at "])?;
    }
    let status = until_have(&scene, "now", 1).await?;
    ensure!(status["approvedBy"] == "lead-1", "it was approved by {}", status["approvedBy"]);
    // All of the decisions are stored before the one that completes the approval, and are counted again with it.
    scene.approve("lead-2", "now").await?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(
        status["approvedBy"] == "lead-1,lead-2" && status["approvals"].as_array().map(Vec::len) == Some(2),
        "it was approved by {}",
        status["approvals"]
    );
    Ok(())
}

async fn t22_forged_status_grants_nothing(env: Arc<Env>) -> Outcome {
    let scene = env.scene("forged").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    // A request that is created with a status is stored without it.
    let forged = json!({
        "state": "Active", "reason": "Granted", "approvedBy": "lead-1", "grantedAt": "2026-01-01T00:00:00Z", "expiresAt": "2099-01-01T00:00:00Z",
        "approvals": [{"stage": "first", "approver": "lead-1", "decision": "Approve", "time": "2026-01-01T00:00:00Z"}],
        "conditions": [{"type": "Approved", "status": "True", "reason": "Granted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    let mut request = scene.request("now", &offer, "10m");
    request["status"] = forged.clone();
    scene.create("dev", &request).await?.ok()?;
    let before = scene.until_state("now", "AwaitingApproval", SOON).await?;
    ensure!(before["approvedBy"].is_null() && before["approvals"].is_null(), "their status was stored: {before}");
    // A user with every permission may not do this.
    let patch = json!({"status": forged}).to_string();
    for kind in ["rar/now", &format!("roleeligibility/{offer}"), &format!("approvalpolicy/{offer}")] {
        let said = scene.kubectl(ADMIN, &["patch", kind, "-n", &scene.name, "--subresource=status", "--type=merge", "-p", &patch]).await?;
        refused(said, &["only jit-rbac itself writes status, which reports decisions and makes none"])?;
    }
    // Also not by a write to the object itself, which drops the status.
    scene.kubectl(ADMIN, &["patch", "rar/now", "-n", &scene.name, "--type=merge", "-p", &patch]).await?.ok()?;
    ensure!(scene.status("now").await? == before, "the status changed");
    ensure!(scene.bindings().await?.is_empty() && !scene.can("dev", "create", "deployments").await?, "it was granted");
    scene.approve("lead-1", "now").await?;
    scene.until_state("now", "Active", SOON).await.map(drop)
}

async fn t40_denial_wins_the_race_with_the_grant(env: Arc<Env>) -> Outcome {
    const RACES: usize = 8;
    let scene = env.scene("race").await?;
    let mut names = Vec::new();
    for number in 0..RACES {
        // One active or pending request per user and eligibility: each race has an eligibility of its own.
        let offer = scene.offer(&format!("e{number}"), approved_by("leads", 1), eligibility("edit")).await?;
        let name = format!("r-{number}");
        waiting(&scene, &name, &offer, "10m").await?;
        names.push(name);
    }
    let race = async |name: &String| -> Result<(), Error> {
        let shown = scene.status(name).await?;
        let (approve, against) = (scene.decision(name, "Approve", Some(digest(&shown))), scene.decision(name, "Deny", None));
        let revoke = scene.decision(name, "Revoke", None);
        let (approved, denied, revoked) =
            tokio::join!(decide(&scene, "lead-1", &approve), decide(&scene, "lead-2", &against), decide(&scene, "security", &revoke));
        // A decision after the other one has completed the request is denied with that reason.
        let late = |said: &Result<(), Error>| said.as_ref().is_err_and(|error| error.to_string().contains("RequestCompleted: "));
        ensure!(denied.is_ok() || revoked.is_ok(), "neither was accepted: {denied:?} {revoked:?}");
        ensure!([&denied, &revoked].into_iter().all(|said| said.is_ok() || late(said)), "{denied:?} {revoked:?}");
        // Too late where a Deny was first.
        let _ = approved;
        Ok(())
    };
    for raced in join_all(names.iter().map(race)).await {
        raced?;
    }
    for name in &names {
        let status =
            until(&scene, name, "to be completed", |status| matches!(status["state"].as_str(), Some("Denied" | "Revoked"))).await?;
        let by = status["timeline"].as_array().and_then(|all| all.last()).map(|last| last["actor"].clone()).unwrap_or_default();
        ensure!(by == "lead-2" || by == "security", "{name} was ended by {by}");
    }
    scene.until_no_binding(SOON).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "one of the grants did not end");
    Ok(())
}
