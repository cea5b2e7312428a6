//! Watches that duplicate, reorder, delay or lose events, and watches that are interrupted again and again (invariants 1, 9 and 31).

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, Disorder, Disturbed, Fault, Rule, wait_for};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::call_sequence::{Way, bring, proxied};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, approved_by, automatic, eligibility},
    faults::{holder, start_all, until},
};

/// The resources around grants that the controllers watch.
pub const WATCHED: [&str; 8] = [
    "roleactivationrequests",
    "activationdecisions",
    "rolebindings",
    "roleeligibilities",
    "approvalpolicies",
    "namespaces",
    "roles",
    "clusterroles",
];
/// Latest end of a grant while watches are disturbed.
const ON_TIME: SignedDuration = SignedDuration::from_millis(1_500);
/// Latest end of a grant whose binding no replica has observed: the periodic check of its request.
const UNSEEN: SignedDuration = SignedDuration::from_millis(6_500);
/// How soon a delayed event takes effect.
const TOLD: SignedDuration = SignedDuration::from_secs(3);
/// How often watches are interrupted.
const BREAK: Duration = Duration::from_millis(300);

pub async fn inv_01_inv_09_inv_31_watches_duplicate_reorder_break_off_delay_or_lose_events(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "watches").await?;
    let mut calls = Calls::from_now(&scene)?;
    for (name, disorder) in [("twice", Disorder::Twice), ("swapped", Disorder::Swapped)] {
        let disturbed = disturb(&scene, disorder)?;
        Box::pin(everything(&scene, &mut calls, name)).await?;
        let met = disturbed.iter().map(Disturbed::met).sum::<usize>();
        ensure!(met > 20, "only {met} events were {name}");
    }
    let breaking = async {
        loop {
            tokio::time::sleep(BREAK).await;
            let Ok(proxy) = scene.fixture.proxy() else { return };
            for resource in WATCHED {
                proxy.cut(resource);
            }
        }
    };
    tokio::select! {
        outcome = Box::pin(everything(&scene, &mut calls, "cut")) => outcome?,
        () = breaking => {}
    }
    late(&scene).await?;
    deactivated_during_the_grant(&scene).await?;
    unseen(&scene, &mut calls, "late", Disorder::Late).await?;
    unseen(&scene, &mut calls, "lost", Disorder::Lost).await
}

fn disturb(scene: &Scene, disorder: Disorder) -> Result<Vec<Disturbed>, Error> {
    let proxy = scene.fixture.proxy()?;
    Ok(WATCHED.iter().map(|resource| proxy.disturb(None, resource, disorder)).collect())
}

