//! Activation in an emergency (api rule 14): without stages, hours and cooldown, with a review that is owed afterwards.

use jiff::{SignedDuration, Timestamp};

use super::{
    facts::{Debt, Object, RequestFacts},
    instant::stamp,
    peers::{LimitsInput, Peer},
    person::{self, Account, Identities},
    refusal::Refusal,
};
use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, People, Reason, RoleActivationRequestSpec, Stamp, State, Verb,
    names::SETTLED_REVIEWS,
    policy::{Debtor, Emergency, MAX_REVIEWS_OWED, OwedReview},
    request::{ReviewState, ReviewStatus},
};

/// Time that reviewers have if a policy does not set it.
const DEFAULT_REVIEW: Duration = Duration::from_hours(24);

/// Returns the policy's rules for emergencies, if it allows them.
#[must_use]
pub fn allowed(policy: &ApprovalPolicySpec) -> Option<&Emergency> {
    policy.emergency.as_ref().filter(|emergency| emergency.allowed)
}

/// Returns true for a request that skips stages, windows and cooldown. [`check`] has verified that it may.
#[must_use]
pub fn skips(request: &RoleActivationRequestSpec, policy: &ApprovalPolicySpec) -> bool {
    request.emergency && allowed(policy).is_some()
}

/// Refuses an emergency that the policy does not allow, that is too long, lacks a justification or follows one whose review is overdue.
pub fn check(input: LimitsInput<'_>, account: &Account, asked: Duration) -> Result<(), Refusal> {
    let LimitsInput { request, requester, policy, .. } = input;
    let spec = &request.object.spec;
    if !spec.emergency {
        return Ok(());
    }
    let Some(emergency) = allowed(&policy.spec) else {
        return Err(Refusal::new(
            Reason::EmergencyNotAllowed,
            format!("policy '{}' does not allow emergencies (spec.emergency.allowed); request without spec.emergency", policy.name),
        ));
    };
    if let Account::ServiceAccount { .. } = account {
        return Err(Refusal::new(
            Reason::ServiceAccountNotAllowed,
            format!("'{}' is a ServiceAccount: an emergency skips approval, which a ServiceAccount always requires", requester.username),
        ));
    }
    if spec.justification.as_ref().is_none_or(api::text::Line::is_blank) {
        return Err(Refusal::new(
            Reason::JustificationMissing,
            "an emergency requires a justification for its reviewers; set spec.justification",
        ));
    }
    if let Some(longest) = emergency.max_duration.filter(|longest| asked > *longest) {
        return Err(Refusal::new(
            Reason::DurationTooLong,
            format!(
                "duration {asked} was requested, at most {longest} is allowed in an emergency by policy '{}' (spec.emergency.maxDuration); \
                 request {longest} or less",
                policy.name
            ),
        ));
    }
    let overdue = |peer: &&Peer| {
        // A request that was never granted owes nothing, whatever its status.
        let review = peer.record.review.as_ref().filter(|review| review.state != ReviewState::Done && peer.record.granted_at.is_some());
        review.is_some_and(|review| request.object.created >= review.deadline)
    };
    match input.own().find(overdue) {
        None => outlived(input).and_then(|()| has_room(input)),
        Some(peer) => Err(Refusal::new(
            Reason::ReviewOverdue,
            format!(
                "emergency '{}/{}' of '{}' was not reviewed in time, and no other one is granted until it is reviewed; ask a reviewer ({}) \
                 for a decision Review, or request without spec.emergency",
                peer.namespace,
                peer.object.name,
                requester.username,
                peer.record.review.as_ref().map_or_else(|| "none".to_owned(), |review| person::describe(&review.reviewers)),
            ),
        )),
    }
}

/// Refuses a requester whose overdue review outlived its request: deleting a namespace or purging a record settles no review.
fn outlived(input: LimitsInput<'_>) -> Result<(), Refusal> {
    let LimitsInput { request, requester, peers, debts, identities, .. } = input;
    let due = |debt: &&Debt| {
        let owed = &debt.review;
        let is_there = owed.request_uid == request.object.uid || peers.iter().any(|peer| peer.object.uid == owed.request_uid);
        !is_there && request.object.created >= owed.deadline && identities.same(&owed.requester.stamp(), requester)
    };
    let Some(Debt { policy, review }) = debts.iter().find(due) else { return Ok(()) };
    Err(Refusal::new(
        Reason::ReviewOverdue,
        format!(
            "emergency '{}' of '{}' was not reviewed in time and its request no longer exists, so it can no longer be reviewed; ask an \
             admin of policy '{policy}' to add '{}' to its annotation '{SETTLED_REVIEWS}', or request without spec.emergency",
            review.request, requester.username, review.request_uid,
        ),
    ))
}

/// Refuses if the policy's status has no room for the review that this emergency would owe.
fn has_room(input: LimitsInput<'_>) -> Result<(), Refusal> {
    let LimitsInput { request, policy, .. } = input;
    let Some(owed) = &policy.owed else { return Ok(()) };
    let is_recorded = owed.reviews.iter().any(|review| review.request_uid == request.object.uid);
    if is_recorded || owed.reviews.len() < MAX_REVIEWS_OWED {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::EmergencyNotAllowed,
        format!(
            "policy '{}' has {} of at most {MAX_REVIEWS_OWED} outstanding reviews of emergencies (status.reviewsOwed); ask its reviewers \
             to review the earlier ones, or request without spec.emergency",
            policy.name,
            owed.reviews.len(),
        ),
    ))
}

