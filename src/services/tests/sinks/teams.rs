//! A workflow of Teams: the envelope and the card are checked against version 1.4 of the schema of Adaptive Cards.

use axum::{body::Body, response::Response};
use jit_rbac_services::notify::{Fact, Message, Reason, Receiver, Settings};
use notify_tools::{Authority, Call, Https};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixture::{HOST, SECRET, delivered, egress, message, receiver, refused, retry, secret, sender};

/// What a message to Teams may have in bytes.
const MOST: usize = 28 * 1024;

/// The properties of version 1.4 that the schema has for these types; those that are required come first.
const TYPES: [(&str, &[&str], &[&str]); 4] = [
    ("AdaptiveCard", &["version"], &["$schema", "body", "actions", "fallbackText", "msteams"]),
    ("RichTextBlock", &["inlines"], &["spacing", "separator", "horizontalAlignment", "id", "isVisible"]),
    ("TextRun", &["text"], &["color", "fontType", "highlight", "isSubtle", "italic", "size", "strikethrough", "underline", "weight"]),
    ("Action.OpenUrl", &["url"], &["title", "tooltip", "style"]),
];
/// The values that the schema enumerates.
const VALUES: [(&str, &[&str]); 5] = [
    ("color", &["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"]),
    ("fontType", &["Default", "Monospace"]),
    ("size", &["Default", "Small", "Medium", "Large", "ExtraLarge"]),
    ("spacing", &["Default", "None", "Small", "Medium", "Large", "ExtraLarge", "Padding"]),
    ("weight", &["Default", "Lighter", "Bolder"]),
];

/// Answers as a workflow does.
fn workflow(_: usize, call: &Call) -> Response<Body> {
    let body = call.json();
    let [attachment] = &body["attachments"].as_array().unwrap()[..] else { panic!("not one attachment") };
    let is_valid = body["type"] == "message"
        && attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        && attachment["content"]["type"] == "AdaptiveCard"
        && call.body.len() <= MOST;
    Response::builder().status(if is_valid { 202 } else { 400 }).body(Body::empty()).unwrap()
}

fn assert_valid(element: &Value) {
    let fields = element.as_object().unwrap();
    let (_, required, optional) =
        TYPES.iter().find(|(name, ..)| element["type"] == *name).unwrap_or_else(|| panic!("not in use: {element}"));
    assert!(required.iter().all(|name| fields.contains_key(*name)), "{element}");
    for (name, value) in fields {
        assert!(name == "type" || required.contains(&name.as_str()) || optional.contains(&name.as_str()), "{name}: {element}");
        if let Some((_, values)) = VALUES.iter().find(|(field, _)| field == name) {
            assert!(values.contains(&value.as_str().unwrap()), "{name}: {value}");
        }
    }
    for list in ["body", "inlines", "actions"] {
        element.get(list).into_iter().flat_map(|list| list.as_array().unwrap()).for_each(assert_valid);
    }
}

fn workflow_secret(server: &Https) -> TempDir {
    secret(&[("url", &server.url(HOST, &format!("/workflows/1?sig={SECRET}")))])
}

fn teams(secret: &TempDir) -> Receiver {
    receiver(Settings::TeamsWorkflow, secret)
}

#[tokio::test]
async fn a_card_is_posted_that_the_schema_accepts() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], workflow);
    let (secret, sender) = (workflow_secret(&server), sender(&egress(&authority)));
    assert_eq!(sender.check(&teams(&secret)), Ok(()));
    delivered(sender.send(&teams(&secret), &message()).await);
    let call = server.calls().remove(0);
    assert_eq!(call.path, format!("/workflows/1?sig={SECRET}"));
    let card = &call.json()["attachments"][0]["content"];
    assert_valid(card);
    assert_eq!(card["version"], "1.4");
    assert_eq!(card["body"][0]["inlines"][0]["text"], "ann requests edit in payments");
    assert_eq!(card["body"][0]["inlines"][0]["color"], "Warning");
    let justification = json!([
        {"type": "TextRun", "text": "Justification: ", "weight": "Bolder"},
        {"type": "TextRun", "text": "INC-4711: the checkout is slow"},
    ]);
    assert!(card["body"].as_array().unwrap().iter().any(|block| block["inlines"] == justification), "{card}");
    assert_eq!(
        card["actions"],
        json!([{"type": "Action.OpenUrl", "title": "Open in the console", "url": "https://jit.example.com/requests/payments/inc-4711"}])
    );
}

#[tokio::test]
async fn the_largest_message_is_below_the_limit() {
    let authority = Authority::default();
    let server = Https::start(&authority, &[HOST], workflow);
    let (secret, sender) = (workflow_secret(&server), sender(&egress(&authority)));
    for letters in ["\"\\", "日本", "x", "👍"] {
        let facts = (0..200).map(|number| Fact::new(letters.repeat(number), letters.repeat(700))).collect();
        let (title, command) = (letters.repeat(2_000), Some(letters.repeat(2_000)));
        delivered(sender.send(&teams(&secret), &Message { title, facts, command, ..message() }).await);
    }
    let small = (0..40).map(|_| Fact::new("\"", "\\")).collect();
    delivered(sender.send(&teams(&secret), &Message { facts: small, ..message() }).await);
    assert!(server.calls().iter().all(|call| call.body.len() <= MOST));
}

#[tokio::test]
async fn a_workflow_that_is_gone_is_refused_and_one_that_is_busy_is_tried_again() {
    let authority = Authority::default();
    for (status, is_retry) in [(429, true), (502, true), (400, false), (404, false), (410, false)] {
        let server = Https::start(&authority, &[HOST], move |_, _| {
            Response::builder().status(status).header("retry-after", "5").body(Body::from(format!("sig={SECRET}"))).unwrap()
        });
        let secret = workflow_secret(&server);
        let outcome = sender(&egress(&authority)).send(&teams(&secret), &message()).await;
        if is_retry {
            assert_eq!(retry(outcome).0, Some(5));
        } else {
            refused(outcome, Reason::Rejected);
        }
    }
    let none = secret(&[]);
    refused(sender(&egress(&authority)).send(&teams(&none), &message()).await, Reason::SecretInvalid);
}
