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
mod reconciler;
pub mod report;
mod standby;

use std::time::Duration;

use jiff::SignedDuration;
use tracing::warn;

use self::evaluate::{Decided, Evaluated, Step};
use crate::{
    gather::live::{self, StoredRequest},
    queue::Next,
};
use api::{State, request::ReviewState};
pub(super) use apply::delete_decisions;
use domain::{Binding, BindingAction, Lookup, Unread, Verdict};
use kube_io::{cache::Key, consistency::Consistency};
pub use reconciler::{HOLDERS_TIME, RequestError, Requests};

/// How long after a deadline a request is reconciled even without an event that its binding was removed.
const END_CHECK_DELAY: SignedDuration = SignedDuration::from_secs(5);
/// The longest time that the record of an end waits for grants that are past their deadline, and the poll interval.
const OVERDUE_FIRST: SignedDuration = SignedDuration::from_secs(2);
const OVERDUE_POLL: Duration = Duration::from_millis(100);
/// The delay after an end that failed. It does not grow, because the access remains until an attempt succeeds.
const END_RETRY: Duration = Duration::from_secs(1);

impl Requests {
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
                Next::RetryIn(END_RETRY)
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
            if self.report_and_list(key, &found, &applied).await? {
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

    /// Reports a grant and, in parallel, lists its decisions with a consistent read. Returns true if there are any.
    async fn report_and_list(&self, key: &Key, found: &StoredRequest, applied: &apply::Applied) -> Result<bool, RequestError> {
        let client = &self.context.client;
        let (reported, decisions) =
            tokio::join!(self.report(&found.stored, applied), live::decisions(client, &found.facts, Consistency::Latest, None));
        reported?;
        let (decisions, unread) = decisions?;
        if !decisions.is_empty() || unread != Unread::default() {
            return Ok(true);
        }
        self.unlisted.lock().remove(key);
        Ok(false)
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
