//! The status of a request, computed from the verdict and the previous status.

use jiff::{SignedDuration, Timestamp};

use api::{
    Reason, RoleActivationRequestStatus, State,
    conditions::{self, ACTIVE, APPROVED, READY, RECONCILING, SETTLED, STALLED, Set},
    eligibility::{RoleKind, RoleStatus},
    request::{BindingRef, ReviewStatus},
};
use domain::{
    Lookup, Snapshot, Verdict,
    instant::{stamp, whole_seconds},
    timeline,
};

/// Returns the status for `snapshot` and its `verdict`. A completed request keeps what was reported while it was active.
#[must_use]
pub fn status(
    before: &RoleActivationRequestStatus,
    snapshot: &Snapshot,
    verdict: &Verdict,
    binding: Option<BindingRef>,
    generation: Option<i64>,
    now: Timestamp,
) -> RoleActivationRequestStatus {
    let state = verdict.state;
    let granted_before = before.state == Some(State::Active);
    let digest = verdict.digest.as_ref().map(ToString::to_string);
    let names: Vec<String> = verdict.counted.iter().map(|c| c.approver.username.to_string()).collect();
    // After the grant, the report of how it was approved does not change any more.
    let settled = granted_before || state.is_terminal();
    let extension = verdict.grant.as_ref().filter(|g| g.began < g.start);
    // An extension is granted before its own term starts.
    let granted = verdict.grant.as_ref().map(|g| if extension.is_some() { g.start.min(whole_seconds(now)) } else { g.start });
    let granted_at = granted.or(before.granted_at);
    RoleActivationRequestStatus {
        observed_generation: generation,
        state: Some(state),
        reason: Some(verdict.reason),
        conditions: conditions::merge(&before.conditions, &condition_sets(before, verdict), generation, now),
        digest: if granted_before { before.digest.clone() } else { digest.or_else(|| before.digest.clone()) },
        awaiting: verdict.awaiting.clone(),
        role: if granted_before { before.role.clone() } else { role(snapshot).or_else(|| before.role.clone()) },
        approved_by: if settled && names.is_empty() { before.approved_by.clone() } else { (!names.is_empty()).then(|| names.join(",")) },
        granted_at,
        extends_from: extension.map(|g| g.start).or(before.extends_from),
        started_at: extension.map(|g| g.began).or(before.started_at),
        expires_at: verdict.grant.as_ref().map(|g| g.deadline).or(before.expires_at),
        ended_at: if state.is_terminal() { before.ended_at.or(Some(ended_at(granted_at, now))) } else { None },
        binding_ref: binding.or_else(|| before.binding_ref.clone()),
        approvals: if settled && verdict.counted.is_empty() {
            before.approvals.clone()
        } else {
            verdict.counted.iter().map(|c| c.record.clone()).collect()
        },
        review: verdict.review.clone().or_else(|| before.review.clone()),
        timeline: timeline::of_verdict(before, snapshot, verdict, now),
    }
}

/// Returns the status of a completed request whose review has changed. Nothing else in it changes any more.
#[must_use]
pub fn reviewed(before: &RoleActivationRequestStatus, review: &ReviewStatus, now: Timestamp) -> RoleActivationRequestStatus {
    let timeline = timeline::of_review(before, review, now);
    RoleActivationRequestStatus { review: Some(review.clone()), timeline, ..before.clone() }
}

/// Returns the status of an active request whose grant the operator ends without a decision, because it is being uninstalled.
#[must_use]
pub fn uninstalled(before: &RoleActivationRequestStatus, generation: Option<i64>, now: Timestamp) -> RoleActivationRequestStatus {
    let expired = before.expires_at.filter(|deadline| *deadline <= now);
    let verdict = match expired {
        Some(deadline) => Verdict::new(State::Expired, Reason::Expired, format!("expired at {}", stamp(deadline))),
        None => Verdict::new(State::Revoked, Reason::Uninstalled, "jit-rbac is being uninstalled, and every grant was revoked"),
    };
    RoleActivationRequestStatus {
        observed_generation: generation,
        state: Some(verdict.state),
        reason: Some(verdict.reason),
        conditions: conditions::merge(&before.conditions, &condition_sets(before, &verdict), generation, now),
        awaiting: None,
        ended_at: before.ended_at.or_else(|| Some(ended_at(before.granted_at, now))),
        timeline: timeline::of_end(before, verdict.state, &verdict.message, now),
        ..before.clone()
    }
}

