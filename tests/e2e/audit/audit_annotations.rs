//! The audit annotations of the webhook and the policies, and the operator's counters.

use std::{collections::BTreeMap, sync::Arc};

use control_plane::{ADMIN, AuditEvent, Server, wait_for_ok};
use serde_json::json;

use super::Calls;
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, approved_by, automatic, eligibility},
};

/// Returns the product's audit annotations of a call.
fn notes(event: &AuditEvent) -> BTreeMap<&str, &str> {
    let is_own = |key: &&String| key.contains("jitrbac.dev/") || key.starts_with("jit-rbac-");
    event.annotations.iter().filter(|(key, _)| is_own(key)).map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Returns the audit annotations of the next call of `user` in the scene's namespace on `resource`, and verifies that the response was
/// `code`.
async fn noted(scene: &Scene, calls: &mut Calls, user: &str, resource: &str, code: u16, wanted: &[(&str, &str)]) -> Outcome {
    let what = format!("{user}'s call on {resource}");
    let here = |e: &AuditEvent| e.object_ref.as_ref().is_some_and(|object| object.namespace == scene.name);
    let event = calls.first(&what, |e| e.is_write() && e.user.username == user && e.resource() == resource && here(e)).await?;
    ensure!(event.code() == code, "{what} was answered with {}", event.code());
    let notes = notes(&event);
    ensure!(notes == wanted.iter().copied().collect(), "{what} left {notes:?}, not {wanted:?}");
    *calls = Calls::from_now(scene)?;
    Ok(())
}

pub async fn t47_denial_code_is_in_the_audit_log(env: Arc<Env>) -> Outcome {
    let scene = env.scene("noted").await?;
    scene.offers(&["waits"], &approved_by("leads", 1), &eligibility("view")).await?;

    // The webhook.
    let mut calls = Calls::from_now(&scene)?;
    ensure!(scene.ask("outsider", "waits", "5m").await.is_err(), "an outsider is no subject");
    let webhook = "activations.jitrbac.dev/code";
    noted(&scene, &mut calls, "outsider", "roleactivationrequests", 403, &[(webhook, "NotEligible")]).await?;
    let long = scene.request("long", &scene.offered("waits"), "2h");
    ensure!(scene.write("dev", "rar", &long).await.is_err(), "two hours are too long");
    noted(&scene, &mut calls, "dev", "roleactivationrequests", 403, &[(webhook, "DurationTooLong")]).await?;

    // The admission policies.
    scene.ask("dev", "waits", "5m").await?;
    let status = scene.until_state("waits", "AwaitingApproval", SOON).await?;
    let mut calls = Calls::from_now(&scene)?;
    let own = scene.decision("waits", "Approve", status["digest"].as_str());
    ensure!(scene.write("dev", "adec", &own).await.is_err(), "nobody approves their own request");
    noted(&scene, &mut calls, "dev", "activationdecisions", 403, &[("jit-rbac-decisions/code", "SelfApprovalNotAllowed")]).await?;
    let planted = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "planted", "namespace": scene.name, "labels": {"jitrbac.dev/managed": "true"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
    });
    ensure!(scene.write(ADMIN, "rolebinding", &planted).await.is_err(), "only the operator writes managed bindings");
    noted(&scene, &mut calls, ADMIN, "rolebindings", 403, &[("jit-rbac-bindings/code", "NotTheOperator")]).await?;

    // The annotation names the required permission, also where the user held it.
    scene.kubectl(ADMIN, &["delete", "rar", "waits", "-n", &scene.name]).await?.ok()?;
    noted(&scene, &mut calls, ADMIN, "roleactivationrequests", 200, &[("jit-rbac-requests/needs", "purge")]).await
}

pub async fn t47_uid_and_digest_are_in_the_audit_log(env: Arc<Env>) -> Outcome {
    let scene = env.scene("noted").await?;
    scene.offers(&["asked"], &approved_by("leads", 1), &eligibility("view")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let made = scene.ask("dev", "asked", "5m").await?;
    let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
    let status = scene.until_state("asked", "AwaitingApproval", SOON).await?;
    let digest = status["digest"].as_str().unwrap_or_default();
    ensure!(!uid.is_empty() && !digest.is_empty(), "the request has neither UID nor digest");
    let request = [("activations.jitrbac.dev/request-uid", uid), ("activations.jitrbac.dev/digest", digest)];
    noted(&scene, &mut calls, "dev", "roleactivationrequests", 201, &request).await?;
    scene.approve("lead-1", "asked").await?;
    let decision = [&request[..], &[("activations.jitrbac.dev/decision", "Approve")]].concat();
    noted(&scene, &mut calls, "lead-1", "activationdecisions", 201, &decision).await
}

/// Returns the sum of a metric over processes.
async fn sum(servers: &[Server], series: &str) -> Result<f64, String> {
    let mut sum = 0.0;
    for server in servers {
        sum += server.metric(series).await?;
    }
    Ok(sum)
}

/// Waits until a metric has grown beyond its old value: other tests count on the same control plane.
async fn grown(servers: &[Server], series: &str, before: f64) -> Outcome {
    let what = format!("{series} to grow");
    let looked = wait_for_ok(&what, SOON, async || match sum(servers, series).await? {
        now if now > before => Ok(()),
        now => Err(format!("it is {now}")),
    });
    Ok(looked.await?)
}

pub async fn metrics_count_refusals_and_grants(env: Arc<Env>) -> Outcome {
    let scene = env.scene("counted").await?;
    scene.offers(&["now"], &automatic(), &eligibility("view")).await?;
    let operator = &scene.fixture.operator;
    let webhook = std::slice::from_ref(operator.webhook());

    let refusals = r#"jitrbac_admission_refusals_total{kind="RoleActivationRequest",code="NotEligible"}"#;
    let before = sum(webhook, refusals).await?;
    ensure!(scene.ask("outsider", "now", "5m").await.is_err(), "an outsider is no subject");
    let after = sum(webhook, refusals).await?;
    ensure!(after > before, "the refusal was not counted: {after}");

    let controllers = operator.controllers();
    let expired = r#"jitrbac_requests_decided_total{state="Expired",reason="Expired"}"#;
    let mut counts = BTreeMap::new();
    for series in ["jitrbac_grants_total", expired, "jitrbac_revocation_lateness_seconds_count"] {
        counts.insert(series, sum(controllers, series).await?);
    }
    scene.granted("dev", "now", "3s").await?;
    let active = sum(controllers, "jitrbac_active_grants").await?;
    ensure!(active > 0.0, "no replica knows of the grant");
    let mut leaders = 0;
    for controller in controllers {
        leaders += usize::from(controller.metric("jitrbac_leader").await? > 0.0);
    }
    ensure!(leaders == 1, "{leaders} replicas grant");
    scene.ends_as("now", "Expired", &["Expired"], SOON).await?;
    for (series, before) in counts {
        grown(controllers, series, before).await?;
    }
    Ok(())
}
