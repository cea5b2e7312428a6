//! Alertmanager: an alert fires, its text changes, and a later message of the thread resolves it.

use axum::{body::Body, response::Response};
use jit_rbac_services::notify::{Alertmanager as Settings, Egress, Message, Reason, Receiver, Settings as Sink, Severity, Thread};
use notify_tools::{Alertmanager, Authority, Call, Https, eventually};
use serde_json::Value;

use super::fixture::{HOST, decided, delivered, message, refused, retry, sender};

fn accepted(_: usize, _: &Call) -> Response<Body> {
    Response::new(Body::empty())
}

/// What is allowed for an Alertmanager without TLS on this machine.
fn egress() -> Egress {
    let hosts = vec!["127.0.0.1".to_owned()];
    Egress { hosts: hosts.clone(), plain_hosts: hosts, networks: vec!["127.0.0.1/32".to_owned()], authorities: None }
}

fn to(urls: &[String]) -> Receiver {
    let labels = [("team".to_owned(), "platform".to_owned())].into();
    let sink = Sink::Alertmanager(Settings { urls: urls.to_vec(), labels });
    Receiver { name: "alerts".to_owned(), sink, secrets: None, title: None, body: None }
}

/// Waits until the webhook of Alertmanager was called with this status, and returns the alert.
async fn notified(webhook: &Https, status: &str, after: usize) -> Value {
    eventually(&format!("Alertmanager notifies: {status}"), || async move {
        let calls = webhook.calls();
        let alerts = calls.iter().skip(after).flat_map(|call| call.json()["alerts"].as_array().cloned().unwrap_or_default());
        alerts.into_iter().find(|alert| alert["status"] == status)
    })
    .await
}

#[tokio::test]
async fn an_alert_fires_until_a_later_message_of_the_thread_resolves_it() {
    let authority = Authority::default();
    let webhook = Https::start(&authority, &["127.0.0.1"], accepted);
    let alertmanager = Alertmanager::start(&authority, &webhook.url("127.0.0.1", "/")).await;
    let (sender, receiver) = (sender(&egress()), to(&[format!("{}/", alertmanager.url())]));
    assert_eq!(sender.check(&receiver), Ok(()));
    let now = jiff::Timestamp::now();
    let open = Message { time: now, ..message() };
    delivered(sender.send(&receiver, &open).await);
    let alert = notified(&webhook, "firing", 0).await;
    let labels = alert["labels"].as_object().unwrap();
    let expected = [
        ("alertname", "JitRbacActivation"),
        ("jit_rbac_uid", open.thread.key.as_str()),
        ("namespace", "payments"),
        ("severity", "warning"),
        ("team", "platform"),
    ];
    assert_eq!(labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect::<Vec<_>>(), expected);
    assert_eq!(alert["annotations"]["summary"], "ann requests edit in payments");
    assert_eq!(alert["annotations"]["command"], "Command: kubectl jit approve inc-4711 -n payments");
    assert!(alert["annotations"]["description"].as_str().unwrap().contains("Justification: INC-4711: the checkout is slow"), "{alert}");
    assert_eq!(alert["generatorURL"], "https://jit.example.com/requests/payments/inc-4711");
    // A repetition changes nothing.
    delivered(sender.send(&receiver, &open).await);
    assert_eq!(alertmanager.alerts().await.len(), 1);
    // It fires for longer than Alertmanager's resolve_timeout of five minutes.
    let ends: jiff::Timestamp = alertmanager.alerts().await[0]["endsAt"].as_str().unwrap().parse().unwrap();
    assert!(ends.duration_since(now).as_hours() > 24, "{ends}");
    let before = webhook.calls().len();
    // Another severity and text of the message, the same thread.
    delivered(sender.send(&receiver, &Message { time: now, ..decided() }).await);
    let resolved = notified(&webhook, "resolved", before).await;
    assert_eq!(resolved["labels"], alert["labels"]);
    assert_eq!(resolved["annotations"]["summary"], "bob approved edit in payments for ann");
    assert!(alertmanager.alerts().await.is_empty());
}

