//! Activation in an emergency (api rule 14): without stages, hours and pause, with a review that is owed afterwards.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    facts::{Debt, Object, RequestFacts},
    instant::stamp,
    peers::{Beside, Peer},
    person::{self, Account, Identities},
    refusal::Refusal,
};
use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, People, Reason, RoleActivationRequestSpec, Stamp, State, Verb,
    names::SETTLED_REVIEWS,
    policy::{Debtor, Emergency, MAX_REVIEWS_OWED, OwedReview},
    request::{ReviewState, ReviewStatus},
};

/// How long reviewers have where a policy does not say.
const DEFAULT_REVIEW: Duration = Duration::from_hours(24);

/// The policy's word on emergencies, if it allows them.
#[must_use]
pub fn allowed(policy: &ApprovalPolicySpec) -> Option<&Emergency> {
    policy.emergency.as_ref().filter(|emergency| emergency.allowed)
}

/// True for a request that skips stages, windows and cooldown. Whether it may, [`check`] has said before.
#[must_use]
pub fn skips(request: &RoleActivationRequestSpec, policy: &ApprovalPolicySpec) -> bool {
    request.emergency && allowed(policy).is_some()
}

/// The refusal of an emergency that the policy does not allow, that is too long, says no reason or follows one that nobody reviewed.
pub fn check(beside: Beside<'_>, account: &Account, asked: Duration) -> Result<(), Refusal> {
    let Beside { request, requester, policy, .. } = beside;
    let spec = &request.object.spec;
    if !spec.emergency {
        return Ok(());
    }
    let Some(emergency) = allowed(&policy.spec) else {
        return Err(Refusal::new(
            Reason::EmergencyNotAllowed,
            format!("policy '{}' allows no emergency (spec.emergency.allowed); ask without spec.emergency", policy.name),
        ));
    };
    if let Account::ServiceAccount { .. } = account {
        return Err(Refusal::new(
            Reason::ServiceAccountNotAllowed,
            format!("'{}' is a ServiceAccount: an emergency skips approval, and a ServiceAccount never goes without", requester.username),
        ));
    }
    if spec.justification.as_ref().is_none_or(api::text::Line::is_blank) {
        return Err(Refusal::new(
            Reason::JustificationMissing,
            "an emergency needs a reason for those who review it; write one in spec.justification",
        ));
    }
    if let Some(longest) = emergency.max_duration.filter(|longest| asked > *longest) {
        return Err(Refusal::new(
            Reason::DurationTooLong,
            format!(
                "duration {asked} was asked for, at most {longest} is allowed in an emergency by policy '{}' (spec.emergency.maxDuration); ask for \
                 {longest} or less",
                policy.name
            ),
        ));
    }
    let overdue = |peer: &&Peer| {
        // What was never granted owes nothing, whatever its status says.
        let review = peer.record.review.as_ref().filter(|review| review.state != ReviewState::Done && peer.record.granted_at.is_some());
        review.is_some_and(|review| request.object.created >= review.deadline)
    };
    match beside.own().find(overdue) {
        None => outlived(beside).and_then(|()| has_room(beside)),
        Some(peer) => Err(Refusal::new(
            Reason::ReviewOverdue,
            format!(
                "the emergency '{}/{}' of '{}' was not reviewed in time, and until somebody reviews it there is no other one; ask a reviewer \
                 ({}) for a decision Review, or ask without spec.emergency",
                peer.namespace,
                peer.object.name,
                requester.username,
                peer.record.review.as_ref().map_or_else(|| "nobody".to_owned(), |review| person::in_words(&review.reviewers)),
            ),
        )),
    }
}

/// The refusal of a person whose overdue review outlived its request: who deletes a namespace, or purges a record, settles nothing by it.
fn outlived(beside: Beside<'_>) -> Result<(), Refusal> {
    let Beside { request, requester, peers, debts, identities, .. } = beside;
    let due = |debt: &&Debt| {
        let owed = &debt.review;
        let is_there = owed.request_uid == request.object.uid || peers.iter().any(|peer| peer.object.uid == owed.request_uid);
        !is_there && request.object.created >= owed.deadline && identities.same(&owed.requester.stamp(), requester)
    };
    let Some(Debt { policy, review }) = debts.iter().find(due) else { return Ok(()) };
    Err(Refusal::new(
        Reason::ReviewOverdue,
        format!(
            "the emergency '{}' of '{}' was not reviewed in time and its request no longer exists, so nobody can review it any more; ask an admin of \
             policy '{policy}' to add '{}' to its annotation '{SETTLED_REVIEWS}', or ask without spec.emergency",
            review.request, requester.username, review.request_uid,
        ),
    ))
}

