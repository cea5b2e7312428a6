//! The causes of an end before the deadline: a deactivation, a revocation, an administrator's change, and nothing else.

use std::{sync::Arc, time::Duration};

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::granted;
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    status_helpers::{conditions, did, says},
    test_cases,
};

/// The limit for "at once" on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        revoke_and_deny_end_an_active_grant_and_record_the_actor,
        removed_or_suspended_prerequisites_end_grants_at_once,
        recreated_identical_eligibility_ends_no_grant,
    ]
}

async fn revoke_and_deny_end_an_active_grant_and_record_the_actor(env: Arc<Env>) -> Outcome {
    let scene = env.scene("revoke").await?;
    let offer = scene.offer("edit", approved_by("leads", 1), eligibility("edit")).await?;
    // Security is a revoker and no approver; lead-2 did not approve and may still deny.
    for (request, verb, who) in [("first", "Revoke", "security"), ("second", "Deny", "lead-2"), ("third", "Revoke", "lead-1")] {
        scene.apply("dev", &scene.request(request, &offer, "10m")).await?.ok()?;
        scene.until_state(request, "AwaitingApproval", SOON).await?;
        scene.approve("lead-1", request).await?;
        scene.until_state(request, "Active", SOON).await?;
        ensure!(scene.can("dev", "create", "deployments").await?, "{request}: dev may not create deployments while the grant is active");
        scene.create(who, &scene.decision(request, verb, None)).await?.ok()?;
        let status = scene.until_state(request, "Revoked", AT_ONCE).await?;
        ensure!(!scene.can("dev", "create", "deployments").await?, "{request}: dev may still create deployments");
        ensure!(status["reason"] == "RevokedByUser" && did(&status, who, "Revoked"), "{request}: the timeline names no user: {status}");
        ensure!(says(&status) == format!("revoked by {who}: \"noted\""), "{request}: it says {}", says(&status));
        ensure!(status["approvedBy"] == "lead-1" && did(&status, "lead-1", "Approved"), "{request}: the approval is not stored: {status}");
    }
    scene.until_no_binding(SOON).await
}

/// One way in which an admin ends a grant; NAME is eligibility and policy, SCENE the namespace.
struct Away {
    name: &'static str,
    how: How,
    reason: &'static str,
    says: &'static str,
}

enum How {
    /// Merges this into the spec of the object.
    Edit(&'static str, &'static str),
    /// The arguments of kubectl.
    Kubectl(&'static [&'static str]),
}

const ELIGIBILITY: &str = "roleeligibility/NAME";
const POLICY: &str = "approvalpolicy/NAME";

const fn away(name: &'static str, how: How, reason: &'static str, says: &'static str) -> Away {
    Away { name, how, reason, says }
}

