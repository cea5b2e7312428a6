//! A work queue of keys, due now or later: each key at most once at a time, the earliest time wins, and failures back off.
//!
//! Wall-clock times are compared with the clock again before they count: timers use a monotonic clock, and are wrong after a suspend or a
//! step of the wall clock.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::Future,
    hash::Hash,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{
    sync::CancellationToken,
    time::{DelayQueue, delay_queue},
};

use crate::observe::queues::{Outcome, QueueMetrics, State};
use kube_io::{backoff::Backoff, clock::Clock};

/// Longest interval between reads of the wall clock. One timer serves all keys: with a timer per key, thousands of timers would fire
/// without effect.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// The group of workers for a key. A full lane never delays the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Work that any user can cause.
    Ordinary,
    /// Work that revokes access.
    Urgent,
}

const LANES: usize = 2;

/// Concurrency limit of each lane.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Limit of [`Lane::Ordinary`].
    pub ordinary: usize,
    /// Limit of [`Lane::Urgent`].
    pub urgent: usize,
}

impl Limits {
    const fn of(self, lane: Lane) -> usize {
        match lane {
            Lane::Ordinary => self.ordinary,
            Lane::Urgent => self.urgent,
        }
    }
}

/// The result of processing a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing to do until the key is added again.
    Done,
    /// Requeue after this delay.
    In(Duration),
    /// Requeue at this wall-clock time.
    At(Timestamp),
    /// Failed: requeue after a delay that grows with each failure.
    Retry,
    /// Failed: requeue after this delay.
    RetryIn(Duration),
}

impl Next {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Done => Outcome::Success,
            Self::In(_) | Self::At(_) => Outcome::RequeueAfter,
            Self::Retry | Self::RetryIn(_) => Outcome::Error,
        }
    }
}

/// When a key is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    After(Instant),
    At(Timestamp),
}

impl Due {
    /// Returns the remaining time, by the present state of the clocks.
    fn left(self, clock: &Clock) -> Duration {
        match self {
            Self::After(at) => at.saturating_duration_since(Instant::now()),
            Self::At(at) => Duration::try_from(at.duration_since(clock.now())).unwrap_or_default(),
        }
    }

    fn earlier(self, other: Self, clock: &Clock) -> Self {
        if other.left(clock) < self.left(clock) { other } else { self }
    }
}

