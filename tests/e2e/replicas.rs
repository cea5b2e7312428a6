//! Two replicas: the holder of the Lease grants, and both of them end expired grants.

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, wait_for, wait_for_ok};
use jiff::{SignedDuration, Timestamp};

use crate::{
    audit::{self, Calls, measured},
    blocking_webhook::BlockingWebhook,
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, Scene, TestCase, automatic, eligibility},
    faults::{alone, holder, kill_all, start_all, until, verify_final_state},
    grant_helpers::{Granted, each, text},
    test_cases,
};

/// Latest end of a grant whose deadline comes after the death of the holder of the Lease (api rule 9, with room for a busy machine).
pub const BY_ANOTHER: SignedDuration = SignedDuration::from_millis(1_500);
/// A Lease that is not renewed is free after six seconds, and the others read it every second.
pub const TAKEN_OVER: Duration = Duration::from_secs(12);

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        inv_24_another_replica_ends_grants_when_the_lease_holder_cannot,
        lease_is_taken_over_at_once_when_released_or_deleted,
        t40_two_lease_holders_grant_once_and_recreate_nothing,
        inv_02_nothing_is_granted_before_the_first_sweep,
        f02_starting_replica_makes_no_calls_for_active_grants,
    ]
}

/// Waits until another controller than this one holds the Lease, and returns its number.
pub async fn another_holder(fixture: &ClusterFixture, than: usize, limit: Duration) -> Result<usize, Error> {
    let other = wait_for_ok("another replica to hold the Lease", limit, async || match holder(fixture).await {
        Ok(now) if now != than => Ok(now),
        Ok(now) => Err(format!("it is still {now}")),
        Err(error) => Err(error.to_string()),
    });
    Ok(other.await?)
}

pub async fn inv_24_another_replica_ends_grants_when_the_lease_holder_cannot(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "replicas").await?;
    let fixture = &scene.fixture;
    let (killed, hung) = (["a", "b", "c"], ["d", "e", "f"]);
    scene.offers(&[killed, hung].concat(), &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;

    let first = holder(fixture).await?;
    let granted = each(&killed, |name| scene.granted("dev", name, "5s")).await?;
    just_before(&granted).await?;
    fixture.operator.controller(first)?.kill();
    let died = Timestamp::now();
    ended_by_another(&scene, &granted, &mut calls, "killed").await?;
    let second = another_holder(fixture, first, TAKEN_OVER).await?;
    for name in killed {
        scene.ends_as(name, "Expired", &["Expired"], TAKEN_OVER).await?;
    }
    measured("ends recorded by the new holder, after the old one was killed", Timestamp::now().duration_since(died));
    fixture.operator.controller(first)?.start()?;
    fixture.operator.controller(first)?.wait_until_ready(SOON).await?;

    // A paused replica believes that it is the holder when it continues.
    let granted = each(&hung, |name| scene.granted("dev", name, "5s")).await?;
    just_before(&granted).await?;
    fixture.operator.controller(second)?.stop()?;
    ended_by_another(&scene, &granted, &mut calls, "stopped").await?;
    another_holder(fixture, second, TAKEN_OVER).await?;
    fixture.operator.controller(second)?.resume()?;
    for name in hung {
        scene.ends_as(name, "Expired", &["Expired"], TAKEN_OVER).await?;
    }
    verify_final_state(&scene, &mut calls, BY_ANOTHER).await?;
    Ok(())
}

/// Waits until shortly before the first of the deadlines.
async fn just_before(granted: &[Granted]) -> Outcome {
    let first = granted.iter().map(|g| g.deadline).min().ok_or("something was granted")?;
    ensure!(Timestamp::now() < first, "the machine is too busy: the grants expired before the holder could be stopped");
    until(first - SignedDuration::from_millis(300)).await
}

async fn ended_by_another(scene: &Scene, granted: &[Granted], calls: &mut Calls, how: &str) -> Outcome {
    for granted in granted {
        scene.until_gone(&granted.binding, SOON).await?;
        let what = format!("grant ended after its deadline by another replica, the holder was {how} before");
        calls.ended_on_time(&granted.binding, granted.deadline, BY_ANOTHER, &what).await?;
    }
    Ok(())
}

