//! Invisible and control characters in users' texts never reach a terminal unescaped (T13).

use std::sync::Arc;

use api::text::is_forbidden;
use control_plane::ADMIN;
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase, automatic, eligibility},
    status_helpers::{Guise, refused},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![t13_invisible_characters_are_denied_or_escaped]
}

/// Bidi override, escape sequence, zero width space, line break with a line in the product's own format.
const TRICKS: [&str; 4] = ["a\u{202e}b", "a\u{1b}[2Jb", "a\u{200b}b", "a\n2026-11-22T20:00:00Z  INFO granted user=\"lead-1\""];

async fn t13_invisible_characters_are_denied_or_escaped(env: Arc<Env>) -> Outcome {
    let scene = env.scene("tricks").await?;
    let offer = scene.offer("edit", automatic(), eligibility("edit")).await?;
    let visible = "must be one line of visible text: line breaks, control and invisible formatting characters are not allowed";
    let named = "must be the name of an object: lower case letters, digits, '-' and '.'";
    for trick in TRICKS {
        let mut request = scene.request("now", &offer, "10m");
        request["spec"]["justification"] = json!(trick);
        refused(scene.create("dev", &request).await?, &["spec.justification", visible])?;
        request["spec"]["justification"] = json!("fine");
        request["spec"]["eligibilityRef"]["name"] = json!(trick);
        refused(scene.create("dev", &request).await?, &["spec.eligibilityRef.name", named])?;
        let mut decision = scene.decision("now", "Deny", None);
        decision["spec"]["requestRef"]["name"] = json!(trick);
        refused(scene.create("lead-1", &decision).await?, &["must be the name of a request"])?;
    }
    // A header cannot contain the others.
    for trick in [TRICKS[0], TRICKS[2]] {
        let guise = Guise { name: trick, uid: "", groups: &["devs"] };
        refused(guise.create(&scene, &scene.request("now", &offer, "10m")).await?, &["spec.requester.username", visible])?;
    }
    // The product does not restrict labels, but it escapes them in its messages.
    let mut elsewhere = eligibility("edit");
    elsewhere["namespaces"] = json!({"selector": {"matchLabels": {"team": TRICKS[0]}, "matchExpressions": [{"key": "stage", "operator": "In", "values": [TRICKS[1]]}]}});
    let labelled = scene.offer("labelled", automatic(), elsewhere).await?;
    let said = scene.create("dev", &scene.request("now", &labelled, "10m")).await?;
    ensure!(!said.stderr.trim_end().chars().any(is_forbidden), "kubectl printed {:?}", said.stderr);
    refused(said, &["which is for namespaces with team=a\u{fffd}b, stage in (a\u{fffd}[2Jb)"])?;

    // Printable text is shown unchanged, in every script.
    let mut request = scene.request("now", &offer, "10m");
    request["spec"]["justification"] = json!("INC-4711 é日本 \u{5d0}\u{5d1}");
    scene.create("dev", &request).await?.ok()?;
    let status = scene.until_state("now", "Active", SOON).await?;
    let told = &status["timeline"][0]["message"];
    ensure!(told.as_str().is_some_and(|told| told.ends_with(": INC-4711 é日本 \u{5d0}\u{5d1}")), "the timeline says {told}");

    let events: Value = serde_json::from_str(&scene.kubectl(ADMIN, &["get", "events", "-n", &scene.name, "-o", "json"]).await?.ok()?)?;
    let messages = events["items"].as_array().into_iter().flatten().filter_map(|event| event["message"].as_str());
    ensure!(messages.clone().all(|message| !message.chars().any(is_forbidden)), "an Event says {:?}", messages.collect::<Vec<_>>());
    for process in scene.fixture.operator.servers() {
        let log = process.log_text()?;
        for line in log.lines() {
            ensure!(!line.chars().any(is_forbidden), "{} logged {line:?}", process.name());
            ensure!(!line.contains("granted user=\"lead-1\""), "{} logged a line that a user wrote: {line}", process.name());
        }
    }
    Ok(())
}
