//! Requests: gather, decide, apply, report.
//!
//! The leader (the holder of the Lease) decides every request. A standby replica only removes bindings, and only those that the leader
//! has left.
//!
//! ```text
//! Requests::work
//!  |
//!  +-- standby: reconcile_as_standby (standby.rs): reads the API server before it removes anything
//!  |
//!  +-- leader: reconcile_as_leader
//!       |
//!       |  gather and decide (evaluate.rs, gather.rs)
//!       |   |
//!       |   +-- a new request under an automatic policy: evaluate_new
//!       |   |     +- GET the request ------------+  read in parallel. The stored request must be the cached
//!       |   |     +- GET eligibility, policy, ...+  one, and what was read first at most 50 ms older than what was
//!       |   |     +- decisions, cached list -----+  read last. Otherwise: evaluate_stored
//!       |   |
//!       |   +-- any other request: evaluate_stored
//!       |   |     GET the request -> decisions, consistent list -> GET eligibility, policy, ...
//!       |   |     (an active one: cached, since whatever a cache lacks revokes it when its watch delivers it)
//!       |   |
//!       |   +-- verify: a verdict that must not rest on caches is evaluated again with consistent reads
//!       |
//!       |  apply (apply.rs)
//!       |         the guards and the Lease are checked again, then POST the RoleBinding
//!       |
//!       +- report (report.rs)
//!                the status and an Event. After a grant on a cached list of decisions, in parallel with the report:
//!                decisions, consistent list -> one found: reconcile again at once
//! ```

mod apply;
mod evaluate;
mod gather;
mod permits;
pub mod report;
mod standby;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use self::{
    evaluate::{Decided, Evaluated, Step},
    permits::RequesterPermits,
};
use super::{context::Context, owed::RecordError};
use crate::{
    gather::live::{self, StoredRequest},
    queue::Next,
};
use api::{State, request::ReviewState};
pub(super) use apply::delete_decisions;
use domain::{Binding, BindingAction, Lookup, Refusal, Unread, Verdict, person::Identity};
use kube_io::{
    cache::Key,
    call::{CallError, ReadError, WriteError},
    consistency::Consistency,
};

/// How long after a deadline a request is reconciled even without an event that its binding was removed.
const END_CHECK_DELAY: SignedDuration = SignedDuration::from_secs(5);
/// How long a standby replica leaves a change to the leader before it reconciles the request itself.
pub const HOLDERS_TIME: SignedDuration = SignedDuration::from_millis(500);
/// The longest time that the record of an end waits for grants that are past their deadline, and the poll interval.
const OVERDUE_FIRST: SignedDuration = SignedDuration::from_secs(2);
const OVERDUE_POLL: Duration = Duration::from_millis(100);
/// The delay after an end that failed. It does not grow, because the access remains until an attempt succeeds.
const END_RETRY: Duration = Duration::from_secs(1);

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
    End(#[from] CallError),
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

/// Whether a consistent list of decisions, made right after a grant, holds any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Decided,
    Undecided,
}

/// The reconciler of requests. The queue never processes a key twice at a time.
pub struct Requests {
    context: Arc<Context>,
    /// The permits per person, eligibility and namespace: one request is decided at a time, so that two concurrent requests cannot both be
    /// granted (T51).
    permits: RequesterPermits<(String, String, Identity)>,
    /// The permits for one undecided request of a person at a time, where their number is limited (invariant 27).
    people: RequesterPermits<Identity>,
    /// The requests whose decisions the next reconciliation must list with a consistent read, because the grant came before such a list.
    unlisted: parking_lot::Mutex<HashSet<Key>>,
    /// Since when a standby has observed a binding that the leader should have removed.
    overdue: parking_lot::Mutex<HashMap<Key, Timestamp>>,
}

