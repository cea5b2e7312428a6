//! Values of the chart that change decisions: identity prefixes and aliases, and system namespaces.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{comes_to, set, under};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    status_helpers::{Guise, refused},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![identity_prefixes_and_aliases_map_two_names_to_one_user, system_namespaces_need_a_name_an_accepted_risk_and_a_chart_value]
}

async fn identity_prefixes_and_aliases_map_two_names_to_one_user(env: Arc<Env>) -> Outcome {
    let values = json!({"identity": {"prefixes": ["oidc:"], "aliases": {"dev-root": "dev"}}});
    let (fixture, _permit) = env.own_fixture(values).await?;
    let scene = env.scene_on(&fixture, "names").await?;
    let offer = scene.offer("waits", approved_by("leads", 1), eligibility("edit")).await?;
    let free = scene.offer("free", set(automatic(), &json!({"limits": {"maxActivePerUser": 1}})), eligibility("view")).await?;
    let beside = under(&scene, &free, &[("beside", eligibility("view"))]).await?;
    let names = ["oidc:dev", "dev-root", "oidc:DEV-root"];
    // The requester's other names do not approve the request.
    let status = comes_to(&scene, "dev", &scene.request("now", &offer, "10m"), "AwaitingApproval").await?;
    let approve = scene.decision("now", "Approve", status["digest"].as_str());
    for (number, name) in names.iter().enumerate() {
        let guise = Guise { name, uid: &format!("u-other-{number}"), groups: &["leads"] };
        let told = format!("SelfApprovalNotAllowed: '{name}' created request 'now' and cannot approve it; another approver must");
        refused(guise.create(&scene, &approve).await?, &[&told])?;
    }
    // Nor does another name permit another activation: at admission, or where grants are made.
    comes_to(&scene, "dev", &scene.request("first", &free, "10m"), "Active").await?;
    for (number, name) in names.iter().enumerate() {
        let guise = Guise { name, uid: &format!("u-other-{number}"), groups: &["devs"] };
        for (kind, offer, reason) in [("same", &free, "AlreadyRequested"), ("beside", &beside[0], "TooManyActive")] {
            let request = format!("{kind}-{number}");
            let said = guise.create(&scene, &scene.request(&request, offer, "10m")).await?;
            if said.status.success() {
                scene.ends_as(&request, "Denied", &[reason], SOON).await?;
            } else {
                refused(said, &[reason])?;
            }
        }
    }
    ensure!(scene.bindings().await?.len() == 1, "there are {} bindings", scene.bindings().await?.len());
    // The requester deactivates under another name; another user cannot.
    let guise = Guise { name: "oidc:dev", uid: "u-other-0", groups: &["devs"] };
    guise.create(&scene, &scene.decision("first", "Deactivate", None)).await?.ok()?;
    scene.ends_as("first", "Deactivated", &["DeactivatedByRequester"], SOON).await?;
    comes_to(&scene, "dev-2", &scene.request("second", &free, "10m"), "Active").await?;
    scene.approve("lead-1", "now").await?;
    scene.until_state("now", "Active", SOON).await.map(drop)
}

async fn system_namespaces_need_a_name_an_accepted_risk_and_a_chart_value(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.own_fixture(json!({"systemNamespaces": ["kube-system"]})).await?;
    let scene = env.scene_on(&fixture, "system").await?;
    let system = Scene { fixture: fixture.clone(), name: "kube-system".to_owned() };
    let public = Scene { fixture: fixture.clone(), name: "kube-public".to_owned() };
    let all = json!({"selector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}});
    let everywhere = scene.offer("everywhere", automatic(), set(eligibility("view"), &json!({"namespaces": all}))).await?;
    let told = "NamespaceNotCovered: namespace 'kube-system' is the cluster's own, which a selector never covers; name it in spec.namespaces.names";
    refused(system.create("dev", &system.request("now", &everywhere, "10m")).await?, &[told])?;

    let name = format!("{}-named", scene.name);
    let write = async |namespace: &str, accepted: Value| {
        let spec = set(
            eligibility("view"),
            &json!({"namespaces": {"names": [namespace]}, "policyRef": {"name": everywhere}, "acceptRisks": accepted}),
        );
        let object = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name}, "spec": spec});
        scene.apply(ADMIN, &object).await
    };
    let told = "RiskNotAccepted: namespace 'kube-system' is the cluster's own, and changes made there outlive a grant; add SystemNamespace to spec.acceptRisks, or remove it";
    refused(write("kube-system", json!([])).await?, &[told])?;
    let closed = "is the cluster's own: no role can be activated in it, unless the chart's value systemNamespaces lists it";
    refused(write("kube-public", json!(["SystemNamespace"])).await?, &[&format!("NamespaceProtected: namespace 'kube-public' {closed}")])?;
    let own = "NamespaceProtected: namespace 'jit-system' is the operator's own: no role can be activated in it";
    refused(write("jit-system", json!(["SystemNamespace"])).await?, &[own])?;
    write("kube-system", json!(["SystemNamespace"])).await?.ok()?;
    comes_to(&system, "dev", &system.request("now", &name, "10m"), "Active").await?;
    ensure!(system.may("dev", "get", "", "pods").await?, "dev may not get pods in kube-system");
    refused(
        public.create("dev", &public.request("now", &everywhere, "10m")).await?,
        &[&format!("NamespaceProtected: namespace 'kube-public' {closed}")],
    )?;
    system.create("dev", &system.decision("now", "Deactivate", None)).await?.ok()?;
    system.ends_as("now", "Deactivated", &["DeactivatedByRequester"], SOON).await?;
    ensure!(!system.may("dev", "get", "", "pods").await?, "dev may still get pods in kube-system");
    Ok(())
}
