//! Limits per person (api rule 12): the number of activations and pending requests, how far ahead a start may be, and the cooldown.
//!
//! The controller decides them when it grants, in the order of (creationTimestamp, uid). Admission only refuses early what is certain
//! already.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    duration,
    facts::{Object, RequestFacts},
    instant::stamp,
    peers::{LimitsInput, Peer},
    refusal::Refusal,
    start,
};
use api::{ApprovalPolicySpec, Duration, Reason, State};

/// How far ahead a start may be scheduled if a policy does not set it.
pub const DEFAULT_SCHEDULE_AHEAD: Duration = Duration::from_hours(7 * 24);

/// Returns a limit of the policy, if it has one. A stored value that the schema forbids and that is no count allows none.
fn count(limit: Option<i32>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit).unwrap_or(0))
}

/// Refuses a start that is too far ahead.
pub fn ahead(request: &RequestFacts, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    let stated = duration::limits(&policy.spec).max_schedule_ahead;
    let longest = stated.unwrap_or(DEFAULT_SCHEDULE_AHEAD);
    let (created, planned) = (request.object.created, start::planned(request));
    if planned.duration_since(created) <= SignedDuration::from(longest) {
        return Ok(());
    }
    let latest = created.checked_add(SignedDuration::from(longest)).unwrap_or(created);
    Err(Refusal::new(
        Reason::StartTooFarAhead,
        format!(
            "a start at {} was requested; policy '{}' allows one at most {longest} ahead, which is {} now (spec.limits.maxScheduleAhead{})",
            stamp(planned),
            policy.name,
            stamp(latest),
            if stated.is_none() { ", which it does not set" } else { "" },
        ),
    ))
}

/// Refuses if the person has as many undecided requests under the policy as it allows. Only earlier requests count, so that a later request
/// never causes the refusal of an accepted one.
pub fn pending(input: LimitsInput<'_>) -> Result<(), Refusal> {
    let LimitsInput { requester, policy, .. } = input;
    let Some(most) = count(duration::limits(&policy.spec).max_pending_per_user) else { return Ok(()) };
    let undecided = |peer: &&Peer| matches!(peer.record.state, None | Some(State::Pending | State::AwaitingApproval));
    let earlier = input.under_policy().filter(undecided).filter(|peer| input.is_earlier(peer)).count();
    if earlier < most {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TooManyPending,
        format!(
            "'{}' already has {earlier} of at most {most} undecided requests under policy '{}' (spec.limits.maxPendingPerUser); wait until \
             one is decided, or withdraw one with a decision Deactivate",
            requester.username, policy.name
        ),
    ))
}

/// Refuses if the person has as many activations under the policy as it allows. An extension counts as part of its base. Earlier requests
/// that are not decided yet count, since otherwise a hundred simultaneous requests would all be the first (T51, invariant 27).
pub fn active(input: LimitsInput<'_>) -> Result<(), Refusal> {
    let LimitsInput { request, requester, policy, .. } = input;
    let Some(most) = count(duration::limits(&policy.spec).max_active_per_user) else { return Ok(()) };
    if request.object.spec.base().is_some() {
        return Ok(());
    }
    let peers: Vec<&Peer> = input.under_policy().collect();
    let granted = |peer: &Peer| matches!(peer.record.state, Some(State::Active | State::Scheduled));
    let prolongs = |peer: &Peer| {
        let base = peer.object.spec.base();
        base.is_some_and(|base| peers.iter().any(|b| b.namespace == peer.namespace && b.object.name == base && granted(b)))
    };
    let fresh = |peer: &Peer| peer.record.state.is_none() && input.is_earlier(peer);
    let key = |peer: &Peer| (peer.namespace.clone(), peer.object.spec.eligibility_ref.name.clone());
    let running: Vec<_> = peers.iter().filter(|peer| granted(peer) && !prolongs(peer)).map(|peer| key(peer)).collect();
    // Of several requests for one eligibility in one namespace one at most is granted, so together they count once. Counting each would
    // refuse other requests in favor of requests that are refused themselves.
    let ahead: BTreeSet<_> = peers.iter().filter(|peer| fresh(peer)).map(|peer| key(peer)).filter(|key| !running.contains(key)).collect();
    let counted = running.len() + ahead.len();
    if counted < most {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TooManyActive,
        format!(
            "'{}' already has {counted} of at most {most} activations under policy '{}' (spec.limits.maxActivePerUser); end one with a \
             decision Deactivate, or wait for its end",
            requester.username, policy.name
        ),
    ))
}

/// Refuses a start during the cooldown after an earlier grant under the same eligibility in the same namespace.
pub fn cooldown(input: LimitsInput<'_>, start: Timestamp) -> Result<(), Refusal> {
    let LimitsInput { request, policy, .. } = input;
    let Some(pause) = duration::limits(&policy.spec).cooldown.filter(|pause| !pause.is_zero()) else { return Ok(()) };
    let same =
        |peer: &&Peer| peer.namespace == request.namespace && peer.object.spec.eligibility_ref == request.object.spec.eligibility_ref;
    let ended =
        input.own().filter(same).filter(|peer| peer.record.state.is_some_and(State::is_terminal) && peer.record.granted_at.is_some());
    let Some(last) = ended.filter_map(|peer| Some((peer.record.ended_at?, peer))).max_by_key(|(at, _)| *at) else { return Ok(()) };
    let (at, peer) = last;
    let over = at.checked_add(SignedDuration::from(pause)).unwrap_or(Timestamp::MAX);
    if start >= over {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::CooldownActive,
        format!(
            "the grant '{}' ended at {}, and policy '{}' requires a cooldown of {pause} after that (spec.limits.cooldown): the next one \
             may start at {}",
            peer.object.name,
            stamp(at),
            policy.name,
            stamp(over)
        ),
    ))
}
