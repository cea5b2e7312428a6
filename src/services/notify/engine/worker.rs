//! The tasks of one receiver: one sends, one writes its status.

use std::{path::Path, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    cluster::Cluster,
    compose,
    handle::{Handle, Test},
    observe::{Fate, NotifyMetrics},
    queue::{Item, MOST_WAITING},
    state::{Blocked, Next},
};
use crate::notify::{Address, Message, Outcome, Sender};
use api::{NotificationReceiver, ReceiverType, names::NOTIFY_FIELD_MANAGER};
use kube_io::{clock::Clock, errors::one_line, status_patch};

/// The shortest time between two writes of a status.
const WRITES: Duration = Duration::from_secs(5);
/// How often the Secret of a receiver is compared.
pub const LOOKS: Duration = Duration::from_secs(5);
/// How long sending may take after a signal to stop.
const LAST: Duration = Duration::from_secs(4);

/// What the tasks of all receivers share.
#[derive(Clone)]
pub struct Shared {
    /// The client of the API server.
    pub client: Client,
    /// What sends.
    pub sender: Arc<Sender>,
    /// What is cluster of the cluster.
    pub cluster: Arc<Cluster>,
    /// The metrics.
    pub metrics: NotifyMetrics,
    /// The clock.
    pub clock: Clock,
    /// The address of the console.
    pub console_url: String,
}

/// What was on the wire.
enum Sent {
    Items(Vec<Item>, bool, Outcome),
    Test(Test, Outcome),
    Dropped(i64, Outcome),
}

/// Sends the messages of one receiver until it is removed, or the process stops.
pub async fn send(shared: Shared, handle: Arc<Handle>, stop: CancellationToken) {
    let mut sends: FuturesUnordered<BoxFuture<'static, Sent>> = FuturesUnordered::new();
    loop {
        check(&shared.sender, &handle);
        let test = handle.test.lock().take();
        if let Some(test) = test {
            sends.push(test_message(&shared, &handle, test));
        }
        sends.extend(dropped_message(&shared, &handle));
        let wait = start(&shared, &handle, &mut sends);
        let until = wait.unwrap_or_else(|| Instant::now() + LOOKS).min(Instant::now() + LOOKS);
        tokio::select! {
            Some(sent) = sends.next() => finish(&shared, &handle, sent),
            () = handle.wake.notified() => {}
            () = sleep_until(until) => {}
            () = handle.gone.cancelled() => return,
            () = stop.cancelled() => break,
        }
    }
    let rest = async {
        while let Some(sent) = sends.next().await {
            finish(&shared, &handle, sent);
        }
    };
    let _ = tokio::time::timeout(LAST, rest).await;
}

/// Puts everything on the wire that may be sent now. Returns when the next message may be.
fn start(shared: &Shared, handle: &Arc<Handle>, sends: &mut FuturesUnordered<BoxFuture<'static, Sent>>) -> Option<Instant> {
    loop {
        let next = handle.state.lock().next(Instant::now());
        let (message, items, is_summary) = match next {
            Next::Wait(at) => return at,
            Next::Summary(items) => (compose::summary(&items, shared.clock.now()), items, true),
            Next::Send(item) => {
                if !is_still_true(&shared.cluster, &item) {
                    let mut state = handle.state.lock();
                    state.outdated(&item);
                    shared.metrics.count(state.kind, Fate::Outdated);
                    handle.changed.notify_one();
                    continue;
                }
                let reference = handle.state.lock().handled.references.get(&item.text.thread).cloned();
                (compose::message(&item, &shared.console_url, reference), vec![*item], false)
            }
        };
        let (sender, receiver) = (Arc::clone(&shared.sender), Arc::clone(&handle.state.lock().receiver));
        sends.push(async move { Sent::Items(items, is_summary, sender.send(&receiver, &message).await) }.boxed());
    }
}

fn is_still_true(cluster: &Cluster, item: &Item) -> bool {
    let subject = &item.occasion.event.subject;
    let request = cluster.open_request(&subject.uid);
    let eligibility = cluster.eligibility_named(&subject.name);
    item.occasion.is_still_true(request.as_deref(), eligibility.as_deref())
}

fn test_message(shared: &Shared, handle: &Arc<Handle>, test: Test) -> BoxFuture<'static, Sent> {
    let (sender, receiver) = (Arc::clone(&shared.sender), Arc::clone(&handle.state.lock().receiver));
    let to = test.to.iter().map(|email| Address { name: None, email: email.clone() }).collect();
    let message: Message = compose::test(&test.id, &receiver.name, to, shared.clock.now());
    async move {
        let outcome = sender.send(&receiver, &message).await;
        Sent::Test(test, outcome)
    }
    .boxed()
}

