//! The end of grants (api rule 9): every replica watches the managed bindings and removes those that are due.
//!
//! The removal needs only the observed binding, the clock and the permission to delete. It needs no webhook, no Lease and no other cache.
//! The Lease only decides which replica is first.

pub mod end;
mod front;
mod helpers;
pub mod index;
pub mod sweep;
pub mod takeover;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::rbac::v1::RoleBinding, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    observe::{metrics::ControllerMetrics, queues::QueueMetrics},
    queue::{Next, Queue, Worker, queue},
};
use api::names;
use end::{Ended, Proof, end};
use front::{AT_ONCE, Front};
use helpers::{Helper, Helpers};
use index::{Index, Known};
use kube_io::{
    backoff::Backoff,
    cache::Key,
    call::CallError,
    clock::Clock,
    kept::BindingMark,
    watch::{Event, Source},
    watches::Watches,
};

/// The poll interval of a standby that waits for a free permit.
const HELP_AGAIN: Duration = Duration::from_millis(50);
/// The timeout of the read that verifies whether another client has removed a binding. A missing answer delays no removal by more.
const LONGEST_QUESTION: Duration = Duration::from_millis(250);
/// The same for a binding that a watch has reported as deleted. Most likely it is gone, and a busy API server may answer slowly.
const LONGEST_QUESTION_OF_DELETED: Duration = Duration::from_secs(2);
/// The backoff after a failure. It is short, because the binding still grants access.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// The callback for each observed binding, which updates the record of its request.
pub type Tell = Arc<dyn Fn(&Known, Observation) + Send + Sync>;

/// Why a binding is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The binding appeared, changed or was removed.
    News,
    /// The binding exists and the watch delivers it, as a sweep has found.
    Swept,
}

/// Removes managed bindings at their deadlines.
pub struct Revoker {
    client: Client,
    clock: Clock,
    leading: watch::Receiver<bool>,
    index: Index,
    queue: Queue<Key>,
    worker: Mutex<Option<Worker<Key>>>,
    /// When the removal of a binding by another client was last observed.
    last_gone: Mutex<Timestamp>,
    expected: Mutex<HashSet<Key>>,
    /// How many bindings are being removed now.
    ending: AtomicUsize,
    /// The bindings that this replica is removing. Their removal is no sign of another client.
    own: Mutex<HashSet<Key>>,
    helpers: Helpers,
    front: Front,
    tell: Tell,
    watches: Watches,
    metrics: ControllerMetrics,
}

impl Revoker {
    /// Returns a revoker that calls `tell` for each binding that appears, changes or is removed.
    #[must_use]
    pub fn new(
        client: Client,
        clock: Clock,
        leading: watch::Receiver<bool>,
        tell: Tell,
        watches: Watches,
        metrics: ControllerMetrics,
        queue_metrics: QueueMetrics,
    ) -> Self {
        let (queue, worker) = queue(clock.clone(), BACKOFF, queue_metrics);
        Self {
            client,
            clock,
            leading,
            index: Index::default(),
            queue,
            worker: Mutex::new(Some(worker)),
            last_gone: Mutex::new(Timestamp::MIN),
            expected: Mutex::default(),
            ending: AtomicUsize::default(),
            own: Mutex::default(),
            helpers: Helpers::default(),
            front: Front::default(),
            tell,
            watches,
            metrics,
        }
    }

    /// Returns the managed bindings that this replica knows.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Creates a binding by polling `create`, and tracks it from that moment.
    ///
    /// If this replica has created the binding, its next event is no news. If the creation failed or got no answer, the event is news: the
    /// binding may exist, and only the event reports it.
    pub async fn create_tracked<E>(&self, key: Key, create: impl Future<Output = Result<RoleBinding, E>>) -> Result<RoleBinding, E> {
        self.expect(key.clone());
        let created = create.await;
        match &created {
            Ok(binding) => self.made(binding),
            Err(_) => self.unexpect(&key),
        }
        created
    }

    /// Records that this replica is about to create the binding, so that its next event is no news. If another writer creates it first, the
    /// creation fails.
    fn expect(&self, key: Key) {
        self.expected.lock().insert(key);
    }

    /// Tracks a created binding. Until a watch has delivered it, only this answer shows that it exists, and a revocation must find it.
    fn made(&self, binding: &RoleBinding) {
        let key = Key::of(&binding.metadata);
        let unseen = self.expected.lock().contains(&key);
        if unseen {
            let known = self.index.note(&key, &binding.metadata, self.clock.now());
            self.queue.add_at(key, known.deadline);
        }
    }

