//! The requirements of a request. Evidence of the sign-in has tests of its own.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{comes_to, set, with};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase, automatic, eligibility},
    status_helpers::refused,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![requirements_justification, requirements_ticket, t14_pattern_cannot_be_bypassed_and_cannot_block_admission]
}

async fn requirements_justification(env: Arc<Env>) -> Outcome {
    let scene = env.scene("reason").await?;
    let rule = json!({"justification": {"minLength": 12, "pattern": "(INC|CHG)-[0-9]+ .*"}});
    let offer = scene.offer("view", set(automatic(), &json!({"requirements": rule})), eligibility("view")).await?;
    let says = |text: Value| with(scene.request("now", &offer, "10m"), &json!({"justification": text}));
    for (text, told) in [
        (Value::Null, "JustificationMissing: no justification was given; policy"),
        (json!("            "), "JustificationMissing: no justification was given; policy"),
        (json!("INC-1 x"), "JustificationTooShort: the justification has 7 characters; policy"),
        // Leading and trailing blanks do not count as length.
        (json!("   INC-1 x   "), "JustificationTooShort: the justification has 7 characters; policy"),
        (json!("see INC-4711 please"), "JustificationMismatch: the justification does not match '(INC|CHG)-[0-9]+ .*', which policy"),
    ] {
        refused(scene.create("dev", &says(text)).await?, &[told, &offer])?;
    }
    comes_to(&scene, "dev", &says(json!("CHG-12 roll out")), "Active").await.map(drop)
}

async fn requirements_ticket(env: Arc<Env>) -> Outcome {
    let scene = env.scene("ticket").await?;
    let rule = |required: bool| json!({"requirements": {"ticket": {"required": required, "system": "jira", "pattern": "INC-[0-9]+"}}});
    let needed = scene.offer("needed", set(automatic(), &rule(true)), eligibility("view")).await?;
    let free = scene.offer("free", set(automatic(), &rule(false)), eligibility("view")).await?;
    let request = |name: &str, offer: &str, ticket: Value| with(scene.request(name, offer, "10m"), &json!({"ticket": ticket}));
    for (ticket, told) in [
        (Value::Null, "TicketMissing: no ticket was given; policy"),
        (json!({"system": "jira"}), "TicketMissing: no ticket was given; policy"),
        (json!({"number": "INC-4711"}), "TicketMismatch: the ticket 'INC-4711' names no system; policy"),
        (json!({"system": "github", "number": "INC-4711"}), "TicketMismatch: the ticket 'INC-4711' is of the system 'github'; policy"),
        (
            json!({"system": "jira", "number": "xINC-4711"}),
            "TicketMismatch: the ticket 'xINC-4711' does not match 'INC-[0-9]+', which policy",
        ),
    ] {
        refused(scene.create("dev", &request("now", &needed, ticket)).await?, &[told, &needed])?;
    }
    comes_to(&scene, "dev", &request("now", &needed, json!({"system": "jira", "number": "INC-4711"})), "Active").await?;
    // An optional value must be valid all the same.
    refused(scene.create("dev", &request("wrong", &free, json!({"system": "jira", "number": "4711"}))).await?, &["TicketMismatch: "])?;
    comes_to(&scene, "dev", &request("without", &free, Value::Null), "Active").await?;
    let table = scene.kubectl("dev", &["get", "rar", "now", "-n", &scene.name, "-o", "wide"]).await?.ok()?;
    ensure!(table.contains(" INC-4711 "), "the ticket is in no column:\n{table}");
    Ok(())
}

async fn t14_pattern_cannot_be_bypassed_and_cannot_block_admission(env: Arc<Env>) -> Outcome {
    let scene = env.scene("pattern").await?;
    let name = format!("{}-broken", scene.name);
    for pattern in ["INC-(", "[z-a]", "a)|(?:b", "((((a{100}){100}){100}){100})", r"\p{Nope}"] {
        for (field, rule) in [
            ("justification", json!({"justification": {"pattern": pattern}})),
            ("ticket", json!({"ticket": {"required": true, "pattern": pattern}})),
        ] {
            let spec = set(automatic(), &json!({ "requirements": rule }));
            let policy = json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": name}, "spec": spec});
            let told = format!("InvalidField: spec.requirements.{field}.pattern '{pattern}' cannot be used: ");
            refused(scene.create(ADMIN, &policy).await?, &[&told])?;
        }
    }
    // A backtracking engine would need years for these, and the API server waits for five seconds.
    let rule = json!({"justification": {"pattern": "(a+)+(a|aa)+"}, "ticket": {"pattern": "(x*)*y"}});
    let offer = scene.offer("slow", set(automatic(), &json!({ "requirements": rule })), eligibility("view")).await?;
    let long = with(scene.request("now", &offer, "10m"), &json!({"justification": format!("{}b", "a".repeat(1023))}));
    refused(scene.create("dev", &long).await?, &["JustificationMismatch: "])?;
    let ticket = json!({"justification": "a".repeat(1024), "ticket": {"number": "x".repeat(128)}});
    refused(scene.create("dev", &with(scene.request("now", &offer, "10m"), &ticket)).await?, &["TicketMismatch: "])?;
    comes_to(&scene, "dev", &with(scene.request("now", &offer, "10m"), &json!({"justification": "a".repeat(1024)})), "Active")
        .await
        .map(drop)
}
