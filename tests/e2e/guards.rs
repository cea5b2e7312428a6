//! The admission guards are weakened, one by one or all at once, while the operator runs and while it does not.

mod changed_while_down;
mod weakened_guards;

use std::{sync::Arc, time::Duration};

use control_plane::{ADMIN, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{ClusterFixture, Env, Error, Outcome, Scene, TestCase, automatic, eligibility},
    faults::{alone, kill_all, start_all},
    grant_helpers::time,
    test_cases,
};
use changed_while_down::*;
use weakened_guards::*;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t41_inv_21_weakened_policy_or_webhook_configuration_stops_only_new_grants,
        t41_inv_21_weakened_policy_binding_or_schema_stops_only_new_grants,
        t57_f50_remote_api_service_stops_new_grants,
        t42_t55_inv_14_objects_written_without_guards_are_never_granted,
        f68_controllers_are_ready_after_the_guards_are_proven,
    ]
}

/// `helm install --wait` returns when every pod is ready: then the holder of the Lease has proven the guards.
async fn f68_controllers_are_ready_after_the_guards_are_proven(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "ready").await?;
    let fixture = &scene.fixture;
    // After a kill, the Lease still names a holder that does not run.
    kill_all(fixture);
    start_all(fixture).await?;
    let mut proven = 0.0;
    for controller in fixture.operator.controllers() {
        proven += controller.metric("jitrbac_guard_proven{guard=\"ValidatingAdmissionPolicy jit-rbac-requests\"}").await?;
    }
    ensure!(proven > 0.0, "all are ready, and none has proven the guards");
    scene.offers(&["first"], &automatic(), &eligibility("view")).await?;
    scene.granted("dev", "first", "10m").await?;

    // A guard that is weakened later makes no replica unready: an upgrade must be possible.
    let guard = Guard::save(fixture, "validatingadmissionpolicybinding", "jit-rbac-status").await?;
    guard.delete(fixture).await?;
    wait_for_ok("grants to be held back", PROVEN, async || {
        if record(fixture).await?["since"].is_null() { Ok(()) } else { Err("they are not".to_owned()) }
    })
    .await?;
    for controller in fixture.operator.controllers() {
        ensure!(controller.ready().await.is_ok(), "{} is not ready any more: {:?}", controller.name(), controller.ready().await);
    }
    guard.restore(fixture).await
}

/// How long the operator may take to prove restored guards.
const PROVEN: Duration = Duration::from_secs(20);

/// A guard, as it was stored before any change.
pub struct Guard {
    kind: &'static str,
    name: String,
    saved: Value,
}

impl Guard {
    /// Reads it.
    pub async fn save(fixture: &ClusterFixture, kind: &'static str, name: &str) -> Result<Self, Error> {
        let text = fixture.cluster().run(ADMIN, &["get", kind, name, "-o", "json"]).await?.ok()?;
        let mut saved: Value = serde_json::from_str(&text)?;
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            saved["metadata"].as_object_mut().ok_or("it has metadata")?.remove(field);
        }
        Ok(Self { kind, name: name.to_owned(), saved })
    }

    pub async fn delete(&self, fixture: &ClusterFixture) -> Outcome {
        fixture.cluster().run(ADMIN, &["delete", self.kind, &self.name]).await?.ok()?;
        Ok(())
    }

    /// Applies a JSON patch to it.
    pub async fn change(&self, fixture: &ClusterFixture, patch: &Value) -> Outcome {
        let patch = json!([patch]).to_string();
        fixture.cluster().run(ADMIN, &["patch", self.kind, &self.name, "--type=json", "-p", &patch]).await?.ok()?;
        Ok(())
    }

    /// Restores it, whether it exists or not.
    pub async fn restore(&self, fixture: &ClusterFixture) -> Outcome {
        let there = fixture.cluster().run(ADMIN, &["get", self.kind, &self.name, "--ignore-not-found", "-o", "name"]).await?.ok()?;
        let verb = if there.trim().is_empty() { "create" } else { "replace" };
        fixture.cluster().run_with(ADMIN, &[verb, "-f", "-"], &self.saved.to_string()).await?.ok()?;
        Ok(())
    }
}

/// A request with a correct stamp of dev's own, so that it is accepted also where no webhook stamps.
pub fn stamped(scene: &Scene, name: &str, offer: &str, duration: &str) -> Value {
    let mut request = scene.request(name, &scene.offered(offer), duration);
    request["spec"]["requester"] = json!({"username": "dev", "uid": "u-dev", "groups": ["devs"]});
    request
}

/// Returns the record of the guards in the Lease.
async fn record(fixture: &ClusterFixture) -> Result<Value, String> {
    let args = ["get", "lease", "jit-rbac-controller", "-n", "jit-system", "-o", r"jsonpath={.metadata.annotations.jitrbac\.dev/guards}"];
    let said = fixture.cluster().run(ADMIN, &args).await.and_then(control_plane::Said::ok).map_err(|error| error.to_string())?;
    serde_json::from_str(&said).map_err(|error| error.to_string())
}

/// Waits until a span of proven time that began after `moment` is open.
pub async fn until_proven(fixture: &ClusterFixture, moment: Timestamp) -> Outcome {
    let proven = wait_for_ok("the guards to be proven again", PROVEN, async || {
        let record = record(fixture).await?;
        match time(&record["since"]) {
            Ok(since) if since > moment && Timestamp::now() > since => Ok(()),
            _ => Err(format!("the record is {record}")),
        }
    });
    Ok(proven.await?)
}

/// Waits until a proof has followed all writes so far.
pub async fn until_verified(fixture: &ClusterFixture) -> Outcome {
    // The time of a proof is in whole seconds, and its caches may be slightly behind.
    let moment = Timestamp::now() + SignedDuration::from_secs(2);
    let verified = wait_for_ok("the guards to be verified", PROVEN, async || {
        let record = record(fixture).await?;
        match time(&record["verified"]) {
            Ok(verified) if verified > moment => Ok(()),
            _ => Err(format!("the record is {record}")),
        }
    });
    Ok(verified.await?)
}
