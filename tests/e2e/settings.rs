//! The settings of administrators, one test per setting: what each denies, what it allows, and what users see.

mod chart_values;
mod eligibility_rules;
mod emergency;
mod extensions;
mod limits;
mod open_watches;
mod requirements;
mod role_changes;
mod scheduled_start;
mod windows;

use std::time::Duration;

use control_plane::wait_for_ok;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    env::{Error, Outcome, SOON, Scene, TestCase},
    grant_helpers::{stamp, time},
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    [
        chart_values::test_cases(),
        eligibility_rules::test_cases(),
        emergency::test_cases(),
        extensions::test_cases(),
        windows::test_cases(),
        limits::test_cases(),
        requirements::test_cases(),
        role_changes::test_cases(),
        scheduled_start::test_cases(),
        open_watches::test_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns `what` with these fields of its spec, where most changes of requests are.
fn with(mut what: Value, fields: &Value) -> Value {
    for (key, value) in fields.as_object().into_iter().flatten() {
        what["spec"][key] = value.clone();
    }
    what
}

/// A policy with further settings.
fn set(mut policy: Value, settings: &Value) -> Value {
    for (key, value) in settings.as_object().into_iter().flatten() {
        policy[key] = value.clone();
    }
    policy
}

/// An instant in the future, in whole seconds, as a request contains it.
fn ahead(seconds: i64) -> String {
    stamp(Timestamp::now() + SignedDuration::from_secs(seconds))
}

/// Creates a request as a user, and waits until it is in this state.
async fn comes_to(scene: &Scene, user: &str, request: &Value, state: &str) -> Result<Value, Error> {
    scene.create(user, request).await?.ok()?;
    scene.until_state(request["metadata"]["name"].as_str().unwrap_or_default(), state, SOON).await
}

/// Creates a request as a user, with retries until admission allows it.
async fn let_in(scene: &Scene, user: &str, request: &Value, limit: Duration) -> Outcome {
    let looked = wait_for_ok("a request to be admitted", limit, async || match scene.create(user, request).await {
        Ok(said) if said.status.success() => Ok(()),
        Ok(said) => Err(said.stderr),
        Err(error) => Err(error.to_string()),
    });
    Ok(looked.await?)
}

/// Withdraws a request, or deactivates a grant, as its requester, and waits until it is completed.
async fn withdraw(scene: &Scene, user: &str, request: &str) -> Outcome {
    scene.create(user, &scene.decision(request, "Deactivate", None)).await?.ok()?;
    scene.until_completed(request, SOON).await.map(drop)
}

/// Returns start and end of a grant from its status.
fn term(status: &Value) -> Result<(Timestamp, Timestamp), Error> {
    // For an extension it is the end of the extended request, from which its duration counts.
    let from = if status["extendsFrom"].is_null() { &status["grantedAt"] } else { &status["extendsFrom"] };
    Ok((time(from)?, time(&status["expiresAt"])?))
}

/// Returns whether a request was granted before it ended.
fn granted_before_its_end(status: &Value) -> Result<bool, Error> {
    Ok(time(&status["grantedAt"])? <= time(&status["endedAt"])?)
}

/// Merges settings into the policy of an offer, as the admin.
async fn edit(scene: &Scene, kind: &str, offer: &str, spec: &Value) -> Outcome {
    let patch = json!({ "spec": spec }).to_string();
    scene.kubectl(control_plane::ADMIN, &["patch", kind, offer, "--type=merge", "-p", &patch]).await?.ok()?;
    Ok(())
}

/// Further eligibilities under the policy of an offer, each with a suffix to its name.
async fn under(scene: &Scene, offer: &str, specs: &[(&str, Value)]) -> Result<Vec<String>, Error> {
    let mut objects = Vec::new();
    let mut names = Vec::new();
    for (suffix, spec) in specs {
        let name = format!("{offer}-{suffix}");
        let mut spec = spec.clone();
        spec["policyRef"] = json!({"name": offer});
        if spec["namespaces"].is_null() {
            spec["namespaces"] = json!({"names": [scene.name]});
        }
        objects.push(json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name}, "spec": spec}));
        names.push(name);
    }
    scene.admin(&objects).await?;
    Ok(names)
}