/// The refusal, if the policy's status has no place for the review that this emergency would owe.
fn has_room(beside: Beside<'_>) -> Result<(), Refusal> {
    let Beside { request, policy, .. } = beside;
    let Some(owed) = &policy.owed else { return Ok(()) };
    let is_recorded = owed.reviews.iter().any(|review| review.request_uid == request.object.uid);
    if is_recorded || owed.reviews.len() < MAX_REVIEWS_OWED {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::EmergencyNotAllowed,
        format!(
            "policy '{}' is owed {} of at most {MAX_REVIEWS_OWED} reviews of emergencies (status.reviewsOwed); ask its reviewers to review the \
             earlier ones, or ask without spec.emergency",
            policy.name,
            owed.reviews.len(),
        ),
    ))
}

/// What the policy must record of an emergency before it is granted; none of a request that owes no review, or none any more.
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

/// What becomes of a review that a policy's status lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It stays, as it is written here.
    Owed(OwedReview),
    /// It goes: it was done, or its request ended without a grant.
    Done,
    /// It goes, although its request no longer exists: an admin has settled it.
    Settled,
}

/// The UIDs that a policy's annotation [`SETTLED_REVIEWS`] lists.
pub fn settled_uids(annotation: Option<&str>) -> impl Iterator<Item = &str> {
    annotation.unwrap_or_default().split(',').map(str::trim).filter(|uid| !uid.is_empty())
}

/// The refusal of somebody who settles a review that they owe themselves. `newly` are the UIDs that they add to the annotation.
pub fn check_settling(who: &Stamp, listed: &[OwedReview], newly: &[&str], identities: &Identities) -> Result<(), Refusal> {
    let own = |owed: &&OwedReview| newly.contains(&owed.request_uid.as_str()) && identities.same(&owed.requester.stamp(), who);
    let Some(owed) = listed.iter().find(own) else { return Ok(()) };
    Err(Refusal::new(
        Reason::SelfApprovalNotAllowed,
        format!("'{}' was granted the emergency '{}' and cannot settle its review; another admin must", who.username, owed.request),
    ))
}

/// Where a listed review stands. `found` is the request of that name, none where there is none; `settled` is the policy's annotation.
#[must_use]
pub fn standing(owed: &OwedReview, found: Option<&RequestFacts>, settled: Option<&str>) -> Standing {
    // Another request may have taken the name.
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

/// True for somebody who may review.
#[must_use]
pub fn may_review(policy: &ApprovalPolicySpec, who: &Stamp) -> bool {
    reviewers(policy).is_some_and(|people| person::is_listed(who, people))
}

/// Who may review.
#[must_use]
pub fn reviewers(policy: &ApprovalPolicySpec) -> Option<&People> {
    policy.emergency.as_ref().and_then(|emergency| emergency.reviewers.as_ref())
}

/// Where the review of a request stands; none where nothing was granted in an emergency.
///
/// A review stays done. What is owed keeps its deadline and reviewers when the policy cannot be read, so that nobody gets rid of it by
/// removing the policy.
#[must_use]
pub fn review(
    request: &RequestFacts,
    granted_at: Option<DateTime<Utc>>,
    policy: Option<&ApprovalPolicySpec>,
    decisions: &[Object<ActivationDecisionSpec>],
    identities: &Identities,
    now: DateTime<Utc>,
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
        .map(|emergency| TimeDelta::from(emergency.review_within.unwrap_or(DEFAULT_REVIEW)));
    let deadline = match (before.map(|review| review.deadline), within) {
        (Some(owed), None) => owed,
        (owed, within) => {
            let fresh = start.checked_add_signed(within.unwrap_or_else(|| DEFAULT_REVIEW.into())).unwrap_or(start);
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

/// A review in words, for timelines and messages.
#[must_use]
pub fn in_words(review: &ReviewStatus) -> String {
    let by = review.reviewed_by.as_ref().map(ToString::to_string).unwrap_or_default();
    match review.state {
        ReviewState::Owed => format!("a review by {} is owed until {}", person::in_words(&review.reviewers), stamp(review.deadline)),
        ReviewState::Overdue => format!("nobody reviewed it until {}", stamp(review.deadline)),
        ReviewState::Done => format!("reviewed by {by}{}", review.comment.as_ref().map(|c| format!(": {c}")).unwrap_or_default()),
    }
}
