//! Limits per person (api rule 12): how many activations and open requests, how far ahead, how soon again.
//!
//! They are decided where grants are made, in the order of (creationTimestamp, uid); admission only refuses early what is clear already.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    duration,
    facts::{Object, Peer, RequestFacts},
    person::Identities,
    policy::stamp,
    refusal::Refusal,
    start,
};
use crate::api::{ApprovalPolicySpec, Reason, Stamp, State};

/// The requests of one person under one policy.
fn of_person<'a>(
    request: &'a RequestFacts,
    requester: &'a Stamp,
    policy: &'a str,
    peers: &'a [Peer],
    identities: &'a Identities,
) -> impl Iterator<Item = &'a Peer> {
    let others = peers.iter().filter(|peer| peer.object.uid != request.object.uid && peer.policy.as_deref() == Some(policy));
    others.filter(|peer| identities.same(&peer.requester, requester))
}

fn count(limit: Option<i32>) -> Option<usize> {
    limit.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok())
}

/// The refusal of a start too far ahead.
pub fn ahead(request: &RequestFacts, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    let Some(longest) = duration::limits(&policy.spec).max_schedule_ahead else { return Ok(()) };
    let (created, planned) = (request.object.created, start::planned(request));
    if planned.signed_duration_since(created) <= TimeDelta::from(longest) {
        return Ok(());
    }
    let latest = created.checked_add_signed(TimeDelta::from(longest)).unwrap_or(created);
    Err(Refusal::new(
        Reason::StartTooFarAhead,
        format!(
            "a start at {} was asked for; policy '{}' allows one at most {longest} ahead, which is {} now (spec.limits.maxScheduleAhead)",
            stamp(planned),
            policy.name,
            stamp(latest)
        ),
    ))
}

/// The refusal, if the person has as many undecided requests under the policy as it allows. Earlier ones go first, so that what was
/// let in is not refused because of what came later.
pub fn pending(
    request: &RequestFacts,
    requester: &Stamp,
    policy: &Object<ApprovalPolicySpec>,
    peers: &[Peer],
    identities: &Identities,
) -> Result<(), Refusal> {
    let Some(most) = count(duration::limits(&policy.spec).max_pending_per_user) else { return Ok(()) };
    let mine = (request.object.created, &request.object.uid);
    let undecided = |peer: &&Peer| matches!(peer.record.state, None | Some(State::Pending | State::AwaitingApproval));
    let earlier = of_person(request, requester, &policy.name, peers, identities)
        .filter(undecided)
        .filter(|peer| (peer.object.created, &peer.object.uid) < mine)
        .count();
    if earlier < most {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TooManyPending,
        format!(
            "'{}' has {earlier} undecided requests under policy '{}' already, at most {most} are allowed (spec.limits.maxPendingPerUser); wait until \
             one is decided, or take one back with a decision Deactivate",
            requester.username, policy.name
        ),
    ))
}

/// The refusal, if the person has as many activations under the policy as it allows. What prolongs another one is that one; earlier
/// requests that nobody has looked at yet count, or a hundred at once would all come first (T51, invariant 27).
pub fn active(
    request: &RequestFacts,
    requester: &Stamp,
    policy: &Object<ApprovalPolicySpec>,
    peers: &[Peer],
    identities: &Identities,
) -> Result<(), Refusal> {
    let Some(most) = count(duration::limits(&policy.spec).max_active_per_user) else { return Ok(()) };
    if request.object.spec.base().is_some() {
        return Ok(());
    }
    let mine = (request.object.created, &request.object.uid);
    let peers: Vec<&Peer> = of_person(request, requester, &policy.name, peers, identities).collect();
    let granted = |peer: &Peer| matches!(peer.record.state, Some(State::Active | State::Scheduled));
    let prolongs = |peer: &Peer| {
        let base = peer.object.spec.base();
        base.is_some_and(|base| peers.iter().any(|b| b.namespace == peer.namespace && b.object.name == base && granted(b)))
    };
    let fresh = |peer: &Peer| peer.record.state.is_none() && (peer.object.created, &peer.object.uid) < mine;
    let key = |peer: &Peer| (peer.namespace.clone(), peer.object.spec.eligibility_ref.name.clone());
    let running: Vec<_> = peers.iter().filter(|peer| granted(peer) && !prolongs(peer)).map(|peer| key(peer)).collect();
    // Of several for one eligibility in one namespace one at most is granted, so together they take one place: counted each, they
    // would refuse others in favour of what is refused itself.
    let ahead: BTreeSet<_> = peers.iter().filter(|peer| fresh(peer)).map(|peer| key(peer)).filter(|key| !running.contains(key)).collect();
    let counted = running.len() + ahead.len();
    if counted < most {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TooManyActive,
        format!(
            "'{}' has {counted} activations under policy '{}' already, at most {most} are allowed at a time (spec.limits.maxActivePerUser); give one \
             back with a decision Deactivate, or wait for its end",
            requester.username, policy.name
        ),
    ))
}

/// The refusal of a start during the pause after an earlier grant under the same eligibility in the same namespace.
pub fn cooldown(
    request: &RequestFacts,
    requester: &Stamp,
    start: DateTime<Utc>,
    policy: &Object<ApprovalPolicySpec>,
    peers: &[Peer],
    identities: &Identities,
) -> Result<(), Refusal> {
    let Some(pause) = duration::limits(&policy.spec).cooldown.filter(|pause| !pause.is_zero()) else { return Ok(()) };
    let same = |peer: &&Peer| {
        peer.object.uid != request.object.uid
            && peer.namespace == request.namespace
            && peer.object.spec.eligibility_ref == request.object.spec.eligibility_ref
            && identities.same(&peer.requester, requester)
    };
    let ended =
        peers.iter().filter(same).filter(|peer| peer.record.state.is_some_and(State::is_terminal) && peer.record.granted_at.is_some());
    let Some(last) = ended.filter_map(|peer| Some((peer.record.ended_at?, peer))).max_by_key(|(at, _)| *at) else { return Ok(()) };
    let (at, peer) = last;
    let over = at.checked_add_signed(TimeDelta::from(pause)).unwrap_or(DateTime::<Utc>::MAX_UTC);
    if start >= over {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::CoolingDown,
        format!(
            "the grant '{}' ended at {}, and policy '{}' asks for a pause of {pause} after that (spec.limits.cooldown): the next one may start at {}",
            peer.object.name,
            stamp(at),
            policy.name,
            stamp(over)
        ),
    ))
}
