//! The number of writes: four for an automatic grant, and a known number more for decisions.

use std::{sync::Arc, time::Duration};

use control_plane::AuditEvent;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{CONTROLLER, Calls, WEBHOOK, inspector, rbac_rules::Rules};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, approved_by, automatic, eligibility},
    faults::until,
    status_helpers::refused,
};

/// Returns the writes of the operator in the scene's namespace that changed an object, except Events and Leases.
fn writes(scene: &Scene, calls: &mut Calls) -> Result<Vec<String>, Error> {
    let written = calls.so_far(|e| {
        let here = e.object_ref.as_ref().is_some_and(|object| object.namespace == scene.name);
        here && e.is_write() && e.code() < 300 && is_the_operator(e) && !matches!(e.resource().as_str(), "events" | "leases")
    })?;
    Ok(written.iter().map(|e| format!("{} {}", e.verb, e.resource())).collect())
}

fn is_the_operator(event: &AuditEvent) -> bool {
    [CONTROLLER, WEBHOOK].contains(&event.user.username.as_str())
}

const MADE: &str = "create rolebindings";
const REMOVED: &str = "delete rolebindings";
const REPORTED: &str = "patch roleactivationrequests/status";

/// Waits until the log has the expected length, and compares it with the expected calls.
async fn expect(scene: &Scene, calls: &mut Calls, what: &str, expected: &[&str]) -> Outcome {
    // The last line is written just after its response.
    let all = control_plane::wait_for("the last write to be logged", Duration::from_secs(3), async || {
        writes(scene, calls).ok().filter(|writes| writes.len() >= expected.len())
    });
    let _ = all.await;
    let written = writes(scene, calls)?;
    ensure!(written == expected, "{what} costs {written:?}");
    Ok(())
}

