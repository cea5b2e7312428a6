//! What the steps of a reconciliation share: the state of the reconciler of requests, and its errors.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::permits::RequesterPermits;
use crate::controller::{context::Context, owed::RecordError};
use domain::{Refusal, person::Identity};
use kube_io::{
    cache::Key,
    call::{CallError, ReadError, WriteError},
};

/// How long a standby replica leaves a change to the leader before it reconciles the request itself.
pub const HOLDERS_TIME: SignedDuration = SignedDuration::from_millis(500);

/// Why a request could not be reconciled. It is tried again, and nothing is granted meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Something could not be read.
    #[error(transparent)]
    Gather(#[from] ReadError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The review that an emergency owes could not be recorded.
    #[error("the review of the emergency cannot be recorded, so it is not granted: {0}")]
    Record(#[from] RecordError),
    /// A binding could not be removed.
    #[error(transparent)]
    End(CallError),
    /// A foreign finalizer keeps a binding, which grants nothing any more.
    #[error("a foreign finalizer keeps RoleBinding '{0}'; it has no subjects and grants nothing")]
    Held(Key),
    /// A binding existed and does not exist any more.
    #[error("the binding was removed between two calls")]
    Moved,
    /// The Lease was lost between the decision and the grant.
    #[error("this replica lost the Lease before it could grant")]
    NotLeading,
    /// The guards are no longer verified, as the last check before the grant has shown.
    #[error("{0}")]
    Unconfirmed(Refusal),
    /// The grant would expire as soon as it is made.
    #[error("the grant would expire before it is made")]
    DeadlineExceeded(Timestamp),
}

/// The reconciler of requests. The queue never processes a key twice at a time.
pub struct Requests {
    pub(super) context: Arc<Context>,
    /// The permits per person, eligibility and namespace: one request is decided at a time, so that two concurrent requests cannot both be
    /// granted (T51).
    pub(super) permits: RequesterPermits<(String, String, Identity)>,
    /// The permits for one undecided request of a person at a time, where their number is limited (invariant 27).
    pub(super) people: RequesterPermits<Identity>,
    /// The requests whose decisions the next reconciliation must list with a consistent read, because the grant came before such a list.
    pub(super) unlisted: parking_lot::Mutex<HashSet<Key>>,
    /// Since when a standby has observed a binding that the leader should have removed.
    pub(super) overdue: parking_lot::Mutex<HashMap<Key, Timestamp>>,
}

impl Requests {
    /// Returns a reconciler without any state.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let (permits, people) = (RequesterPermits::new(context.waiting.clone()), RequesterPermits::new(context.waiting.clone()));
        Self { context, permits, people, unlisted: parking_lot::Mutex::default(), overdue: parking_lot::Mutex::default() }
    }
}
