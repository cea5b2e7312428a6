//! A queue of keys to work on, now or later: each key at most once at a time, the earliest time wins, failures wait longer and longer.
//!
//! Times of day are held against the clock again before they count: timers run on a monotonic clock and are wrong after a suspend or
//! a step of the other one.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::Future,
    hash::Hash,
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{
    sync::CancellationToken,
    time::{DelayQueue, delay_queue},
};

use kube_io::{backoff::Backoff, clock::Clock};

/// How long a timer for times of day is trusted at most before the clock is read again. There is one for all of them: a timer a key would
/// have thousands of them fire for nothing.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Which workers a key is for. One lane that is full never holds up the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What anybody can ask for.
    Ordinary,
    /// What takes access away.
    Urgent,
}

const LANES: usize = 2;

/// Most keys of each lane that are worked on at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of [`Lane::Ordinary`].
    pub ordinary: usize,
    /// Of [`Lane::Urgent`].
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

/// What work on a key ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing to do until somebody adds the key again.
    Done,
    /// Look again after this pause.
    In(Duration),
    /// Look again at this time of day.
    At(DateTime<Utc>),
    /// It failed: look again after a pause that grows with each failure.
    Retry,
}

/// When a key is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    After(Instant),
    At(DateTime<Utc>),
}

impl Due {
    /// What is left until then, as far as the clocks can tell now.
    fn left(self, clock: &Clock) -> Duration {
        match self {
            Self::After(at) => at.saturating_duration_since(Instant::now()),
            Self::At(at) => at.signed_duration_since(clock.now()).to_std().unwrap_or_default(),
        }
    }

    fn earlier(self, other: Self, clock: &Clock) -> Self {
        if other.left(clock) < self.left(clock) { other } else { self }
    }
}

/// The end of a queue at which keys come in. It never blocks and never loses a key.
#[derive(Debug)]
pub struct Queue<K>(mpsc::UnboundedSender<(K, Due)>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Queue<K> {
    /// Work on `key` as soon as possible.
    pub fn add(&self, key: K) {
        self.add_in(key, Duration::ZERO);
    }

    /// Work on `key` after `pause`, unless it is due earlier already.
    pub fn add_in(&self, key: K, pause: Duration) {
        self.send(key, Due::After(Instant::now() + pause));
    }

    /// Work on `key` at a time of day, unless it is due earlier already.
    pub fn add_at(&self, key: K, at: DateTime<Utc>) {
        self.send(key, Due::At(at));
    }

    fn send(&self, key: K, due: Due) {
        // Fails only when the worker has ended, with the process.
        let _ = self.0.send((key, due));
    }
}

/// What a key waits for.
#[derive(Debug)]
enum Waits {
    /// The end of a pause.
    Pause(delay_queue::Key, Instant),
    /// A time of day.
    Until(DateTime<Utc>),
}

impl Waits {
    const fn due(&self) -> Due {
        match self {
            Self::Pause(_, at) => Due::After(*at),
            Self::Until(at) => Due::At(*at),
        }
    }
}

/// The end of a queue at which work is done.
#[derive(Debug)]
pub struct Worker<K> {
    clock: Clock,
    incoming: mpsc::UnboundedReceiver<(K, Due)>,
    waiting: HashMap<K, Waits>,
    pausing: DelayQueue<K>,
    calendar: BTreeSet<(DateTime<Utc>, K)>,
    ready: [VecDeque<K>; LANES],
    queued: HashMap<K, Lane>,
    busy: HashMap<K, (Lane, Option<Due>)>,
    failing: HashMap<K, Backoff>,
    backoff: Backoff,
}

/// Both ends of a new queue. `backoff` holds the delays after failures, for each key anew.
#[must_use]
pub fn queue<K: Clone + Hash + Ord>(clock: Clock, backoff: Backoff) -> (Queue<K>, Worker<K>) {
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
    };
    (Queue(sender), worker)
}

impl<K: Clone + Hash + Ord + Unpin> Worker<K> {
    /// Works until `stop`, on at most `most` keys at a time, each no more than once at a time.
    pub async fn run<F: Future<Output = Next>>(self, most: usize, stop: CancellationToken, work: impl Fn(K) -> F) {
        self.run_in_lanes(Limits { ordinary: most, urgent: 0 }, stop, |_| Lane::Ordinary, work).await;
    }

    /// The same with workers for each lane. `lane` tells a key's when it becomes due and whenever it is added.
    pub async fn run_in_lanes<F: Future<Output = Next>>(
        mut self,
        most: Limits,
        stop: CancellationToken,
        lane: impl Fn(&K) -> Lane,
        work: impl Fn(K) -> F,
    ) {
        let mut running = FuturesUnordered::new();
        loop {
            // All that has come in is looked at before any work starts, so that what was added twice is worked on once.
            while let Ok((key, due)) = self.incoming.try_recv() {
                self.schedule(key, due, &lane);
            }
            // At each turn, and not only when the timer below fires: each turn makes it anew, so other work could hold it up for ever.
            self.read_the_clock(&lane);
            for of in [Lane::Urgent, Lane::Ordinary] {
                while self.busy_in(of) < most.of(of)
                    && let Some(key) = self.next_in(of)
                {
                    self.busy.insert(key.clone(), (of, None));
                    let outcome = work(key.clone());
                    running.push(async move { (key, outcome.await) });
                }
            }
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
                // The next turn reads the clock.
                () = tokio::time::sleep(nap), if !self.calendar.is_empty() => {}
                else => return,
            }
        }
    }

    fn busy_in(&self, lane: Lane) -> usize {
        self.busy.values().filter(|(of, _)| *of == lane).count()
    }

    fn next_in(&mut self, lane: Lane) -> Option<K> {
        loop {
            let key = self.ready.get_mut(lane as usize)?.pop_front()?;
            // One that has changed lanes since is in the line of the other.
            if self.queued.get(&key) == Some(&lane) {
                self.queued.remove(&key);
                return Some(key);
            }
        }
    }

    fn schedule(&mut self, key: K, due: Due, lane: &impl Fn(&K) -> Lane) {
        if let Some((_, again)) = self.busy.get_mut(&key) {
            *again = Some(again.map_or(due, |other| other.earlier(due, &self.clock)));
            return;
        }
        if self.queued.contains_key(&key) {
            // It may have become urgent while it was in line.
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

    /// How long until the clock must be read for the first time of day.
    fn nap(&self) -> Duration {
        self.calendar.first().map_or(LONGEST_NAP, |(at, _)| Due::At(*at).left(&self.clock).min(LONGEST_NAP))
    }

    /// Has everything worked on whose time of day has come, the earliest first.
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
        if self.queued.insert(key.clone(), now) != Some(now)
            && let Some(line) = self.ready.get_mut(now as usize)
        {
            line.push_back(key);
        }
    }

    fn finished(&mut self, key: &K, next: Next, lane: &impl Fn(&K) -> Lane) {
        let again = self.busy.remove(key).and_then(|(_, again)| again);
        let own = match next {
            Next::Done => None,
            Next::In(pause) => Some(Due::After(Instant::now() + pause)),
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