/// Returns what the policy must record of an emergency before the grant. `None` if the request owes no review, or no longer owes one.
#[must_use]
pub fn debt(request: &RequestFacts, review: Option<&ReviewStatus>) -> Option<OwedReview> {
    let review = review.filter(|review| review.state != ReviewState::Done)?;
    Some(OwedReview {
        requester: Debtor::of(request.object.spec.requester.as_ref()?),
        request: format!("{}/{}", request.namespace, request.object.name),
        request_uid: request.object.uid.clone(),
        deadline: review.deadline,
    })
}

/// What happens to a review that a policy's status lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It stays, with this content.
    Owed(OwedReview),
    /// It is removed: it was done, or its request ended without a grant.
    Done,
    /// It is removed although its request no longer exists: an admin has settled it.
    Settled,
}

/// Returns the UIDs that a policy's annotation [`SETTLED_REVIEWS`] lists.
pub fn settled_uids(annotation: Option<&str>) -> impl Iterator<Item = &str> {
    annotation.unwrap_or_default().split(',').map(str::trim).filter(|uid| !uid.is_empty())
}

/// Refuses a user who settles a review that they owe themselves. `newly` are the UIDs that they add to the annotation.
pub fn check_settling(who: &Stamp, listed: &[OwedReview], newly: &[&str], identities: &Identities) -> Result<(), Refusal> {
    let own = |owed: &&OwedReview| newly.contains(&owed.request_uid.as_str()) && identities.same(&owed.requester.stamp(), who);
    let Some(owed) = listed.iter().find(own) else { return Ok(()) };
    Err(Refusal::new(
        Reason::SelfApprovalNotAllowed,
        format!("'{}' was granted the emergency '{}' and cannot settle its review; another admin must", who.username, owed.request),
    ))
}

/// Returns the state of a listed review. `found` is the request of that name, if there is one. `settled` is the policy's annotation.
#[must_use]
pub fn standing(owed: &OwedReview, found: Option<&RequestFacts>, settled: Option<&str>) -> Standing {
    // Another request may have reused the name.
    let Some(request) = found.filter(|found| found.object.uid == owed.request_uid) else {
        return if settled_uids(settled).any(|uid| uid == owed.request_uid) { Standing::Settled } else { Standing::Owed(owed.clone()) };
    };
    let record = &request.record;
    let ended_ungranted = record.granted_at.is_none() && record.state.is_some_and(State::is_terminal);
    match &record.review {
        Some(review) if review.state == ReviewState::Done => Standing::Done,
        _ if ended_ungranted => Standing::Done,
        Some(review) => Standing::Owed(OwedReview { deadline: review.deadline, ..owed.clone() }),
        None => Standing::Owed(owed.clone()),
    }
}

/// Returns the reviewers.
#[must_use]
pub fn reviewers(policy: &ApprovalPolicySpec) -> Option<&People> {
    policy.emergency.as_ref().and_then(|emergency| emergency.reviewers.as_ref())
}

/// Returns the state of a request's review. `None` if there was no emergency grant.
///
/// A completed review stays completed. An owed review keeps its deadline and reviewers while the policy cannot be read, so that removing
/// the policy does not remove the review.
#[must_use]
pub fn review(
    request: &RequestFacts,
    granted_at: Option<Timestamp>,
    policy: Option<&ApprovalPolicySpec>,
    decisions: &[Object<ActivationDecisionSpec>],
    identities: &Identities,
    now: Timestamp,
) -> Option<ReviewStatus> {
    let before = request.record.review.as_ref();
    if let Some(done) = before.filter(|review| review.state == ReviewState::Done) {
        return Some(done.clone());
    }
    let requester = request.object.spec.requester.as_ref()?;
    let start = granted_at.filter(|_| request.object.spec.emergency)?;
    let people = policy.and_then(reviewers).or(before.map(|review| &review.reviewers)).cloned().unwrap_or_default();
    let within = policy
        .and_then(|policy| policy.emergency.as_ref())
        .map(|emergency| SignedDuration::from(emergency.review_within.unwrap_or(DEFAULT_REVIEW)));
    let deadline = match (before.map(|review| review.deadline), within) {
        (Some(owed), None) => owed,
        (owed, within) => {
            let fresh = start.checked_add(within.unwrap_or_else(|| DEFAULT_REVIEW.into())).unwrap_or(start);
            owed.map_or(fresh, |owed| owed.min(fresh))
        }
    };
    let valid = |decision: &&Object<ActivationDecisionSpec>| {
        decision.spec.decision == Verb::Review
            && request.is_named_by(decision)
            && decision.spec.decider.as_ref().is_some_and(|who| person::is_listed(who, &people) && !identities.alike(who, requester))
    };
    let first = decisions.iter().filter(valid).min_by_key(|decision| (decision.created, decision.uid.as_str()));
    let state = match first {
        Some(_) => ReviewState::Done,
        None if now >= deadline => ReviewState::Overdue,
        None => ReviewState::Owed,
    };
    Some(ReviewStatus {
        state,
        deadline,
        reviewers: people,
        reviewed_by: first.and_then(|decision| decision.spec.decider.as_ref()).map(|who| who.username.clone()),
        reviewed_at: first.map(|decision| decision.created),
        comment: first.and_then(|decision| decision.spec.comment.clone()),
    })
}

/// Describes a review for timelines and messages.
#[must_use]
pub fn describe(review: &ReviewStatus) -> String {
    let by = review.reviewed_by.as_ref().map(ToString::to_string).unwrap_or_default();
    match review.state {
        ReviewState::Owed => format!("a review by {} is due by {}", person::describe(&review.reviewers), stamp(review.deadline)),
        ReviewState::Overdue => format!("the review was due at {}", stamp(review.deadline)),
        ReviewState::Done => format!("reviewed by {by}{}", review.comment.as_ref().map(|c| format!(": {c}")).unwrap_or_default()),
    }
}