/// All transitions of grants at the same time: each must have its usual result.
async fn everything(scene: &Scene, calls: &mut Calls, name: &str) -> Outcome {
    let named = |what: &str| format!("{name}-{what}");
    let all = ["expires", "back", "revoked", "suspended", "removed"].map(named);
    scene.offers(&all.each_ref().map(String::as_str), &automatic(), &eligibility("edit")).await?;
    let approved = named("approved");
    scene.offers(&[approved.as_str()], &approved_by("leads", 1), &eligibility("edit")).await?;
    let [expires, back, revoked, suspended, removed] = &all;
    let ends = async |request: &str, way: Way| {
        bring(scene, way, request, "6s").await?;
        scene.until_granted(request).await?;
        scene.ends_as(request, "Expired", &["Expired"], SOON).await
    };
    let decided = async |request: &str, who: &str, verb: &str, state: &str| {
        let granted = scene.granted("dev", request, "10m").await?;
        scene.write(who, "adec", &scene.decision(request, verb, None)).await?;
        scene.ends_as(request, state, &[], SOON).await?;
        scene.until_gone(&granted.binding, SOON).await
    };
    let withdrawn = async {
        let granted = scene.granted("dev", suspended, "10m").await?;
        suspend(scene, suspended).await?;
        scene.ends_as(suspended, "Revoked", &["EligibilitySuspended"], SOON).await?;
        scene.until_gone(&granted.binding, SOON).await
    };
    let taken = async {
        let granted = scene.granted("dev", removed, "10m").await?;
        scene.kubectl(ADMIN, &["delete", "rolebinding", &granted.binding, "-n", &scene.name]).await?.ok()?;
        scene.ends_as(removed, "Revoked", &["BindingRemoved"], SOON).await
    };
    futures::try_join!(
        ends(expires, Way::Automatic),
        ends(&approved, Way::Approved),
        decided(back, "dev", "Deactivate", "Deactivated"),
        decided(revoked, "security", "Revoke", "Revoked"),
        withdrawn,
        taken,
    )?;
    for request in all.iter().chain([&approved]) {
        let stored = scene.get("rar", request).await?.unwrap_or_default();
        let binding = format!("jit-{}", stored["metadata"]["uid"].as_str().unwrap_or_default());
        let made = calls.so_far(|e| e.verb == "create" && e.code() == 201 && crate::audit::is(e, "rolebindings", &binding))?.len();
        ensure!(made <= 1, "the binding of {request} was made {made} times");
        if stored["status"]["state"] == "Expired" {
            let deadline = crate::grant_helpers::time(&stored["status"]["expiresAt"])?;
            calls.ended_on_time(&binding, deadline, ON_TIME, &format!("grant ended after its deadline, watches {name}")).await?;
        }
    }
    ensure!(scene.bindings().await?.is_empty(), "bindings are left: {:?}", scene.bindings().await?);
    Ok(())
}

/// How soon a request is decided that is created while the watches deliver nothing.
const FOUND_OUT: SignedDuration = SignedDuration::from_secs(12);

pub async fn f41_watches_ahead_of_the_store_are_detected_and_restarted(env: Arc<Env>) -> Outcome {
    const AHEAD: [(&str, &str); 2] = [("roleactivationrequests", "requests"), ("activationdecisions", "decisions")];
    let (scene, _permit) = proxied(&env, "ahead").await?;
    scene.offers(&["before", "after", "later"], &automatic(), &eligibility("view")).await?;
    let proxy = scene.fixture.proxy()?;
    // As if another server had answered for some time: it has its own resource versions, and then it disappears.
    let ahead: Vec<Disturbed> = AHEAD.iter().map(|(resource, _)| proxy.disturb(None, resource, Disorder::Ahead)).collect();
    scene.granted("dev", "before", "10m").await?;
    scene.write("dev", "adec", &scene.decision("before", "Deactivate", None)).await?;
    wait_for("events of both kinds", SOON, async || ahead.iter().all(|disturbed| disturbed.met() > 1).then_some(())).await?;
    drop(ahead);
    for (resource, _) in AHEAD {
        proxy.cut(resource);
    }
    for (request, what) in [("after", "request decided after its watch continued ahead of the store"), ("later", "and the next one")] {
        let asked = Timestamp::now();
        scene.granted("dev", request, "10m").await?;
        let took = Timestamp::now().duration_since(asked);
        measured(what, took);
        ensure!(took < FOUND_OUT, "{request} was decided after {} ms", took.as_millis());
    }
    // Decisions are delivered again, too.
    scene.write("dev", "adec", &scene.decision("later", "Deactivate", None)).await?;
    scene.ends_as("later", "Deactivated", &[], SOON).await?;
    for controller in scene.fixture.operator.controllers() {
        for (_, watch) in AHEAD {
            let series = format!("jitrbac_watch_restarts_total{{watch=\"{watch}\"}}");
            let restarts = async || controller.metric(&series).await.ok().filter(|count| *count >= 1.0);
            wait_for(&format!("{} to count {watch}", controller.name()), SOON, restarts).await?;
        }
        controller.wait_until_ready(SOON).await?;
    }
    Ok(())
}

