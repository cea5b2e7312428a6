//! Events: hints for people who watch. They may be dropped; nothing waits for them and nothing rests on them.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;
use tracing::debug;

use crate::api::{Reason, text::printable};

/// Most Events that wait in line; more are dropped.
const IN_LINE: usize = 2_048;
/// Longest that one may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The API server takes notes up to 1 kB.
const MAX_NOTE: usize = 1024;

/// Sends Events in the background, one after the other: where much happens at once they come later, and slow nothing else down.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Events in the name of this replica. They are sent until the last clone is dropped.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: "jit-rbac".to_owned(), instance: Some(identity.to_owned()) };
        let (line, waiting) = mpsc::channel(IN_LINE);
        tokio::spawn(send(client, reporter, waiting));
        Self(line)
    }

    /// Says that `action` happened to `about`, if there is room.
    pub fn tell(&self, about: ObjectReference, warning: bool, reason: Reason, action: &str, note: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.as_str().to_owned(),
            note: Some(bounded(note)),
            action: action.to_owned(),
            secondary: None,
        };
        if self.0.try_send((event, about)).is_err() {
            debug!(reason = reason.as_str(), "an Event was dropped");
        }
    }
}

async fn send(client: Client, reporter: Reporter, mut waiting: mpsc::Receiver<(Event, ObjectReference)>) {
    while let Some((event, about)) = waiting.recv().await {
        // A recorder remembers for six minutes what it has sent, to count repetitions, and goes through all of it each time. Ours are told
        // when something changes, so hardly one is like another.
        let recorder = Recorder::new(client.clone(), reporter.clone());
        match tokio::time::timeout(LIMIT, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "an Event was not taken"),
            Err(_) => debug!("an Event took too long"),
        }
    }
}

/// `note`, printable and within the API server's bytes.
fn bounded(note: &str) -> String {
    let mut note = printable(note);
    while note.len() > MAX_NOTE {
        note.pop();
    }
    note
}
