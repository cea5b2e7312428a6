//! Conditions, by Kubernetes' API conventions and those of kstatus.

use chrono::{DateTime, Utc};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{reason::Reason, text::printable};

/// The request's approval is complete.
pub const APPROVED: &str = "Approved";
/// The binding exists.
pub const ACTIVE: &str = "Active";
/// The request has an outcome: it is active or at an end. One wait for it returns on every outcome.
pub const SETTLED: &str = "Settled";
/// A request: the access is usable now; absent once a grant has ended or was never wanted any more, because kstatus reads False as
/// "in progress". An eligibility or policy: it is valid as it is written, and nothing is left to do for it.
pub const READY: &str = "Ready";
/// An eligibility: it can be activated now.
pub const USABLE: &str = "Usable";
/// kstatus: something still happens by itself or waits for people or other objects.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: it failed, or cannot work as it is written.
pub const STALLED: &str = "Stalled";

/// A policy: every key in which it looks for evidence has been seen in somebody's stamp.
pub const EVIDENCE_SEEN: &str = "EvidenceObserved";

/// Longest message of a condition that we write, in characters.
const MAX_MESSAGE: usize = 1024;

/// An instant as Kubernetes' own types hold it. Instants that those cannot hold become the epoch; ours all come from there.
#[must_use]
pub fn to_time(at: DateTime<Utc>) -> Time {
    Time(Timestamp::from_second(at.timestamp()).unwrap_or_default())
}

/// An instant of Kubernetes' own types.
#[must_use]
pub fn from_time(time: &Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.0.as_second(), 0).unwrap_or_default()
}

/// The condition of this type, if the object has it.
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
    /// Why.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
}

/// The conditions of an object: `before` with `sets` on top. The transition time moves only when the status does.
#[must_use]
pub fn merge(before: &[Condition], sets: &[Set], generation: Option<i64>, now: DateTime<Utc>) -> Vec<Condition> {
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
