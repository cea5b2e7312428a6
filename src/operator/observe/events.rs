//! Kubernetes Events: informative, best-effort. They may be dropped; no work waits for them or depends on them.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tracing::debug;

use api::{Reason, text::printable};

/// Longest queue of Events; further ones are dropped.
const IN_LINE: usize = 2_048;
/// Time limit of one call.
const LIMIT: Duration = Duration::from_secs(5);
/// The API server accepts notes up to 1 kB.
const MAX_NOTE: usize = 1024;
/// Most characters of the object's name in the name of its Event. The API server accepts 253; the rest makes the name unique.
const MAX_NAME: usize = 230;
/// How long an Event is remembered, so that a repetition increments its count instead of creating another Event. Kubernetes' own recorders
/// use the same time.
const REMEMBERED: Duration = Duration::from_mins(6);
/// Most Events that are remembered.
const MOST_REMEMBERED: usize = 512;

/// Sends Events in the background, one at a time. A burst of Events is delayed and slows nothing else down.
#[derive(Clone)]
pub struct Events(mpsc::Sender<Told>);

/// An Event to be sent.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    about: ObjectReference,
    warning: bool,
    reason: Reason,
    action: String,
    note: String,
}

impl Events {
    /// Returns a sender of Events in the name of this replica. It works until the last clone is dropped.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let (line, waiting) = mpsc::channel(IN_LINE);
        let sender = Sender { client, identity: identity.to_owned(), sent: Sent::default() };
        tokio::spawn(sender.run(waiting));
        Self(line)
    }

    /// Queues an Event that `action` happened to `about`, if there is room.
    pub fn tell(&self, about: ObjectReference, warning: bool, reason: Reason, action: &str, note: &str) {
        let told = Told { about, warning, reason, action: action.to_owned(), note: bounded(note) };
        if self.0.try_send(told).is_err() {
            debug!(reason = reason.as_str(), "an Event was dropped");
        }
    }
}

struct Sender {
    client: Client,
    identity: String,
    sent: Sent,
}

impl Sender {
    async fn run(mut self, mut waiting: mpsc::Receiver<Told>) {
        while let Some(told) = waiting.recv().await {
            match tokio::time::timeout(LIMIT, self.send(&told)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "an Event was not accepted"),
                Err(_) => debug!("sending an Event timed out"),
            }
        }
    }

    async fn send(&mut self, told: &Told) -> kube::Result<()> {
        let now = Timestamp::now();
        let api: Api<Event> = Api::namespaced(self.client.clone(), told.about.namespace.as_deref().unwrap_or("default"));
        if let Some((name, count)) = self.sent.again(told) {
            let series = EventSeries { count, last_observed_time: MicroTime(now) };
            match api.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"series": series}))).await {
                // The Event was deleted, as Events are after an hour.
                Err(kube::Error::Api(status)) if status.is_not_found() => self.sent.forget(told),
                answered => return answered.map(drop),
            }
        }
        let event = event(told, &self.identity, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.sent.remember(told, name);
        Ok(())
    }
}

/// The Events that were sent recently, the oldest first.
#[derive(Default)]
struct Sent(VecDeque<Remembered>);

struct Remembered {
    told: Told,
    name: String,
    count: i32,
    last: Instant,
}

impl Sent {
    /// Returns the name and the new count of the Event that reported the same; `None` where none is remembered.
    fn again(&mut self, told: &Told) -> Option<(String, i32)> {
        while self.0.front().is_some_and(|oldest| oldest.last.elapsed() > REMEMBERED) {
            self.0.pop_front();
        }
        let place = self.0.iter().position(|sent| sent.told == *told)?;
        let mut sent = self.0.remove(place)?;
        (sent.count, sent.last) = (sent.count.saturating_add(1), Instant::now());
        let again = (sent.name.clone(), sent.count);
        self.0.push_back(sent);
        Some(again)
    }

    fn remember(&mut self, told: &Told, name: String) {
        if self.0.len() >= MOST_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Remembered { told: told.clone(), name, count: 1, last: Instant::now() });
    }

    fn forget(&mut self, told: &Told) {
        self.0.retain(|sent| sent.told != *told);
    }
}

fn event(told: &Told, identity: &str, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            namespace: Some(told.about.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            name: Some(name(told.about.name.as_deref().unwrap_or_default(), now)),
            ..ObjectMeta::default()
        },
        action: Some(told.action.clone()),
        reason: Some(told.reason.as_str().to_owned()),
        note: Some(told.note.clone()),
        type_: Some(if told.warning { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(told.about.clone()),
        reporting_controller: Some("jit-rbac".to_owned()),
        reporting_instance: Some(bounded_to(identity, 128)),
        ..Event::default()
    }
}

/// Returns the name of an Event about an object: the object's name, truncated if necessary, and a unique suffix.
fn name(about: &str, now: Timestamp) -> String {
    let about = bounded_to(about, MAX_NAME);
    let about = about.trim_end_matches(['.', '-']);
    format!("{}.{:x}", if about.is_empty() { "jit-rbac" } else { about }, now.as_nanosecond())
}

/// Returns `note` in printable characters, within the API server's limit.
fn bounded(note: &str) -> String {
    bounded_to(&printable(note), MAX_NOTE)
}

/// Returns the beginning of `text`, at most `most` bytes.
fn bounded_to(text: &str, most: usize) -> String {
    let mut text = text.to_owned();
    while text.len() > most {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, note: &str) -> Told {
        let about = ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
        Told { about, warning: false, reason: Reason::Granted, action: "Active".to_owned(), note: note.to_owned() }
    }

    #[test]
    fn f83_an_events_name_is_one_however_long_the_name_of_its_object_is() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for about in ["inc-4711".to_owned(), "a".repeat(253), format!("{}.{}", "a".repeat(229), "b".repeat(23)), String::new()] {
            let name = name(&about, now);
            assert!(api::names::is_object_name(&name), "{name} is no name");
            assert!(about.is_empty() || name.starts_with(&about[..about.len().min(229)]), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f20_a_repetition_is_counted_and_few_events_are_remembered() {
        let mut sent = Sent::default();
        assert_eq!(sent.again(&told("a", "x")), None);
        sent.remember(&told("a", "x"), "a.1".to_owned());
        assert_eq!(sent.again(&told("a", "x")), Some(("a.1".to_owned(), 2)));
        assert_eq!(sent.again(&told("a", "y")), None, "it says something else");
        assert_eq!(sent.again(&told("b", "x")), None, "it is about something else");
        tokio::time::advance(REMEMBERED / 2).await;
        assert_eq!(sent.again(&told("a", "x")), Some(("a.1".to_owned(), 3)));
        tokio::time::advance(REMEMBERED * 2).await;
        assert_eq!(sent.again(&told("a", "x")), None, "long ago");
        for number in 0..10_000 {
            sent.remember(&told(&format!("flood-{number}"), "x"), format!("flood-{number}.1"));
        }
        assert_eq!(sent.0.len(), MOST_REMEMBERED);
    }
}
