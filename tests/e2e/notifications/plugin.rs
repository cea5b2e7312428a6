//! `kubectl jit notify`.

use std::sync::Arc;

use notify_tools::Authority;
use serde_json::json;

use super::{Hook, scene};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase, approved_by, eligibility},
    test_cases,
};
use control_plane::ADMIN;

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![a_test_message_is_sent_and_a_preview_names_who_is_told]
}

async fn a_test_message_is_sent_and_a_preview_names_who_is_told(env: Arc<Env>) -> Outcome {
    let authority = Authority::default();
    let hook = Hook::accepting(&authority);
    let (scene, _permit) = scene(&env, "plug", json!({})).await?;
    scene.webhook("hook", &hook.url("/hook"), &authority).await?;
    scene.until_ready("hook", "True", "Ready").await?;
    let jit = scene.jit(ADMIN, &["notify", "test", "hook"]).await?;
    let said = jit.ok()?;
    ensure!(said.contains("accepted"), "it says {said}");
    let told = hook.until("/hook", "of the test", |told| told.kind() == "notification.test").await?;
    ensure!(told.event["test"] == true, "it is not marked as a test: {}", told.event);
    let offer = scene.offer("view", approved_by("leads", 1), eligibility("view")).await?;
    scene.apply("dev", &scene.request("inc", &offer, "10m")).await?.ok()?;
    hook.until("/hook", "of the request", |told| told.kind() == "activation.waiting").await?;
    let said = scene.jit(ADMIN, &["notify", "preview", "inc"]).await?.ok()?;
    ensure!(said.contains("hook") && said.contains("Notification_Approver_EndUser_Assignment"), "it says {said}");
    Ok(())
}
