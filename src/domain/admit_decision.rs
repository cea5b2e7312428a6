//! Whether admission accepts a decision. The checks are those of `decide`, applied to the decision as it would be stored.

use jiff::Timestamp;

use super::{
    approval::{self, Counted},
    bounds,
    decide::decide,
    decisions::{may_approve, may_revoke},
    digest::Digest,
    duration, emergency, evidence,
    facts::{Object, RequestFacts},
    instant::stamp,
    person,
    refusal::Refusal,
    settings::Settings,
    snapshot::Snapshot,
    verdict::Verdict,
};
use api::{ActivationDecisionSpec, ApprovalPolicySpec, Duration, People, Reason, Stamp, State, Verb, policy::Party, request::ReviewState};

/// Refuses a decision for reasons that follow from the request alone, so that no other object is read for it.
pub fn review_alone(request: &RequestFacts, decision: &Object<ActivationDecisionSpec>, settings: &Settings) -> Result<(), Refusal> {
    let (Some(who), Some(requester)) = (&decision.spec.decider, &request.object.spec.requester) else {
        return Err(Refusal::new(
            Reason::UserInfoMissing,
            "the decision or its request has no stamped author; is the mutating webhook of jit-rbac installed?",
        ));
    };
    person::account(who)?;
    let name = &request.object.name;
    if !request.is_named_by(decision) {
        return Err(another_request(request, decision.spec.request_ref.uid.as_deref()));
    }
    let is_requester = settings.identities.same(who, requester);
    let looks_alike = !is_requester && settings.identities.alike(who, requester);
    match decision.spec.decision {
        Verb::Deactivate if !is_requester => Err(Refusal::new(
            Reason::NotTheRequester,
            format!("only '{}' can deactivate request '{name}'; approvers and revokers use Revoke", requester.username),
        )),
        Verb::Approve if is_requester => Err(Refusal::new(
            Reason::SelfApprovalNotAllowed,
            format!("'{}' created request '{name}' and cannot approve it; another approver must", who.username),
        )),
        Verb::Approve | Verb::Review if looks_alike => Err(Refusal::new(
            Reason::SelfApprovalNotAllowed,
            format!(
                "'{}' looks like '{}', who created request '{name}', and counts as the same person; another user must {}",
                who.username,
                requester.username,
                decision.spec.decision.as_str().to_lowercase()
            ),
        )),
        Verb::Deny | Verb::Revoke if is_requester => {
            Err(Refusal::new(Reason::SelfApprovalNotAllowed, format!("request '{name}' is your own: use the decision Deactivate instead")))
        }
        Verb::Review if is_requester => Err(Refusal::new(
            Reason::SelfApprovalNotAllowed,
            format!("'{}' created request '{name}' and cannot review it; another reviewer must", who.username),
        )),
        Verb::Review if !request.object.spec.emergency || request.record.granted_at.is_none() => {
            Err(Refusal::new(Reason::NoReviewPending, format!("request '{name}' has no emergency grant: there is nothing to review")))
        }
        verb => bounds::recorded_end(request, verb),
    }
}

/// The refusal of a decision about an earlier request of the same name.
#[must_use]
pub fn another_request(request: &RequestFacts, uid: Option<&str>) -> Refusal {
    Refusal::new(
        Reason::RequestMismatch,
        format!(
            "the decision is for request '{}' with UID {}, but the current request has UID {}; check it and decide again",
            request.object.name,
            uid.unwrap_or("none"),
            request.object.uid,
        ),
    )
}

