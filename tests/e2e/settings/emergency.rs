//! Emergency activations: immediate and without approval, but only with a policy, a reason, a limit and a review.

use std::sync::Arc;

use control_plane::{ADMIN, Said, wait_for_ok};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{comes_to, edit, let_in, set, term, windows::window, with, withdraw};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, eligibility},
    grant_helpers::time,
    status_helpers::{conditions, did, refused, until},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        emergency_skips_stages_windows_and_cooldown,
        emergency_has_a_limit_and_requires_a_justification,
        emergency_reviewers_list_and_complete_pending_reviews,
        emergency_with_an_overdue_review_denies_the_next,
        f55_overdue_review_outlives_its_namespace,
        f55_policy_status_drops_completed_reviews,
    ]
}

/// A policy that grants nothing now except in an emergency.
fn strict(within: &str) -> Result<Value, Error> {
    let (closed, ..) = window(180, 240)?;
    let more = json!({
        "windows": [closed],
        "limits": {"cooldown": "1h"},
        "emergency": {"allowed": true, "maxDuration": "10m", "reviewers": {"groups": ["security"]}, "reviewWithin": within},
    });
    Ok(set(approved_by("leads", 1), &more))
}

fn emergency(scene: &Scene, name: &str, offer: &str, duration: &str) -> Value {
    with(scene.request(name, offer, duration), &json!({"emergency": true}))
}

async fn emergency_skips_stages_windows_and_cooldown(env: Arc<Env>) -> Outcome {
    let scene = env.scene("fire").await?;
    let offer = scene.offer("edit", strict("1h")?, eligibility("edit")).await?;
    let status = comes_to(&scene, "dev", &emergency(&scene, "first", &offer, "10m"), "Active").await?;
    ensure!(scene.may("dev", "create", "apps", "deployments").await?, "dev may not create Deployments in an emergency");
    let (start, end) = term(&status)?;
    let review = &status["review"];
    ensure!(end.duration_since(start) == SignedDuration::from_mins(10) && review["state"] == "Owed", "it is {status}");
    ensure!(time(&review["deadline"])? == start + SignedDuration::from_hours(1), "the review is due at {}", review["deadline"]);
    ensure!(review["reviewers"] == json!({"groups": ["security"]}) && status["approvedBy"].is_null(), "it is {status}");
    let approved = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Approved").cloned().unwrap_or_default();
    ensure!(approved["message"] == "an emergency: granted without approval, reviewed afterwards", "Approved says {}", approved["message"]);
    conditions(&status)?;
    withdraw(&scene, "dev", "first").await?;
    // Without emergency the cooldown would apply, and stages and windows do.
    comes_to(&scene, "dev", &scene.request("plain", &offer, "5m"), "AwaitingApproval").await?;
    let digest = scene.status("plain").await?["digest"].clone();
    refused(scene.create("lead-1", &scene.decision("plain", "Approve", digest.as_str())).await?, &["OutsideWindow: with this approval"])?;
    withdraw(&scene, "dev", "plain").await?;
    comes_to(&scene, "dev", &emergency(&scene, "second", &offer, "5m"), "Active").await?;
    // Eligibility is never skipped.
    refused(scene.create("outsider", &emergency(&scene, "third", &offer, "5m")).await?, &["NotEligible: 'outsider'"])
}

async fn emergency_has_a_limit_and_requires_a_justification(env: Arc<Env>) -> Outcome {
    let scene = env.scene("bounds").await?;
    let offer = scene.offer("edit", strict("1h")?, eligibility("edit")).await?;
    let without = scene.offer("without", approved_by("leads", 1), eligibility("edit")).await?;
    let told = format!(
        "EmergencyNotAllowed: policy '{without}' does not allow emergencies (spec.emergency.allowed); request without \
                        spec.emergency"
    );
    refused(scene.create("dev", &emergency(&scene, "now", &without, "5m")).await?, &[&told])?;
    let told = format!(
        "DurationTooLong: duration 11m was requested, at most 10m is allowed in an emergency by policy '{offer}' (spec.emergency.maxDuration); request 10m or less"
    );
    refused(scene.create("dev", &emergency(&scene, "now", &offer, "11m")).await?, &[&told])?;
    for reason in [Value::Null, json!(""), json!("   ")] {
        let silent = with(emergency(&scene, "now", &offer, "5m"), &json!({"justification": reason}));
        refused(scene.create("dev", &silent).await?, &["an emergency request needs a `justification` for its reviewers"])?;
    }
    let later = with(emergency(&scene, "now", &offer, "5m"), &json!({"startTime": super::ahead(60)}));
    refused(
        scene.create("dev", &later).await?,
        &["an emergency request starts at once and extends nothing: leave `startTime` and `extends` out"],
    )?;
    ensure!(scene.list("rar").await?.is_empty() && scene.bindings().await?.is_empty(), "a denied request had an effect");
    Ok(())
}