/// The sender of a queue. It never blocks and never loses a key.
#[derive(Debug)]
pub struct Queue<K>(mpsc::UnboundedSender<(K, Due)>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Queue<K> {
    /// Adds `key`, due at once.
    pub fn add(&self, key: K) {
        self.add_in(key, Duration::ZERO);
    }

    /// Adds `key`, due after `pause` unless it is already due earlier.
    pub fn add_in(&self, key: K, pause: Duration) {
        self.send(key, Due::After(Instant::now() + pause));
    }

    /// Adds `key`, due at a wall-clock time unless it is already due earlier.
    pub fn add_at(&self, key: K, at: Timestamp) {
        self.send(key, Due::At(at));
    }

    fn send(&self, key: K, due: Due) {
        // This fails only when the worker has ended, together with the process.
        let _ = self.0.send((key, due));
    }
}

/// When a waiting key becomes due.
#[derive(Debug)]
enum Waits {
    /// At the end of a delay.
    Pause(delay_queue::Key, Instant),
    /// At a wall-clock time.
    Until(Timestamp),
}

impl Waits {
    const fn due(&self) -> Due {
        match self {
            Self::Pause(_, at) => Due::After(*at),
            Self::Until(at) => Due::At(*at),
        }
    }
}

/// The receiver of a queue, which processes the keys.
#[derive(Debug)]
pub struct Worker<K> {
    clock: Clock,
    incoming: mpsc::UnboundedReceiver<(K, Due)>,
    waiting: HashMap<K, Waits>,
    pausing: DelayQueue<K>,
    calendar: BTreeSet<(Timestamp, K)>,
    ready: [VecDeque<K>; LANES],
    queued: HashMap<K, Queued>,
    busy: HashMap<K, Busy>,
    failing: HashMap<K, Backoff>,
    backoff: Backoff,
    metrics: QueueMetrics,
}

/// A due key that waits for a worker.
#[derive(Clone, Copy, Debug)]
struct Queued {
    lane: Lane,
    since: Instant,
}

/// A key that is being processed.
#[derive(Clone, Copy, Debug)]
struct Busy {
    lane: Lane,
    since: Instant,
    /// When it is due again, if it was added meanwhile.
    again: Option<Due>,
}

/// Returns sender and receiver of a new queue. `backoff` holds the delays after failures, separately for each key.
#[must_use]
pub fn queue<K: Clone + Hash + Ord>(clock: Clock, backoff: Backoff, metrics: QueueMetrics) -> (Queue<K>, Worker<K>) {
    let (sender, incoming) = mpsc::unbounded_channel();
    let worker = Worker {
        clock,
        incoming,
        waiting: HashMap::new(),
        pausing: DelayQueue::new(),
        calendar: BTreeSet::new(),
        ready: std::array::from_fn(|_| VecDeque::new()),
        queued: HashMap::new(),
        busy: HashMap::new(),
        failing: HashMap::new(),
        backoff,
        metrics,
    };
    (Queue(sender), worker)
}

impl<K: Clone + Hash + Ord + Unpin> Worker<K> {
    /// Processes keys until `stop`, at most `most` at a time, and each key at most once at a time.
    pub async fn run<F: Future<Output = Next>>(self, most: usize, stop: CancellationToken, work: impl Fn(K) -> F) {
        self.run_in_lanes(Limits { ordinary: most, urgent: 0 }, stop, |_| Lane::Ordinary, work).await;
    }

    /// Processes keys with workers for each lane. `lane` is called when a key becomes due and whenever it is added.
    pub async fn run_in_lanes<F: Future<Output = Next>>(
        mut self,
        most: Limits,
        stop: CancellationToken,
        lane: impl Fn(&K) -> Lane,
        work: impl Fn(K) -> F,
    ) {
        let mut running = FuturesUnordered::new();
        loop {
            // All added keys are scheduled before any work starts, so that a key that was added twice is processed once.
            while let Ok((key, due)) = self.incoming.try_recv() {
                self.schedule(key, due, &lane);
            }
            // In each iteration, and not only when the timer below fires. Each iteration recreates the timer, so other work could delay it
            // for ever.
            self.read_the_clock(&lane);
            for of in [Lane::Urgent, Lane::Ordinary] {
                while self.busy_in(of) < most.of(of)
                    && let Some((key, due)) = self.next_in(of)
                {
                    self.metrics.started(due);
                    self.busy.insert(key.clone(), Busy { lane: of, since: Instant::now(), again: None });
                    let outcome = work(key.clone());
                    running.push(async move { (key, outcome.await) });
                }
            }
            self.show();
            let nap = self.nap();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((key, next)) = running.next(), if !running.is_empty() => self.finished(&key, next, &lane),
                Some((key, due)) = self.incoming.recv() => self.schedule(key, due, &lane),
                Some(expired) = self.pausing.next(), if !self.pausing.is_empty() => {
                    let key = expired.into_inner();
                    self.waiting.remove(&key);
                    self.make_ready(key, &lane);
                }
                // The next iteration reads the clock.
                () = tokio::time::sleep(nap), if !self.calendar.is_empty() => {}
                else => return,
            }
        }
    }

    fn busy_in(&self, lane: Lane) -> usize {
        self.busy.values().filter(|busy| busy.lane == lane).count()
    }

    /// Removes and returns the first key of a lane, and since when it is due.
    fn next_in(&mut self, lane: Lane) -> Option<(K, Instant)> {
        let since = self.oldest_in(lane)?;
        let key = self.ready.get_mut(lane as usize)?.pop_front()?;
        self.queued.remove(&key);
        Some((key, since))
    }

    /// Returns since when the first key of a lane is due.
    fn oldest_in(&mut self, lane: Lane) -> Option<Instant> {
        let keys = self.ready.get_mut(lane as usize)?;
        loop {
            if let Some(queued) = self.queued.get(keys.front()?)
                && queued.lane == lane
            {
                return Some(queued.since);
            }
            // A key that has changed lanes is queued in the other lane.
            keys.pop_front();
        }
    }

    /// Reports what waits and what runs.
    fn show(&mut self) {
        let oldest = [Lane::Urgent, Lane::Ordinary].into_iter().filter_map(|lane| self.oldest_in(lane)).min();
        let longest = self.busy.values().map(|busy| busy.since).min();
        self.metrics.show(State { waiting: self.queued.len(), oldest, active: self.busy.len(), longest });
    }

    fn schedule(&mut self, key: K, due: Due, lane: &impl Fn(&K) -> Lane) {
        if let Some(busy) = self.busy.get_mut(&key) {
            busy.again = Some(busy.again.map_or(due, |other| other.earlier(due, &self.clock)));
            return;
        }
        if self.queued.contains_key(&key) {
            // The key may have become urgent while it was queued.
            self.make_ready(key, lane);
            return;
        }
        if let Some(before) = self.waiting.get(&key) {
            if due.left(&self.clock) >= before.due().left(&self.clock) {
                return;
            }
            self.take_out(&key);
        }
        let left = due.left(&self.clock);
        if left.is_zero() {
            self.make_ready(key, lane);
            return;
        }
        let waits = match due {
            Due::After(at) => Waits::Pause(self.pausing.insert(key.clone(), left), at),
            Due::At(at) => {
                self.calendar.insert((at, key.clone()));
                Waits::Until(at)
            }
        };
        self.waiting.insert(key, waits);
    }

    fn take_out(&mut self, key: &K) {
        match self.waiting.remove(key) {
            Some(Waits::Pause(timer, _)) => _ = self.pausing.try_remove(&timer),
            Some(Waits::Until(at)) => _ = self.calendar.remove(&(at, key.clone())),
            None => {}
        }
    }

    /// Returns the time until the clock must be read for the earliest wall-clock time.
    fn nap(&self) -> Duration {
        self.calendar.first().map_or(LONGEST_NAP, |(at, _)| Due::At(*at).left(&self.clock).min(LONGEST_NAP))
    }

    /// Makes all keys ready whose wall-clock time has come, the earliest first.
    fn read_the_clock(&mut self, lane: &impl Fn(&K) -> Lane) {
        let now = self.clock.now();
        while self.calendar.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.calendar.pop_first()
        {
            self.waiting.remove(&key);
            self.make_ready(key, lane);
        }
    }

    fn make_ready(&mut self, key: K, lane: &impl Fn(&K) -> Lane) {
        let now = lane(&key);
        let before = self.queued.get(&key).copied();
        if before.is_none() {
            self.metrics.added();
        }
        let since = before.map_or_else(Instant::now, |before| before.since);
        self.queued.insert(key.clone(), Queued { lane: now, since });
        if before.is_none_or(|before| before.lane != now)
            && let Some(line) = self.ready.get_mut(now as usize)
        {
            line.push_back(key);
        }
    }

    fn finished(&mut self, key: &K, next: Next, lane: &impl Fn(&K) -> Lane) {
        let before = self.busy.remove(key);
        if let Some(busy) = before {
            self.metrics.finished(busy.since, next.outcome());
        }
        let again = before.and_then(|busy| busy.again);
        let own = match next {
            Next::Done => None,
            Next::In(pause) | Next::RetryIn(pause) => Some(Due::After(Instant::now() + pause)),
            Next::At(at) => Some(Due::At(at)),
            Next::Retry => {
                let delay = self.failing.entry(key.clone()).or_insert(self.backoff).next_delay();
                Some(Due::After(Instant::now() + delay))
            }
        };
        if next != Next::Retry {
            self.failing.remove(key);
        }
        for due in [own, again].into_iter().flatten() {
            self.schedule(key.clone(), due, lane);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