pub async fn automatic_grant_takes_four_writes(env: Arc<Env>) -> Outcome {
    let scene = env.scene("four").await?;
    scene.offers(&["expires"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    scene.granted("dev", "expires", "2s").await?;
    scene.ends_as("expires", "Expired", &["Expired"], SOON).await?;
    expect(&scene, &mut calls, "a grant until its deadline", &[MADE, REPORTED, REMOVED, REPORTED]).await?;

    let given_back = env.scene("four").await?;
    given_back.offers(&["back"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&given_back)?;
    given_back.granted("dev", "back", "5m").await?;
    given_back.write("dev", "adec", &given_back.decision("back", "Deactivate", None)).await?;
    given_back.ends_as("back", "Deactivated", &[], SOON).await?;
    expect(&given_back, &mut calls, "a deactivated grant", &[MADE, REPORTED, REMOVED, REPORTED]).await
}

pub async fn pending_request_and_each_stage_take_one_more_status_write(env: Arc<Env>) -> Outcome {
    let one = env.scene("stages").await?;
    one.offers(&["one"], &approved_by("leads", 1), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&one)?;
    one.ask("dev", "one", "3s").await?;
    one.until_state("one", "AwaitingApproval", SOON).await?;
    one.approve("lead-1", "one").await?;
    one.running("one").await?;
    one.ends_as("one", "Expired", &["Expired"], SOON).await?;
    expect(&one, &mut calls, "a grant after one approval", &[REPORTED, MADE, REPORTED, REMOVED, REPORTED]).await?;

    let two = env.scene("stages").await?;
    let mut policy = approved_by("leads", 1);
    let second = json!({"name": "second", "approvers": {"groups": ["security"]}, "required": 1});
    policy["approval"]["stages"].as_array_mut().ok_or("the policy has stages")?.push(second);
    two.offers(&["two"], &policy, &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&two)?;
    two.ask("dev", "two", "3s").await?;
    two.until_state("two", "AwaitingApproval", SOON).await?;
    two.approve("lead-1", "two").await?;
    let what = "the second stage to be open";
    control_plane::wait_for(what, SOON, async || (two.status("two").await.ok()?["awaiting"]["stage"] == "second").then_some(())).await?;
    two.approve("security", "two").await?;
    two.running("two").await?;
    two.ends_as("two", "Expired", &["Expired"], SOON).await?;
    expect(&two, &mut calls, "a grant after two stages", &[REPORTED, REPORTED, MADE, REPORTED, REMOVED, REPORTED]).await
}

/// A list of requests takes longer the more of them have been completed: no activation may need one.
pub async fn f02_limits_and_cooldown_need_no_list_call(env: Arc<Env>) -> Outcome {
    // A list of a user's requests in all namespaces does not show whom it was for.
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let scene = env.scene_on(&fixture, "history").await?;
    let mut policy = automatic();
    policy["limits"] = json!({"maxActivePerUser": 5, "maxPendingPerUser": 5, "cooldown": "2h"});
    let lists = |e: &AuditEvent| is_the_operator(e) && e.verb == "list" && e.resource() == "roleactivationrequests";
    let mut calls = Calls::from_now(&scene)?;
    scene.offers(&["before", "first", "second"], &policy, &eligibility("edit")).await?;
    // The first call of a term reads the required resource version of the caches, and completed requests are listed once a policy has a
    // cooldown.
    scene.granted("dev", "before", "2s").await?;
    scene.ends_as("before", "Expired", &["Expired"], SOON).await?;
    ensure!(!calls.so_far(lists)?.is_empty(), "such lists are in the log");
    let mut calls = Calls::from_now(&scene)?;
    scene.granted("dev", "first", "10m").await?;
    scene.granted("dev-2", "second", "10m").await?;
    let listed = calls.so_far(lists)?;
    let listed: Vec<_> = listed.iter().map(|e| format!("{} {}", e.user.username, e.request_uri)).collect();
    ensure!(listed.is_empty(), "the operator listed requests: {listed:#?}");
    // The purpose of the lists is met without them.
    let again = scene.create("dev", &scene.request("again", &scene.offered("before"), "10m")).await?;
    refused(again, &["CooldownActive: the grant 'before' ended at 2"])
}

/// An active grant and a pending request cost nothing by themselves.
pub async fn idle_operator_reads_and_writes_nothing(env: Arc<Env>) -> Outcome {
    let scene = env.scene("quiet").await?;
    scene.offers(&["running"], &automatic(), &eligibility("edit")).await?;
    scene.offers(&["waiting"], &approved_by("leads", 1), &eligibility("edit")).await?;
    scene.granted("dev", "running", "10m").await?;
    scene.ask("dev", "waiting", "10m").await?;
    scene.until_state("waiting", "AwaitingApproval", SOON).await?;
    // All follow-up work is done after this time; the Lease is renewed three times in the time after.
    until(Timestamp::now() + SignedDuration::from_secs(2)).await?;
    let mut calls = Calls::from_now(&scene)?;
    until(Timestamp::now() + SignedDuration::from_secs(6)).await?;
    let here = calls.so_far(|e| {
        // Except eligibilities: they are counted again with each namespace that other tests create or delete and that they cover.
        e.object_ref.as_ref().is_some_and(|object| object.namespace == scene.name) && is_the_operator(e)
    })?;
    let here: Vec<_> = here.iter().map(|e| format!("{} {} {}", e.verb, e.resource(), e.request_uri)).collect();
    ensure!(here.is_empty(), "the operator made calls though nothing happened: {here:#?}");
    Ok(())
}

pub async fn inv_28_call_inspector_detects_violations(env: Arc<Env>) -> Outcome {
    let scene = env.scene("look").await?;
    scene.offers(&["now"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    scene.granted("dev", "now", "5m").await?;
    let made = calls
        .first("the operator's call", |e| e.verb == "create" && e.resource() == "rolebindings" && e.user.username == CONTROLLER)
        .await?;
    let rules = Rules::of(&scene.fixture.client, "jit-rbac-controller").await?;
    inspector::detects_violations(&rules, &made)
}
