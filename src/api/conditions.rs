//! Conditions, by the API conventions of Kubernetes and those of kstatus.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{instant::whole_seconds, reason::Reason, text::printable};

/// The approval of the request is complete.
pub const APPROVED: &str = "Approved";
/// The RoleBinding exists.
pub const ACTIVE: &str = "Active";
/// The request has an outcome: it is active or has ended. A wait for this condition returns on every outcome.
pub const SETTLED: &str = "Settled";
/// A request: the access is usable now. Absent once a grant has ended or the request was withdrawn, because kstatus reads False as
/// "in progress". An eligibility or policy: it is valid as it is written, and the operator has nothing left to do for it.
pub const READY: &str = "Ready";
/// An eligibility: it can be activated now.
pub const USABLE: &str = "Usable";
/// kstatus: work is in progress, or waits for users or other objects.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: the object failed, or cannot be used as it is written.
pub const STALLED: &str = "Stalled";

/// A policy: for every key that it reads as evidence, a stamp with that key was observed.
pub const EVIDENCE_OBSERVED: &str = "EvidenceObserved";

/// Longest message of a condition, in characters.
const MAX_MESSAGE: usize = 1024;

/// Converts an instant to the type of Kubernetes, in whole seconds.
#[must_use]
pub fn to_time(at: Timestamp) -> Time {
    Time(whole_seconds(at))
}

/// Converts an instant from the type of Kubernetes, in whole seconds.
#[must_use]
pub fn from_time(time: &Time) -> Timestamp {
    whole_seconds(time.0)
}

/// Returns the condition of this type, if the object has it.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The value of one condition.
#[derive(Clone, Debug)]
pub struct Set {
    /// Type of the condition.
    pub kind: &'static str,
    /// True, False or Unknown.
    pub status: Option<bool>,
    /// Reason for the status, in one word.
    pub reason: Reason,
    /// Explanation of the status, in one sentence.
    pub message: String,
}

/// Returns `sets` as the conditions of an object. The transition time of a condition in `before` is kept while its status stays the same.
#[must_use]
pub fn merge(before: &[Condition], sets: &[Set], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    sets.iter()
        .map(|set| {
            let status = match set.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let since = before.iter().find(|c| c.type_ == set.kind && c.status == status).map(|c| c.last_transition_time.clone());
            Condition {
                type_: set.kind.to_owned(),
                status: status.to_owned(),
                reason: set.reason.as_str().to_owned(),
                message: printable(&set.message).chars().take(MAX_MESSAGE).collect(),
                observed_generation: generation,
                last_transition_time: since.unwrap_or_else(|| to_time(now)),
            }
        })
        .collect()
}
