//! An event for the Events API v2 of PagerDuty: all messages of a thread belong to one alert.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::notify::{
    escape::{cut, line},
    http::{Http, headers},
    message::{Delivery, Failure, State},
    secrets::{self, Secrets},
    sending::Sending,
    settings::PagerDuty,
    text::{COMMAND, OPEN},
};

/// The address of the Events API.
const API: &str = "https://events.pagerduty.com/v2/enqueue";
/// The key of the Secret with the integration key of a service.
const ROUTING_KEY: &str = "routing-key";
/// The length of a routing key.
const KEY_LENGTH: usize = 32;
/// The longest key of an alert.
const DEDUP_KEY: usize = 255;
/// The longest summary.
const SUMMARY: usize = 1_024;

pub(crate) fn check(settings: &PagerDuty, http: &Http, secrets: &Secrets) -> Result<(), Failure> {
    let key = secrets.required(ROUTING_KEY)?;
    if key.len() != KEY_LENGTH || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(secrets::invalid(ROUTING_KEY, "must have 32 letters and digits"));
    }
    http.allowed(url(settings)).map(drop)
}

pub(crate) async fn send(settings: &PagerDuty, sending: &Sending<'_>) -> Result<Delivery, Failure> {
    check(settings, sending.http, sending.secrets)?;
    let event = event(sending, sending.secrets.required(ROUTING_KEY)?);
    let headers = headers("application/json", sending.secrets)?;
    let answer = sending.http.post(url(settings), headers, event.to_string().into_bytes()).await?.accepted(sending.secrets)?;
    // The status is the acceptance. The key in the answer is the one that was sent.
    let key = answer.json().ok().and_then(|json| json.get("dedup_key")?.as_str().map(|key| line(key, DEDUP_KEY)));
    Ok(Delivery { reference: key.or_else(|| Some(dedup_key(sending))), notes: Vec::new() })
}

fn url(settings: &PagerDuty) -> &str {
    settings.url.as_deref().unwrap_or(API)
}

fn dedup_key(sending: &Sending<'_>) -> String {
    line(&format!("jit-rbac/{}", sending.message.thread.key), DEDUP_KEY)
}

pub(crate) fn event(sending: &Sending<'_>, routing_key: &str) -> Value {
    let (message, text) = (sending.message, sending.text);
    let action = match message.state {
        State::Open => "trigger",
        State::Acknowledged => "acknowledge",
        State::Resolved => "resolve",
    };
    let mut event = json!({"routing_key": routing_key, "event_action": action, "dedup_key": dedup_key(sending)});
    let Some(fields) = event.as_object_mut() else { return event };
    if message.state != State::Open {
        return event;
    }
    let mut details: BTreeMap<&str, &str> = text.facts.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
    let lines = text.lines.join("\n");
    if !lines.is_empty() {
        details.insert("Text", &lines);
    }
    if let Some(command) = &text.command {
        details.insert(COMMAND, command);
    }
    let payload = json!({
        "summary": cut(&text.title, SUMMARY),
        "source": sending.source,
        "severity": message.severity.as_str(),
        "timestamp": message.time.to_string(),
        "component": "jit-rbac",
        "group": message.thread.namespace.as_deref().map(|name| line(name, DEDUP_KEY)),
        "class": line(&message.event_type, DEDUP_KEY),
        "custom_details": details,
    });
    fields.insert("payload".to_owned(), payload);
    fields.insert("client".to_owned(), json!("jit-rbac"));
    if let Some(url) = &text.console_url {
        fields.insert("client_url".to_owned(), json!(url));
        fields.insert("links".to_owned(), json!([{"href": url, "text": OPEN}]));
    }
    event
}
