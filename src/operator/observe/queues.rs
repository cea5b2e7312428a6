//! Metrics of the work queues and of the reconciliations that their workers do. Results and meanings are those of controller-runtime.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};
use tokio::time::Instant;

use process::metrics::Metrics;

/// Buckets for reconciliations and waits, in seconds. A reconciliation is a few calls, each of which ends after ten seconds.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do.
    Success,
    /// The key is due again later.
    RequeueAfter,
    /// It failed, and is retried.
    Error,
}

/// What waits and what runs in a queue at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How many keys are due and wait for a worker.
    pub waiting: usize,
    /// Since when the first of them waits.
    pub oldest: Option<Instant>,
    /// How many reconciliations run.
    pub active: usize,
    /// Since when the longest of them runs.
    pub longest: Option<Instant>,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
type States = Arc<Mutex<Vec<(&'static str, Arc<Mutex<State>>)>>>;

/// The metrics of all queues of a process.
#[derive(Clone, Debug)]
pub struct QueuesMetrics {
    reconciled: Family<Reconciled, Counter>,
    errors: Family<Controller, Counter>,
    durations: Histograms<Controller>,
    adds: Family<Queue, Counter>,
    retries: Family<Queue, Counter>,
    waits: Histograms<Queue>,
    states: States,
}

impl QueuesMetrics {
    /// Registers the metrics in `metrics`.
    #[must_use]
    pub fn registered(metrics: &Metrics) -> Self {
        let new = Self {
            reconciled: Family::default(),
            errors: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            adds: Family::default(),
            retries: Family::default(),
            waits: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            states: Arc::default(),
        };
        metrics.register("reconcile", "Reconciliations, by their result: success, requeue_after or error", new.reconciled.clone());
        metrics.register("reconcile_errors", "Reconciliations that failed and are retried", new.errors.clone());
        metrics.register("reconcile_duration_seconds", "Duration of reconciliations", new.durations.clone());
        metrics.register("queue_adds", "Keys that became due", new.adds.clone());
        metrics.register("queue_retries", "Keys that were requeued after an error", new.retries.clone());
        metrics.register("queue_duration_seconds", "Time for which due keys waited for a worker", new.waits.clone());
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let age = |since: Option<Instant>| since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        let all = new.read();
        metrics.each_at_scrape(("queue_depth", "queue"), "Keys that are due and wait for a worker", move || {
            all().into_iter().map(|(name, state)| (name.to_owned(), whole(state.waiting))).collect()
        });
        let all = new.read();
        metrics.each_at_scrape(
            ("queue_oldest_wait_seconds", "queue"),
            "Time for which the first due key has waited for a worker",
            move || all().into_iter().map(|(name, state)| (name.to_owned(), age(state.oldest))).collect(),
        );
        let all = new.read();
        metrics.each_at_scrape(("reconcile_active", "controller"), "Reconciliations that run", move || {
            all().into_iter().map(|(name, state)| (name.to_owned(), whole(state.active))).collect()
        });
        let all = new.read();
        metrics.each_at_scrape(
            ("reconcile_longest_running_seconds", "controller"),
            "Time for which the longest of the running reconciliations has run",
            move || all().into_iter().map(|(name, state)| (name.to_owned(), age(state.longest))).collect(),
        );
        new
    }

    fn read(&self) -> impl Fn() -> Vec<(&'static str, State)> + Send + Sync + 'static {
        let states = self.states.clone();
        move || states.lock().iter().map(|(name, state)| (*name, *state.lock())).collect()
    }

    /// Returns the metrics of the queue `name`. Every counter exists from now on: Prometheus sees an increase only from a value that it
    /// has scraped before.
    #[must_use]
    pub fn of(&self, name: &'static str) -> QueueMetrics {
        let (controller, queue) = (Controller { controller: name }, Queue { queue: name });
        let result = |result| self.reconciled.get_or_create_owned(&Reconciled { controller: name, result });
        let state = Arc::default();
        self.states.lock().push((name, Arc::clone(&state)));
        QueueMetrics {
            successes: result("success"),
            requeues: result("requeue_after"),
            failures: result("error"),
            errors: self.errors.get_or_create_owned(&controller),
            durations: self.durations.get_or_create_owned(&controller),
            adds: self.adds.get_or_create_owned(&queue),
            retries: self.retries.get_or_create_owned(&queue),
            waits: self.waits.get_or_create_owned(&queue),
            state,
        }
    }
}

/// The metrics of one queue. They are looked up once, so that counting costs a few atomic operations.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    successes: Counter,
    requeues: Counter,
    failures: Counter,
    errors: Counter,
    durations: Histogram,
    adds: Counter,
    retries: Counter,
    waits: Histogram,
    state: Arc<Mutex<State>>,
}

impl QueueMetrics {
    /// Returns metrics that nobody scrapes.
    #[cfg(test)]
    #[must_use]
    pub fn unregistered() -> Self {
        QueuesMetrics::registered(&Metrics::of("controller")).of("requests")
    }

    /// Counts a key that became due.
    pub fn added(&self) {
        self.adds.inc();
    }

    /// Records the start of a reconciliation whose key was due since then.
    pub fn started(&self, due: Instant) {
        self.waits.observe(due.elapsed().as_secs_f64());
    }

    /// Counts a reconciliation that ran since then.
    pub fn finished(&self, since: Instant, outcome: Outcome) {
        self.durations.observe(since.elapsed().as_secs_f64());
        match outcome {
            Outcome::Success => drop(self.successes.inc()),
            Outcome::RequeueAfter => drop(self.requeues.inc()),
            Outcome::Error => {
                self.failures.inc();
                self.errors.inc();
                self.retries.inc();
            }
        }
    }

    /// Records what waits and what runs now.
    pub fn show(&self, state: State) {
        *self.state.lock() = state;
    }
}
