//! Each guard is deleted or weakened and restored while the operator runs (T41, invariant 21).

use std::{sync::Arc, time::Duration};

use control_plane::ADMIN;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Guard, stamped, until_proven, until_verified};
use crate::{
    audit::{Calls, measured},
    cluster_fixture::Setting,
    ensure,
    env::{Env, Outcome, SOON, automatic, eligibility},
    faults::{alone, until},
    grant_helpers::text,
};

/// How soon after a guard's weakening a request reports it.
const NOTICED: Duration = Duration::from_secs(5);
/// Latest end of a grant after its deadline.
const LATEST: SignedDuration = SignedDuration::from_millis(1_000);

/// A guard and its change; without a change it is deleted.
struct Case {
    kind: &'static str,
    name: String,
    patch: Option<Value>,
}

fn case(kind: &'static str, name: &str, patch: Option<Value>) -> Case {
    Case { kind, name: name.to_owned(), patch }
}

fn replace(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

pub async fn t41_inv_21_weakened_policy_or_webhook_configuration_stops_only_new_grants(env: Arc<Env>) -> Outcome {
    let policy = |name: &str, patch| case("validatingadmissionpolicy", &format!("jit-rbac-{name}"), patch);
    // The first rule is the probe's, which stays: only the content of the policy reveals the change.
    let second = || Some(replace("/spec/validations/1/expression", &json!("true")));
    let never = || Some(replace("/spec/matchConditions", &json!([{"name": "never", "expression": "false"}])));
    let cases = vec![
        policy("requests", None),
        policy("decisions", second()),
        policy("eligibilities", None),
        policy("approval-policies", second()),
        policy("status", never()),
        policy("bindings", second()),
        policy("guards", None),
        policy("namespaces", second()),
        case("mutatingwebhookconfiguration", "jit-rbac", None),
        case("validatingwebhookconfiguration", "jit-rbac", Some(replace("/webhooks/0/failurePolicy", &json!("Ignore")))),
    ];
    weaken_each(&env, "policies", cases).await
}

pub async fn t41_inv_21_weakened_policy_binding_or_schema_stops_only_new_grants(env: Arc<Env>) -> Outcome {
    let binding = |name: &str, patch| case("validatingadmissionpolicybinding", &format!("jit-rbac-{name}"), patch);
    let warns = || Some(replace("/spec/validationActions", &json!(["Warn"])));
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let open = || Some(replace(&format!("{schema}/x-kubernetes-validations"), &json!([{"rule": "true"}])));
    let crd = |plural: &str| case("customresourcedefinition", &format!("{plural}.jitrbac.dev"), open());
    let cases = vec![
        binding("requests", None),
        binding("decisions", warns()),
        binding("eligibilities", None),
        binding("approval-policies", warns()),
        binding("status", None),
        binding("bindings", warns()),
        binding("guards", None),
        binding("namespaces", warns()),
        crd("roleeligibilities"),
        crd("approvalpolicies"),
        crd("roleactivationrequests"),
        crd("activationdecisions"),
    ];
    weaken_each(&env, "schemas", cases).await
}

/// The `APIService` of the product's kinds, and one that lets another server answer for them.
const SERVED_BY: &str = "v1alpha1.jitrbac.dev";

pub async fn t57_f50_remote_api_service_stops_new_grants(env: Arc<Env>) -> Outcome {
    // The operator does not watch the policy that denies this, so that only the APIService reveals it.
    let (fixture, _permit) = env.fixture_with(Setting { unwatched: &["jit-rbac-guards"], ..Setting::default() }).await?;
    let scene = env.scene_on(&fixture, "served").await?;
    scene.offers(&["lasts", "ends", "after"], &automatic(), &eligibility("view")).await?;
    until_verified(&fixture).await?;
    let mut calls = Calls::from_now(&scene)?;
    let lasts = scene.granted("dev", "lasts", "30m").await?;
    // Without this label the API server no longer restores its own object.
    let elsewhere = json!({
        "metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": null}},
        "spec": {"service": {"namespace": scene.name, "name": "elsewhere", "port": 443}},
    })
    .to_string();
    let point = ["patch", "apiservice", SERVED_BY, "--type=merge", "-p", &elsewhere];
    let said = fixture.cluster().run(ADMIN, &point).await?;
    ensure!(!said.status.success() && said.stderr.contains("must be served by the API server itself"), "it says: {}", said.stderr);
    // Any other change is removed, and grants wait for a proof.
    let labelled = Timestamp::now();
    fixture.cluster().run(ADMIN, &["label", "apiservice", SERVED_BY, "a=b"]).await?.ok()?;
    until_proven(&fixture, labelled).await?;

    let ends = scene.granted("dev", "ends", "20s").await?;
    fixture.cluster().run(ADMIN, &["delete", "validatingadmissionpolicybinding", "jit-rbac-guards"]).await?.ok()?;
    control_plane::wait_for_ok("the APIService to name a Service", SOON, async || {
        let said = fixture.cluster().run(ADMIN, &point).await.map_err(|error| error.to_string())?;
        if said.status.success() { Ok(()) } else { Err(said.stderr) }
    })
    .await?;
    let weak = Timestamp::now();
    let what = format!("apiservice {SERVED_BY} lets the service '{}/elsewhere' serve the kinds", scene.name);
    control_plane::wait_for_ok("the operator to notice", NOTICED, async || {
        let logs = fixture.operator.controllers().iter().filter_map(|c| c.log_of_this_start().ok()).collect::<String>();
        let said = logs.lines().rfind(|line| line.contains("new grants are on hold")).unwrap_or_default().to_lowercase();
        if said.contains(&what) { Ok(()) } else { Err(format!("it last said: {said}")) }
    })
    .await?;
    measured("new grants stopped after another server was configured", Timestamp::now().duration_since(weak));
    until(ends.deadline).await?;
    calls.ended_on_time(&ends.binding, ends.deadline, LATEST, "grant ended after its deadline, another server was configured").await?;

    // The admin deletes it, as the message recommends, and the API server creates it again.
    let held = Timestamp::now();
    fixture.cluster().run(ADMIN, &["delete", "apiservice", SERVED_BY]).await?.ok()?;
    until_proven(&fixture, held).await?;
    let served = async || scene.granted("dev", "after", "10m").await.map_err(|error| error.to_string());
    control_plane::wait_for_ok("a grant", SOON, served).await?;
    measured("new grants continued after the API server answered again", Timestamp::now().duration_since(held));
    ensure!(scene.get("rolebinding", &lasts.binding).await?.is_some(), "its binding no longer exists");
    Ok(())
}

