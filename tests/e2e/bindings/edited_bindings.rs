//! A user edits a managed binding (T27, T56, api rule 10).

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, automatic, eligibility},
    grant_helpers::{Granted, each, stamp},
};

/// How soon an altered binding must be removed. It takes milliseconds on an idle machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A suffix, the patch of the binding, and the allowed reasons of the request.
struct Case {
    suffix: &'static str,
    patch: Value,
    reasons: &'static [&'static str],
}

/// Where another replica, or an end for another reason at the same time, is faster than the holder of the Lease, the holder finds the
/// binding removed.
const ALTERED: &[&str] = &["BindingModified", "BindingRemoved"];

fn case(suffix: &'static str, patch: Value, reasons: &'static [&'static str]) -> Case {
    Case { suffix, patch, reasons }
}

fn annotation(key: &str, value: &Value) -> Value {
    json!({"metadata": {"annotations": {(format!("jitrbac.dev/{key}")): value}}})
}

/// Grants all cases, alters each binding, and verifies that it is removed and the request has the reason.
async fn alter(scene: &Scene, cases: &[Case]) -> Outcome {
    let suffixes: Vec<_> = cases.iter().map(|case| case.suffix).collect();
    scene.offers(&suffixes, &automatic(), &eligibility("edit")).await?;
    let granted: Vec<Granted> = each(cases, |case| scene.granted("dev", case.suffix, "10m")).await?;
    let calls = Calls::from_now(scene)?;
    let altered: Vec<_> = cases.iter().zip(&granted).collect();
    each(&altered, |(case, granted)| alter_one(scene, case, granted, calls.clone())).await?;
    ensure!(scene.bindings().await?.is_empty(), "bindings are left");
    ensure!(!scene.may("dev", "create", "apps", "deployments").await?, "dev still has access");
    ensure!(!scene.may("outsider", "create", "apps", "deployments").await?, "outsider has access");
    Ok(())
}

async fn alter_one(scene: &Scene, case: &Case, granted: &Granted, mut calls: Calls) -> Result<(), Error> {
    let said = |error: Error| -> Error { format!("{}: {error}", case.suffix).into() };
    scene.patch_binding(&granted.binding, &case.patch).await?;
    scene.until_gone(&granted.binding, AT_ONCE).await.map_err(said)?;
    let status = scene.ends_as(&granted.request, "Revoked", case.reasons, AT_ONCE).await.map_err(said)?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains(&granted.binding) || message.contains("namespace"), "{}: the message is '{message}'", case.suffix);
    let patched = calls.first("the patch", |e| e.verb == "patch" && crate::audit::is(e, "rolebindings", &granted.binding)).await?;
    let took = calls.removed(&granted.binding).await?.duration_since(patched.stage_timestamp);
    measured(format!("altered binding ({}) removed", case.suffix), took);
    Ok(())
}

pub async fn t27_edited_binding_is_removed_and_its_request_revoked(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "altered").await?;
    let user = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
    let everybody = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"});
    alter(
        &scene,
        &[
            case("group-added", json!({"subjects": [user("dev"), everybody]}), ALTERED),
            case("other-subject", json!({"subjects": [user("outsider")]}), ALTERED),
            case("no-subject", json!({"subjects": null}), ALTERED),
            case("request", annotation("request", &json!("another")), ALTERED),
            case("request-of-others", annotation("request", &json!("digest")), ALTERED),
            case("no-request", annotation("request", &Value::Null), ALTERED),
            case("digest", annotation("digest", &json!("sha256:0")), ALTERED),
            case("requester", annotation("requester", &json!("outsider")), ALTERED),
            case("justification", annotation("justification", &json!("another")), ALTERED),
            case(
                "namespace-uid",
                annotation("namespace-uid", &json!("another")),
                &["NamespaceTerminating", "BindingModified", "BindingRemoved"],
            ),
        ],
    )
    .await
}

pub async fn t56_binding_without_its_label_is_removed(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "label").await?;
    alter(
        &scene,
        &[
            case("stripped", json!({"metadata": {"labels": {"jitrbac.dev/managed": null}}}), ALTERED),
            case("changed", json!({"metadata": {"labels": {"jitrbac.dev/managed": "false"}}}), ALTERED),
            case(
                "all-stripped",
                json!({"metadata": {"labels": null, "annotations": null, "ownerReferences": null}}),
                &["NamespaceTerminating", "BindingModified", "BindingRemoved"],
            ),
        ],
    )
    .await
}

pub async fn inv_03_a_deadline_never_moves_later(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "deadline").await?;
    alter(
        &scene,
        &[
            case("later", annotation("expires-at", &json!(stamp(Timestamp::now() + SignedDuration::from_hours(20)))), ALTERED),
            case("earlier", annotation("expires-at", &json!(stamp(Timestamp::now() + SignedDuration::from_mins(5)))), ALTERED),
            case("unreadable", annotation("expires-at", &json!("some day")), ALTERED),
            case("none", annotation("expires-at", &Value::Null), ALTERED),
        ],
    )
    .await
}

/// Api rule 10: foreign fields do not concern the operator, and the grant ends at its deadline.
pub async fn t27_foreign_labels_and_annotations_are_kept(env: Arc<Env>) -> Outcome {
    let fixture = env.unguarded().await?.read().await;
    let scene = env.scene_on(&fixture, "foreign").await?;
    scene.offers(&["now"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;
    let granted = scene.granted("dev", "now", "6s").await?;
    let foreign = json!({"metadata": {"labels": {"team": "payments"}, "annotations": {"example.com/note": "seen"}}});
    let patched = scene.patch_binding(&granted.binding, &foreign).await?;
    ensure!(patched["metadata"]["labels"]["team"] == "payments", "the label was not stored: {patched}");
    scene.ends_as("now", "Expired", &["Expired"], SOON).await?;
    let removed = calls.removed(&granted.binding).await?;
    ensure!(removed >= granted.deadline, "it was removed at {removed}, before its deadline {}", granted.deadline);
    Ok(())
}
