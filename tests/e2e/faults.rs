//! Faults around a grant: processes of the operator, its webhook, the API server, etcd.

mod apiserver_down;
pub mod clock_skew;
mod etcd_restored;
mod guard_record_lost;
mod kill_at_each_step;
mod kill_at_random;
mod many_expirations;
mod memory_limits;
pub mod process_lifetimes;
mod webhook_bad_certificate;
mod webhook_down;

use std::{collections::BTreeMap, ffi::OsStr, path::Path, process::Stdio, time::Duration};

use control_plane::{ADMIN, Process, wait_for};
use jiff::{SignedDuration, Timestamp};
use tokio::process::Command;

use crate::{
    audit::Calls,
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, SOON, Scene, TestCase},
    grant_helpers::{text, time},
    test_cases,
};
use apiserver_down::*;
use clock_skew::*;
use etcd_restored::*;
use guard_record_lost::*;
use kill_at_each_step::*;
use kill_at_random::*;
use many_expirations::*;
use memory_limits::*;
use webhook_bad_certificate::*;
use webhook_down::*;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t44_webhook_is_down_and_grants_still_end,
        api_server_is_down_during_a_grant_and_at_startup,
        t33_inv_24_grants_end_within_1500_ms_while_the_lease_holder_is_killed,
        t33_inv_24_grants_of_one_second_end_within_1500_ms_while_the_lease_holder_is_killed,
        t36_inv_17_inv_31_etcd_is_killed_and_restored_from_an_old_copy,
        t42_inv_14_lost_guard_record_lets_no_older_object_lead_to_a_grant,
        f18_webhook_reads_the_data_of_a_restored_etcd,
        f48_f73_grants_end_on_time_within_memory_limits_under_a_flood_of_objects,
        t44_inv_14_webhook_is_slow_or_has_a_wrong_or_expired_certificate,
        t35_inv_24_a_replica_whose_clock_is_ten_minutes_ahead,
        t35_inv_24_a_replica_whose_clock_is_ten_minutes_behind,
        // Last: they wait until no other test has a control plane.
        t33_t34_kill_9_at_every_step_of_a_grant,
        t34_kill_9_at_random_moments,
    ]
}

/// Starts all controllers again and waits until they are ready.
pub async fn start_all(fixture: &ClusterFixture) -> Outcome {
    for controller in fixture.operator.controllers() {
        controller.start()?;
    }
    for controller in fixture.operator.controllers() {
        controller.wait_until_ready(Duration::from_secs(20)).await?;
    }
    Ok(())
}

/// Kills all controllers.
pub fn kill_all(fixture: &ClusterFixture) {
    fixture.operator.controllers().iter().for_each(|controller| controller.kill());
}

/// Returns the number of the controller that holds the Lease.
pub async fn holder(fixture: &ClusterFixture) -> Result<usize, Error> {
    let number = async || in_the_lease(fixture).await.ok()?.strip_prefix("controller-")?.parse().ok();
    Ok(wait_for("a replica to hold the Lease", SOON, number).await?)
}

/// Returns the holder's name in the Lease.
pub async fn in_the_lease(fixture: &ClusterFixture) -> Result<String, Error> {
    let args = ["get", "lease", "jit-rbac-controller", "-n", "jit-system", "-o", "jsonpath={.spec.holderIdentity}"];
    Ok(fixture.cluster().run(ADMIN, &args).await?.ok()?.trim().to_owned())
}

/// Kills servers of the control plane in this order, runs `meanwhile`, and starts them in the reverse order; returns when all serve again.
pub async fn without(fixture: &ClusterFixture, servers: &[&Process], meanwhile: impl AsyncFnOnce() -> Outcome) -> Result<Timestamp, Error> {
    let from = Timestamp::now();
    for server in servers {
        server.kill();
    }
    meanwhile().await?;
    for server in servers.iter().rev() {
        server.start()?;
    }
    fixture.plane.wait_until_ready().await?;
    let back = Timestamp::now();
    fixture.inspector.apiserver_was_away(from, back + SignedDuration::from_secs(2));
    Ok(back)
}

/// A process of the operator that a user starts by hand, as the identity of this kubeconfig. Dropping it kills it. Its output is written to
/// `log`.
pub fn by_hand(fixture: &ClusterFixture, program: impl AsRef<OsStr>, kubeconfig: &Path, log: &Path) -> Result<Command, Error> {
    let file = std::fs::File::create(log)?;
    let mut command = Command::new(program);
    command
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", fixture.cluster().directory())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .kill_on_drop(true);
    Ok(command)
}

