//! The queues of one replica and their workers.

use std::time::Duration;

use super::requests::HOLDERS_TIME;
use crate::{
    observe::queues::QueuesMetrics,
    queue::{Queue, Worker, queue},
};
use kube_io::{backoff::Backoff, cache::Key, clock::Clock};

/// The backoff after failures.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));

/// The queues of one replica.
#[derive(Clone)]
pub(super) struct Queues {
    pub(super) requests: Queue<Key>,
    pub(super) eligibilities: Queue<Key>,
    pub(super) policies: Queue<Key>,
    pub(super) ended: Queue<Key>,
}

/// The workers of the queues.
pub(super) struct Workers {
    pub(super) requests: Worker<Key>,
    pub(super) eligibilities: Worker<Key>,
    pub(super) policies: Worker<Key>,
    pub(super) ended: Worker<Key>,
}

/// Returns empty queues and their workers.
pub(super) fn new(clock: &Clock, metrics: &QueuesMetrics) -> (Queues, Workers) {
    let new = |name| queue(clock.clone(), BACKOFF, metrics.of(name));
    let ((requests, requests_worker), (eligibilities, eligibilities_worker)) = (new("requests"), new("eligibilities"));
    let ((policies, policies_worker), (ended, ended_worker)) = (new("policies"), new("retention"));
    (
        Queues { requests, eligibilities, policies, ended },
        Workers { requests: requests_worker, eligibilities: eligibilities_worker, policies: policies_worker, ended: ended_worker },
    )
}

impl Queues {
    /// Queues a request: at once on the leader, and on a standby with a delay that leaves the change to the leader first.
    pub(super) fn request(&self, key: Key, leading: bool) {
        let pause = if leading { Duration::ZERO } else { Duration::try_from(HOLDERS_TIME).unwrap_or_default() };
        self.requests.add_in(key, pause);
    }
}
