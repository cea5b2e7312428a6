//! Receivers that cannot work: each says why, and nothing is tried for ever.

use std::sync::Arc;

use control_plane::ADMIN;
use http::StatusCode;
use notify_tools::Authority;
use serde_json::json;

use super::{Hook, KEY, receiver, rule, scene};
use crate::{
    ensure,
    env::{Env, Outcome, TestCase, automatic, eligibility},
    status_helpers::refused,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        receivers_that_cannot_work_say_why,
        receivers_and_rules_are_validated,
        t58_only_the_notify_process_writes_the_status_of_receivers
    ]
}

async fn receivers_that_cannot_work_say_why(env: Arc<Env>) -> Outcome {
    let authority = Authority::default();
    let hook = Hook::start(
        &authority,
        Box::new(|path, number| match (path, number) {
            ("/gone", _) => StatusCode::GONE,
            ("/forbidden", _) => StatusCode::UNAUTHORIZED,
            ("/late", 0 | 1) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }),
    );
    let (scene, _permit) = scene(&env, "bad", json!({})).await?;
    for name in ["gone", "forbidden", "late", "template"] {
        scene.webhook(name, &hook.url(&format!("/{name}")), &authority).await?;
    }
    let url = hook.url("/template");
    let secret = json!({"name": "template"});
    scene
        .admin(&[
            receiver(
                "template",
                json!({"type": "Webhook", "webhook": {"url": url}, "secretRef": secret, "templates": {"body": "{{ title"}}),
            ),
            receiver("host", json!({"type": "Webhook", "webhook": {"url": "https://evil.example.com/x"}, "secretRef": secret})),
            receiver("secret", json!({"type": "Webhook", "webhook": {"url": hook.url("/secret")}, "secretRef": {"name": "not-there"}})),
        ])
        .await?;
    scene.until_ready("template", "False", "TemplateInvalid").await?;
    scene.until_ready("host", "False", "HostNotAllowed").await?;
    scene.until_ready("secret", "False", "SecretInvalid").await?;

    let offer = scene.offer("view", automatic(), eligibility("view")).await?;
    scene.apply("dev", &scene.request("first", &offer, "10m")).await?.ok()?;
    let stored = scene.until_ready("gone", "False", "Rejected").await?;
    ensure!(stored["status"]["lastError"]["message"].as_str().is_some_and(|text| text.contains("410")), "it says {}", stored["status"]);
    scene.until_ready("forbidden", "False", "Unauthorized").await?;
    hook.until("/late", "after two failures", |told| told.kind() == "activation.granted").await?;

    // A Secret that appears makes its receiver ready, and what waited is sent.
    scene.secret("not-there", &[("signing-key", KEY), ("ca.crt", &authority.pem())])?;
    scene.until_ready("secret", "True", "Ready").await?;
    hook.until("/secret", "what waited", |told| told.kind() == "activation.granted").await?;
    scene
        .kubectl(ADMIN, &["patch", "nrec", "template", "--type=merge", "-p", r#"{"spec":{"templates":{"body":"{{ title }}"}}}"#])
        .await?
        .ok()?;
    hook.until("/template", "what waited", |told| told.kind() == "activation.granted").await?;
    hook.verified()
}

async fn receivers_and_rules_are_validated(env: Arc<Env>) -> Outcome {
    let scene = env.scene("valid").await?;
    let secret = json!({"name": "x"});
    for (spec, why) in [
        (
            json!({"type": "Slack", "smtp": {"host": "a", "from": "a@b"}, "secretRef": secret}),
            "`slack` must be set exactly when `type` is Slack",
        ),
        (json!({"type": "Slack", "slack": {"channel": "#a"}}), "this type needs `secretRef`"),
        (json!({"type": "Smtp", "smtp": {"host": "https://a", "from": "a@b"}}), "must be a host name or an IP address"),
        (json!({"type": "Smtp", "smtp": {"host": "a", "from": "nobody"}}), "must have a mail address"),
        (json!({"type": "Webhook", "webhook": {"url": "ftp://a/x"}, "secretRef": secret}), "must be an address such as"),
        (json!({"type": "Webhook", "webhook": {"url": "https://a:b@c/x"}, "secretRef": secret}), "without a user name and a password"),
        (json!({"type": "Webhook", "webhook": {"url": "https://a/x"}, "secretRef": {"name": "../x"}}), "must be the name of a Secret"),
        (json!({"type": "Alertmanager", "alertmanager": {"urls": ["https://a"], "labels": {"namespace": "x"}}}), "are set by jit-rbac"),
        (json!({"type": "Alertmanager", "alertmanager": {"urls": []}}), "should have at least 1 items"),
        (
            json!({"type": "PagerDuty", "pagerDuty": {}, "secretRef": secret, "rateLimit": {"perMinute": 0}}),
            "should be greater than or equal to 1",
        ),
    ] {
        refused(scene.create(ADMIN, &receiver("bad", spec)).await?, &[why])?;
    }
    let receivers = json!([{"name": "a"}]);
    for (spec, why) in [
        (json!({"event": "Activation", "recipient": "Admin"}), "a rule needs `receivers`, or `defaultRecipients: true`"),
        (
            json!({"event": "Guard", "recipient": "Admin", "receivers": receivers, "reminders": {"undecidedAfter": ["1h"]}}),
            "needs `event: Activation`",
        ),
        (json!({"event": "Activation", "recipient": "Admin", "receivers": receivers, "policies": {}}), "set `names` or `selector`"),
        (
            json!({"event": "Activation", "recipient": "Admin", "receivers": [{"name": "mail", "to": ["a@b\nBcc: c@d"]}]}),
            "must be a mail address",
        ),
        (json!({"event": "Activation", "recipient": "Admin", "receivers": [{"name": "mail", "to": ["a"]}]}), "must be a mail address"),
        (json!({"event": "Activation", "recipient": "Nobody", "receivers": receivers}), "Unsupported value"),
    ] {
        refused(scene.create(ADMIN, &rule("bad", spec)).await?, &[why])?;
    }
    Ok(())
}

async fn t58_only_the_notify_process_writes_the_status_of_receivers(env: Arc<Env>) -> Outcome {
    let authority = Authority::default();
    let hook = Hook::accepting(&authority);
    let (scene, _permit) = scene(&env, "status", json!({})).await?;
    scene.webhook("hook", &hook.url("/hook"), &authority).await?;
    scene.until_ready("hook", "True", "Ready").await?;
    let patch = r#"{"status":{"position":{"through":"2999-01-01T00:00:00Z"}}}"#;
    let said = scene.kubectl(ADMIN, &["patch", "nrec", "hook", "--subresource=status", "--type=merge", "-p", patch]).await?;
    refused(said, &["only the notify process writes the status of a receiver"])?;
    Ok(())
}