/// Returns the requests of this scene that are on the reviewers' list.
async fn owed(scene: &Scene, state: &str) -> Result<Vec<String>, Error> {
    let selector = format!("status.review.state={state}");
    let said = scene.kubectl("security", &["get", "rar", "-A", "--no-headers", "--field-selector", &selector]).await?.ok()?;
    let rows = said.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    Ok(rows.filter(|row| row.first() == Some(&scene.name)).filter_map(|row| row.get(1).cloned()).collect())
}

async fn emergency_reviewers_list_and_complete_pending_reviews(env: Arc<Env>) -> Outcome {
    let scene = env.scene("reviewed").await?;
    // dev is a reviewer by name, and still cannot review their own requests.
    let mut policy = strict("1h")?;
    policy["emergency"]["reviewers"]["users"] = json!(["dev"]);
    let offer = scene.offer("edit", policy, eligibility("edit")).await?;
    comes_to(&scene, "dev", &emergency(&scene, "runs", &offer, "10m"), "Active").await?;
    comes_to(&scene, "dev-2", &emergency(&scene, "over", &offer, "10m"), "Active").await?;
    withdraw(&scene, "dev-2", "over").await?;
    ensure!(owed(&scene, "Owed").await? == ["over", "runs"], "on the list are {:?}", owed(&scene, "Owed").await?);
    let review = |request: &str| scene.decision(request, "Review", None);
    refused(scene.create("dev", &review("runs")).await?, &["SelfApprovalNotAllowed: 'dev' created request 'runs' and cannot review it"])?;
    let told =
        "NotAReviewer: 'lead-1' may not review request 'runs': reviewers are dev, group security (spec.emergency.reviewers of the policy)";
    refused(scene.create("lead-1", &review("runs")).await?, &[told])?;
    for request in ["runs", "over"] {
        scene.create("security", &review(request)).await?.ok()?;
        let status = until(&scene, request, "to be reviewed", |status| status["review"]["state"] == "Done").await?;
        let done = &status["review"];
        ensure!(
            done["reviewedBy"] == "security" && done["comment"] == "noted" && done["reviewedAt"].is_string(),
            "{request}: it is {done}"
        );
        ensure!(did(&status, "security", "Reviewed"), "{request}: the timeline does not show it: {status}");
    }
    // A review changes nothing else.
    let (runs, over) = (scene.status("runs").await?, scene.status("over").await?);
    ensure!(runs["state"] == "Active" && over["state"] == "Deactivated", "they are {} and {}", runs["state"], over["state"]);
    ensure!(owed(&scene, "Owed").await?.is_empty() && owed(&scene, "Done").await?.len() == 2, "the list is as before");
    let again = "RequestCompleted: request 'over' is already reviewed by security: noted: another Review would have no effect";
    refused(scene.create("security", &review("over")).await?, &[again])?;
    let table = scene.kubectl("security", &["get", "rar", "-n", &scene.name, "-o", "wide"]).await?.ok()?;
    ensure!(table.lines().skip(1).all(|line| line.contains(" Done ")), "the column REVIEW does not say it:\n{table}");
    Ok(())
}

