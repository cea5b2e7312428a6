//! A watch that was opened before the end of a grant.

use std::sync::Arc;

use control_plane::{ADMIN, wait_for_ok};
use futures::StreamExt;
use kube::{
    Api,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use serde_json::json;

use super::comes_to;
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![t38_open_watch_continues_after_the_grant_and_new_calls_are_denied]
}

async fn t38_open_watch_continues_after_the_grant_and_new_calls_are_denied(env: Arc<Env>) -> Outcome {
    let scene = env.scene("stream").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    comes_to(&scene, "dev", &scene.request("now", &offer, "10s"), "Active").await?;
    let api: Api<DynamicObject> = scene.api_as(scene.fixture.cluster().client("dev").await?, "configmap").ok_or("there are ConfigMaps")?;
    let mut watch = Box::pin(api.watch(&WatchParams::default(), "0").await?);
    scene.until_state("now", "Expired", SOON).await?;
    let refused = wait_for_ok("a new call to be denied", SOON, async || match api.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("dev may still list ConfigMaps".to_owned()),
    });
    refused.await?;
    scene.kubectl(ADMIN, &["create", "configmap", "written-afterwards", "-n", &scene.name]).await?.ok()?;
    // Kubernetes authorizes once, when a call begins. This proves a warning of the documentation; it is no guarantee of the product.
    let seen = tokio::time::timeout(SOON, async {
        while let Some(event) = watch.next().await {
            if let Ok(WatchEvent::Added(object)) = &event
                && object.metadata.name.as_deref() == Some("written-afterwards")
            {
                return true;
            }
        }
        false
    });
    ensure!(seen.await.unwrap_or(false), "a watch ends with the grant now: the documentation says otherwise");
    let more = scene
        .write(
            "dev",
            "configmap",
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-dev", "namespace": scene.name}}),
        )
        .await;
    ensure!(more.is_err(), "dev may still write");
    Ok(())
}
