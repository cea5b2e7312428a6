//! The verdict on a grant whose RoleBinding the API server has refused.

use jiff::Timestamp;

use crate::{Verdict, binding};
use api::State;

/// Returns the verdict that the request has failed: the refusal is final, and another attempt needs a change by an admin.
#[must_use]
pub fn failed(verdict: Verdict, why: &str) -> Verdict {
    // Nothing was granted, so no review is owed.
    let failed = Verdict { grant: None, review: None, look_again: None, ..verdict };
    failed.because(State::Failed, binding::refused(why))
}

/// Returns the verdict that the request waits: the creation is retried until `deadline`, at which the grant would end.
#[must_use]
pub fn waits(verdict: Verdict, why: &str, deadline: Timestamp) -> Verdict {
    let waits = Verdict { grant: None, review: None, ..verdict };
    waits.because(State::Pending, binding::not_now(why, deadline))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Reason;

    #[test]
    fn a_refused_creation_grants_nothing_and_only_a_final_refusal_ends_the_request() {
        let deadline = Timestamp::UNIX_EPOCH;
        let verdict = || Verdict { look_again: Some(deadline), ..Verdict::new(State::Active, Reason::Granted, "granted") };
        let failed = failed(verdict(), "no");
        assert_eq!((failed.state, failed.reason, failed.look_again), (State::Failed, Reason::BindingRefused, None));
        assert!(failed.grant.is_none() && failed.review.is_none());
        let waits = waits(verdict(), "later", deadline);
        assert_eq!((waits.state, waits.reason, waits.look_again), (State::Pending, Reason::BindingRefused, Some(deadline)));
        assert!(waits.grant.is_none() && waits.review.is_none());
    }
}
