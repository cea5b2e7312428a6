//! The admission guards: what each must say, what is known of them over time, and what people are told while they are not proven to be
//! in force, and about what was written then (T35, T42, T55, invariants 14 and 21). Whether they are in force is found out elsewhere.

pub mod compare;
pub mod expected;
pub mod ledger;

use chrono::{DateTime, TimeDelta, Utc};

use super::{instant::stamp, refusal::Refusal};
use api::Reason;

/// What is wrong with a guard that was changed; what differs follows.
pub const DIFFERS: &str = "does not say what it must";

/// How the keys of guards begin that say who serves our kinds.
pub const API_SERVICE: &str = "APIService ";

/// What an admin does about a weak guard. Helm leaves what somebody added to an object, and stops at what somebody changed in it, so the
/// object goes first; but a CRD would take every record with it.
#[must_use]
pub fn cure(key: &str, why: &str) -> String {
    let (kind, name) = key.split_once(' ').unwrap_or((key, ""));
    let upgrade = "'helm upgrade' with the values of the release";
    if key.starts_with(API_SERVICE) {
        // It is the API server's own, which makes it anew.
        return format!("An admin restores it: run 'kubectl delete apiservice {name}', and the API server makes it anew");
    }
    if kind == "CustomResourceDefinition" {
        return format!("An admin restores it: run {upgrade}, with --server-side=true --force-conflicts");
    }
    if !why.starts_with(DIFFERS) {
        return format!("An admin restores it: run {upgrade}");
    }
    format!("An admin restores it: run 'kubectl delete {} {name}', then {upgrade}", kind.to_lowercase())
}

/// Nothing may be granted at present, because of `what`.
#[must_use]
pub fn not_proven(what: &str) -> Refusal {
    Refusal::new(
        Reason::GuardsNotVerified,
        format!(
            "nothing is granted at present, since the guards of jit-rbac are not proven to be in force: {what}. Running grants end \
             meanwhile; what is asked for or approved meanwhile must be asked for again"
        ),
    )
}

/// Nothing may be granted at present, because the two clocks differ by more than `limit`.
#[must_use]
pub fn clock_skewed(ours: DateTime<Utc>, servers: DateTime<Utc>, limit: TimeDelta) -> Refusal {
    Refusal::new(
        Reason::ClockSkewed,
        format!(
            "nothing is granted at present, since the operator's clock says {} and the API server's {}: they may differ by {} seconds at \
             most. Set the clocks of the nodes right, by NTP; running grants end meanwhile",
            stamp(ours),
            stamp(servers),
            limit.num_seconds(),
        ),
    )
}

/// A request of times in which nothing was proven is nobody's for certain. It is never granted.
#[must_use]
pub fn requested_unguarded(created: DateTime<Utc>) -> Refusal {
    Refusal::new(
        Reason::WrittenUnguarded,
        format!(
            "the request was made at {}, when the guards of jit-rbac were not proven to be in force, so it may be anybody's; make it again",
            stamp(created)
        ),
    )
}

/// An eligibility or policy, named by `what`, is nobody's for certain until an admin writes it again.
#[must_use]
pub fn written_unguarded(what: &str) -> Refusal {
    Refusal::new(
        Reason::WrittenUnguarded,
        format!(
            "{what} was written while the guards of jit-rbac were not proven to be in force, so nobody knows whose it is: an admin must look \
             through it and write it again with another spec, or delete it and create it anew"
        ),
    )
}
