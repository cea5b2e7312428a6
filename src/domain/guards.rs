//! The admission guards: their expected content and their state over time (T35, T42, T55, invariants 14 and 21). It also has the messages
//! while they are not proven to be in force, and those about what was written then. Other modules find out whether they are in force.

pub mod compare;
pub mod expected;
pub mod ledger;

use jiff::{SignedDuration, Timestamp};

use super::{instant::stamp, refusal::Refusal};
use api::Reason;

/// The defect of a changed guard. The difference follows.
pub const DIFFERS: &str = "differs from the expected content";

/// Prefix of the keys of guards that define which server serves the product's kinds.
pub const API_SERVICE: &str = "APIService ";

/// Returns how an admin restores a weak guard. Helm keeps additions to an object and fails on conflicting changes, so the object must be
/// deleted first. A CRD is not deleted, since that would delete every record.
#[must_use]
pub fn cure(key: &str, why: &str) -> String {
    let (kind, name) = key.split_once(' ').unwrap_or((key, ""));
    let upgrade = "'helm upgrade' with the values of the release";
    if key.starts_with(API_SERVICE) {
        // The API server manages this object and creates it again.
        return format!("An admin restores it: run 'kubectl delete apiservice {name}', and the API server recreates it");
    }
    if kind == "CustomResourceDefinition" {
        return format!("An admin restores it: run {upgrade}, with --server-side=true --force-conflicts");
    }
    if !why.starts_with(DIFFERS) {
        return format!("An admin restores it: run {upgrade}");
    }
    format!("An admin restores it: run 'kubectl delete {} {name}', then {upgrade}", kind.to_lowercase())
}

/// The refusal of all grants at present, because of `what`.
#[must_use]
pub fn not_proven(what: &str) -> Refusal {
    Refusal::new(
        Reason::GuardsNotVerified,
        format!(
            "new grants are on hold, since the admission guards are not verified: {what}. Active grants still expire on schedule; requests \
             and approvals made during this time must be submitted again"
        ),
    )
}

/// The refusal of all grants at present, because the two clocks differ by more than `limit`.
#[must_use]
pub fn clock_skewed(ours: Timestamp, servers: Timestamp, limit: SignedDuration) -> Refusal {
    Refusal::new(
        Reason::ClockSkewed,
        format!(
            "new grants are on hold, since the operator's clock shows {} and the API server's {}: they may differ by {} seconds at most. \
             Synchronize the clocks of the nodes, for example with NTP; active grants still expire on schedule",
            stamp(ours),
            stamp(servers),
            limit.as_secs(),
        ),
    )
}

/// The refusal of all grants at present, because the audit log does not confirm that everything is recorded. `last` is when it
/// confirmed that, and it must be within so many seconds.
#[must_use]
pub fn record_unavailable(last: Option<Timestamp>, within: u64) -> Refusal {
    let last = last.map_or_else(
        || "the audit log has never confirmed that everything is recorded".to_owned(),
        |last| format!("the audit log confirmed at {} for the last time that everything is recorded", stamp(last)),
    );
    Refusal::new(
        Reason::RecordUnavailable,
        format!(
            "new grants are on hold, since {last}, and the chart's value record.requireWithin allows {within} seconds. An admin finds the cause in the \
             log of the record's pod; active grants still expire on schedule"
        ),
    )
}

/// The refusal of a request that was created while the guards were not proven. Its author is uncertain, so it is never granted.
#[must_use]
pub fn requested_unguarded(created: Timestamp) -> Refusal {
    Refusal::new(
        Reason::WrittenUnguarded,
        format!(
            "the request was created at {}, when the admission guards were not verified, so its author cannot be trusted; create it again",
            stamp(created)
        ),
    )
}

/// The refusal because of an eligibility or policy, named by `what`, whose author is uncertain until an admin writes it again.
#[must_use]
pub fn written_unguarded(what: &str) -> Refusal {
    Refusal::new(
        Reason::WrittenUnguarded,
        format!(
            "{what} was written while the admission guards were not verified, so its author cannot be trusted: an admin must review it and \
             write it again with another spec, or delete and recreate it"
        ),
    )
}
