//! Limits: duration, lead time, number, cooldown.

use std::{sync::Arc, time::Duration};

use control_plane::wait_for_ok;
use futures::future::join_all;
use jiff::SignedDuration;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};

use super::{ahead, comes_to, let_in, set, term, under, with, withdraw};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, approved_by, automatic, eligibility},
    faults::until,
    grant_helpers::{stamp, time},
    status_helpers::{refused, says},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        limits_min_and_max_duration,
        limits_max_schedule_ahead,
        limits_max_active_per_user,
        limits_max_pending_per_user,
        limits_cooldown,
        t54_max_identity_age_limits_the_use_of_groups,
        t51_inv_27_two_of_a_hundred_concurrent_requests_are_granted,
    ]
}

fn limited(policy: Value, limits: &Value) -> Value {
    set(policy, &json!({ "limits": limits }))
}

async fn limits_min_and_max_duration(env: Arc<Env>) -> Outcome {
    let scene = env.scene("length").await?;
    let limits = json!({"minDuration": "5m", "maxDuration": "30m"});
    let offer = scene.offer("view", limited(approved_by("leads", 1), &limits), eligibility("view")).await?;
    let mut soon_over = eligibility("view");
    soon_over["endTime"] = json!(ahead(120));
    let expiring = scene.offer("over", limited(automatic(), &limits), soon_over).await?;
    for (duration, told) in [
        ("4m59s", "DurationTooShort: duration 4m59s is too short, at least 5m is required by policy"),
        ("31m", "DurationTooLong: duration 31m was requested, at most 30m is allowed by policy"),
    ] {
        refused(scene.create("dev", &scene.request("now", &offer, duration)).await?, &[told, &offer])?;
    }
    // The time until the eligibility's end is too short, and no grant is shorter than the policy's minimum.
    let cut = scene.create("dev", &scene.request("cut", &expiring, "10m")).await?;
    refused(
        cut,
        &["DurationTooShort: duration 1m", "at least 5m is required by policy", &format!("; eligibility '{expiring}' ends before that")],
    )?;
    let waiting = comes_to(&scene, "dev", &scene.request("now", &offer, "5m"), "AwaitingApproval").await?;
    let shorter = with(scene.decision("now", "Approve", waiting["digest"].as_str()), &json!({"duration": "4m"}));
    refused(scene.create("lead-1", &shorter).await?, &["DurationTooShort: duration 4m is too short, at least 5m is required by policy"])?;
    scene.approve("lead-1", "now").await?;
    let (start, end) = term(&scene.until_state("now", "Active", SOON).await?)?;
    ensure!(end.duration_since(start) == SignedDuration::from_mins(5), "it lasts {}", end.duration_since(start));
    Ok(())
}

async fn limits_max_schedule_ahead(env: Arc<Env>) -> Outcome {
    let scene = env.scene("far").await?;
    let offer = scene.offer("view", limited(automatic(), &json!({"maxScheduleAhead": "1h"})), eligibility("view")).await?;
    let at = |name: &str, seconds: i64| with(scene.request(name, &offer, "10m"), &json!({"startTime": ahead(seconds)}));
    let far = scene.create("dev", &at("far", 3720)).await?;
    refused(far, &["StartTooFarAhead: a start at 2", &format!("policy '{offer}' allows one at most 1h ahead, which is 2")])?;
    comes_to(&scene, "dev", &at("near", 3500), "Scheduled").await.map(drop)
}