pub async fn lease_is_taken_over_at_once_when_released_or_deleted(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "lease").await?;
    let fixture = &scene.fixture;
    let many = ["a", "b", "c", "d", "e", "f"];
    scene.offers(&[&["given-back", "remembered"], &many[..]].concat(), &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;

    let first = holder(fixture).await?;
    let asked = Timestamp::now();
    let code = fixture.operator.controller(first)?.terminate(SOON).await?;
    ensure!(code == 0, "it ended with the code {code}");
    another_holder(fixture, first, Duration::from_secs(4)).await?;
    measured("another replica holds the Lease after SIGTERM", Timestamp::now().duration_since(asked));
    scene.granted("dev", "given-back", "5s").await?;
    let took = Timestamp::now().duration_since(asked);
    ensure!(took < SignedDuration::from_secs(5), "the next grant came {} ms after SIGTERM", took.as_millis());
    start_all(fixture).await?;

    // Without the Lease both may believe for a moment that they hold it; the grants are the same.
    let asking = each(&many, |name| scene.ask("dev", name, "6s"));
    let deleting = async {
        for _ in 0..5 {
            scene.kubectl(ADMIN, &["delete", "lease", "jit-rbac-controller", "-n", "jit-system"]).await?.ok()?;
            wait_for("the Lease to be there again", SOON, async || {
                let args = ["get", "lease", "jit-rbac-controller", "-n", "jit-system", "-o", "name"];
                scene.kubectl(ADMIN, &args).await.ok().filter(|said| said.status.success()).map(|_| ())
            })
            .await?;
        }
        Ok::<_, Error>(())
    };
    futures::try_join!(asking, deleting)?;
    for name in many {
        scene.ends_as(name, "Expired", &["Expired"], SOON).await?;
    }

    // The record of the guards is lost with the Lease. The replica that creates the new one has read it: earlier writes need no
    // verification.
    let stopped = holder(fixture).await?;
    fixture.operator.controller(stopped)?.stop()?;
    scene.kubectl(ADMIN, &["delete", "lease", "jit-rbac-controller", "-n", "jit-system"]).await?.ok()?;
    another_holder(fixture, stopped, TAKEN_OVER).await?;
    fixture.operator.controller(stopped)?.resume()?;
    scene.granted("dev", "remembered", "5s").await?;
    scene.ends_as("remembered", "Expired", &["Expired"], SOON).await?;
    verify_final_state(&scene, &mut calls, BY_ANOTHER).await?;
    Ok(())
}