/// Tells a receiver once what it did not get. Mail has no address for that: the status and the metrics have the number.
fn dropped_message(shared: &Shared, handle: &Arc<Handle>) -> Option<BoxFuture<'static, Sent>> {
    let mut state = handle.state.lock();
    let is_over = state.blocked.is_none() && !state.is_suspended && state.queue.count() < MOST_WAITING / 2;
    if state.unreported == 0 || !is_over || state.kind == ReceiverType::Smtp {
        return None;
    }
    let count = std::mem::take(&mut state.unreported);
    let message = compose::dropped(&state.uid, count, state.status.dropped, shared.clock.now());
    let (sender, receiver) = (Arc::clone(&shared.sender), Arc::clone(&state.receiver));
    Some(async move { Sent::Dropped(count, sender.send(&receiver, &message).await) }.boxed())
}

fn finish(shared: &Shared, handle: &Arc<Handle>, sent: Sent) {
    let (now, time) = (Instant::now(), shared.clock.now());
    let mut state = handle.state.lock();
    match sent {
        Sent::Test(test, outcome) => {
            info!(receiver = state.name, ?outcome, "test message");
            state.tested(test.id, &outcome, time);
        }
        Sent::Dropped(count, Outcome::Delivered { .. }) => info!(receiver = state.name, count, "the receiver knows what was dropped"),
        Sent::Dropped(count, _) => state.unreported += count,
        Sent::Items(items, is_summary, outcome) => {
            let kind = state.kind;
            let answered = state.answered(&items, is_summary, &outcome, now, time, jitter());
            match (&outcome, answered) {
                (_, Some(true)) => {
                    for item in items {
                        shared.metrics.count(kind, Fate::Sent);
                        shared.metrics.latency(kind, time.duration_since(item.occasion.event.at).as_secs_f64());
                    }
                }
                (Outcome::Retry { why, .. }, _) => {
                    shared.metrics.retry(kind);
                    warn!(receiver = state.name, why, "a message is sent again later");
                }
                (Outcome::Refused { reason, why }, _) => {
                    shared.metrics.count(kind, Fate::Failed);
                    warn!(receiver = state.name, reason = reason.as_str(), why, "the receiver refused a message");
                }
                (Outcome::Delivered { .. }, _) => {}
            }
        }
    }
    drop(state);
    handle.changed.notify_one();
}

/// Returns a number between 0 and 1 from the clock's nanoseconds: enough to spread attempts.
fn jitter() -> f64 {
    f64::from(Timestamp::now().subsec_nanosecond()) / 1e9
}

/// Checks the settings of a receiver when they, or its Secret, changed.
fn check(sender: &Sender, handle: &Arc<Handle>) {
    let receiver = Arc::clone(&handle.state.lock().receiver);
    let now = fingerprint(receiver.secrets.as_deref());
    let mut checked = handle.checked.lock();
    if *checked == Some(now) {
        return;
    }
    *checked = Some(now);
    drop(checked);
    let outcome = sender.check(&receiver);
    let mut state = handle.state.lock();
    state.unblock();
    if let Err((reason, why)) = outcome {
        state.error(reason.as_str(), &why, Timestamp::now());
        state.blocked = Some(Blocked { reason: reason.as_str(), why, is_retried: false });
    }
    drop(state);
    handle.changed.notify_one();
}

/// Returns a hash over the files of a Secret.
fn fingerprint(folder: Option<&Path>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut files: Vec<_> =
        folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files.iter().filter(|path| path.is_file()) {
        hash.update(file.as_os_str().as_encoded_bytes());
        // What cannot be read is the same as an empty file.
        hash.update(Sha256::digest(std::fs::read(file).unwrap_or_default()));
    }
    hash.finalize().into()
}

/// Writes the status of one receiver, at most every five seconds, and a last time when the process stops.
pub async fn report(shared: Shared, handle: Arc<Handle>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = handle.changed.notified() => {}
            () = handle.gone.cancelled() => return,
            () = stop.cancelled() => break,
        }
        if !write(&shared, &handle).await {
            continue;
        }
        tokio::select! {
            () = sleep(WRITES) => {}
            () = stop.cancelled() => break,
        }
    }
    // What was on the wire when the signal came has its answer by then.
    sleep(Duration::from_millis(300)).await;
    write(&shared, &handle).await;
}

/// Returns true if there was something to write.
async fn write(shared: &Shared, handle: &Arc<Handle>) -> bool {
    let (name, uid, wanted) = {
        let mut state = handle.state.lock();
        (state.name.clone(), state.uid.clone(), state.report(shared.clock.now()))
    };
    let patch = status_patch::patch(&*handle.stored.lock(), &wanted);
    if patch.as_object().is_none_or(serde_json::Map::is_empty) {
        return false;
    }
    // The UID: a receiver that was created again starts at its new creation.
    let body = json!({"metadata": {"uid": uid}, "status": patch});
    let receivers: Api<NotificationReceiver> = Api::all(shared.client.clone());
    let parameters = PatchParams { field_manager: Some(NOTIFY_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match receivers.patch_status(&name, &parameters, &Patch::Merge(&body)).await {
        Ok(written) => *handle.stored.lock() = written.status.unwrap_or_default(),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
        Err(error) => {
            warn!(receiver = name, why = one_line(&error), "the status cannot be written");
            handle.changed.notify_one();
        }
    }
    true
}
