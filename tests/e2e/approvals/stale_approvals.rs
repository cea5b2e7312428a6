//! Stale approvals: an approval counts only for the content that the approver saw.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{digest, until_have, waiting};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, approved_by, eligibility},
    status_helpers::{refused, says, until},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t2_edited_policy_makes_approvals_stale,
        t2_request_is_immutable,
        t3_decision_is_bound_to_the_request_uid,
        t6_missing_decision_is_no_approval,
        t17_changed_role_makes_approvals_stale,
    ]
}

const STALE: &str = "; an earlier approval no longer counts because what it approved has changed";

async fn t2_edited_policy_makes_approvals_stale(env: Arc<Env>) -> Outcome {
    let scene = env.scene("edited").await?;
    let offer = scene.offer("edit", approved_by("leads", 2), eligibility("edit")).await?;
    let before = waiting(&scene, "now", &offer, "10m").await?;
    scene.approve("lead-1", "now").await?;
    until_have(&scene, "now", 1).await?;
    // One approval is enough from here on; the existing one was given under another policy.
    let edit = r#"{"spec":{"approval":{"stages":[{"name":"first","approvers":{"groups":["leads"]},"required":1}]}}}"#;
    scene.kubectl(ADMIN, &["patch", "approvalpolicy", &offer, "--type=merge", "-p", edit]).await?.ok()?;
    let after = until(&scene, "now", "a new digest", |status| status["digest"] != before["digest"]).await?;
    ensure!(after["state"] == "AwaitingApproval" && after["awaiting"]["have"] == 0 && says(&after).ends_with(STALE), "it is {after}");
    let stale = scene.create("lead-2", &scene.decision("now", "Approve", Some(digest(&before)))).await?;
    let message = format!(
        "DigestStale: the digest '{}' does not match what would be granted now, {}; check request 'now' and decide again",
        digest(&before),
        digest(&after),
    );
    refused(stale, &[&message])?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "a stale approval was counted");
    // The same user may approve the current content again.
    scene.approve("lead-1", "now").await?;
    let granted = scene.until_state("now", "Active", SOON).await?;
    ensure!(granted["digest"] == after["digest"] && granted["approvedBy"] == "lead-1", "it was granted as {granted}");
    Ok(())
}

async fn t17_changed_role_makes_approvals_stale(env: Arc<Env>) -> Outcome {
    let scene = env.scene("drift").await?;
    let mut debug = eligibility("debug");
    debug["roleRef"]["kind"] = json!("Role");
    debug["acceptRisks"] = json!(["ServiceAccountTokens"]);
    let offer = scene.offer("debug", approved_by("leads", 2), debug).await?;
    let before = waiting(&scene, "now", &offer, "10m").await?;
    scene.approve("lead-1", "now").await?;
    until_have(&scene, "now", 1).await?;
    let wider = r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}}]"#;
    scene.kubectl(ADMIN, &["patch", "role", "debug", "-n", &scene.name, "--type=json", "-p", wider]).await?.ok()?;
    let after = until(&scene, "now", "a new digest", |status| status["digest"] != before["digest"]).await?;
    ensure!(after["awaiting"]["have"] == 0 && says(&after).ends_with(STALE), "it is {after}");
    ensure!(after["role"]["rules"] == json!(["get secrets", "get,list pods,pods/log"]), "the approver sees {}", after["role"]);
    refused(scene.create("lead-2", &scene.decision("now", "Approve", Some(digest(&before)))).await?, &["DigestStale: "])?;
    scene.approve("lead-2", "now").await?;
    until_have(&scene, "now", 1).await?;
    ensure!(!scene.can("dev", "get", "secrets").await?, "an approval of the earlier role counts");
    scene.approve("lead-1", "now").await?;
    scene.until_state("now", "Active", SOON).await?;
    ensure!(scene.can("dev", "get", "secrets").await?, "dev may not use the role that was approved");
    Ok(())
}

async fn t2_request_is_immutable(env: Arc<Env>) -> Outcome {
    let scene = env.scene("fixed").await?;
    let offer = scene.offer("view", approved_by("leads", 1), eligibility("view")).await?;
    let strong = scene.offer("admin", approved_by("leads", 1), eligibility("admin")).await?;
    waiting(&scene, "now", &offer, "10m").await?;
    // The admin has every permission that RBAC can give, and still cannot do this.
    for edit in [
        json!({"spec": {"eligibilityRef": {"name": strong}}}),
        json!({"spec": {"duration": "1h"}}),
        json!({"spec": {"requester": {"username": "outsider"}}}),
        json!({"spec": {"justification": null}}),
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": scene.name, "uid": "u"}]}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
    ] {
        let said = scene.kubectl(ADMIN, &["patch", "rar/now", "-n", &scene.name, "--type=merge", "-p", &edit.to_string()]).await?;
        ensure!(!said.status.success(), "{edit} was let through: {}", said.stdout);
    }
    scene.approve("lead-1", "now").await?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(status["role"]["name"] == "view" && !scene.can("dev", "create", "deployments").await?, "it was granted as {status}");
    Ok(())
}