/// Refuses a decision that its author may not make or that would have no effect. The controller verifies the same when it counts decisions.
///
/// `decision` is the object as it would be stored, with its stamp. `now` is its own creation time.
pub fn review(snapshot: &Snapshot, decision: &Object<ActivationDecisionSpec>, settings: &Settings, now: Timestamp) -> Result<(), Refusal> {
    review_alone(&snapshot.request, decision, settings)?;
    let Some(who) = &decision.spec.decider else { return Ok(()) };
    match decision.spec.decision {
        Verb::Deactivate => bounds::against_again(snapshot, decision, who, settings),
        Verb::Approve => approve(snapshot, decision, who, &decide(snapshot, settings, now), settings),
        Verb::Deny | Verb::Revoke => {
            deny_or_revoke(snapshot, decision, who, &decide(snapshot, settings, now))?;
            bounds::against_again(snapshot, decision, who, settings)
        }
        Verb::Review => review_emergency(snapshot, decision, who, settings),
    }
}

/// Accepts a review of an emergency grant from a reviewer, until one review is recorded.
fn review_emergency(
    snapshot: &Snapshot,
    decision: &Object<ActivationDecisionSpec>,
    who: &Stamp,
    settings: &Settings,
) -> Result<(), Refusal> {
    let request = &snapshot.request;
    let name = &request.object.name;
    let before = request.record.review.as_ref();
    let policy = snapshot.policy.found().map(|policy| &policy.spec);
    let people = policy.and_then(emergency::reviewers).or(before.map(|review| &review.reviewers));
    if !people.is_some_and(|people| person::is_listed(who, people)) {
        let reviewers = people.map_or_else(|| "none".to_owned(), person::describe);
        let hints = why_not_listed(who, people.into_iter());
        return Err(Refusal::new(
            Reason::NotAReviewer,
            format!(
                "'{}' may not review request '{name}': reviewers are {reviewers} (spec.emergency.reviewers of the policy){hints}",
                who.username
            ),
        ));
    }
    // A review that is still not recorded after this time does not count, since the guards were not proven when it was made (T42).
    let recent: Vec<_> = snapshot.decisions.iter().filter(|earlier| !bounds::should_be_recorded(earlier, decision)).cloned().collect();
    let review = emergency::review(request, request.record.granted_at, policy, &recent, &settings.identities, decision.created);
    if let Some(done) = review.filter(|review| review.state == ReviewState::Done) {
        return Err(Refusal::new(
            Reason::RequestCompleted,
            format!("request '{name}' is already {}: another Review would have no effect", emergency::describe(&done)),
        ));
    }
    bounds::room(snapshot, decision.spec.decision, who, settings)
}

/// Refuses a Deny or a Revoke by a user who may not make it, or without the comment that the policy requires.
fn deny_or_revoke(snapshot: &Snapshot, decision: &Object<ActivationDecisionSpec>, who: &Stamp, verdict: &Verdict) -> Result<(), Refusal> {
    let Some(policy) = snapshot.policy.found() else {
        return Err(Refusal::new(
            Reason::PolicyNotFound,
            "the policy that defines who may decide does not exist or cannot be read; nothing is granted without it",
        ));
    };
    let revoke = decision.spec.decision == Verb::Revoke;
    let allowed = if revoke { may_revoke(&policy.spec, who) } else { may_approve(&policy.spec, who) };
    if !allowed {
        let revokers = policy.spec.revokers.iter().filter(|_| revoke);
        let hints = why_not_listed(who, approvers(&policy.spec).chain(revokers));
        let (reason, people) = if revoke {
            let revokers = policy.spec.revokers.as_ref().map_or_else(|| "none".to_owned(), person::describe);
            (Reason::NotARevoker, format!("approvers are {}, revokers {revokers}", describe_approvers(&policy.spec)))
        } else {
            (Reason::NotAnApprover, format!("approvers are {}", describe_approvers(&policy.spec)))
        };
        return Err(Refusal::new(
            reason,
            format!(
                "'{}' may not {} under policy '{}': {people}{hints}",
                who.username,
                decision.spec.decision.as_str().to_lowercase(),
                policy.name
            ),
        ));
    }
    let waiting = verdict.state == State::AwaitingApproval;
    if waiting && !revoke { has_comment(decision, policy) } else { Ok(()) }
}

