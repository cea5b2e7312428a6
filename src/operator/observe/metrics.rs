//! The operator's metrics.
//!
//! All label values come from fixed sets, so that the number of series is bounded. No label contains the name of a user, a namespace or an
//! object. `docs/metrics.md` lists all metrics; a test compares it with this file.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use api::{Reason, State};
use process::metrics::Metrics;

/// Buckets for the duration of admission reviews, in seconds. The API server times out after five.
const ANSWERED_IN: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 4.0];
/// Buckets for how late a binding was removed, in seconds. Another replica waits a second for the leader.
const LATE_BY: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// The metrics of the webhook.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    reviews: Family<Review, Counter>,
    refusals: Family<Refused, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
}

/// The labels of a review: its subject and its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Review {
    /// `mutate` or `validate`: the API server calls both for each write.
    pub webhook: &'static str,
    /// One of our kinds, or `Unknown`.
    pub kind: &'static str,
    /// `CREATE`, `UPDATE`, ...
    pub operation: &'static str,
    /// Whether the write is allowed.
    pub allowed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    kind: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl AdmissionMetrics {
    /// Registers the webhook's metrics in `metrics`.
    #[must_use]
    pub fn registered(metrics: &Metrics) -> Self {
        let new = Self {
            reviews: Family::default(),
            refusals: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(ANSWERED_IN)),
        };
        metrics.register("admission_reviews", "Admission reviews that the webhook handled", new.reviews.clone());
        metrics.register("admission_refusals", "Writes that the webhook denied, by the code of the denial", new.refusals.clone());
        metrics.register("admission_duration_seconds", "Duration of the webhook's admission reviews", new.durations.clone());
        new
    }

    /// Registers what is read at each scrape: when the serving certificate expires.
    pub fn looked_up(metrics: &Metrics, expiration: impl Fn() -> Option<Timestamp> + Send + Sync + 'static) {
        metrics.time_at_scrape(
            "certificate_expiration_timestamp_seconds",
            "When the certificate that the webhook serves expires, in seconds since the Unix epoch",
            expiration,
        );
    }

    /// Creates the counter of a denial with the value 0. Prometheus sees an increase only from a value that it has scraped before.
    pub fn may_refuse(&self, kind: &'static str, code: &'static str) {
        drop(self.refusals.get_or_create(&Refused { kind, code }));
    }

    /// Counts one review; `code` is that of a denial.
    pub fn answered(&self, review: &Review, code: Option<&'static str>, took: Duration) {
        let kind = review.kind;
        self.durations.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
        self.reviews.get_or_create(review).inc();
        if let Some(code) = code {
            self.refusals.get_or_create(&Refused { kind, code }).inc();
        }
    }
}

/// The metrics of a controller. An owner of a further metric adds a field, or registers it with [`Metrics::at_scrape`].
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    grants: Counter,
    decided: Family<Decided, Counter>,
    lateness: Histogram,
    revoke_failures: Counter,
    expired_records: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    state: &'static str,
    reason: &'static str,
}

impl ControllerMetrics {
    /// Registers a controller's metrics in `metrics`.
    #[must_use]
    pub fn registered(metrics: &Metrics) -> Self {
        let new = Self {
            grants: Counter::default(),
            decided: Family::default(),
            lateness: Histogram::new(LATE_BY),
            revoke_failures: Counter::default(),
            expired_records: Counter::default(),
        };
        metrics.register("grants", "Bindings that this replica created", new.grants.clone());
        metrics.register("requests_decided", "Requests that this replica reported as granted or completed", new.decided.clone());
        metrics.register(
            "revocation_lateness_seconds",
            "Time from a grant's deadline until this replica knew that its binding was removed",
            new.lateness.clone(),
        );
        metrics.register("revoke_failures", "Failed attempts of this replica to remove a binding", new.revoke_failures.clone());
        metrics.register(
            "retention_deletions",
            "Completed requests that this replica deleted after their retention",
            new.expired_records.clone(),
        );
        new
    }

    /// Registers what is read at each scrape: the number of managed bindings, the number of those past their deadline, and whether this
    /// replica is the leader.
    pub fn looked_up(
        metrics: &Metrics,
        active: impl Fn() -> usize + Send + Sync + 'static,
        overdue: impl Fn() -> usize + Send + Sync + 'static,
        leading: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.at_scrape("active_grants", "Managed bindings known to this replica", move || whole(active()));
        metrics.at_scrape("overdue_grants", "Managed bindings past their deadline; should be 0", move || whole(overdue()));
        metrics.at_scrape("leader", "1 while this replica holds the Lease and grants, otherwise 0", move || i64::from(leading()));
    }

    /// Registers what is read of guards and reviews: whether each guard is proven, the deviation of the clock, and the number of
    /// emergencies that await a review.
    pub fn watched(
        metrics: &Metrics,
        guards: impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static,
        skew: impl Fn() -> Option<f64> + Send + Sync + 'static,
        reviews: impl Fn() -> Vec<(String, i64)> + Send + Sync + 'static,
    ) {
        metrics.each_at_scrape(
            ("guard_proven", "guard"),
            "1 while the guard is verified to be in force; 0 stops all grants. Reported by the leader",
            move || guards().into_iter().map(|(guard, proven)| (guard, i64::from(proven))).collect(),
        );
        metrics
            .seconds_at_scrape("clock_skew_seconds", "How far this clock is ahead of the API server's", move || skew().unwrap_or_default());
        metrics.each_at_scrape(
            ("emergency_reviews", "state"),
            "Emergencies that await a review, in time or overdue. Reported by the leader",
            reviews,
        );
    }

    /// Counts a created binding.
    pub fn granted(&self) {
        self.grants.inc();
    }

    /// Counts a request whose reported state changed. Pending requests are not counted.
    pub fn reported(&self, state: State, reason: Reason) {
        if state == State::Active || state.is_terminal() {
            self.decided.get_or_create(&Decided { state: state.as_str(), reason: reason.as_str() }).inc();
        }
    }

    /// Records a removed binding, and how long after its deadline it was removed. A negative time counts as punctual.
    pub fn removed(&self, late: SignedDuration) {
        self.lateness.observe(Duration::try_from(late).unwrap_or_default().as_secs_f64());
    }

    /// Counts a failed removal of a binding.
    pub fn revoke_failed(&self) {
        self.revoke_failures.inc();
    }

    /// Counts a deleted completed request.
    pub fn record_deleted(&self) {
        self.expired_records.inc();
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