async fn limits_max_active_per_user(env: Arc<Env>) -> Outcome {
    let scene = env.scene("active").await?;
    let offer = scene.offer("one", limited(automatic(), &json!({"maxActivePerUser": 2})), eligibility("view")).await?;
    let others = under(&scene, &offer, &[("two", eligibility("edit")), ("three", eligibility("view"))]).await?;
    let elsewhere = scene.offer("elsewhere", automatic(), eligibility("view")).await?;
    comes_to(&scene, "dev", &scene.request("one", &offer, "10m"), "Active").await?;
    comes_to(&scene, "dev", &scene.request("two", &others[0], "10m"), "Active").await?;
    let told = format!(
        "TooManyActive: 'dev' already has 2 of at most 2 activations under policy '{offer}' (spec.limits.maxActivePerUser); end one with a \
         decision Deactivate, or wait for its end"
    );
    refused(scene.create("dev", &scene.request("three", &others[1], "10m")).await?, &[&told])?;
    // A later start counts as well; another user, another policy and an extension of one of the two do not.
    let later = with(scene.request("later", &others[1], "10m"), &json!({"startTime": ahead(3600)}));
    refused(scene.create("dev", &later).await?, &[&told])?;
    comes_to(&scene, "dev-2", &scene.request("dev-2", &others[1], "10m"), "Active").await?;
    comes_to(&scene, "dev", &scene.request("elsewhere", &elsewhere, "10m"), "Active").await?;
    comes_to(&scene, "dev", &with(scene.request("longer", &offer, "10m"), &json!({"extends": {"name": "one"}})), "Active").await?;
    withdraw(&scene, "dev", "two").await?;
    comes_to(&scene, "dev", &scene.request("three", &others[1], "10m"), "Active").await.map(drop)
}

async fn limits_max_pending_per_user(env: Arc<Env>) -> Outcome {
    let scene = env.scene("pending").await?;
    let offer = scene.offer("one", limited(approved_by("leads", 1), &json!({"maxPendingPerUser": 2})), eligibility("view")).await?;
    let others = under(&scene, &offer, &[("two", eligibility("view")), ("three", eligibility("view"))]).await?;
    for (request, offer) in [("one", &offer), ("two", &others[0])] {
        comes_to(&scene, "dev", &scene.request(request, offer, "10m"), "AwaitingApproval").await?;
    }
    let told = format!(
        "TooManyPending: 'dev' already has 2 of at most 2 undecided requests under policy '{offer}' (spec.limits.maxPendingPerUser)"
    );
    refused(scene.create("dev", &scene.request("three", &others[1], "10m")).await?, &[&told])?;
    comes_to(&scene, "dev-2", &scene.request("dev-2", &others[1], "10m"), "AwaitingApproval").await?;
    // A decided request, with any result, no longer counts.
    scene.approve("lead-1", "one").await?;
    scene.until_state("one", "Active", SOON).await?;
    comes_to(&scene, "dev", &scene.request("three", &others[1], "10m"), "AwaitingApproval").await.map(drop)
}

async fn limits_cooldown(env: Arc<Env>) -> Outcome {
    let scene = env.scene("pause").await?;
    let offer = scene.offer("view", limited(automatic(), &json!({"cooldown": "12s"})), eligibility("view")).await?;
    let beside = under(&scene, &offer, &[("beside", eligibility("view"))]).await?;
    comes_to(&scene, "dev", &scene.request("first", &offer, "10m"), "Active").await?;
    withdraw(&scene, "dev", "first").await?;
    let ended = time(&scene.status("first").await?["endedAt"])?;
    let cooldown_end = ended + SignedDuration::from_secs(12);
    let told = format!(
        "CooldownActive: the grant 'first' ended at {}, and policy '{offer}' requires a cooldown of 12s after that (spec.limits.cooldown): the next one may start at {}",
        stamp(ended),
        stamp(cooldown_end)
    );
    refused(scene.create("dev", &scene.request("second", &offer, "10m")).await?, &[&told])?;
    comes_to(&scene, "dev-2", &scene.request("dev-2", &offer, "10m"), "Active").await?;
    comes_to(&scene, "dev", &scene.request("beside", &beside[0], "10m"), "Active").await?;
    let_in(&scene, "dev", &scene.request("second", &offer, "10m"), SOON).await?;
    let (start, _) = term(&scene.until_state("second", "Active", SOON).await?)?;
    ensure!(start >= cooldown_end, "the next one started at {start}, before {cooldown_end}");
    Ok(())
}