/// Refuses a decision without the comment that the policy requires.
fn has_comment(decision: &Object<ActivationDecisionSpec>, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    if !policy.spec.approval.require_comment || !decision.spec.comment.as_ref().is_none_or(api::text::Line::is_blank) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::CommentMissing,
        format!("policy '{}' requires a comment from approvers (spec.approval.requireComment); set spec.comment", policy.name),
    ))
}

fn approvers(policy: &ApprovalPolicySpec) -> impl Iterator<Item = &People> {
    policy.approval.stages.iter().map(|stage| &stage.approvers)
}

fn why_not_listed<'a>(who: &Stamp, people: impl Iterator<Item = &'a People>) -> String {
    let people: Vec<&People> = people.collect();
    person::why_not_listed(who, people.iter().flat_map(|people| &people.users), people.iter().flat_map(|people| &people.groups))
}

fn describe_approvers(policy: &ApprovalPolicySpec) -> String {
    let stages: Vec<String> =
        policy.approval.stages.iter().map(|s| format!("{} (stage '{}')", person::describe(&s.approvers), s.name)).collect();
    if stages.is_empty() { "none, since it approves automatically".to_owned() } else { stages.join(", ") }
}

fn approve(
    snapshot: &Snapshot,
    decision: &Object<ActivationDecisionSpec>,
    who: &Stamp,
    verdict: &Verdict,
    settings: &Settings,
) -> Result<(), Refusal> {
    let request = &snapshot.request;
    // An approval that is still not recorded after this time does not count, since the guards were not proven when it was given (T42).
    // Admission cannot verify that, so it accepts the approval again.
    let does_not_count = |counted: &Counted| {
        decision.created.duration_since(counted.at) > bounds::RECORDED_WITHIN
            && !request.record.approvers.contains(&counted.approver.username)
    };
    let granted = matches!(verdict.state, State::Active | State::Scheduled);
    if granted && request.record.state.is_none_or(|state| state == State::AwaitingApproval) && verdict.counted.iter().any(does_not_count) {
        bounds::room(snapshot, decision.spec.decision, who, settings)?;
        return enough_by_count(snapshot, decision, who, verdict);
    }
    if verdict.state.is_terminal() || granted {
        // Until the approval is recorded, the object does not give the reason.
        let recorded = granted || request.record.state.is_some_and(State::is_terminal);
        let told = recorded || matches!(verdict.reason, Reason::DeniedByApprover | Reason::WithdrawnByRequester | Reason::ApprovalTimedOut);
        let why = if told { String::new() } else { format!(" ({}: {})", verdict.reason, verdict.message) };
        return Err(Refusal::new(
            Reason::RequestCompleted,
            format!("request '{}' is already {}: there is nothing left to approve{why}", request.object.name, verdict.state),
        ));
    }
    let (Some(policy), Some(digest), Some(awaiting)) = (snapshot.policy.found(), &verdict.digest, &verdict.awaiting) else {
        return Err(Refusal::new(
            Reason::RequestNotReady,
            format!("request '{}' cannot be approved now: {}", request.object.name, verdict.message),
        ));
    };
    let stages = &policy.spec.approval.stages;
    let Some(stage) = approval::stage_of(stages, who) else { return Err(not_an_approver(who, policy)) };
    bounds::room(snapshot, decision.spec.decision, who, settings)?;
    is_fresh(snapshot, decision, digest)?;
    if let Some(before) = verdict.counted.iter().find(|c| settings.identities.alike(&c.approver, who) && !does_not_count(c)) {
        return Err(Refusal::new(
            Reason::AlreadyApproved,
            format!(
                "'{}' approved request '{}' at {}{}; another approver must approve too",
                before.approver.username,
                request.object.name,
                stamp(before.at),
                if settings.identities.same(&before.approver, who) {
                    String::new()
                } else {
                    format!(", and '{}' looks the same", who.username)
                },
            ),
        ));
    }
    let open = stages.iter().position(|s| s.name == awaiting.stage);
    // Without an approval that does not count, its stage is still open.
    if open != Some(stage) && !verdict.counted.iter().any(does_not_count) {
        let mine = stages.get(stage).map(|s| s.name.to_string()).unwrap_or_default();
        return Err(Refusal::new(
            Reason::StageNotOpen,
            format!(
                "'{}' is an approver of stage '{mine}', but stage '{}' is open now ({} of {})",
                who.username, awaiting.stage, awaiting.have, awaiting.required
            ),
        ));
    }
    has_comment(decision, policy)?;
    evidence::check(who, Party::Approver, decision.created, policy)?;
    if let (Some(shorter), Some(asked)) = (decision.spec.duration, verdict.asked) {
        check_shortening(shorter, asked, policy)?;
    }
    leads_nowhere(snapshot, decision, settings)
}