/// Returns true when two statuses are equal apart from the times of their conditions.
#[must_use]
pub fn says_the_same(a: &RoleActivationRequestStatus, b: &RoleActivationRequestStatus) -> bool {
    let timeless = |status: &RoleActivationRequestStatus| {
        let mut status = status.clone();
        for condition in &mut status.conditions {
            condition.last_transition_time = conditions::to_time(Timestamp::UNIX_EPOCH);
        }
        status
    };
    timeless(a) == timeless(b)
}

pub(crate) fn condition_sets(before: &RoleActivationRequestStatus, verdict: &Verdict) -> Vec<Set> {
    let state = verdict.state;
    let approved_before = before.conditions.iter().any(|c| c.type_ == APPROVED && c.status == "True");
    let active = state == State::Active;
    let approved = active || state == State::Scheduled || (state.is_terminal() && approved_before);
    let waits = !state.is_terminal() && !active;
    let failed = matches!(state, State::Denied | State::TimedOut | State::Failed);
    let names: Vec<&str> = verdict.counted.iter().map(|c| c.approver.username.as_str()).collect();
    let by = if names.is_empty() { before.approved_by.clone().unwrap_or_default() } else { names.join(", ") };
    let approval = match (approved, by.is_empty()) {
        (true, true) if verdict.review.is_some() => "an emergency: granted without approval, reviewed afterwards".to_owned(),
        (true, true) => "approved automatically".to_owned(),
        (true, false) => format!("approved by {by}"),
        (false, _) => verdict.message.clone(),
    };
    let set = |kind, status, message: &str| Set { kind, status: Some(status), reason: verdict.reason, message: message.to_owned() };
    let if_true = |kind, status: bool| set(kind, status, if status { &verdict.message } else { "" });
    // kstatus reads Ready=False as "in progress", unless Stalled is True. Therefore a request that completed as planned has no Ready. The
    // reason for a request's state is always in Active, and in the condition that kstatus prints.
    let ready = (active || waits || failed).then(|| set(READY, active, &verdict.message));
    let first = [Some(set(ACTIVE, active, &verdict.message)), ready].into_iter().flatten();
    let others = [set(APPROVED, approved, &approval), set(SETTLED, !waits, ""), if_true(RECONCILING, waits), if_true(STALLED, failed)];
    first.chain(others).collect()
}

fn role(snapshot: &Snapshot) -> Option<RoleStatus> {
    match &snapshot.role {
        // Requesters can read neither roles nor rules. The rules of a ClusterRole are on the eligibility, those of a Role only here.
        Lookup::Found(role) => Some(role.rules.status(role.kind, &role.name, role.kind == RoleKind::Role)),
        Lookup::Absent | Lookup::Deleting(_) | Lookup::Unreadable(_) => snapshot.eligibility.found().map(|eligibility| {
            let role = &eligibility.spec.role_ref;
            RoleStatus { kind: Some(role.kind), name: role.name.clone(), ..RoleStatus::default() }
        }),
    }
}

/// The most that the clock of this replica may be behind the API server's, which sets the time of a grant.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);

/// Returns the time of the end by this replica's clock, but not before the grant if the grant's clock is ahead.
fn ended_at(granted_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let ended = whole_seconds(now);
    granted_at.filter(|granted| *granted > ended && granted.duration_since(ended) <= CLOCKS).unwrap_or(ended)
}

/// Returns true where the Event of the grant has also reported the end: the grant needed no approval and ends as planned.
#[must_use]
pub fn was_told(before: &RoleActivationRequestStatus, verdict: &Verdict) -> bool {
    let planned = (before.state, verdict.state, verdict.reason) == (Some(State::Active), State::Expired, Reason::Expired);
    planned && before.approvals.is_empty() && verdict.review.is_none()
}

/// Returns true for a state and reason of a request that deserve a warning Event.
#[must_use]
pub fn is_warning(state: State, reason: Reason) -> bool {
    matches!(state, State::Failed | State::Denied | State::TimedOut | State::Revoked)
        || matches!(
            reason,
            Reason::BindingModified
                | Reason::BindingRemoved
                | Reason::RoleChanged
                | Reason::GuardsNotVerified
                | Reason::ClockSkewed
                | Reason::RecordUnavailable
                | Reason::BindingRefused
        )
}
