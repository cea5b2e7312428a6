//! The record of the guards is removed from the Lease (T42, invariant 14).

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{alone, kill_all, start_all};
use crate::{
    audit::Calls,
    ensure,
    env::{Env, Outcome, SOON, Scene, automatic, eligibility},
    guards::until_proven,
};

const ON_TIME: SignedDuration = SignedDuration::from_millis(1_000);
const LEASE: [&str; 4] = ["lease", "jit-rbac-controller", "-n", "jit-system"];

async fn record(scene: &Scene) -> Result<String, String> {
    let args = [&["get"], &LEASE[..], &["-o", r"jsonpath={.metadata.annotations.jitrbac\.dev/guards}"]].concat();
    scene.kubectl(ADMIN, &args).await.map_err(|error| error.to_string())?.ok().map_err(|error| error.to_string())
}

async fn strip(scene: &Scene) -> Outcome {
    scene.kubectl(ADMIN, &[&["annotate"], &LEASE[..], &["jitrbac.dev/guards-"]].concat()).await?.ok()?;
    Ok(())
}

pub async fn t42_inv_14_lost_guard_record_lets_no_older_object_lead_to_a_grant(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "record").await?;
    scene.offers(&["runs", "meanwhile", "again"], &automatic(), &eligibility("edit")).await?;
    let runs = scene.granted("dev", "runs", "45s").await?;
    let mut calls = Calls::from_now(&scene)?;

    // The holder has it in memory.
    strip(&scene).await?;
    wait_for_ok("the holder to write the record again", SOON, async || match record(&scene).await {
        Ok(record) if record.contains("\"since\"") => Ok(()),
        Ok(record) => Err(format!("it is '{record}'")),
        Err(error) => Err(error),
    })
    .await?;
    scene.granted("dev", "meanwhile", "10m").await?;

    // While no replica runs, it is unknown what was written meanwhile.
    kill_all(&scene.fixture);
    strip(&scene).await?;
    let stripped = Timestamp::now();
    start_all(&scene.fixture).await?;
    until_proven(&scene.fixture, stripped).await?;
    scene.ask("dev", "again", "10m").await?;
    let what = "a request under unverified objects to be held back";
    wait_for_ok(what, SOON, async || {
        let status = scene.status("again").await.map_err(|error| error.to_string())?;
        let holds = status["state"] == "Pending" && status["reason"] == "WrittenUnguarded";
        if holds { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    ensure!(scene.get("rolebinding", &runs.binding).await?.is_some(), "an active grant ended because of it");
    // Once written again, both are used.
    for (kind, spec) in [("approvalpolicy", json!({"limits": {"maxDuration": "2h"}})), ("roleeligibility", json!({"maxDuration": "2h"}))] {
        let patch = json!({ "spec": spec }).to_string();
        scene.kubectl(ADMIN, &["patch", kind, &scene.offered("again"), "--type=merge", "-p", &patch]).await?.ok()?;
    }
    scene.running("again").await?;
    scene.ends_as("runs", "Expired", &["Expired"], Duration::from_mins(1)).await?;
    calls
        .ended_on_time(&runs.binding, runs.deadline, ON_TIME, "grant ended after its deadline, the guards' record was lost before it")
        .await
}