#[tokio::test]
async fn an_alert_ends_with_the_deadline_of_its_state_and_that_of_a_test_soon() {
    let authority = Authority::default();
    let webhook = Https::start(&authority, &["127.0.0.1"], accepted);
    let alertmanager = Alertmanager::start(&authority, &webhook.url("127.0.0.1", "/")).await;
    let (sender, receiver) = (sender(&egress()), to(&[alertmanager.url()]));
    let now = jiff::Timestamp::now();
    let until = now.checked_add(jiff::SignedDuration::from_mins(42)).unwrap();
    delivered(sender.send(&receiver, &Message { time: now, until: Some(until), ..message() }).await);
    let ends = alertmanager.alerts().await[0]["endsAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(ends.as_second(), until.as_second());
    let thread = Thread { key: "test".to_owned(), topic: "Test".to_owned(), namespace: None, severity: Severity::Info };
    delivered(sender.send(&receiver, &Message { time: now, is_test: true, thread, ..message() }).await);
    let alerts = alertmanager.alerts().await;
    let test = alerts.iter().find(|alert| alert["labels"]["alertname"] == "JitRbacTest").unwrap();
    assert_eq!(test["annotations"]["summary"], "Test: ann requests edit in payments");
    let ends: jiff::Timestamp = test["endsAt"].as_str().unwrap().parse().unwrap();
    assert!(ends.duration_since(now).as_secs() <= 301, "{ends}");
}

#[tokio::test]
async fn every_member_gets_the_alert_and_one_that_accepts_it_is_enough() {
    let authority = Authority::default();
    let webhook = Https::start(&authority, &["127.0.0.1"], accepted);
    let members = [
        Alertmanager::start(&authority, &webhook.url("127.0.0.1", "/")).await,
        Alertmanager::start(&authority, &webhook.url("127.0.0.1", "/")).await,
    ];
    let down = "http://127.0.0.1:9".to_owned();
    let sender = sender(&egress());
    let urls = [members[0].url(), down.clone(), members[1].url()];
    let (_, notes) = delivered(sender.send(&to(&urls), &message()).await);
    assert!(notes.len() == 1 && notes[0].starts_with("cannot connect"), "{notes:?}");
    for member in &members {
        assert_eq!(member.alerts().await.len(), 1);
    }
    retry(sender.send(&to(&[down]), &message()).await);
}

#[tokio::test]
async fn what_alertmanager_refuses_is_not_tried_again() {
    let authority = Authority::default();
    let webhook = Https::start(&authority, &["127.0.0.1"], accepted);
    let alertmanager = Alertmanager::start(&authority, &webhook.url("127.0.0.1", "/")).await;
    let sender = sender(&egress());
    // Its API requires that an alert does not end before it starts.
    let until = "2026-01-01T00:00:00Z".parse().unwrap();
    let why = refused(sender.send(&to(&[alertmanager.url()]), &Message { until: Some(until), ..message() }).await, Reason::Rejected);
    assert!(why.starts_with("HTTP status 400 Bad Request") && why.contains("start time must be before end time"), "{why}");
}

#[tokio::test]
async fn labels_that_would_break_the_identity_of_an_alert_are_refused() {
    let sender = sender(&egress());
    for (label, expected) in [
        ("jit_rbac_uid", "label 'jit_rbac_uid' is set by jit-rbac"),
        ("alertname", "label 'alertname' is set by jit-rbac"),
        ("a b", "label 'a b' is not a valid name"),
        ("", "label '' is not a valid name"),
        ("9a", "label '9a' is not a valid name"),
    ] {
        let labels = [(label.to_owned(), "x".to_owned())].into();
        let sink = Sink::Alertmanager(Settings { urls: vec!["http://127.0.0.1:9".to_owned()], labels });
        let receiver = Receiver { sink, ..to(&[]) };
        assert_eq!(sender.check(&receiver), Err((Reason::SettingsInvalid, expected.to_owned())));
        assert_eq!(refused(sender.send(&receiver, &message()).await, Reason::SettingsInvalid), expected);
    }
    assert_eq!(sender.check(&to(&[])), Err((Reason::SettingsInvalid, "'urls' is empty".to_owned())));
    assert_eq!(sender.check(&to(&[format!("https://{HOST}")])).unwrap_err().0, Reason::HostNotAllowed);
}
