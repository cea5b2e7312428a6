//! What all parts of the record share.

use kube_io::clock::Clock;
use process::{health::Health, metrics::Metrics};

use super::{metrics::RecordMetrics, settings::RecordSettings};

/// The name in readiness of the condition that the log can be written.
pub const NEED: &str = "log";

/// What all parts share.
pub(super) struct Context {
    /// The client of the API server.
    pub(super) client: kube::Client,
    /// The settings.
    pub(super) settings: RecordSettings,
    /// The name of this process in the Lease.
    pub(super) identity: String,
    /// The source of the present time.
    pub(super) clock: Clock,
    /// The conditions of readiness.
    pub(super) health: Health,
    /// The metrics of the record.
    pub(super) metrics: RecordMetrics,
    /// The registry of all metrics.
    pub(super) all: Metrics,
}
