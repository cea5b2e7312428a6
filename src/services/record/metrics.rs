//! The metrics of the record.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64},
};

use parking_lot::Mutex;
use process::metrics::Metrics;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::time::Instant;

/// The metrics of the record. Clones share the same values.
#[derive(Clone, Debug)]
pub struct RecordMetrics {
    entries: Gauge<i64, AtomicI64>,
    events: Counter<u64, AtomicU64>,
    unproven: Counter<u64, AtomicU64>,
    failures: Counter<u64, AtomicU64>,
    fenced: Gauge<i64, AtomicI64>,
    corrupt: Gauge<i64, AtomicI64>,
    waiting: Gauge<i64, AtomicI64>,
    /// Since when something waits to be published.
    behind: Arc<Mutex<Option<Instant>>>,
}

impl RecordMetrics {
    /// Registers the metrics.
    pub fn registered(metrics: &Metrics) -> Self {
        let behind = Arc::<Mutex<Option<Instant>>>::default();
        let this = Self {
            entries: Gauge::default(),
            events: Counter::default(),
            unproven: Counter::default(),
            failures: Counter::default(),
            fenced: Gauge::default(),
            corrupt: Gauge::default(),
            waiting: Gauge::default(),
            behind: Arc::clone(&behind),
        };
        metrics.register("record_entries", "Entries of the audit log that its published checkpoint covers", this.entries.clone());
        metrics.register("record_events", "Activity events that were recorded", this.events.clone());
        metrics.register(
            "record_unproven",
            "Grants and ends that the rules do not confirm from the recorded inputs",
            this.unproven.clone(),
        );
        metrics.register("record_store_failures", "Failed calls of the store of the audit log", this.failures.clone());
        metrics.register("record_fenced", "1 while another writer holds the audit log", this.fenced.clone());
        metrics.register("record_corrupt", "1 while the stored audit log is not the one that was signed", this.corrupt.clone());
        metrics.register("record_waiting_objects", "Objects with events that are not recorded yet", this.waiting.clone());
        metrics.seconds_at_scrape(
            "record_behind_seconds",
            "Time since when an event waits to be in a published checkpoint; 0 if none does",
            move || behind.lock().map_or(0.0, |since| since.elapsed().as_secs_f64()),
        );
        this
    }

    /// Counts an event.
    pub fn recorded(&self, proven: bool) {
        self.events.inc();
        if !proven {
            self.unproven.inc();
        }
    }

    /// Records the number of published entries. The log is writable then.
    pub fn published(&self, entries: u64) {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.fenced(false);
        self.corrupt(false);
    }

    /// Counts a failure of the store.
    pub fn store_failed(&self) {
        self.failures.inc();
    }

    /// Records whether another writer holds the log.
    pub fn fenced(&self, is: bool) {
        self.fenced.set(is.into());
    }

    /// Records whether the log is damaged.
    pub fn corrupt(&self, is: bool) {
        self.corrupt.set(is.into());
    }

    /// Records how many objects wait, and whether something is not published.
    pub fn waiting(&self, objects: usize, unpublished: bool) {
        self.waiting.set(i64::try_from(objects).unwrap_or(i64::MAX));
        let mut behind = self.behind.lock();
        if objects == 0 && !unpublished {
            *behind = None;
        } else if behind.is_none() {
            *behind = Some(Instant::now());
        }
    }
}