const WAYS: [Away; 12] = [
    away("removed", How::Kubectl(&["delete", ELIGIBILITY]), "EligibilityRemoved", "eligibility 'NAME' was removed"),
    away(
        "suspended",
        How::Edit(ELIGIBILITY, r#"{"suspended":true}"#),
        "EligibilitySuspended",
        "eligibility 'NAME' is suspended (spec.suspended)",
    ),
    away(
        "subject",
        How::Edit(ELIGIBILITY, r#"{"subjects":[{"kind":"User","name":"dev-2"}]}"#),
        "NotEligible",
        "'dev' is not among the subjects of eligibility 'NAME'",
    ),
    away(
        "namespace",
        How::Edit(ELIGIBILITY, r#"{"namespaces":{"names":["default"]}}"#),
        "NamespaceNotCovered",
        "namespace 'SCENE' is not covered by eligibility 'NAME', which is for default",
    ),
    away(
        "label",
        How::Kubectl(&["label", "namespace", "SCENE", "covered-"]),
        "NamespaceNotCovered",
        "namespace 'SCENE' is not covered by eligibility 'NAME', which is for namespaces with covered=yes",
    ),
    away(
        "role",
        How::Edit(ELIGIBILITY, r#"{"roleRef":{"kind":"ClusterRole","name":"view"}}"#),
        "RoleNotCovered",
        "eligibility 'NAME' now refers to ClusterRole 'view'",
    ),
    away(
        "shorter",
        How::Edit(ELIGIBILITY, r#"{"maxDuration":"5m"}"#),
        "DurationNoLongerAllowed",
        "it was granted for 10m, but at most 5m is now allowed by eligibility 'NAME' (spec.maxDuration)",
    ),
    away(
        "over",
        How::Edit(ELIGIBILITY, r#"{"endTime":"2026-01-01T00:00:00Z"}"#),
        "EligibilityExpired",
        "eligibility 'NAME' is not valid at ",
    ),
    away(
        "limit",
        How::Edit(POLICY, r#"{"limits":{"maxDuration":"5m"}}"#),
        "DurationNoLongerAllowed",
        "it was granted for 10m, but at most 5m is now allowed by policy 'NAME' (spec.limits.maxDuration)",
    ),
    away("total", How::Edit(POLICY, r#"{"limits":{"maxTotalDuration":"5m"}}"#), "DurationNoLongerAllowed", "from "),
    away("policy", How::Kubectl(&["delete", POLICY]), "PolicyRemoved", "policy 'NAME' was removed"),
    away("debug", How::Kubectl(&["delete", "role", "debug", "-n", "SCENE"]), "RoleRemoved", "the Role 'debug' was removed"),
];

async fn removed_or_suspended_prerequisites_end_grants_at_once(env: Arc<Env>) -> Outcome {
    let scene = env.scene("away").await?;
    scene.kubectl(ADMIN, &["label", "namespace", &scene.name, "covered=yes"]).await?.ok()?;
    let mut offers = Vec::new();
    for way in &WAYS {
        let mut spec = eligibility("edit");
        match way.name {
            "label" => spec["namespaces"] = json!({"selector": {"matchLabels": {"covered": "yes"}}}),
            "debug" => spec["roleRef"] = json!({"kind": "Role", "name": "debug"}),
            _ => {}
        }
        let offer = scene.offer(way.name, automatic(), spec).await?;
        granted(&scene, way.name, &offer, "10m").await?;
        offers.push(offer);
    }
    // Unchanged, and still active at the end.
    let kept = scene.offer("kept", automatic(), eligibility("view")).await?;
    granted(&scene, "kept", &kept, "10m").await?;
    ensure!(scene.bindings().await?.len() == WAYS.len() + 1, "not every grant has a binding");
    for (way, offer) in WAYS.iter().zip(&offers) {
        let fill = |text: &str| text.replace("NAME", offer).replace("SCENE", &scene.name);
        let words: Vec<String> = match way.how {
            How::Edit(object, spec) => ["patch", object, "--type=merge", "-p", &format!(r#"{{"spec":{spec}}}"#)].map(fill).into(),
            How::Kubectl(words) => words.iter().map(|word| fill(word)).collect(),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        scene.kubectl(ADMIN, &words).await?.ok()?;
        let status = scene.until_state(way.name, "Revoked", AT_ONCE).await?;
        ensure!(status["reason"] == way.reason, "{}: the reason is {}", way.name, status["reason"]);
        ensure!(says(&status).starts_with(&fill(way.says)), "{}: it says {}", way.name, says(&status));
        ensure!(did(&status, "jit-rbac", "Revoked"), "{}: the timeline names no user: {status}", way.name);
        conditions(&status)?;
        let left = scene.bindings().await?;
        ensure!(
            !left.iter().any(|binding| binding["metadata"]["uid"] == status["bindingRef"]["uid"]),
            "{}: its binding still exists",
            way.name
        );
    }
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may still create deployments");
    ensure!(scene.bindings().await?.len() == 1 && scene.status("kept").await?["state"] == "Active", "the untouched grant ended too");
    Ok(())
}

async fn recreated_identical_eligibility_ends_no_grant(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let scene = env.scene_on(&fixture, "recreated").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    granted(&scene, "now", &offer, "10m").await?;
    let before = objects(&scene, &offer).await?;
    // The operator is paused meanwhile: afterwards the objects exist, with other UIDs.
    fixture.operator.controllers().iter().try_for_each(|controller| controller.stop())?;
    scene.kubectl(ADMIN, &["delete", "roleeligibility,approvalpolicy", &offer]).await?.ok()?;
    scene.admin(&before).await?;
    fixture.operator.controllers().iter().try_for_each(|controller| controller.resume())?;
    // The new objects are used before the active grants are evaluated.
    scene.kubectl(ADMIN, &["wait", "--for=condition=Ready", "--timeout=20s", &format!("roleeligibility/{offer}")]).await?.ok()?;
    scene.apply("dev-2", &scene.request("later", &offer, "10m")).await?.ok()?;
    scene.until_state("later", "Active", SOON).await?;
    ensure!(scene.status("now").await?["state"] == "Active", "the grant ended though nothing changed");
    ensure!(scene.can("dev", "create", "deployments").await?, "dev may not create deployments any more");
    let suspend = ["patch", &format!("roleeligibility/{offer}"), "--type=merge", "-p", r#"{"spec":{"suspended":true}}"#];
    scene.kubectl(ADMIN, &suspend).await?.ok()?;
    for request in ["now", "later"] {
        scene.until_state(request, "Revoked", AT_ONCE).await?;
    }
    scene.until_no_binding(SOON).await
}

/// Eligibility and policy of an offer as an admin would write them again.
async fn objects(scene: &Scene, offer: &str) -> Result<Vec<Value>, Error> {
    let said = scene.kubectl(ADMIN, &["get", "approvalpolicy,roleeligibility", offer, "-o", "json"]).await?.ok()?;
    let list: Value = serde_json::from_str(&said)?;
    let again = |object: &Value| json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {"name": offer}, "spec": object["spec"]});
    Ok(list["items"].as_array().into_iter().flatten().map(again).collect())
}