async fn t54_max_identity_age_limits_the_use_of_groups(env: Arc<Env>) -> Outcome {
    let scene = env.scene("aged").await?;
    let policy = || limited(automatic(), &json!({"maxIdentityAge": "3s"}));
    let by_group = scene.offer("group", policy(), eligibility("edit")).await?;
    let mut named = eligibility("edit");
    named["subjects"] = json!([{"kind": "Group", "name": "devs"}, {"kind": "User", "name": "dev"}]);
    let by_name = scene.offer("name", policy(), named).await?;
    let start = ahead(12);
    let at = |name: &str, offer: &str| with(scene.request(name, offer, "10m"), &json!({"startTime": start}));
    let told = [
        "IdentityTooOld: 'dev' is eligible by a group membership observed at 2",
        "is more than 3s after that, the maximum of policy",
        "request again closer to the start",
    ];
    refused(scene.create("dev", &at("group", &by_group)).await?, &told)?;
    refused(scene.create("dev-2", &at("dev-2", &by_name)).await?, &["IdentityTooOld: 'dev-2' is eligible by a group"])?;
    comes_to(&scene, "dev", &at("name", &by_name), "Scheduled").await?;
    let status = scene.until_state("name", "Active", Duration::from_secs(30)).await?;
    ensure!(status["grantedAt"] == start, "it started at {}", status["grantedAt"]);
    // A request whose approval comes too late for the stamp awaits no approval any more.
    let slow = scene.offer("slow", limited(approved_by("leads", 1), &json!({"maxIdentityAge": "3s"})), eligibility("edit")).await?;
    comes_to(&scene, "dev", &scene.request("slow", &slow, "10m"), "AwaitingApproval").await?;
    let created = time(&scene.get("rar", "slow").await?.unwrap_or_default()["metadata"]["creationTimestamp"])?;
    until(created + SignedDuration::from_secs(5)).await?;
    let digest = scene.status("slow").await?["digest"].clone();
    let approve = scene.create("lead-1", &scene.decision("slow", "Approve", digest.as_str())).await?;
    ensure!(!approve.status.success(), "an approval counts for groups that were observed too long ago");
    ensure!(approve.stderr.contains("IdentityTooOld: ") || approve.stderr.contains("RequestCompleted: "), "it says {}", approve.stderr);
    Ok(())
}

async fn t51_inv_27_two_of_a_hundred_concurrent_requests_are_granted(env: Arc<Env>) -> Outcome {
    const EACH: usize = 25;
    // On a control plane of its own: on a busy machine other tests would find admission blocked meanwhile.
    let (fixture, _permit) = env.own_fixture(Value::Null).await?;
    let scene = env.scene_on(&fixture, "flood").await?;
    let offer = scene.offer("a", limited(automatic(), &json!({"maxActivePerUser": 2})), eligibility("view")).await?;
    let mut offers = under(&scene, &offer, &[("b", eligibility("view")), ("c", eligibility("edit")), ("d", eligibility("view"))]).await?;
    offers.push(offer);
    let api: Api<DynamicObject> = scene.api_as(scene.fixture.cluster().client("dev").await?, "rar").ok_or("there are requests")?;
    let mut writes = Vec::new();
    for number in 0..EACH {
        for offer in &offers {
            let request: DynamicObject = serde_json::from_value(scene.request(&format!("{offer}-{number}"), offer, "10m"))?;
            let api = api.clone();
            writes.push(async move { api.create(&PostParams::default(), &request).await });
        }
    }
    let answers = join_all(writes).await;
    for answer in &answers {
        match answer {
            Err(kube::Error::Api(status))
                if ["AlreadyRequested: ", "TooManyActive: ", "failed calling webhook"].iter().any(|why| status.message.contains(why)) => {}
            Err(error) => return Err(format!("one of them got another answer: {error}").into()),
            Ok(_) => {}
        }
    }
    let decided = wait_for_ok("every request to be decided", Duration::from_mins(1), async || {
        let all = scene.list("rar").await.map_err(|error| error.to_string())?;
        let open = all.iter().filter(|r| !matches!(r["status"]["state"].as_str(), Some("Active" | "Denied"))).count();
        if open == 0 { Ok(all) } else { Err(format!("{open} of {} are open", all.len())) }
    });
    let (granted, denied): (Vec<Value>, Vec<Value>) = decided.await?.into_iter().partition(|r| r["status"]["state"] == "Active");
    for request in &denied {
        let reason = &request["status"]["reason"];
        ensure!(reason == "TooManyActive" || reason == "AlreadyRequested", "one of them is {}", request["status"]);
        ensure!(!says(&request["status"]).is_empty(), "one of them has no message");
    }
    ensure!(granted.len() == 2, "granted were {} of {}", granted.len(), granted.len() + denied.len());
    ensure!(scene.bindings().await?.len() == 2, "there are {} bindings", scene.bindings().await?.len());
    Ok(())
}
