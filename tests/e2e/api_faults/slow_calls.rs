//! Calls that are slow, fail, or are very many: requests do not block each other, failures are reported, and nothing is written twice.

use std::sync::Arc;

use api::instant::whole_seconds;
use control_plane::{AuditEvent, Call, Fault, Refusal, Rule, wait_for};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::call_sequence::{calling, proxied};
use crate::{
    audit::Calls,
    ensure,
    env::{Env, Outcome, SOON, Scene, automatic, eligibility},
    faults::holder,
    grant_helpers::each,
    status_helpers::says,
};

/// Grants that end in the same second.
const MANY: usize = 120;
/// How long a replica waits for the removal of a binding by another replica before it removes it itself.
const QUESTION: SignedDuration = SignedDuration::from_millis(250);
/// Requests of one user, more than the concurrency limit.
const GREEDY: usize = 40;

pub async fn f16_f64_slow_and_failing_calls_block_no_other_request_and_are_reported(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = proxied(&env, "fair").await?;
    written_once(&scene).await?;
    told(&scene).await?;
    fair(&scene).await
}

/// Very many grants end in the same second: one binding, two status writes, one end and one Event each, whichever replica handles it.
async fn written_once(scene: &Scene) -> Outcome {
    let mut calls = Calls::from_now(scene)?;
    let names: Vec<String> = (0..MANY).map(|number| format!("many-{number:03}")).collect();
    scene.offers(&names.iter().map(String::as_str).collect::<Vec<_>>(), &automatic(), &eligibility("view")).await?;
    let deadline = whole_seconds(Timestamp::now()) + SignedDuration::from_secs(40);
    each(&names, |name| async move {
        let left = deadline.duration_since(Timestamp::now()).as_secs().max(5);
        scene.let_in("dev", "rar", &scene.request(name, &scene.offered(name), &format!("{left}s"))).await
    })
    .await?;
    for name in &names {
        scene.ends_as(name, "Expired", &["Expired"], std::time::Duration::from_mins(2)).await?;
    }
    let all: Vec<Call> =
        scene.fixture.proxy()?.calls().into_iter().filter(|call| call.is_write() && call.namespace == scene.name).collect();
    let count = |verb: &str, resource: &str| all.iter().filter(|call| call.verb == verb && call.resource == resource).count();
    let (made, reported) = (count("create", "rolebindings"), count("patch", "roleactivationrequests/status"));
    ensure!((made, reported) == (MANY, 2 * MANY), "{made} were made, {reported} times it was reported");
    let here = |e: &AuditEvent| e.object_ref.as_ref().is_some_and(|object| object.namespace == scene.name);
    let removed = async || {
        let of_bindings = calls.so_far(|e| e.resource() == "rolebindings" && here(e)).ok()?;
        let removed = of_bindings.iter().filter(|e| e.verb == "delete" && e.code() == 200).count();
        (removed >= MANY).then_some((of_bindings, removed))
    };
    let (of_bindings, removed) = wait_for("the deletion of each binding in the audit log", SOON, removed).await?;
    ensure!(removed == MANY, "{removed} of {MANY} were removed by a delete");
    for vain in of_bindings.iter().filter(|e| e.verb == "delete" && e.code() != 200) {
        ensure!(is_helpful(vain, &of_bindings), "a replica deleted it again although it knew of the deletion: {vain:?}");
    }
    let events = async || {
        let recorded = scene.fixture.proxy().ok()?.calls();
        (recorded.iter().filter(|call| call.resource == "events" && call.namespace == scene.name).count() >= MANY).then_some(())
    };
    wait_for("an Event of each grant", SOON, events).await?;
    let events = scene.fixture.proxy()?.calls().iter().filter(|call| call.resource == "events" && call.namespace == scene.name).count();
    ensure!(events == MANY, "there were {events} Events of {MANY} grants");
    Ok(())
}

/// Returns whether a delete of an already deleted object was sent by a replica that could not know: the successful delete was in flight
/// when it read, or its read got no response.
fn is_helpful(vain: &AuditEvent, of_bindings: &[AuditEvent]) -> bool {
    let same = |e: &&AuditEvent| e.object_ref.as_ref().map(|object| &object.name) == vain.object_ref.as_ref().map(|object| &object.name);
    let took_long = |e: &AuditEvent| e.verb == "get" && e.stage_timestamp.duration_since(e.request_received_timestamp) >= QUESTION;
    let came_through = |e: &AuditEvent| {
        e.verb == "delete" && e.code() == 200 && vain.request_received_timestamp.duration_since(e.stage_timestamp) < QUESTION
    };
    of_bindings.iter().filter(same).any(|e| took_long(e) || came_through(e))
}

/// The API server fails to create a binding: its request reports it, once, and is granted when the create succeeds.
async fn told(scene: &Scene) -> Outcome {
    scene.offers(&["failing"], &automatic(), &eligibility("view")).await?;
    let proxy = scene.fixture.proxy()?;
    let failing = proxy.place(Rule::on("create", "rolebindings", Fault::Answer(Refusal::INTERNAL)).about("failing"));
    scene.ask("dev", "failing", "10m").await?;
    let status = scene.until_state("failing", "Pending", SOON).await?;
    let said = says(&status);
    ensure!(status["reason"] == "BindingRefused", "it waits because of {}", status["reason"]);
    ensure!(said.starts_with("the RoleBinding could not be created yet: ") && said.contains("; retrying until 2"), "it says {said}");
    wait_for("more attempts", SOON, async || (failing.hits() >= 5).then_some(())).await?;
    let reports = || proxy.calls().iter().filter(|call| call.resource == "roleactivationrequests/status" && call.name == "failing").count();
    ensure!(reports() == 1, "{} attempts cost {} reports", failing.hits(), reports());
    drop(failing);
    scene.until_state("failing", "Active", SOON).await?;
    Ok(())
}

/// One user's grants are blocked, each for as long as a call may take. The grants of another user still end, and begin.
async fn fair(scene: &Scene) -> Outcome {
    let leads = holder(&scene.fixture).await?;
    for (number, controller) in scene.fixture.operator.controllers().iter().enumerate() {
        if number != leads {
            controller.kill();
        }
    }
    let greedy: Vec<String> = (0..GREEDY).map(|number| format!("greedy-{number:02}")).collect();
    let mut limited = automatic();
    limited["limits"] = json!({"maxActivePerUser": 1000});
    scene.offers(&greedy.iter().map(String::as_str).collect::<Vec<_>>(), &limited, &eligibility("view")).await?;
    scene.offers(&["given-back", "asked"], &automatic(), &eligibility("view")).await?;
    let back = scene.granted("dev-2", "given-back", "10m").await?;
    let caller = calling(&scene.fixture).await?;
    let hanging = scene.fixture.proxy()?.place(Rule::on("create", "rolebindings", Fault::Hold).of(&caller).about("greedy-"));
    each(&greedy, |name| async move { scene.let_in("dev", "rar", &scene.request(name, &scene.offered(name), "30m")).await }).await?;
    hanging.until_hit(SOON).await?;

    scene.write("dev-2", "adec", &scene.decision("given-back", "Deactivate", None)).await?;
    scene.until_gone(&back.binding, SOON).await?;
    scene.granted("dev-2", "asked", "10m").await?;
    drop(hanging);
    for name in &greedy {
        scene.until_state(name, "Active", std::time::Duration::from_mins(2)).await?;
    }
    Ok(())
}
