//! Metrics of the calls to the API server.

use std::{fmt, sync::Arc};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use super::metrics::Metrics;
use kube_io::observed::{ApiCall, Observe};

/// Buckets for the latency of calls, in seconds. A call ends after ten.
const ANSWERED_IN: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    verb: &'static str,
    resource: &'static str,
    code: Code,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

/// The status of an answer. Without an answer it is `<error>`, as in client-go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Code(Option<StatusCode>);

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.as_ref().map_or("<error>", StatusCode::as_str).encode(encoder)
    }
}

/// Registers the metrics in `metrics` and returns the callback of a client.
#[must_use]
pub fn registered(metrics: &Metrics) -> Observe {
    let requests: Family<Call, Counter> = Family::default();
    let durations: Family<Verb, Histogram, fn() -> Histogram> = Family::new_with_constructor(|| Histogram::new(ANSWERED_IN));
    metrics.register("api_requests", "Calls to the API server, by verb, resource and status", requests.clone());
    metrics.register(
        "api_request_duration_seconds",
        "Time until the API server's answer begins, or until there was none",
        durations.clone(),
    );
    Arc::new(move |ApiCall { verb, resource, status, took }| {
        durations.get_or_create(&Verb { verb }).observe(took.as_secs_f64());
        requests.get_or_create(&Call { verb, resource, code: Code(status) }).inc();
    })
}