/// `crowd` requests no emergency in another test: an owed review blocks all of their emergencies.
async fn emergency_with_an_overdue_review_denies_the_next(env: Arc<Env>) -> Outcome {
    let scene = env.scene("overdue").await?;
    let offer = scene.offer("edit", strict("6s")?, eligibility("edit")).await?;
    comes_to(&scene, "crowd", &emergency(&scene, "first", &offer, "10m"), "Active").await?;
    let status = until(&scene, "first", "its review to be overdue", |status| status["review"]["state"] == "Overdue").await?;
    ensure!(status["state"] == "Active" && did(&status, "jit-rbac", "ReviewOverdue"), "it is {status}");
    withdraw(&scene, "crowd", "first").await?;
    ensure!(owed(&scene, "Overdue").await? == ["first"], "overdue are {:?}", owed(&scene, "Overdue").await?);
    let told = format!(
        "ReviewOverdue: emergency '{}/first' of 'crowd' was not reviewed in time, and no other one is granted until it is reviewed; ask a \
         reviewer (group security) for a decision Review, or request without spec.emergency",
        scene.name
    );
    refused(scene.create("crowd", &emergency(&scene, "second", &offer, "5m")).await?, &[&told])?;
    // It blocks this user in all namespaces; neither other users nor this user's normal requests are blocked.
    let others = serde_json::to_string(&emergency(&scene, "dev-2", &offer, "5m"))?;
    scene.fixture.cluster().run_with("dev-2", &["create", "--dry-run=server", "-f", "-"], &others).await?.ok()?;
    comes_to(&scene, "crowd", &scene.request("plain", &offer, "5m"), "AwaitingApproval").await?;
    withdraw(&scene, "crowd", "plain").await?;
    scene.create("security", &scene.decision("first", "Review", None)).await?.ok()?;
    until(&scene, "first", "to be reviewed", |status| status["review"]["state"] == "Done").await?;
    let_in(&scene, "crowd", &emergency(&scene, "second", &offer, "5m"), SOON).await?;
    scene.until_state("second", "Active", SOON).await.map(drop)
}

/// Creates an object as an eligible user who requests no emergencies in another test: an owed review blocks all of their emergencies.
async fn create_as(scene: &Scene, person: &str, object: &Value) -> Result<Said, Error> {
    let args = ["create", "-f", "-", "--as", person, "--as-group", "devs", "--as-group", "system:authenticated"];
    Ok(scene.fixture.cluster().run_with(ADMIN, &args, &object.to_string()).await?)
}

