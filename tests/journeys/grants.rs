//! The life of a grant, as a requester, an approver and a revoker see it.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    ensure,
    env::{Env, Journey, Outcome, SOON, approved_by, automatic, eligibility},
    journeys,
};

pub fn journeys() -> Vec<(&'static str, Journey)> {
    journeys![no_yes_no_over_the_life_of_a_grant_of_a_cluster_role]
}

async fn no_yes_no_over_the_life_of_a_grant_of_a_cluster_role(env: Arc<Env>) -> Outcome {
    let scene = env.scene("life").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may create deployments before he asked");
    scene.apply("dev", &scene.request("now", &offer, "5s")).await?.ok()?;
    let status = scene.until_state("now", "Active", SOON).await?;
    ensure!(scene.can("dev", "create", "deployments").await?, "dev may not create deployments while his grant runs");
    ensure!(!scene.can("dev-2", "create", "deployments").await?, "the grant reaches another member of the group");
    let bindings = scene.bindings().await?;
    ensure!(bindings.len() == 1, "there are {} bindings", bindings.len());
    let subjects = &bindings[0]["subjects"];
    ensure!(*subjects == json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dev"}]), "the subjects are {subjects}");
    ensure!(status["bindingRef"]["uid"] == bindings[0]["metadata"]["uid"], "the status names another binding: {status}");
    scene.until_state("now", "Expired", Duration::from_secs(10)).await?;
    ensure!(!scene.can("dev", "create", "deployments").await?, "dev may still create deployments after the end");
    let _ = approved_by("leads", 1);
    Ok(())
}