    /// Records that the creation failed or got no answer, so that the next event of the binding is news.
    fn unexpect(&self, key: &Key) {
        self.expected.lock().remove(key);
    }

    /// Watches the bindings and removes those that are due until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(worker) = self.worker.lock().take() else { return };
        tokio::select! {
            () = worker.run(AT_ONCE, stop.clone(), |key| self.work(key)) => {}
            () = self.follow() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn follow(&self) {
        // Whole objects: the API server encodes an object once for all its watchers, but its metadata separately for each of them.
        let api: Api<RoleBinding> = Api::all(self.client.clone());
        let managed = Source::all(&api, &()).labels(names::MANAGED_SELECTOR).urgent();
        let place = self.watches.place("bindings");
        let (mut listed, mut first) = (Vec::new(), true);
        kube_io::watch::run(&self.client, managed, &place, |event: Event<BindingMark>| match event {
            Event::Init(_) => listed.clear(),
            Event::InitApply(binding) => {
                // A binding that the first sweep has also found is no news when the first list delivers it.
                let swept = first && self.index.get(&Key::of(&binding.metadata)).is_some();
                listed.push(self.seen(&binding.metadata, if swept { Observation::Swept } else { Observation::News }));
            }
            Event::InitDone(_) => {
                first = false;
                for key in self.index.others(&std::mem::take(&mut listed)) {
                    self.mark_unverified(&key);
                }
            }
            Event::Apply(binding) => {
                self.seen(&binding.metadata, Observation::News);
            }
            // The label may only have been removed, and the binding may still grant (T56). A read by name verifies it.
            Event::Delete(binding) => {
                let key = Key::of(&binding.metadata);
                if self.index.get(&key).is_some() && !self.own.lock().contains(&key) {
                    self.others_went();
                }
                self.mark_unverified(&key);
            }
            Event::Interrupted => {}
        })
        .await;
    }

    /// Records a managed binding and sets its timer.
    pub fn seen(&self, binding: &ObjectMeta, sight: Observation) -> Key {
        let key = Key::of(binding);
        let before = self.index.get(&key);
        let known = self.index.note(&key, binding, self.clock.now());
        // A writer who changes the request that a binding names must not hide the binding from its own request.
        if let Some(before) = before.filter(|before| before.uid == known.uid && before.request != known.request) {
            (self.tell)(&before, Observation::News);
        }
        self.queue.add_at(key.clone(), known.deadline);
        if !self.expected.lock().remove(&key) {
            (self.tell)(&known, sight);
        }
        key
    }

    fn mark_unverified(&self, key: &Key) {
        if self.index.mark_unverified(key) {
            self.queue.add(key.clone());
        }
    }

    async fn work(&self, key: Key) -> Next {
        let Some(known) = self.index.get(&key) else { return Next::Done };
        let due = known.deadline <= self.clock.now();
        if due && !*self.leading.borrow() {
            self.front.look(&self.index, self.clock.now());
        }
        // This also applies to the verification of a reported deletion: another client most likely removed the binding, and may be removing
        // more.
        let patience = if known.unverified { takeover::TO_LOOK } else { takeover::TO_END };
        if due && let Some(wait) = self.wait_at_most(known.deadline, patience) {
            return Next::In(wait);
        }
        let _helper = if due && !*self.leading.borrow() {
            match self.help(&known).await {
                Ok(helper) => Some(helper),
                Err(next) => return next,
            }
        } else {
            None
        };
        match (known.unverified, due) {
            (true, _) => self.look(&known).await,
            (false, true) => self.end(&known).await,
            (false, false) => Next::At(known.deadline),
        }
    }

    /// Returns a permit if a standby may remove a due binding, and otherwise what comes next.
    async fn help(&self, known: &Known) -> Result<Helper<'_>, Next> {
        let now = self.clock.now();
        let is_late = now.duration_since(known.deadline) >= takeover::TO_END;
        let nobody_is_at_it = is_late && !takeover::others_go(known.deadline, self.last_gone(), now);
        if !nobody_is_at_it && self.front.is_the_holders(known, now) {
            return Err(Next::In(HELP_AGAIN));
        }
        let Some(helper) = self.helpers.take(now) else { return Err(Next::In(HELP_AGAIN)) };
        if helper.asks_first && !known.unverified && self.is_known_to_be_gone(&known.key, &known.uid, LONGEST_QUESTION).await {
            self.others_went();
            self.gone(known);
            return Err(Next::Done);
        }
        Ok(helper)
    }