impl Requests {
    /// Returns a reconciler without any state.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let (permits, people) = (RequesterPermits::new(context.waiting.clone()), RequesterPermits::new(context.waiting.clone()));
        Self { context, permits, people, unlisted: parking_lot::Mutex::default(), overdue: parking_lot::Mutex::default() }
    }

    /// Reconciles one request.
    pub async fn work(&self, key: Key) -> Next {
        if self.waits_for_overdue(&key) {
            return Next::In(OVERDUE_POLL);
        }
        let leading = self.context.leadership.held();
        let outcome =
            if leading { Box::pin(self.reconcile_as_leader(&key)).await } else { Box::pin(self.reconcile_as_standby(&key)).await };
        match outcome {
            Ok(next) => next,
            Err(RequestError::NotLeading) => Next::Done,
            Err(RequestError::DeadlineExceeded(deadline)) => Next::At(deadline),
            Err(RequestError::End(error)) => {
                warn!(request = %key, %error, "its binding cannot be removed yet, retrying");
                Next::In(END_RETRY)
            }
            Err(error) => {
                warn!(request = %key, %error, "cannot reconcile the request, retrying");
                Next::Retry
            }
        }
    }

    /// Returns true where only the end of this grant must be recorded, while other grants are past their deadline and must still end.
    fn waits_for_overdue(&self, key: &Key) -> bool {
        let Some(Lookup::Found(cached)) = self.context.requests.get(key) else { return false };
        let record = &cached.record;
        let since_its_end = record.expires_at.map(|end| self.context.now().duration_since(end));
        let is_over = record.state == Some(State::Active)
            && since_its_end.is_some_and(|since| (SignedDuration::ZERO..OVERDUE_FIRST).contains(&since));
        is_over && self.context.revoker.is_ending() && self.context.revoker.index().of_request(key).is_empty()
    }

    /// Reconciles a request as the leader.
    async fn reconcile_as_leader(&self, key: &Key) -> Result<Next, RequestError> {
        // Gather and decide.
        let Decided { found, evaluated: Evaluated { snapshot, verdict }, consistency, permits } = match self.gather_and_decide(key).await? {
            Step::Decided(decided) => *decided,
            Step::Finished(next) => return Ok(next),
        };
        let lists_later = self.note_unlisted(key, &verdict, consistency);
        // Apply.
        let applied = self.apply(snapshot, verdict).await?;
        // Report.
        if lists_later {
            if self.report_and_list(key, &found, &applied).await? == Late::Decided {
                return Ok(Next::In(Duration::ZERO));
            }
        } else {
            self.report(&found.stored, &applied).await?;
        }
        drop(permits.user);
        if applied.verdict.state.is_terminal() {
            self.context.has_ended(key, &found.stored);
        }
        Ok(if applied.retry { Next::Retry } else { look_again(&applied) })
    }

    /// Returns true for a grant that rests on a cached list of decisions. The consistent list follows right after it, or with the next
    /// reconciliation if this one fails before.
    fn note_unlisted(&self, key: &Key, verdict: &Verdict, consistency: Consistency) -> bool {
        let lists_later = verdict.binding == BindingAction::Create && consistency != Consistency::Latest;
        if lists_later {
            self.unlisted.lock().insert(key.clone());
        } else if consistency == Consistency::Latest {
            self.unlisted.lock().remove(key);
        }
        lists_later
    }

    /// Reports a grant and, in parallel, lists its decisions with a consistent read.
    async fn report_and_list(&self, key: &Key, found: &StoredRequest, applied: &apply::Applied) -> Result<Late, RequestError> {
        let client = &self.context.client;
        let (reported, decisions) =
            tokio::join!(self.report(&found.stored, applied), live::decisions(client, &found.facts, Consistency::Latest, None));
        reported?;
        let (decisions, unread) = decisions?;
        if !decisions.is_empty() || unread != Unread::default() {
            return Ok(Late::Decided);
        }
        self.unlisted.lock().remove(key);
        Ok(Late::Undecided)
    }
}

/// Returns when to reconcile without an event. The revoker ends a grant at its deadline and sends an event. The later reconciliation only
/// verifies that it has.
fn look_again(applied: &apply::Applied) -> Next {
    let record = &applied.snapshot.request.record;
    let deadline = applied.verdict.grant.as_ref().map(|grant| grant.deadline).or(record.expires_at);
    if let Some(review) =
        applied.verdict.review.as_ref().filter(|review| applied.verdict.state.is_terminal() && review.state == ReviewState::Owed)
    {
        return Next::At(review.deadline);
    }
    match applied.verdict.look_again {
        None => Next::Done,
        // A reconciliation a moment before the end gets no event for it.
        Some(at) if applied.verdict.state == State::Active && Some(at) >= deadline && applied.snapshot.binding != Binding::Absent => {
            Next::At(at + END_CHECK_DELAY)
        }
        Some(at) => Next::At(at),
    }
}
