//! The Events API v2 of PagerDuty, whose answers follow its specification.

use axum::{body::Body, response::Response};
use jit_rbac_services::notify::{Message, PagerDuty, Reason, Receiver, Settings, Severity, State};
use notify_tools::{Authority, Call, Https};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixture::{HOST, decided, delivered, egress, message, receiver, refused, retry, secret, sender};

const KEY: &str = "S3cr3tS3cr3tS3cr3te03a4cb2b9e5c1";

/// Accepts what has the required fields.
fn events(_: usize, call: &Call) -> Response<Body> {
    let event = call.json();
    let text = |value: &Value, most: usize| value.as_str().is_some_and(|text| (1..=most).contains(&text.chars().count()));
    let payload = &event["payload"];
    let has_payload = text(&payload["summary"], 1_024)
        && text(&payload["source"], 255)
        && matches!(payload["severity"].as_str(), Some("critical" | "error" | "warning" | "info"))
        && payload["custom_details"].is_object();
    let is_valid = match event["event_action"].as_str() {
        Some("trigger") => has_payload,
        Some("acknowledge" | "resolve") => text(&event["dedup_key"], 255),
        _ => false,
    };
    if is_valid && event["routing_key"] == KEY && text(&event["dedup_key"], 255) && call.body.len() < 512 * 1024 {
        let answer = json!({"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]});
        return Response::builder().status(202).body(Body::from(answer.to_string())).unwrap();
    }
    let answer = json!({"status": "invalid event", "message": "Event object is invalid", "errors": [format!("with {KEY}")]});
    Response::builder().status(400).body(Body::from(answer.to_string())).unwrap()
}

fn pagerduty(server: &Https, secret: &TempDir) -> Receiver {
    receiver(Settings::PagerDuty(PagerDuty { url: Some(server.url(HOST, "/v2/enqueue")) }), secret)
}

fn key() -> TempDir {
    secret(&[("routing-key", KEY)])
}

#[tokio::test]
async fn an_incident_is_triggered_acknowledged_and_resolved_by_one_key() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], events);
    let (key, sender) = (key(), sender(&egress(&authority)));
    let receiver = pagerduty(&server, &key);
    assert_eq!(sender.check(&receiver), Ok(()));
    let acknowledged = Message { state: State::Acknowledged, ..message() };
    let critical = Message { severity: Severity::Critical, ..message() };
    for message in [critical, acknowledged, decided()] {
        let (reference, _) = delivered(sender.send(&receiver, &message).await);
        assert_eq!(reference, Some(format!("jit-rbac/{}", message.thread.key)));
    }
    let calls: Vec<Value> = server.calls().iter().map(Call::json).collect();
    let actions: Vec<&str> = calls.iter().map(|event| event["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(calls.iter().all(|event| event["dedup_key"] == calls[0]["dedup_key"]));
    let event = &calls[0];
    assert_eq!(event["payload"]["summary"], "ann requests edit in payments");
    assert_eq!(event["payload"]["severity"], "critical");
    assert_eq!(event["payload"]["source"], "//jit-rbac/test");
    assert_eq!(event["payload"]["timestamp"], "2026-12-01T08:15:00Z");
    assert_eq!(event["payload"]["custom_details"]["Justification"], "INC-4711: the checkout is slow");
    assert_eq!(event["payload"]["custom_details"]["Command"], "kubectl jit approve inc-4711 -n payments");
    assert_eq!(event["links"][0]["href"], "https://jit.example.com/requests/payments/inc-4711");
}

#[tokio::test]
async fn answers_are_a_delivery_a_retry_or_a_refusal() {
    let authority = Authority::default();
    let key = key();
    let sender = sender(&egress(&authority));
    for (status, is_retry) in [(429, true), (500, true), (503, true), (400, false), (403, false)] {
        let server = Https::start(&authority, &[HOST], move |_, _| Response::builder().status(status).body(Body::from(KEY)).unwrap());
        let outcome = sender.send(&pagerduty(&server, &key), &message()).await;
        if is_retry {
            retry(outcome);
        } else {
            refused(outcome, if status == 403 { Reason::Unauthorized } else { Reason::Rejected });
        }
    }
    // The status counts, also if the body is of another kind.
    let server = Https::start(&authority, &[HOST], |_, _| Response::builder().status(202).body(Body::from("accepted")).unwrap());
    delivered(sender.send(&pagerduty(&server, &key), &message()).await);
}

#[tokio::test]
async fn a_routing_key_of_another_form_is_refused_before_it_is_sent() {
    let authority = Authority::default();
    let sender = sender(&egress(&authority));
    let server = Https::start(&authority, &[HOST], events);
    for value in ["short", &"ä".repeat(16), &"x".repeat(33)] {
        let secret = secret(&[("routing-key", value)]);
        let why = refused(sender.send(&pagerduty(&server, &secret), &message()).await, Reason::SecretInvalid);
        assert_eq!(why, "key 'routing-key' of the Secret must have 32 letters and digits");
    }
    assert!(server.calls().is_empty());
}
