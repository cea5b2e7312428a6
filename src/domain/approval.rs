//! Who has approved, and whether that is enough (api rules 4 and 5).

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    digest::Digest,
    facts::{Object, RequestFacts},
    person::{self, Identities},
    policy,
};
use crate::api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, Stamp, Verb,
    policy::Stage,
    request::{ApprovalRecord, Awaiting},
};

/// One approval that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Number of its stage.
    pub stage: usize,
    /// Person, by a number that is the same for all identities of one human.
    pub person: usize,
    /// The approver as stamped.
    pub approver: Stamp,
    /// When, by the API server's clock.
    pub at: DateTime<Utc>,
    /// What he shortened the duration to.
    pub duration: Option<Duration>,
    /// As the request's status lists it.
    pub record: ApprovalRecord,
}

/// How far the approval of a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The approvals that count, in the order of their times.
    pub counted: Vec<Counted>,
    /// When the last quorum was reached, if all were.
    pub complete_at: Option<DateTime<Utc>>,
    /// The least of what approvers shortened the duration to, up to then.
    pub shortened: Option<Duration>,
    /// The open stage, if one is.
    pub awaiting: Option<Awaiting>,
    /// True when somebody approved what is no longer what would be granted.
    pub stale: bool,
}

/// The instant after which nobody can approve any more.
#[must_use]
pub fn deadline(request: &RequestFacts, policy: Option<&ApprovalPolicySpec>) -> DateTime<Utc> {
    let created = request.object.created;
    created.checked_add_signed(TimeDelta::from(policy::timeout(policy))).unwrap_or(created)
}

/// Number of the first stage that lists this person.
#[must_use]
pub fn stage_of(stages: &[Stage], stamp: &Stamp) -> Option<usize> {
    stages.iter().position(|stage| person::is_listed(stamp, &stage.approvers))
}

/// True for a decision that is about exactly this request, by a person who was stamped (T3).
#[must_use]
pub fn is_about(decision: &Object<ActivationDecisionSpec>, request: &RequestFacts) -> bool {
    decision.spec.request_ref.name == request.object.name && decision.spec.request_ref.uid.as_deref() == Some(request.object.uid.as_str())
}

/// Counts the approvals of a request. Each counts only if it names this request and the present digest, came in time, was made by a
/// listed person who is not the requester, and says what the policy asks for; a person counts once, in the first stage that lists
/// him (T4, T5, T6). What else there is among the decisions changes nothing.
#[must_use]
pub fn progress(
    request: &RequestFacts,
    requester: &Stamp,
    policy: &Object<ApprovalPolicySpec>,
    decisions: &[Object<ActivationDecisionSpec>],
    digest: &Digest,
    identities: &Identities,
) -> Progress {
    let until = deadline(request, Some(&policy.spec));
    if policy::is_automatic(&policy.spec) {
        return Progress { counted: Vec::new(), complete_at: Some(request.object.created), shortened: None, awaiting: None, stale: false };
    }
    let stages = &policy.spec.approval.stages;
    let in_time = |d: &&Object<ActivationDecisionSpec>| d.spec.decision == Verb::Approve && is_about(d, request) && d.created <= until;
    let fresh = |d: &&Object<ActivationDecisionSpec>| d.spec.digest.as_deref().is_some_and(|shown| digest.is_shown_as(shown));
    let shortest = super::duration::limits(&policy.spec).min_duration.unwrap_or(Duration::from_secs(1));
    let complete = |d: &&Object<ActivationDecisionSpec>| {
        let comment = d.spec.comment.as_ref().is_some_and(|c| !c.as_str().trim().is_empty());
        (comment || !policy.spec.approval.require_comment) && d.spec.duration.is_none_or(|shorter| shorter >= shortest)
    };
    let approves: Vec<(&Object<ActivationDecisionSpec>, &Stamp)> =
        decisions.iter().filter(in_time).filter_map(|d| d.spec.decider.as_ref().map(|stamp| (d, stamp))).collect();

    // The requester is number 0 among the people: whoever is the same human by any chain of names and UIDs never counts.
    let stamps: Vec<&Stamp> = std::iter::once(requester).chain(approves.iter().map(|(_, stamp)| *stamp)).collect();
    let people = identities.people(&stamps);
    let himself = people.first().copied().unwrap_or_default();

    let mut stale = false;
    let mut counted: Vec<Counted> = Vec::new();
    for ((decision, stamp), who) in approves.iter().zip(people.iter().skip(1).copied()) {
        let Some(stage) = stage_of(stages, stamp) else { continue };
        if who == himself || !complete(&decision) {
            continue;
        }
        if !fresh(&decision) {
            stale = true;
            continue;
        }
        counted.push(Counted {
            stage,
            person: who,
            approver: (*stamp).clone(),
            at: decision.created,
            duration: decision.spec.duration,
            record: ApprovalRecord {
                stage: stages.get(stage).map(|s| s.name.clone()).unwrap_or_default(),
                approver: stamp.username.clone(),
                decision: Verb::Approve,
                time: decision.created,
                comment: decision.spec.comment.clone(),
            },
        });
    }
    one_each(&mut counted);
    tally(stages, counted, until, stale)
}

/// Leaves of each person the earliest approval, in the first stage that lists any of his identities, with the least duration that
/// he named.
fn one_each(counted: &mut Vec<Counted>) {
    let mut first_stage: BTreeMap<usize, usize> = BTreeMap::new();
    let mut least: BTreeMap<usize, Duration> = BTreeMap::new();
    for c in counted.iter() {
        first_stage.entry(c.person).and_modify(|s| *s = (*s).min(c.stage)).or_insert(c.stage);
        if let Some(d) = c.duration {
            least.entry(c.person).and_modify(|l| *l = (*l).min(d)).or_insert(d);
        }
    }
    counted.sort_by(|a, b| (a.at, &a.approver.username, &a.duration).cmp(&(b.at, &b.approver.username, &b.duration)));
    let mut seen = std::collections::BTreeSet::new();
    counted.retain(|c| first_stage.get(&c.person) == Some(&c.stage) && seen.insert(c.person));
    for c in counted {
        c.duration = least.get(&c.person).copied();
    }
}

fn tally(stages: &[Stage], counted: Vec<Counted>, until: DateTime<Utc>, stale: bool) -> Progress {
    let mut complete_at = None;
    let mut awaiting = None;
    for (number, stage) in stages.iter().enumerate() {
        let required = policy::required(stage);
        let times: Vec<DateTime<Utc>> = counted.iter().filter(|c| c.stage == number).map(|c| c.at).collect();
        if let Some(at) = times.get(required - 1) {
            complete_at = complete_at.max(Some(*at));
        } else if awaiting.is_none() {
            awaiting = Some(Awaiting {
                stage: stage.name.clone(),
                have: i32::try_from(times.len()).unwrap_or(i32::MAX),
                required: i32::try_from(required).unwrap_or(i32::MAX),
                deadline: until,
                approvers: stage.approvers.clone(),
            });
        }
    }
    // No stage at all is no approval (T6).
    if awaiting.is_some() || stages.is_empty() {
        complete_at = None;
    }
    let shortened = complete_at.and_then(|at| counted.iter().filter(|c| c.at <= at).filter_map(|c| c.duration).min());
    Progress { counted, complete_at, shortened, awaiting, stale }
}
