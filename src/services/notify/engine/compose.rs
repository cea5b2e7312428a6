//! Messages from what waits: single ones, summaries and tests.

use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::queue::Item;
use crate::notify::{Address, Fact, Message, Severity, State, Thread};
use domain::{canonical::hex, notify::text};

/// Most messages that a summary lists.
const MOST_LISTED: usize = 30;

const fn state(state: text::State) -> State {
    match state {
        text::State::Open => State::Open,
        text::State::Acknowledged => State::Acknowledged,
        text::State::Resolved => State::Resolved,
    }
}

/// Returns the message of one item.
#[must_use]
pub fn message(item: &Item, console_url: &str, reference: Option<String>) -> Message {
    let (occasion, text) = (&item.occasion, &item.text);
    let subject = &occasion.event.subject;
    let page = match (&subject.namespace, subject.kind) {
        (Some(namespace), "RoleActivationRequest") => Some(format!("requests/{namespace}/{}", subject.name)),
        (None, "RoleEligibility") => Some(format!("eligibilities/{}", subject.name)),
        _ => None,
    };
    Message {
        id: occasion.event.id.clone(),
        event_type: occasion.cloud_event_type(),
        time: occasion.event.at,
        severity: text.severity,
        subject: text::subject(occasion),
        thread: Thread {
            key: text.thread.clone(),
            topic: occasion.event.topic.as_str().to_owned(),
            namespace: subject.namespace.clone(),
            severity: text.thread_severity,
        },
        state: state(text.state),
        until: text.until,
        title: text.title.clone(),
        facts: text.facts.iter().map(|(label, value)| Fact::new(*label, value.clone())).collect(),
        console_url: page.filter(|_| !console_url.is_empty()).map(|page| format!("{}/{page}", console_url.trim_end_matches('/'))),
        command: text.command.clone(),
        recipients: item.recipients.clone(),
        data: text.data.clone(),
        is_test: false,
        reference,
    }
}

/// Returns the id of a message about several others.
fn id_of(parts: impl Iterator<Item = String>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().first_chunk::<16>().map_or_else(String::new, |half| hex(half))
}

/// Returns a message about the process itself.
fn own(id: String, name: &str, time: Timestamp, title: String, facts: Vec<Fact>, recipients: Vec<Address>) -> Message {
    Message {
        event_type: format!("dev.jitrbac.notification.{name}.v1"),
        time,
        severity: Severity::Info,
        subject: format!("notifications/{name}"),
        thread: Thread { key: id.clone(), topic: "Notification".to_owned(), namespace: None, severity: Severity::Info },
        id,
        state: State::Open,
        until: None,
        title,
        data: json!({"facts": facts.iter().map(|fact| json!({"label": fact.label, "value": fact.value})).collect::<Vec<_>>()}),
        facts,
        console_url: None,
        command: None,
        recipients,
        is_test: false,
        reference: None,
    }
}

/// Returns one message instead of `items`, which have the same recipients.
#[must_use]
pub fn summary(items: &[Item], now: Timestamp) -> Message {
    let id = id_of(items.iter().map(|item| item.occasion.event.id.clone()));
    let mut facts: Vec<Fact> = items
        .iter()
        .take(MOST_LISTED)
        .map(|item| Fact::new(domain::instant::stamp(item.occasion.event.at), item.text.title.clone()))
        .collect();
    if items.len() > MOST_LISTED {
        facts.push(Fact::new("Not shown", format!("{} more", items.len() - MOST_LISTED)));
    }
    let recipients = items.first().map(|item| item.recipients.clone()).unwrap_or_default();
    own(id, "summary", now, format!("{} events of jit-rbac", items.len()), facts, recipients)
}

/// Returns the message that tells a receiver how many messages it did not get.
#[must_use]
pub fn dropped(receiver_uid: &str, count: i64, total: i64, now: Timestamp) -> Message {
    let id = id_of([receiver_uid.to_owned(), "dropped".to_owned(), total.to_string()].into_iter());
    let title = format!("{count} messages to this receiver were dropped, because its queue was full");
    own(id, "dropped", now, title, Vec::new(), Vec::new())
}

/// Returns a message that only tests its receiver.
#[must_use]
pub fn test(id: &str, receiver: &str, to: Vec<Address>, now: Timestamp) -> Message {
    let facts = vec![Fact::new("Receiver", receiver), Fact::new("Test", id)];
    let message = own(id_of([id.to_owned()].into_iter()), "test", now, format!("test of the receiver '{receiver}'"), facts, to);
    Message { is_test: true, ..message }
}
