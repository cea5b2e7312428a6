//! The Ready condition of eligibilities and policies.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use crate::{
    api::{
        Reason,
        conditions::{self, READY, Set},
    },
    domain::Refusal,
    gather::{GatherError, WriteError},
};

/// Why a status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] GatherError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The condition for a judgement: usable, with a sentence, or not, with the reason.
#[must_use]
pub fn ready(judged: Result<String, Refusal>) -> Set {
    match judged {
        Ok(message) => Set { kind: READY, status: Some(true), reason: Reason::Valid, message },
        Err(refusal) => Set { kind: READY, status: Some(false), reason: refusal.reason, message: refusal.message },
    }
}

/// The conditions of an object that has no other.
#[must_use]
pub fn conditions(before: &[Condition], judged: Result<String, Refusal>, generation: Option<i64>, now: DateTime<Utc>) -> Vec<Condition> {
    conditions::merge(before, &[ready(judged)], generation, now)
}

/// True when two statuses say the same. Transition times move only with what they are about.
#[must_use]
pub fn same<T: Serialize>(a: &T, b: &T) -> bool {
    matches!((serde_json::to_value(a), serde_json::to_value(b)), (Ok(a), Ok(b)) if a == b)
}

/// Takes it that an object which went away meanwhile needs no report.
pub fn forgive<T>(written: Result<T, WriteError>) -> Result<(), WriteError> {
    match written {
        Ok(_) => Ok(()),
        Err(error) if error.answer().is_some_and(|status| status.is_not_found() || status.is_conflict()) => Ok(()),
        Err(error) => Err(error),
    }
}
