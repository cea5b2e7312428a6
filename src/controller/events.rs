//! Events: hints for people who watch. They may be dropped; nothing waits for them and nothing rests on them.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::api::{Reason, text::printable};

/// Most Events that are on their way at a time; more are dropped.
const ON_THE_WAY: usize = 32;
/// Longest that one may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The API server takes notes up to 1 kB.
const MAX_NOTE: usize = 1024;

/// Sends Events in the background.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    slots: Arc<Semaphore>,
}

impl Events {
    /// Events in the name of this replica.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: "jit-rbac".to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter), slots: Arc::new(Semaphore::new(ON_THE_WAY)) }
    }

    /// Says that `action` happened to `about`, if there is room.
    pub fn tell(&self, about: ObjectReference, warning: bool, reason: Reason, action: &str, note: &str) {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            debug!(reason = reason.as_str(), "an Event was dropped");
            return;
        };
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.as_str().to_owned(),
            note: Some(bounded(note)),
            action: action.to_owned(),
            secondary: None,
        };
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(LIMIT, recorder.publish(&event, &about)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "an Event was not taken"),
                Err(_) => debug!("an Event took too long"),
            }
            drop(slot);
        });
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