pub async fn t40_two_lease_holders_grant_once_and_recreate_nothing(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "two-holders").await?;
    let fixture = &scene.fixture;
    scene.offers(&["race", "twice"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let gate = BlockingWebhook::new(&scene, "rbac.authorization.k8s.io", "rolebindings", &["CREATE"]).await?;

    // The requester withdraws it while the create of the binding is in flight.
    gate.hold(1);
    let stored = scene.ask("dev", "race", "10m").await?;
    gate.until_held(1, SOON).await?;
    scene.write("dev", "adec", &scene.decision("race", "Deactivate", None)).await?;
    gate.open();
    let status = scene.until_completed("race", SOON).await?;
    ensure!(status["state"] == "Deactivated" || status["state"] == "Withdrawn", "it is {}", status["state"]);
    scene.until_gone(&format!("jit-{}", text(&stored["metadata"]["uid"])), SOON).await?;

    // The holder is paused while its call is in flight. Another one grants, and the grant is deactivated. Only then does the old call
    // arrive, and the old holder receives its success.
    gate.hold(1);
    scene.ask("dev", "twice", "10m").await?;
    gate.until_held(1, SOON).await?;
    let old = holder(fixture).await?;
    fixture.operator.controller(old)?.stop()?;
    let granted = {
        another_holder(fixture, old, TAKEN_OVER).await?;
        scene.running("twice").await?
    };
    scene.write("dev", "adec", &scene.decision("twice", "Deactivate", None)).await?;
    scene.ends_as("twice", "Deactivated", &[], SOON).await?;
    scene.until_gone(&granted.binding, SOON).await?;
    let made = |e: &control_plane::AuditEvent| e.verb == "create" && e.code() == 201 && audit::is(e, "rolebindings", &granted.binding);
    let before = calls.so_far(made)?.len();
    ensure!(before == 1, "its binding was made {before} times");

    gate.open();
    let again = wait_for("the old call to come through", SOON, async || calls.so_far(made).ok()?.into_iter().nth(1)).await?;
    scene.until_gone(&granted.binding, SOON).await?;
    let gone = |e: &control_plane::AuditEvent| {
        e.verb == "delete"
            && e.code() == 200
            && audit::is(e, "rolebindings", &granted.binding)
            && e.stage_timestamp >= again.stage_timestamp
    };
    let gone = calls.first("it to be deleted again", gone).await?;
    let lived = gone.stage_timestamp.duration_since(again.stage_timestamp);
    measured("binding that an old holder made after the grant's end, removed", lived);
    ensure!(lived < BY_ANOTHER, "it lived for {} ms", lived.as_millis());

    fixture.operator.controller(old)?.resume()?;
    let refused =
        |e: &control_plane::AuditEvent| e.verb == "patch" && e.code() == 409 && audit::is(e, "roleactivationrequests/status", "twice");
    calls.first("the old holder's report to be refused", refused).await?;
    let status = scene.status("twice").await?;
    ensure!(status["state"] == "Deactivated", "the end was overwritten: {status}");
    ensure!(scene.bindings().await?.is_empty(), "there are bindings");
    gate.remove(&scene).await
}

pub async fn inv_02_nothing_is_granted_before_the_first_sweep(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "sweep").await?;
    let fixture = &scene.fixture;
    scene.offers(&["overdue", "new"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let overdue = scene.granted("dev", "overdue", "3s").await?;
    kill_all(fixture);
    let stored = scene.ask("dev", "new", "10m").await?;
    let new = format!("jit-{}", text(&stored["metadata"]["uid"]));
    until(overdue.deadline).await?;

    // No deletion succeeds, so the first sweep does not end.
    let gate = BlockingWebhook::new(&scene, "rbac.authorization.k8s.io", "rolebindings", &["DELETE"]).await?;
    gate.hold(u32::MAX);
    for controller in fixture.operator.controllers() {
        controller.start()?;
    }
    gate.until_held(2, SOON).await?;
    until(Timestamp::now() + SignedDuration::from_secs(3)).await?;
    for controller in fixture.operator.controllers() {
        let says = controller.ready().await.err().unwrap_or_default();
        ensure!(says.contains("sweep"), "{} is not waiting for its sweep: '{says}'", controller.name());
    }
    ensure!(scene.get("rolebinding", &new).await?.is_none(), "something was granted before the first sweep was done");
    ensure!(scene.status("new").await?["state"].is_null(), "something was decided before the first sweep was done");
    gate.open();
    scene.running("new").await?;
    let made = calls.first("the new binding", |e| e.verb == "create" && e.code() == 201 && audit::is(e, "rolebindings", &new)).await?;
    let removed = calls.removed(&overdue.binding).await?;
    ensure!(
        removed <= made.request_received_timestamp,
        "it was granted at {}, before the sweep was done at {removed}",
        made.request_received_timestamp
    );
    gate.remove(&scene).await
}

/// With tens of thousands of grants, a read of each of them would make the API server end others late.
pub async fn f02_starting_replica_makes_no_calls_for_active_grants(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "start").await?;
    let fixture = &scene.fixture;
    let many = ["a", "b", "c", "d"];
    scene.offers(&[&many[..], &["back", "suspended"]].concat(), &automatic(), &eligibility("edit")).await?;
    let granted = each(&[&many[..], &["back", "suspended"]].concat(), |name| scene.granted("dev", name, "1h")).await?;
    let other = 1 - holder(fixture).await?;
    fixture.operator.controller(other)?.kill();
    let mut calls = Calls::from_now(&scene)?;
    fixture.operator.controller(other)?.start()?;
    fixture.operator.controller(other)?.wait_until_ready(SOON).await?;
    // It helps with expired grants, so it has processed everything before this is removed.
    scene.write("dev", "adec", &scene.decision("a", "Deactivate", None)).await?;
    scene.ends_as("a", "Deactivated", &[], SOON).await?;
    let about = |e: &control_plane::AuditEvent| {
        let named = |g: &Granted| {
            let request = [format!("/roleactivationrequests/{}", g.request), format!("requestRef.name%3D{}", g.request)];
            e.request_uri.contains(&g.binding) || request.iter().any(|part| e.request_uri.contains(part))
        };
        let here = e.object_ref.as_ref().is_some_and(|object| object.namespace == scene.name);
        let asks = here && e.user.username == audit::CONTROLLER && matches!(e.verb.as_str(), "get" | "list");
        asks && granted.iter().filter(|g| g.request != "a").any(named)
    };
    let asked: Vec<_> = calls.so_far(about)?.iter().map(|e| format!("{} {}", e.verb, e.request_uri)).collect();
    ensure!(asked.is_empty(), "it made calls about active grants: {asked:#?}");

    // The replica that starts next handles events of the time without a replica.
    kill_all(fixture);
    scene.write("dev", "adec", &scene.decision("back", "Deactivate", None)).await?;
    let suspend = ["patch", "rel", &scene.offered("suspended"), "--type=merge", "-p", r#"{"spec":{"suspended":true}}"#];
    scene.kubectl(ADMIN, &suspend).await?.ok()?;
    start_all(fixture).await?;
    scene.ends_as("back", "Deactivated", &[], SOON).await?;
    scene.ends_as("suspended", "Revoked", &["EligibilitySuspended"], SOON).await.map(drop)
}
