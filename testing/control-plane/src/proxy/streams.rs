//! Disturbances of watch events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use http_body_util::BodyStream;
use hyper::body::{Bytes, Incoming};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::server::ProxyHandler;

/// How long an event waits for another one to be reordered with.
const PATIENCE: Duration = Duration::from_millis(300);

/// What happens to every event of a kind's watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disorder {
    /// It is delivered twice.
    Twice,
    /// It is delivered after the next one, if that is about another object.
    Swapped,
    /// It is delivered once the disturbance is withdrawn.
    Late,
    /// It is never delivered.
    Lost,
    /// It has a resource version far beyond that of the store.
    Ahead,
}

/// An active disturbance. Dropping it withdraws it.
#[derive(Debug)]
pub struct Disturbed {
    pub(super) standing: Arc<Disturbance>,
}

#[derive(Debug)]
pub(super) struct Disturbance {
    pub(super) caller: Option<String>,
    pub(super) resource: String,
    pub(super) disorder: Disorder,
    met: AtomicUsize,
    pub(super) over: watch::Sender<bool>,
}

impl Disturbance {
    pub(super) fn new(caller: Option<&str>, resource: &str, disorder: Disorder) -> Self {
        Self {
            caller: caller.map(str::to_owned),
            resource: resource.to_owned(),
            disorder,
            met: AtomicUsize::new(0),
            over: watch::Sender::new(false),
        }
    }
}

impl Disturbed {
    /// Returns how many events have met it.
    #[must_use]
    pub fn met(&self) -> usize {
        self.standing.met.load(Ordering::Relaxed)
    }
}

impl Drop for Disturbed {
    fn drop(&mut self) {
        self.standing.over.send_replace(true);
    }
}

/// Returns the event with a resource version that is higher by this much.
fn ahead(line: &[u8]) -> Bytes {
    const BY: u64 = 1_000_000_000;
    let raised = || {
        let mut event: Value = serde_json::from_slice(line).ok()?;
        let version = event.pointer_mut("/object/metadata/resourceVersion")?;
        *version = (version.as_str()?.parse::<u64>().ok()? + BY).to_string().into();
        let mut text = serde_json::to_vec(&event).ok()?;
        text.push(b'\n');
        Some(text.into())
    };
    raised().unwrap_or_else(|| Bytes::copy_from_slice(line))
}

type Out = mpsc::UnboundedSender<Bytes>;

/// One watch between a caller and the API server.
pub(super) struct Stream {
    pub(super) handler: Arc<ProxyHandler>,
    pub(super) caller: String,
    pub(super) resource: String,
    pub(super) out: Out,
}

impl Stream {
    /// Forwards events until either side ends the watch, or a test cuts it.
    pub(super) async fn run(self, body: Incoming) {
        let mut frames = BodyStream::new(body);
        let mut cut = self.handler.cuts(&self.resource);
        cut.mark_unchanged();
        let mut partial = Vec::new();
        let mut held: VecDeque<Bytes> = VecDeque::new();
        loop {
            let late = self.handler.disturbance(&self.caller, &self.resource);
            let over = async {
                match &late {
                    Some(standing) => drop(standing.over.subscribe().wait_for(|over| *over).await),
                    None => std::future::pending().await,
                }
            };
            let swapping = late.as_ref().is_some_and(|standing| standing.disorder == Disorder::Swapped);
            tokio::select! {
                frame = frames.next() => {
                    let Some(Ok(frame)) = frame else { break };
                    let Ok(data) = frame.into_data() else { continue };
                    partial.extend_from_slice(&data);
                    while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                        let line: Bytes = partial.drain(..=end).collect::<Vec<u8>>().into();
                        self.event(line, &mut held);
                    }
                }
                () = over => self.flush(&mut held),
                () = tokio::time::sleep(PATIENCE), if swapping && !held.is_empty() => self.flush(&mut held),
                _ = cut.changed() => return,
                () = self.out.closed() => return,
            }
        }
        self.flush(&mut held);
    }

    fn event(&self, line: Bytes, held: &mut VecDeque<Bytes>) {
        let Some(standing) = self.handler.disturbance(&self.caller, &self.resource).filter(|_| !is_bookmark(&line)) else {
            self.flush(held);
            return self.send(line);
        };
        standing.met.fetch_add(1, Ordering::Relaxed);
        match standing.disorder {
            Disorder::Twice => {
                self.send(line.clone());
                self.send(line);
            }
            Disorder::Lost => {}
            Disorder::Ahead => self.send(ahead(&line)),
            Disorder::Late => held.push_back(line),
            Disorder::Swapped => match held.pop_front() {
                Some(before) if uid(&before) != uid(&line) => {
                    self.send(line);
                    self.send(before);
                }
                // The order of events of the same object is kept.
                Some(before) => {
                    self.send(before);
                    held.push_back(line);
                }
                None => held.push_back(line),
            },
        }
    }

    fn flush(&self, held: &mut VecDeque<Bytes>) {
        held.drain(..).for_each(|line| self.send(line));
    }

    fn send(&self, line: Bytes) {
        // The watcher may be gone, which ends the watch anyway.
        let _ = self.out.send(line);
    }
}

fn is_bookmark(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":"BOOKMARK""#)
}

fn uid(line: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(line).ok()?;
    event.pointer("/object/metadata/uid")?.as_str().map(str::to_owned)
}
