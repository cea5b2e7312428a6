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

use kube_io::clock::Clock;

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

/// The pauses after failures: doubled from the first to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
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
    failures: HashMap<K, u32>,
    pauses: Pauses,
}

/// Both ends of a new queue.
#[must_use]
pub fn queue<K: Clone + Hash + Ord>(clock: Clock, pauses: Pauses) -> (Queue<K>, Worker<K>) {
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
        failures: HashMap::new(),
        pauses,
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
                let failures = self.failures.entry(key.clone()).or_insert(0);
                *failures = failures.saturating_add(1);
                let factor = 1_u32 << (*failures - 1).min(16);
                Some(Due::After(Instant::now() + self.pauses.first.saturating_mul(factor).min(self.pauses.longest)))
            }
        };
        if next != Next::Retry {
            self.failures.remove(key);
        }
        for due in [own, again].into_iter().flatten() {
            self.schedule(key.clone(), due, lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use super::*;

    const PAUSES: Pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(1) };

    /// Runs a queue whose work on a key takes the next of its `outcomes`, and tells when it was worked on, in milliseconds.
    async fn record(adds: &[(&'static str, u64)], outcomes: &[Next], until: u64) -> Vec<(&'static str, u128)> {
        let (queue, worker) = queue(Clock::system(), PAUSES);
        let start = Instant::now();
        let seen = Mutex::new(Vec::new());
        let outcomes = Arc::new(Mutex::new(outcomes.iter().copied().collect::<VecDeque<_>>()));
        for (key, pause) in adds {
            queue.add_in(*key, Duration::from_millis(*pause));
        }
        let stop = CancellationToken::new();
        let work = |key| {
            seen.lock().unwrap().push((key, start.elapsed().as_millis()));
            let next = outcomes.lock().unwrap().pop_front().unwrap_or(Next::Done);
            async move { next }
        };
        let _ = tokio::time::timeout(Duration::from_millis(until), worker.run(4, stop, work)).await;
        std::mem::take(&mut *seen.lock().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_of_a_key_wins() {
        assert_eq!(record(&[("a", 500), ("a", 200), ("a", 900)], &[], 5_000).await, [("a", 200)]);
        assert_eq!(record(&[("a", 0), ("a", 0), ("b", 0)], &[], 5_000).await, [("a", 0), ("b", 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_and_longer_up_to_the_longest_pause() {
        let seen = record(&[("a", 0)], &[Next::Retry; 6], 60_000).await;
        let pauses: Vec<u128> = seen.windows(2).map(|w| w[1].1 - w[0].1).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn t35_a_time_of_day_is_held_against_the_clock_before_it_counts() {
        // The clock of this test runs with tokio's, and is set back by ten seconds after five.
        let (start, day) = (Instant::now(), DateTime::<Utc>::UNIX_EPOCH);
        let clock = Clock::from(move || {
            let passed = i64::try_from(start.elapsed().as_millis()).unwrap();
            day + chrono::TimeDelta::milliseconds(if passed < 5_000 { passed } else { passed - 10_000 })
        });
        let (queue, worker) = queue(clock, PAUSES);
        queue.add_at("a", day + chrono::TimeDelta::seconds(20));
        let seen = Mutex::new(None);
        let work = |_| {
            *seen.lock().unwrap() = Some(start.elapsed().as_secs());
            async { Next::Done }
        };
        let _ = tokio::time::timeout(Duration::from_secs(90), worker.run(1, CancellationToken::new(), work)).await;
        assert_eq!(*seen.lock().unwrap(), Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_times_of_day_share_one_timer_and_the_earliest_of_a_key_wins() {
        let (start, day) = (Instant::now(), DateTime::<Utc>::UNIX_EPOCH);
        let reads = Arc::new(Mutex::new(0_usize));
        let counted = reads.clone();
        let clock = Clock::from(move || {
            *counted.lock().unwrap() += 1;
            day + chrono::TimeDelta::milliseconds(i64::try_from(start.elapsed().as_millis()).unwrap())
        });
        let (queue, worker) = queue(clock, PAUSES);
        let at = |seconds: i64| day + chrono::TimeDelta::seconds(seconds);
        (1..=1_000).for_each(|key| queue.add_at(key, at(3_600 + key)));
        // Earlier by the clock, earlier by a pause, and later, which changes nothing.
        queue.add_at(7, at(100));
        queue.add_in(8, Duration::from_secs(200));
        queue.add_at(9, at(90_000));
        let seen = Mutex::new(Vec::new());
        let work = |key| {
            seen.lock().unwrap().push((key, start.elapsed().as_secs()));
            async { Next::Done }
        };
        let _ = tokio::time::timeout(Duration::from_millis(3_603_500), worker.run(1, CancellationToken::new(), work)).await;
        assert_eq!(*seen.lock().unwrap(), [(7, 100), (8, 200), (1, 3_601), (2, 3_602), (3, 3_603)]);
        let reads = *reads.lock().unwrap();
        assert!(reads < 2_000, "the clock was read {reads} times in an hour for a thousand keys");
    }

    #[tokio::test(start_paused = true)]
    async fn inv_01_what_is_due_is_not_kept_waiting_by_work_that_never_rests() {
        // Each look at this clock takes a millisecond: the timers of the runtime, which stand still, cannot help.
        let looks = Mutex::new(0_i64);
        let day = DateTime::<Utc>::UNIX_EPOCH;
        let clock = Clock::from(move || {
            let mut looks = looks.lock().unwrap();
            *looks += 1;
            day + chrono::TimeDelta::milliseconds(*looks)
        });
        let (queue, worker) = queue(clock, PAUSES);
        let stop = CancellationToken::new();
        queue.add("restless");
        queue.add_at("due", day + chrono::TimeDelta::milliseconds(100));
        let (ended, turns) = (Mutex::new(false), Mutex::new(0));
        let work = |key: &'static str| {
            *turns.lock().unwrap() += 1;
            *ended.lock().unwrap() |= key == "due";
            if *ended.lock().unwrap() || *turns.lock().unwrap() > 10_000 {
                stop.cancel();
            }
            async { Next::In(Duration::ZERO) }
        };
        worker.run(4, stop.clone(), work).await;
        assert!(*ended.lock().unwrap(), "it was still waiting after {} turns of other work", turns.lock().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn f16_work_that_hangs_in_one_lane_never_holds_up_the_other() {
        let (queue, worker) = queue(Clock::system(), PAUSES);
        let start = Instant::now();
        let (granted, seen) = (Mutex::new(false), Mutex::new(Vec::new()));
        for key in ["hangs-1", "hangs-2", "hangs-3", "becomes-urgent", "revoked"] {
            queue.add(key);
        }
        let lane = |key: &&str| match *key {
            "revoked" => Lane::Urgent,
            "becomes-urgent" if *granted.lock().unwrap() => Lane::Urgent,
            _ => Lane::Ordinary,
        };
        let work = |key: &'static str| {
            seen.lock().unwrap().push((key, start.elapsed().as_secs()));
            if key == "revoked" {
                *granted.lock().unwrap() = true;
                queue.add("becomes-urgent");
            }
            async move {
                if key.starts_with("hangs") {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
                Next::Done
            }
        };
        let limits = Limits { ordinary: 2, urgent: 1 };
        let _ = tokio::time::timeout(Duration::from_secs(61), worker.run_in_lanes(limits, CancellationToken::new(), lane, work)).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen, [("revoked", 0), ("hangs-1", 0), ("hangs-2", 0), ("becomes-urgent", 0), ("hangs-3", 60)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_asks_to_be_looked_at_again_is() {
        assert_eq!(record(&[("a", 0)], &[Next::In(Duration::from_millis(250))], 5_000).await, [("a", 0), ("a", 250)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_added_while_it_is_worked_on_is_worked_on_again_and_never_twice_at_once() {
        let (queue, worker) = queue(Clock::system(), PAUSES);
        let (running, most, runs) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let stop = CancellationToken::new();
        queue.add("a");
        let again = queue.clone();
        let work = |key: &'static str| {
            let (running, most, runs, again) = (running.clone(), most.clone(), runs.clone(), again.clone());
            async move {
                *running.lock().unwrap() += 1;
                let now = *running.lock().unwrap();
                let before = *most.lock().unwrap();
                *most.lock().unwrap() = now.max(before);
                *runs.lock().unwrap() += 1;
                if *runs.lock().unwrap() == 1 {
                    again.add(key);
                    again.add(key);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                *running.lock().unwrap() -= 1;
                Next::Done
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), worker.run(4, stop, work)).await;
        assert_eq!((*runs.lock().unwrap(), *most.lock().unwrap()), (2, 1));
    }
}
