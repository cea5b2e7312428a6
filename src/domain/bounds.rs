//! The bound on stored decisions per request. A decision without effect is refused, and so are more decisions than a policy can use.
//!
//! Decisions are kept as long as their request, and each evaluation of the request reads all of them. Without a bound one eligible user
//! could fill the memory of the webhook (T45). A decision that removes access is never refused for the number of decisions, only if an
//! earlier decision already removed the access.

use jiff::SignedDuration;

use super::{
    decisions,
    facts::{Object, RequestFacts},
    instant::stamp,
    policy,
    refusal::Refusal,
    settings::Settings,
    snapshot::Snapshot,
};
use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Reason, Stamp, Verb,
    policy::{MAX_REQUIRED, MAX_STAGES},
};

/// Maximum number of decisions on one request before another Approve or Review is refused, for a policy that requires few approvals.
pub const LEAST_DECISIONS: usize = 64;
/// Maximum number of Approve and Review decisions by one person on one request: one, and one more after each change of policy, role or
/// eligibility.
pub const MAX_OF_ONE: usize = 16;
/// Number of people whose decisions against a request suffice: another decision would change nothing.
pub const MAX_AGAINST: usize = 8;

/// Returns the number of decisions on one request from which on this policy's Approves and Reviews are refused. It is three times the
/// required number: approvals must be given again after a change of what is approved, and some do not count.
#[must_use]
pub fn most_decisions(policy: Option<&ApprovalPolicySpec>) -> usize {
    let stages = policy.into_iter().flat_map(|policy| policy.approval.stages.iter().take(MAX_STAGES));
    let needed: usize = stages.map(|stage| policy::required(stage).min(MAX_REQUIRED)).sum();
    LEAST_DECISIONS.max(3 * needed + 16)
}

/// Refuses a decision on a request whose end is recorded, since it has no effect. A review is still accepted.
pub fn recorded_end(request: &RequestFacts, decision: Verb) -> Result<(), Refusal> {
    let Some(state) = request.record.state.filter(|state| state.is_terminal()) else { return Ok(()) };
    let name = &request.object.name;
    match decision {
        Verb::Review => Ok(()),
        Verb::Approve => Err(settled(format!("request '{name}' is already {state}: there is nothing left to approve"))),
        Verb::Deny | Verb::Revoke | Verb::Deactivate => {
            Err(settled(format!("request '{name}' has already ended ({state}): the decision {decision} would have no effect")))
        }
    }
}

fn settled(message: String) -> Refusal {
    Refusal::new(Reason::RequestCompleted, message)
}

/// Refuses a decision against a request if this person or many others already made one that counts. That decision ends the request, however
/// long the operator needs.
pub fn against_again(
    snapshot: &Snapshot,
    decision: &Object<ActivationDecisionSpec>,
    who: &Stamp,
    settings: &Settings,
) -> Result<(), Refusal> {
    let name = &snapshot.request.object.name;
    let counting = || decisions::against(snapshot, settings);
    let by_the_same = |earlier: &&Object<ActivationDecisionSpec>| {
        earlier.spec.decider.as_ref().is_some_and(|decider| settings.identities.same(decider, who))
    };
    if let Some(earlier) = counting().find(by_the_same) {
        return Err(settled(format!(
            "'{}' has already made the decision {} on request '{name}', at {}: it counts, and {} would have no effect; wait until it is carried out",
            decisions::decider(earlier),
            earlier.spec.decision,
            stamp(earlier.created),
            decision.spec.decision,
        )));
    }
    let many = counting().take(MAX_AGAINST).count();
    if many < MAX_AGAINST {
        return Ok(());
    }
    Err(settled(format!(
        "{many} decisions that end request '{name}' have already been made: {} would have no effect; wait until they are carried out",
        decision.spec.decision
    )))
}

/// Refuses an Approve or a Review if the request already has as many decisions as can be of use.
pub fn room(snapshot: &Snapshot, decision: Verb, who: &Stamp, settings: &Settings) -> Result<(), Refusal> {
    let request = &snapshot.request;
    let refuse = |why: String| Err(Refusal::new(Reason::TooManyDecisions, why));
    let name = &request.object.name;
    let mut of_decider = snapshot.decisions.iter().filter(|earlier| {
        matches!(earlier.spec.decision, Verb::Approve | Verb::Review)
            && request.is_named_by(earlier)
            && earlier.spec.decider.as_ref().is_some_and(|decider| settings.identities.same(decider, who))
    });
    if of_decider.nth(MAX_OF_ONE - 1).is_some() {
        return refuse(format!(
            "'{}' has made {MAX_OF_ONE} of at most {MAX_OF_ONE} decisions Approve and Review on request '{name}'; the requester must \
             create it again",
            who.username
        ));
    }
    let most = most_decisions(snapshot.policy.found().map(|policy| &policy.spec));
    let stored = snapshot.decisions.iter().filter(|earlier| request.is_named_by(earlier)).count();
    if stored < most && !snapshot.unread.more {
        return Ok(());
    }
    refuse(format!(
        "request '{name}' has {most} or more decisions, so no further {decision} is stored; end it with Deny, Revoke or Deactivate; the \
         requester must create it again"
    ))
}

/// Returns true if an earlier decision is old enough to be recorded by now, or does not count.
pub(super) fn should_be_recorded(earlier: &Object<ActivationDecisionSpec>, decision: &Object<ActivationDecisionSpec>) -> bool {
    decision.created.duration_since(earlier.created) > RECORDED_WITHIN
}

/// Time within which the operator records a decision, including delays for proofs and leader changes.
pub(super) const RECORDED_WITHIN: SignedDuration = SignedDuration::from_secs(30);