async fn suspend(scene: &Scene, suffix: &str) -> Outcome {
    let suspended = json!({"spec": {"suspended": true}}).to_string();
    scene.kubectl(ADMIN, &["patch", "roleeligibility", &scene.offered(suffix), "--type=merge", "-p", &suspended]).await?.ok()?;
    Ok(())
}

/// A delayed event takes effect when it is delivered.
async fn late(scene: &Scene) -> Outcome {
    scene.offers(&["late-suspended", "late-back", "late-asked"], &automatic(), &eligibility("edit")).await?;
    let suspended = scene.granted("dev", "late-suspended", "10m").await?;
    let back = scene.granted("dev", "late-back", "10m").await?;
    let disturbed = disturb(scene, Disorder::Late)?;
    suspend(scene, "late-suspended").await?;
    scene.write("dev", "adec", &scene.decision("late-back", "Deactivate", None)).await?;
    scene.ask("dev", "late-asked", "10m").await?;
    until(Timestamp::now() + SignedDuration::from_secs(2)).await?;
    ensure!(scene.status("late-asked").await?["state"].is_null(), "an event about a new request");
    drop(disturbed);
    let told = Timestamp::now();
    for granted in [&suspended, &back] {
        let gone = scene.until_gone(&granted.binding, SOON).await?;
        measured("grant revoked after the delayed event of its cause", gone.duration_since(told));
        ensure!(gone.duration_since(told) < TOLD, "it took {} ms", gone.duration_since(told).as_millis());
    }
    scene.ends_as("late-suspended", "Revoked", &["EligibilitySuspended"], SOON).await?;
    scene.ends_as("late-back", "Deactivated", &[], SOON).await?;
    let granted = scene.running("late-asked").await?;
    scene.write("dev", "adec", &scene.decision("late-asked", "Deactivate", None)).await?;
    scene.until_gone(&granted.binding, SOON).await?;
    Ok(())
}

/// The requester deactivates a grant while it is being created, and no watch delivers the decision: the list right after the grant finds it
/// (invariant 8). The other replica, which would observe it half a second later, is down.
async fn deactivated_during_the_grant(scene: &Scene) -> Outcome {
    let leads = holder(&scene.fixture).await?;
    for (number, controller) in scene.fixture.operator.controllers().iter().enumerate() {
        if number != leads {
            controller.kill();
        }
    }
    scene.offers(&["beside"], &automatic(), &eligibility("edit")).await?;
    let proxy = scene.fixture.proxy()?;
    let lost = proxy.disturb(None, "activationdecisions", Disorder::Lost);
    let held = proxy.place(Rule::on("create", "rolebindings", Fault::Hold).about("beside"));
    scene.ask("dev", "beside", "10m").await?;
    held.until_hit(SOON).await?;
    scene.write("dev", "adec", &scene.decision("beside", "Deactivate", None)).await?;
    drop(held);
    scene.ends_as("beside", "Deactivated", &[], SOON).await?;
    ensure!(lost.met() > 0, "a watch reported the decision");
    start_all(&scene.fixture).await?;
    ensure!(scene.bindings().await?.is_empty(), "bindings are left: {:?}", scene.bindings().await?);
    Ok(())
}

/// No replica observes the binding; its request is known, and has the deadline.
async fn unseen(scene: &Scene, calls: &mut Calls, name: &str, disorder: Disorder) -> Outcome {
    let request = format!("unseen-{name}");
    scene.offers(&[request.as_str()], &automatic(), &eligibility("edit")).await?;
    let disturbed = scene.fixture.proxy()?.disturb(None, "rolebindings", disorder);
    let granted = scene.granted("dev", &request, "4s").await?;
    scene.ends_as(&request, "Expired", &["Expired"], SOON).await?;
    ensure!(disturbed.met() > 0, "nothing was {name}");
    let what = format!("grant ended after its deadline, no replica observed its binding ({name})");
    calls.ended_on_time(&granted.binding, granted.deadline, UNSEEN, &what).await
}