async fn t3_decision_is_bound_to_the_request_uid(env: Arc<Env>) -> Outcome {
    let scene = env.scene("replay").await?;
    let weak = scene.offer("view", approved_by("leads", 2), eligibility("view")).await?;
    let strong = scene.offer("admin", approved_by("leads", 2), eligibility("admin")).await?;
    let first = waiting(&scene, "now", &weak, "10m").await?;
    scene.approve("lead-1", "now").await?;
    until_have(&scene, "now", 1).await?;
    let old = scene.list("adec").await?.pop().ok_or("there is no decision")?;
    let uid = scene.get("rar", "now").await?.ok_or("there is no request")?["metadata"]["uid"].clone();
    scene.kubectl(ADMIN, &["delete", "rar", "now", "-n", &scene.name, "--wait", "--timeout=20s"]).await?.ok()?;

    let second = waiting(&scene, "now", &strong, "10m").await?;
    ensure!(second["awaiting"]["have"] == 0 && second["approvals"].is_null(), "the old approval counts: {second}");
    ensure!(second["digest"] != first["digest"], "the digest is the same for another request");
    // The old decision, unchanged, names the deleted request; without its UID it is about the content of the old request.
    let mut again = scene.decision("now", "Approve", Some(digest(&first)));
    again["spec"] = old["spec"].clone();
    refused(scene.create("lead-1", &again).await?, &["RequestMismatch: "])?;
    again["spec"]["requestRef"] = json!({"name": "now"});
    refused(scene.create("lead-1", &again).await?, &["DigestStale: "])?;
    // A decision that names another UID is never about the present object, whatever its other fields contain, and admission does not change
    // it to be.
    let mut named = scene.decision("now", "Approve", Some(digest(&second)));
    named["spec"]["requestRef"]["uid"] = uid.clone();
    refused(scene.create("lead-1", &named).await?, &["RequestMismatch: "])?;
    scene.approve("lead-1", "now").await?;
    let status = until_have(&scene, "now", 1).await?;
    ensure!(status["awaiting"]["required"] == 2 && !scene.can("dev", "create", "deployments").await?, "it was granted: {status}");
    let said: Vec<Value> = scene.list("adec").await?.into_iter().filter(|d| d["spec"]["digest"] == digest(&second)).collect();
    let present = scene.get("rar", "now").await?.ok_or("there is no request")?["metadata"]["uid"].clone();
    ensure!(said.len() == 1 && said[0]["spec"]["requestRef"]["uid"] == present, "the decision names another request: {said:?}");

    // A Deny has no digest: its UID alone shows that it is about the deleted request.
    scene.create("lead-2", &scene.decision("now", "Deny", None)).await?.ok()?;
    scene.until_state("now", "Denied", SOON).await?;
    scene.kubectl(ADMIN, &["delete", "rar", "now", "-n", &scene.name, "--wait", "--timeout=20s"]).await?.ok()?;
    waiting(&scene, "now", &strong, "10m").await?;
    scene.approve("lead-1", "now").await?;
    until_have(&scene, "now", 1).await?;
    scene.approve("lead-2", "now").await?;
    scene.until_state("now", "Active", SOON).await?;
    Ok(())
}

async fn t6_missing_decision_is_no_approval(env: Arc<Env>) -> Outcome {
    let scene = env.scene("absent").await?;
    let mut hasty = approved_by("leads", 1);
    hasty["approval"]["timeout"] = json!("10s");
    let mut debug = eligibility("debug");
    debug["roleRef"]["kind"] = json!("Role");
    let roleless = scene.offer("roleless", hasty, debug).await?;
    let lawless = scene.offer("lawless", approved_by("leads", 1), eligibility("edit")).await?;
    let nobody = scene.offer("nobody", approved_by("nobody-is-in-this-group", 1), eligibility("edit")).await?;
    waiting(&scene, "roleless", &roleless, "10m").await?;
    waiting(&scene, "nobody", &nobody, "10m").await?;
    let before = waiting(&scene, "lawless", &lawless, "10m").await?;

    scene.kubectl(ADMIN, &["delete", "role", "debug", "-n", &scene.name]).await?.ok()?;
    let status = scene.until_state("roleless", "Pending", SOON).await?;
    ensure!(status["reason"] == "RoleNotFound", "without role the reason is {}", status["reason"]);
    scene.kubectl(ADMIN, &["delete", "approvalpolicy", &lawless]).await?.ok()?;
    let status = scene.until_state("lawless", "Pending", SOON).await?;
    ensure!(status["reason"] == "PolicyNotFound", "without policy the reason is {}", status["reason"]);
    let approve = scene.create("lead-1", &scene.decision("lawless", "Approve", Some(digest(&before)))).await?;
    refused(approve, &["RequestNotReady: request 'lawless' cannot be approved now: ", "refers to policy", "which does not exist"])?;
    refused(scene.create("lead-1", &scene.decision("nobody", "Approve", Some(digest(&before)))).await?, &["NotAnApprover: "])?;
    let status = scene.until_state("roleless", "TimedOut", SOON).await?;
    ensure!(status["reason"] == "RoleNotFound" && says(&status).contains("which does not exist in namespace"), "it says {}", says(&status));
    ensure!(scene.bindings().await?.is_empty(), "something was granted");
    Ok(())
}
