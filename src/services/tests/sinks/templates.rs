//! Templates of receivers: what they may do, and what is refused with the line and the reason.

use std::time::{Duration, Instant};

use axum::{body::Body, response::Response};
use jit_rbac_services::notify::{Message, Reason, Receiver, Settings, Slack};
use notify_tools::{Authority, Https};
use serde_json::json;

use super::fixture::{HOST, delivered, egress, message, receiver, refused, secret, sender};

/// Sends a message with these templates to Slack; returns the title and the details, or the refusal.
async fn sent(title: Option<&str>, body: Option<&str>, message: &Message) -> Result<(String, String), String> {
    let authority = Authority::default();
    let server =
        Https::start(&authority, &[HOST], |_, _| Response::new(Body::from(json!({"ok": true, "channel": "C1", "ts": "1.0"}).to_string())));
    let secret = secret(&[("token", "xoxb-test-token")]);
    let slack = Slack { channel: "#oncall".to_owned(), api_url: Some(server.url(HOST, "/api")) };
    let receiver = Receiver { title: title.map(str::to_owned), body: body.map(str::to_owned), ..receiver(Settings::Slack(slack), &secret) };
    let outcome = sender(&egress(&authority)).send(&receiver, message).await;
    let Some(call) = server.calls().pop() else { return Err(refused(outcome, Reason::TemplateInvalid)) };
    delivered(outcome);
    let blocks = &call.json()["blocks"];
    let lines =
        blocks[1]["elements"].as_array().unwrap().iter().map(|section| {
            section["elements"].as_array().unwrap().iter().map(|element| element["text"].as_str().unwrap()).collect::<String>()
        });
    Ok((blocks[0]["text"]["text"].as_str().unwrap().to_owned(), lines.collect::<Vec<_>>().join("\n")))
}

#[tokio::test]
async fn a_title_and_a_body_are_rendered_from_the_message() {
    let title = "{{ severity | upper }}: {{ title }}";
    let body = "{% for fact in facts %}{% if fact.label != 'Risks' %}{{ fact.label }} = {{ fact.value }}\n{% endif %}{% endfor %}\
                {{ topic }} {{ subject }} {{ namespace }} {{ type }} {{ time }}{% if until %} until {{ until }}{% endif %}";
    let (title, details) = sent(Some(title), Some(body), &message()).await.unwrap();
    assert_eq!(title, "WARNING: ann requests edit in payments");
    let lines: Vec<&str> = details.lines().collect();
    assert_eq!(lines[0], "Requester = ann@example.com");
    assert!(!details.contains("Risks"), "{details}");
    assert_eq!(lines[5], "Activation payments/inc-4711 payments dev.jitrbac.activation.requested.v1 2026-12-01T08:15:00Z");
    // The command and the console stay: they are no part of the text.
    assert_eq!(lines[6..], ["Command:", "kubectl jit approve inc-4711 -n payments", "Open in the console"]);
}

#[tokio::test]
async fn what_users_wrote_is_no_template() {
    let mut hostile = message();
    hostile.title = "{{ 7 * 6 }} {% for x in y %}".to_owned();
    hostile.facts[4].value = "{{ facts }}{% include '/etc/passwd' %}".to_owned();
    let (title, details) = sent(Some("{{ title }}"), Some("{{ facts[4].value }}"), &hostile).await.unwrap();
    assert_eq!(title, "{{ 7 * 6 }} {% for x in y %}");
    assert_eq!(details.lines().next(), Some("{{ facts }}{% include '/etc/passwd' %}"));
    assert_eq!(sent(None, None, &hostile).await.unwrap().0, hostile.title);
}

#[tokio::test]
async fn a_bad_template_is_refused_with_its_line_and_reason() {
    for (body, expected) in [
        ("a\nb {{ requester }}", "template 'body', line 2: undefined value"),
        ("{{ facts[99].value }}", "template 'body', line 1: undefined value"),
        ("a\n{{ title", "template 'body', line 2: syntax error: unexpected end of input, expected end of variable block"),
        ("{{ title | shell }}", "template 'body', line 1: unknown filter: filter shell is unknown"),
        ("{% if %}", "template 'body', line 1: syntax error: unexpected end of block"),
        ("\n{% include '/etc/passwd' %}", "template 'body', line 2: the tag 'include' is not available"),
        ("{%- extends 'x' %}", "template 'body', line 1: the tag 'extends' is not available"),
        ("{% set a = title %}", "template 'body', line 1: the tag 'set' is not available"),
        ("{% macro a() %}{% endmacro %}", "template 'body', line 1: the tag 'macro' is not available"),
        ("{{ range(1000000) }}", "template 'body', line 1: unknown function: range is unknown"),
        ("{{ debug() }}", "template 'body', line 1: unknown function: debug is unknown"),
    ] {
        let why = sent(None, Some(body), &message()).await.unwrap_err();
        assert!(why.starts_with(expected), "{body}: {why}");
    }
    let why = sent(Some("{{ nothing }}"), None, &message()).await.unwrap_err();
    assert!(why.starts_with("template 'title', line 1: undefined value"), "{why}");
}

#[tokio::test]
async fn a_template_can_use_neither_time_nor_memory_without_a_limit() {
    let nested = "{% for a in facts %}{% for b in facts %}{% for c in facts %}{% for d in facts %}{% for e in facts %}{% for f in facts %}\
                  {% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}";
    let bomb = format!("{{{{ {} }}}}", vec!["title * 100000"; 500].join(" ~ "));
    for (body, expected) in [
        (nested.to_owned(), "it takes too many steps"),
        ("{{ 'x' * 20000 }}".to_owned(), "its text is longer than 16384 bytes"),
        ("{% for a in facts %}{{ title * 300 }}{% endfor %}".to_owned(), "its text is longer than 16384 bytes"),
        (bomb, ""),
        ("{{ title * 100000000000 }}".to_owned(), "it takes too many steps"),
        ("x".repeat(8 * 1024 + 1), "is longer than 8192 bytes"),
        ("{{ (".repeat(500), ""),
        (format!("{{{{ {}1{} }}}}", "(".repeat(2_000), ")".repeat(2_000)), ""),
        (format!("{}{}", "{% if true %}".repeat(300), "{% endif %}".repeat(300)), ""),
    ] {
        let begin = Instant::now();
        let result = sent(None, Some(&body), &message()).await;
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?} for {}", begin.elapsed(), body.get(..40).unwrap_or(&body));
        if !expected.is_empty() {
            let why = result.unwrap_err();
            assert!(why.contains(expected), "{}: {why}", body.get(..40).unwrap_or(&body));
        }
    }
}

#[tokio::test]
async fn a_bad_template_is_found_before_a_message_is_sent() {
    let authority = Authority::default();
    let secret = secret(&[("token", "xoxb-test-token")]);
    let slack = Slack { channel: "#oncall".to_owned(), api_url: Some(format!("https://{HOST}/api")) };
    let receiver = Receiver { title: Some("{{ title".to_owned()), ..receiver(Settings::Slack(slack), &secret) };
    let (reason, why) = sender(&egress(&authority)).check(&receiver).unwrap_err();
    assert_eq!(reason, Reason::TemplateInvalid);
    assert!(why.starts_with("template 'title', line 1: syntax error"), "{why}");
}