async fn weaken_each(env: &Env, name: &str, cases: Vec<Case>) -> Outcome {
    let (scene, _permit) = alone(env, name).await?;
    let fixture = &scene.fixture;
    let (mut meanwhile, mut after) = (Vec::new(), Vec::new());
    for number in 0..cases.len() {
        meanwhile.push(format!("meanwhile-{number}"));
        after.push(format!("after-{number}"));
    }
    let suffixes: Vec<&str> = meanwhile.iter().chain(&after).map(String::as_str).chain(["lasts"]).collect();
    scene.offers(&suffixes, &automatic(), &eligibility("view")).await?;
    let lasts = scene.granted("dev", "lasts", "30m").await?;
    // Objects that were written after the last proof before a gap would have to be written again.
    until_verified(fixture).await?;
    let mut calls = Calls::from_now(&scene)?;
    let mut ends = Vec::new();
    for ((case, meanwhile), after) in cases.iter().zip(&meanwhile).zip(&after) {
        let what = format!("{} {}", case.kind, case.name);
        let guard = Guard::save(fixture, case.kind, &case.name).await?;
        match &case.patch {
            None => guard.delete(fixture).await?,
            Some(patch) => guard.change(fixture, patch).await?,
        }
        let weak = Timestamp::now();
        // Requests of the first moments may still be granted, so this request is made after the change was noticed.
        control_plane::wait_for_ok("the operator to notice", NOTICED, async || {
            let logs = fixture.operator.controllers().iter().filter_map(|c| c.log_of_this_start().ok()).collect::<String>();
            let said = logs.lines().rfind(|line| line.contains("new grants are on hold")).unwrap_or_default().to_owned();
            let named = said.to_lowercase().contains(&what);
            if named { Ok(()) } else { Err(format!("it last said: {said}")) }
        })
        .await
        .map_err(|error| format!("{what}: {error}"))?;
        measured(format!("new grants stopped after {what} was weakened"), Timestamp::now().duration_since(weak));
        scene.write("dev", "rar", &stamped(&scene, meanwhile, meanwhile, "10m")).await?;
        let status = scene.until_state(meanwhile, "Pending", SOON).await?;
        ensure!(status["reason"] == "GuardsNotVerified", "{what}: it waits for {}", status["reason"]);
        let said = text(&status["conditions"][0]["message"]);
        ensure!(said.to_lowercase().contains(&what), "{what}: it does not say which guard: {said}");
        let held = Timestamp::now();
        guard.restore(fixture).await?;
        until_proven(fixture, held).await.map_err(|error| format!("{what}: {error}"))?;
        measured(format!("new grants continued after {what} was restored"), Timestamp::now().duration_since(held));
        scene.ends_as(meanwhile, "Denied", &["WrittenUnguarded"], SOON).await?;
        ends.push(scene.granted("dev", after, "6s").await.map_err(|error| format!("{what}: {error}"))?);
    }
    for granted in &ends {
        scene.ends_as(&granted.request, "Expired", &["Expired"], SOON).await?;
        calls.ended_on_time(&granted.binding, granted.deadline, LATEST, "grant ended after its deadline, a guard was weak").await?;
    }
    let status = scene.status("lasts").await?;
    ensure!(status["state"] == "Active", "an active grant ended as {} ({})", status["state"], status["reason"]);
    ensure!(scene.get("rolebinding", &lasts.binding).await?.is_some(), "its binding no longer exists");
    let made = calls.bindings_made(&scene.name)?;
    ensure!(made.len() == ends.len(), "{} bindings were made for {} grants", made.len(), ends.len());
    Ok(())
}
