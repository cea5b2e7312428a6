//! The metrics of a process, served as `/metrics` on the health port.
//!
//! All label values come from fixed sets, so that the number of series is bounded. No label contains the name of a user, a namespace or an
//! object.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, MetricEncoder, prometheus_text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::{Metric, Registry},
};

use super::process_metrics::ProcessCollector;

/// The prefix of every name.
const PREFIX: &str = "jitrbac";
/// The format of [`Metrics::text`], which every scraper supports.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The metrics of one process. Clones share the same values.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registries>>);

#[derive(Debug)]
struct Registries {
    own: Registry,
    /// The metrics that every process has, without our prefix.
    process: Registry,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    component: &'static str,
    version: &'static str,
}

impl Default for Metrics {
    /// The metrics of a process without a component, as in tests.
    fn default() -> Self {
        Self::of("")
    }
}

impl Metrics {
    /// Returns the metrics of a process that is the `component`, such as `controller`.
    #[must_use]
    pub fn of(component: &'static str) -> Self {
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessCollector::new()));
        let metrics = Self(Arc::new(Mutex::new(Registries { own: Registry::with_prefix(PREFIX), process })));
        let build = Info::new(Build { component, version: env!("CARGO_PKG_VERSION") });
        metrics.register("build", "Component and version of the running program; always 1", build);
        metrics
    }

    /// Registers `metric` as `jitrbac_<name>`. The name of a counter is given without `_total`, that of an info without `_info`. `help` is
    /// a sentence without its full stop.
    pub fn register(&self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.with(|registry| registry.register(name, help, metric));
    }

    /// Registers a gauge whose value is read at each scrape, such as the size of a cache.
    pub fn at_scrape(&self, name: &'static str, help: &'static str, number: impl Fn() -> i64 + Send + Sync + 'static) {
        self.collect(name, help, MetricType::Gauge, move |gauge| ConstGauge::new(number()).encode(gauge));
    }

    /// Registers the same for a duration.
    pub fn seconds_at_scrape(&self, name: &'static str, help: &'static str, seconds: impl Fn() -> f64 + Send + Sync + 'static) {
        self.collect(name, help, MetricType::Gauge, move |gauge| ConstGauge::new(seconds()).encode(gauge));
    }

    /// Registers the same for several values, one per value of `label`.
    pub fn each_at_scrape<N: EncodeGaugeValue>(
        &self,
        (name, label): (&'static str, &'static str),
        help: &'static str,
        numbers: impl Fn() -> Vec<(String, N)> + Send + Sync + 'static,
    ) {
        self.collect(name, help, MetricType::Gauge, move |mut family| {
            let each = |(value, number): (String, N)| ConstGauge::new(number).encode(family.encode_family(&[(label, value.as_str())])?);
            numbers().into_iter().try_for_each(each)
        });
    }

    /// Registers the same for counters, whose name is given without `_total`.
    pub fn counts_at_scrape(
        &self,
        (name, label): (&'static str, &'static str),
        help: &'static str,
        counts: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    ) {
        self.collect(name, help, MetricType::Counter, move |mut family| {
            let each = |(value, count): (String, u64)| ConstCounter::new(count).encode(family.encode_family(&[(label, value.as_str())])?);
            counts().into_iter().try_for_each(each)
        });
    }

    /// Registers a gauge of a time that is not always known. While it is not, there is no sample.
    pub fn time_at_scrape(&self, name: &'static str, help: &'static str, time: impl Fn() -> Option<Timestamp> + Send + Sync + 'static) {
        self.collect(name, help, MetricType::Gauge, move |gauge| {
            time().map_or(Ok(()), |time| ConstGauge::new(time.as_second()).encode(gauge))
        });
    }

    fn collect<W>(&self, name: &'static str, help: &'static str, kind: MetricType, write: W)
    where
        W: Fn(MetricEncoder<'_>) -> fmt::Result + Send + Sync + 'static,
    {
        self.with(|registry| registry.register_collector(Box::new(AtScrape { name, help, kind, write })));
    }

    /// Returns all metrics in the Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registries = self.0.lock();
        for registry in [&registries.own, &registries.process] {
            // Writing to a String cannot fail.
            let _ = prometheus_text::encode(&mut text, registry);
        }
        text
    }

    fn with(&self, act: impl FnOnce(&mut Registry)) {
        act(&mut self.0.lock().own);
    }
}

/// A metric whose samples are read at each scrape.
struct AtScrape<W> {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// Writes the samples.
    write: W,
}

impl<W> fmt::Debug for AtScrape<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtScrape").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<W: Fn(MetricEncoder<'_>) -> fmt::Result + Send + Sync + 'static> Collector for AtScrape<W> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // The registry appends a full stop to the help of its own metrics.
        (self.write)(encoder.encode_descriptor(self.name, &format!("{}.", self.help), None, self.kind)?)
    }
}