    /// Verifies with the API server that a binding which a watch has reported as deleted is gone.
    async fn look(&self, known: &Known) -> Next {
        match end::is_gone(&self.client, &known.key, &known.uid).await {
            Ok(true) => {
                self.gone(known);
                Next::Done
            }
            Ok(false) => {
                warn!(binding = %known.key, "a managed binding lost its label and still grants");
                self.index.trust(&known.key);
                (self.tell)(known, Observation::News);
                Next::At(known.deadline)
            }
            Err(error) => {
                warn!(binding = %known.key, %error, "cannot determine whether the binding is gone");
                Next::Retry
            }
        }
    }

    async fn end(&self, known: &Known) -> Next {
        self.ending.fetch_add(1, Ordering::Relaxed);
        let ended = self.attempt(&known.key, &known.uid, Proof::ByTheRecord).await;
        self.ending.fetch_sub(1, Ordering::Relaxed);
        match ended {
            Ok(Ended::Gone) => {
                self.helpers.alone();
                let late = self.clock.now().duration_since(known.deadline);
                self.metrics.removed(late);
                info!(binding = %known.key, request = %known.request, late_ms = milliseconds(late), "grant expired: binding removed");
                self.gone(known);
                Next::Done
            }
            Ok(Ended::WasGone) => {
                self.others_went();
                self.gone(known);
                Next::Done
            }
            Ok(Ended::Emptied) => {
                warn!(binding = %known.key, "a foreign finalizer keeps the binding; it has no subjects any more and grants nothing");
                Next::Retry
            }
            Err(error) => {
                warn!(binding = %known.key, %error, "cannot remove the binding yet");
                Next::Retry
            }
        }
    }

    /// Attempts to remove a binding, and counts a failure.
    async fn attempt(&self, key: &Key, uid: &str, proof: Proof) -> Result<Ended, CallError> {
        self.own.lock().insert(key.clone());
        let ended = end(&self.client, key, uid, proof).await.inspect_err(|_| self.metrics.revoke_failed());
        self.own.lock().remove(key);
        ended
    }

    /// Returns true while expired bindings are being removed. Updates that only record how a grant ended wait for that.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) > 0
    }

    /// Records that another client, such as another replica, removes bindings.
    fn others_went(&self) {
        *self.last_gone.lock() = self.clock.now();
        self.helpers.with_others();
    }

    fn gone(&self, known: &Known) {
        self.unexpect(&known.key);
        self.front.forget(&known.key);
        self.index.forget(known);
        (self.tell)(known, Observation::News);
    }

    /// Returns how long a standby waits before it removes what has been due since `due`. None: it does not wait.
    #[must_use]
    pub fn wait(&self, due: Timestamp) -> Option<Duration> {
        self.wait_at_most(due, takeover::TO_END)
    }

    fn wait_at_most(&self, due: Timestamp, patience: SignedDuration) -> Option<Duration> {
        takeover::wait(*self.leading.borrow(), due, patience, self.last_gone(), self.clock.now())
    }

    fn last_gone(&self) -> Timestamp {
        *self.last_gone.lock()
    }

    /// Reads whether another client has removed a binding. Returns false if there is no answer.
    async fn is_known_to_be_gone(&self, key: &Key, uid: &str, at_most: Duration) -> bool {
        matches!(timeout(at_most, end::is_gone(&self.client, key, uid)).await, Ok(Ok(true)))
    }

    /// Removes a binding now, whatever its deadline: a person has revoked the grant, or a rule has ended it.
    pub async fn revoke(&self, key: &Key, uid: &str) -> Result<Ended, CallError> {
        let unverified = self.index.get(key).is_some_and(|known| known.uid == uid && known.unverified);
        let at_most = if unverified { LONGEST_QUESTION_OF_DELETED } else { LONGEST_QUESTION };
        let ended = if (unverified || !*self.leading.borrow()) && self.is_known_to_be_gone(key, uid, at_most).await {
            Ended::WasGone
        } else {
            self.attempt(key, uid, Proof::Now).await?
        };
        if ended == Ended::WasGone {
            self.others_went();
        }
        if ended != Ended::Emptied
            && let Some(known) = self.index.get(key).filter(|known| known.uid == uid)
        {
            self.index.forget(&known);
        }
        Ok(ended)
    }
}

/// Returns the milliseconds for the log, which has no number above 64 bits.
fn milliseconds(late: SignedDuration) -> i64 {
    i64::try_from(late.as_millis()).unwrap_or(i64::MAX)
}