/// Returns the reviews that a policy is owed, once `enough` of them.
async fn owed_to(scene: &Scene, policy: &str, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>, Error> {
    let looked = wait_for_ok("the pending reviews of the policy", SOON, async || {
        let stored = scene.get("apol", policy).await.map_err(|error| error.to_string())?.unwrap_or_default();
        let owed = stored["status"]["reviewsOwed"].as_array().cloned().unwrap_or_default();
        if enough(&owed) { Ok(owed) } else { Err(format!("it is {owed:?}")) }
    });
    Ok(looked.await?)
}

async fn f55_overdue_review_outlives_its_namespace(env: Arc<Env>) -> Outcome {
    let scene = env.scene("outlives").await?;
    let other = format!("{}-other", scene.name);
    scene.create_namespace(&other).await?;
    let mut eligible = eligibility("edit");
    eligible["namespaces"] = json!({"names": [scene.name, other]});
    let offer = scene.offer("edit", strict("6s")?, eligible).await?;
    let person = scene.name.as_str();
    create_as(&scene, person, &emergency(&scene, "first", &offer, "10m")).await?.ok()?;
    scene.until_state("first", "Active", SOON).await?;
    let uid = scene.get("rar", "first").await?.unwrap_or_default()["metadata"]["uid"].clone();
    let owed = owed_to(&scene, &offer, |owed| owed.len() == 1).await?;
    ensure!(
        owed[0]["requester"]["username"] == person && owed[0]["request"] == format!("{}/first", scene.name) && owed[0]["requestUID"] == uid,
        "it is {owed:?}"
    );
    until(&scene, "first", "its review to be overdue", |status| status["review"]["state"] == "Overdue").await?;
    scene.kubectl(ADMIN, &["delete", "namespace", &scene.name, "--timeout=60s"]).await?.ok()?;

    let mut second = emergency(&scene, "second", &offer, "5m");
    second["metadata"]["namespace"] = json!(other);
    let uid = uid.as_str().unwrap_or_default();
    let told = format!(
        "ReviewOverdue: emergency '{0}/first' of '{person}' was not reviewed in time and its request no longer exists, so it can no longer \
         be reviewed; ask an admin of policy '{offer}' to add '{uid}' to its annotation 'jitrbac.dev/settled-reviews', or request without \
         spec.emergency",
        scene.name
    );
    refused(create_as(&scene, person, &second).await?, &[&told])?;
    // No change that the policy's report permits removes it.
    scene.kubectl(ADMIN, &["annotate", "apol", &offer, "jitrbac.dev/settled-reviews=another"]).await?.ok()?;
    edit(&scene, "apol", &offer, &json!({"emergency": {"maxDuration": "9m"}})).await?;
    refused(create_as(&scene, person, &second).await?, &[&told])?;

    // Neither by the user who owes it, nor by a user who may annotate the policy and not change its spec.
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": offer}, "rules": [
        {"apiGroups": ["jitrbac.dev"], "resources": ["approvalpolicies"], "resourceNames": [offer], "verbs": ["get", "patch", "update"]}]});
    let another = format!("{person}-another");
    let user = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
    let bound = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": offer},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": offer},
        "subjects": [user(person), user(&another)]});
    scene.admin(&[role, bound]).await?;
    let settled = format!("jitrbac.dev/settled-reviews=another,{uid}");
    let annotate = ["annotate", "--overwrite", "apol", offer.as_str(), settled.as_str()];
    let told = format!(
        "SelfApprovalNotAllowed: '{person}' was granted the emergency '{}/first' and cannot settle its review; another admin must",
        scene.name
    );
    refused(scene.kubectl(ADMIN, &[&annotate[..], &["--as", person]].concat()).await?, &[&told])?;
    let told = format!("settling a review requires the same permission as the spec (annotation jitrbac.dev/settled-reviews): '{another}'");
    refused(scene.kubectl(ADMIN, &[&annotate[..], &["--as", another.as_str()]].concat()).await?, &[&told])?;
    scene.kubectl(ADMIN, &annotate).await?.ok()?;
    owed_to(&scene, &offer, <[Value]>::is_empty).await?;
    create_as(&scene, person, &second).await?.ok()?;
    let granted = wait_for_ok("the second emergency to be granted", SOON, async || {
        let said = scene.kubectl(ADMIN, &["get", "rar", "second", "-n", &other, "-o", "jsonpath={.status.state}"]).await;
        let state = said.map_err(|error| error.to_string())?.stdout;
        if state == "Active" { Ok(()) } else { Err(format!("it is '{state}'")) }
    });
    granted.await?;
    let owed = owed_to(&scene, &offer, |owed| owed.len() == 1).await?;
    ensure!(owed[0]["request"] == format!("{other}/second"), "it is {owed:?}");
    Ok(())
}

async fn f55_policy_status_drops_completed_reviews(env: Arc<Env>) -> Outcome {
    let scene = env.scene("drops").await?;
    let offer = scene.offer("edit", strict("1h")?, eligibility("edit")).await?;
    let (one, two) = (format!("{}-1", scene.name), format!("{}-2", scene.name));
    for (person, name) in [(&one, "runs"), (&two, "over")] {
        create_as(&scene, person, &emergency(&scene, name, &offer, "10m")).await?.ok()?;
        scene.until_state(name, "Active", SOON).await?;
    }
    owed_to(&scene, &offer, |owed| owed.len() == 2).await?;
    create_as(&scene, &two, &scene.decision("over", "Deactivate", None)).await?.ok()?;
    scene.until_completed("over", SOON).await?;
    for (left, name) in [(1, "over"), (0, "runs")] {
        scene.create("security", &scene.decision(name, "Review", None)).await?.ok()?;
        owed_to(&scene, &offer, |owed| owed.len() == left).await?;
    }
    ensure!(scene.status("runs").await?["state"] == "Active", "a review ended it");
    Ok(())
}