/// Accepts an Approve where enough approvals are stored but not all of them count. The author must be an approver, and the decision must
/// carry all that the policy requires.
fn enough_by_count(snapshot: &Snapshot, decision: &Object<ActivationDecisionSpec>, who: &Stamp, verdict: &Verdict) -> Result<(), Refusal> {
    let (Some(policy), Some(digest)) = (snapshot.policy.found(), &verdict.digest) else {
        return Err(Refusal::new(Reason::RequestNotReady, "the policy that defines who may approve cannot be read"));
    };
    if approval::stage_of(&policy.spec.approval.stages, who).is_none() {
        return Err(not_an_approver(who, policy));
    }
    is_fresh(snapshot, decision, digest)?;
    has_comment(decision, policy)?;
    evidence::check(who, Party::Approver, decision.created, policy)
}

fn not_an_approver(who: &Stamp, policy: &Object<ApprovalPolicySpec>) -> Refusal {
    Refusal::new(
        Reason::NotAnApprover,
        format!(
            "'{}' may not approve under policy '{}': approvers are {}{}",
            who.username,
            policy.name,
            describe_approvers(&policy.spec),
            why_not_listed(who, approvers(&policy.spec))
        ),
    )
}

fn is_fresh(snapshot: &Snapshot, decision: &Object<ActivationDecisionSpec>, digest: &Digest) -> Result<(), Refusal> {
    let shown = decision.spec.digest.as_deref().unwrap_or_default();
    if digest.is_shown_as(shown) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::DigestStale,
        format!(
            "the digest '{shown}' does not match what would be granted now, {digest}; check request '{}' and decide again",
            snapshot.request.object.name
        ),
    ))
}

/// Refuses an Approve that would complete the approval of a request that cannot be granted now, such as outside of the hours. Accepting it
/// would end the request, which can still be granted later.
fn leads_nowhere(snapshot: &Snapshot, decision: &Object<ActivationDecisionSpec>, settings: &Settings) -> Result<(), Refusal> {
    let mut with = snapshot.clone();
    with.decisions.push(decision.clone());
    let verdict = decide(&with, settings, decision.created);
    match verdict.refusal() {
        Some(refusal) if verdict.state.is_terminal() => Err(Refusal::new(
            refusal.reason,
            format!("with this approval, request '{}' would be {}: {}", snapshot.request.object.name, verdict.state, refusal.message),
        )),
        _ => Ok(()),
    }
}

fn check_shortening(shorter: Duration, asked: Duration, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    if shorter > asked {
        return Err(Refusal::new(
            Reason::DurationTooLong,
            format!("duration {shorter} is longer than the requested {asked}; an approver can only shorten it"),
        ));
    }
    let shortest = duration::limits(&policy.spec).min_duration.unwrap_or(Duration::from_secs(1));
    if shorter < shortest { Err(duration::too_short(shorter, shortest, &policy.name)) } else { Ok(()) }
}