/// Verifies the final state of a scene, whatever happened before: every request is completed, no binding is left, none was created twice,
/// and none had another end than that of the stored times.
pub async fn verify_final_state(
    scene: &Scene,
    calls: &mut Calls,
    latest: SignedDuration,
) -> Result<BTreeMap<String, SignedDuration>, Error> {
    verify_final_state_with(scene, calls, |_| latest).await
}

/// The same where the allowed delay of a grant's end depends on its deadline.
pub async fn verify_final_state_with(
    scene: &Scene,
    calls: &mut Calls,
    latest: impl Fn(Timestamp) -> SignedDuration,
) -> Result<BTreeMap<String, SignedDuration>, Error> {
    let requests = scene.until_all_completed(Duration::from_mins(1)).await?;
    ensure!(scene.bindings().await?.is_empty(), "bindings are left: {:?}", scene.bindings().await?);
    let mut late = BTreeMap::new();
    for request in requests {
        let name = text(&request["metadata"]["name"]);
        ensure!(request["status"]["state"] != "Failed", "{name} failed: {}", request["status"]);
        let binding = format!("jit-{}", text(&request["metadata"]["uid"]));
        let made = calls.so_far(|e| e.verb == "create" && e.code() == 201 && crate::audit::is(e, "rolebindings", &binding))?;
        ensure!(made.len() <= 1, "the binding of {name} was made {} times", made.len());
        let Some(made) = made.first() else { continue };
        let status = &request["status"];
        if status["expiresAt"].is_null() {
            // It was active, and its record was lost with a process: then it is reported as too late.
            ensure!(status["reason"] == "DeadlineExceeded", "{name} was granted and not recorded: {status}");
        }
        let deadline = deadline_of(&request)?;
        ensure!(made.request_received_timestamp < deadline, "{name} was granted after its end {deadline}");
        let recorded = if status["expiresAt"].is_null() { deadline } else { time(&status["expiresAt"])? };
        ensure!(recorded == deadline, "{name} ends at {recorded} by its record, and at {deadline} by the stored times");
        let removed = calls.was_removed(&binding).await?;
        let by = removed.duration_since(deadline);
        ensure!(by >= SignedDuration::ZERO, "{name} was ended {} ms before its deadline", -by.as_millis());
        let latest = latest(deadline);
        ensure!(
            by < latest,
            "{name} was ended {} ms after its deadline {deadline}, and may be {} ms late",
            by.as_millis(),
            latest.as_millis()
        );
        late.insert(name, by);
    }
    Ok(late)
}

/// Returns the end of an automatic grant by the stored times: creation and requested duration.
fn deadline_of(request: &serde_json::Value) -> Result<Timestamp, Error> {
    let asked = text(&request["spec"]["duration"]);
    let seconds: i64 = asked.strip_suffix('s').and_then(|n| n.parse().ok()).ok_or_else(|| format!("{asked} is not in seconds"))?;
    let from = match request["status"]["approvals"].as_array().into_iter().flatten().filter_map(|a| time(&a["time"]).ok()).max() {
        Some(approved) => approved,
        None => time(&request["metadata"]["creationTimestamp"])?,
    };
    Ok(from + SignedDuration::from_secs(seconds))
}

/// Waits until a moment has passed.
pub async fn until(moment: Timestamp) -> Outcome {
    let limit = Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default() + SOON;
    Ok(wait_for("a moment to pass", limit, async || (Timestamp::now() > moment).then_some(())).await?)
}

/// A control plane of its own with a scene on it.
pub async fn alone(env: &Env, name: &str) -> Result<(Scene, tokio::sync::OwnedSemaphorePermit), Error> {
    let (fixture, permit) = env.own_fixture(serde_json::Value::Null).await?;
    Ok((env.scene_on(&fixture, name).await?, permit))
}

/// The same while no other test has a control plane of its own.
pub async fn exclusive_scene(env: &Env, name: &str) -> Result<(Scene, tokio::sync::OwnedSemaphorePermit), Error> {
    let (fixture, permit) = env.exclusive_fixture().await?;
    Ok((env.scene_on(&fixture, name).await?, permit))
}
