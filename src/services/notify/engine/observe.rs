//! The metrics of the notify process. Labels have the type of a receiver, never its name.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use api::ReceiverType;
use process::metrics::Metrics;

/// Buckets for the latency, in seconds. Times of events are whole seconds.
const BUCKETS: [f64; 10] = [0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0];

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver accepted it.
    Sent,
    /// The receiver refused it.
    Failed,
    /// The queue was full.
    Dropped,
    /// It asked for something that nobody can do any more.
    Outdated,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Sent, Self::Failed, Self::Dropped, Self::Outdated];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Outdated => "outdated",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfType {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Told {
    r#type: &'static str,
    outcome: &'static str,
}

/// The metrics.
#[derive(Clone, Debug)]
pub struct NotifyMetrics {
    messages: Family<Told, Counter>,
    retries: Family<OfType, Counter>,
    latency: Family<OfType, Histogram, fn() -> Histogram>,
    unknown: Counter,
}

/// What a receiver reports at a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    /// Its type.
    pub kind: ReceiverType,
    /// Messages that wait.
    pub waiting: usize,
    /// Age of the oldest of them in seconds.
    pub oldest: f64,
    /// True if it is ready or suspended.
    pub is_well: bool,
}

impl NotifyMetrics {
    /// Registers the metrics. `gauges` returns the state of all receivers.
    pub fn registered(metrics: &Metrics, gauges: impl Fn() -> Vec<Gauge> + Send + Sync + 'static) -> Self {
        let own = Self {
            messages: Family::default(),
            retries: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            unknown: Counter::default(),
        };
        for kind in ReceiverType::ALL {
            let label = OfType { r#type: kind.as_str() };
            // Every series exists from the start, so that its increase can be computed.
            drop(own.retries.get_or_create(&label));
            for fate in Fate::ALL {
                drop(own.messages.get_or_create(&Told { r#type: kind.as_str(), outcome: fate.as_str() }));
            }
        }
        metrics.register("notify_messages", "Messages by what became of them", own.messages.clone());
        metrics.register("notify_retries", "Attempts to send that failed and are repeated", own.retries.clone());
        metrics.register("notify_latency_seconds", "Time from an event to the answer of the receiver", own.latency.clone());
        metrics.register(
            "notify_unknown_addresses",
            "People and groups that were told nothing, because no address is known",
            own.unknown.clone(),
        );
        let gauges = Arc::new(gauges);
        let each = |pick: fn(&[Gauge]) -> f64| {
            let gauges = Arc::clone(&gauges);
            move || {
                let all = gauges();
                let of = |kind: ReceiverType| {
                    let own: Vec<Gauge> = all.iter().filter(|gauge| gauge.kind == kind).copied().collect();
                    (kind.as_str().to_owned(), pick(&own))
                };
                ReceiverType::ALL.into_iter().map(of).collect()
            }
        };
        #[allow(clippy::cast_precision_loss, reason = "there are few")]
        let (count, well) = (
            each(|own| own.iter().map(|gauge| gauge.waiting).sum::<usize>() as f64),
            each(|own| own.iter().filter(|gauge| !gauge.is_well).count() as f64),
        );
        metrics.each_at_scrape(("notify_queue_length", "type"), "Messages that wait", count);
        let oldest = each(|own| own.iter().map(|gauge| gauge.oldest).fold(0.0, f64::max));
        metrics.each_at_scrape(("notify_oldest_waiting_seconds", "type"), "Age of the oldest message that waits", oldest);
        metrics.each_at_scrape(
            ("notify_failing_receivers", "type"),
            "Receivers whose condition Ready is False, without suspended ones",
            well,
        );
        own
    }

    /// Counts a message.
    pub fn count(&self, kind: ReceiverType, fate: Fate) {
        self.messages.get_or_create(&Told { r#type: kind.as_str(), outcome: fate.as_str() }).inc();
    }

    /// Counts an attempt that is repeated.
    pub fn retry(&self, kind: ReceiverType) {
        self.retries.get_or_create(&OfType { r#type: kind.as_str() }).inc();
    }

    /// Records the time from an event to the answer.
    pub fn latency(&self, kind: ReceiverType, seconds: f64) {
        self.latency.get_or_create(&OfType { r#type: kind.as_str() }).observe(seconds.max(0.0));
    }

    /// Counts people who were told nothing.
    pub fn unknown(&self, count: usize) {
        self.unknown.inc_by(count as u64);
    }
}
