//! The rules of a policy for its eligibilities, and the statuses of both.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{ahead, comes_to, edit, set};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase, automatic, eligibility},
    status_helpers::{refused, until_condition},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        eligibility_rules_require_end_time_max_duration_and_justification,
        later_eligibility_rules_stop_new_requests,
        authentication_that_was_never_observed_is_reported,
    ]
}

async fn eligibility_rules_require_end_time_max_duration_and_justification(env: Arc<Env>) -> Outcome {
    let scene = env.scene("rules").await?;
    let name = format!("{}-rules", scene.name);
    // Where the field is absent, an end is required.
    let rules = json!({"eligibility": {"maxDuration": "2h", "requireJustification": true}});
    let policy = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": name}, "spec": set(automatic(), &rules)});
    scene.admin(&[policy]).await?;
    let write = async |changes: Value| {
        let mut spec = set(eligibility("view"), &json!({"namespaces": {"names": [scene.name]}, "policyRef": {"name": name}}));
        spec = set(spec, &json!({"endTime": ahead(3600), "justification": "on call"}));
        let object = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name}, "spec": set(spec, &changes)});
        scene.apply(ADMIN, &object).await
    };
    for (changes, told) in [
        (json!({"endTime": null}), "EndRequired: spec.endTime is missing and policy"),
        (json!({"endTime": ahead(3 * 3600)}), "EligibilityTooLong: the eligibility ends at 2"),
        (json!({"justification": null}), "ReasonRequired: spec.justification is missing and policy"),
        (json!({"justification": "  "}), "ReasonRequired: spec.justification is missing and policy"),
    ] {
        refused(write(changes).await?, &[told, &name])?;
    }
    write(json!({})).await?.ok()?;
    until_condition(&scene, &format!("rel/{name}"), "Ready", "True", "Valid").await.map(drop)
}

async fn later_eligibility_rules_stop_new_requests(env: Arc<Env>) -> Outcome {
    let scene = env.scene("later").await?;
    let offer = scene.offer("view", automatic(), eligibility("view")).await?;
    edit(&scene, "approvalpolicy", &offer, &json!({"eligibility": {"requireEnd": true}})).await?;
    let object = format!("rel/{offer}");
    let message = until_condition(&scene, &object, "Ready", "False", "EndRequired").await?;
    ensure!(message.starts_with("spec.endTime is missing and policy"), "it says {message}");
    let told = format!(
        "EligibilityNotReady: eligibility '{offer}' cannot be used: EndRequired: spec.endTime is missing and policy '{offer}' requires it"
    );
    refused(scene.create("dev", &scene.request("now", &offer, "10m")).await?, &[&told])?;
    edit(&scene, "roleeligibility", &offer, &json!({"endTime": ahead(3600)})).await?;
    until_condition(&scene, &object, "Ready", "True", "Valid").await?;
    comes_to(&scene, "dev", &scene.request("now", &offer, "10m"), "Active").await.map(drop)
}

async fn authentication_that_was_never_observed_is_reported(env: Arc<Env>) -> Outcome {
    let scene = env.scene("unseen").await?;
    let key = format!("{}.example.com/amr", scene.name);
    let rule = json!({"requirements": {"authentication": {"claims": [{"key": key, "anyOf": ["mfa"]}]}}});
    let offer = scene.offer("view", set(automatic(), &rule), eligibility("view")).await?;
    let policy = format!("apol/{offer}");
    let message = until_condition(&scene, &policy, "EvidenceObserved", "False", "EvidenceNotObserved").await?;
    ensure!(
        message.starts_with(&format!("no request has contained '{key}' yet; if none can, the cluster's authentication")),
        "it says {message}"
    );
    until_condition(&scene, &policy, "Ready", "True", "Valid").await?;
    let told = format!("EvidenceMissing: the sign-in of 'dev' has no '{key}', and policy '{offer}' requires 'mfa'");
    refused(scene.create("dev", &scene.request("now", &offer, "10m")).await?, &[&told])?;
    // A policy without the rule reports nothing about any.
    let plain = scene.offer("plain", automatic(), eligibility("view")).await?;
    until_condition(&scene, &format!("apol/{plain}"), "Ready", "True", "Valid").await?;
    let kinds = scene.kubectl("dev", &["get", "apol", &plain, "-o", "jsonpath={.status.conditions[*].type}"]).await?.ok()?;
    ensure!(kinds == "Ready Reconciling Stalled", "its conditions are {kinds}");
    Ok(())
}
