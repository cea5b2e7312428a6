//! Who has approved, and whether that is enough (api rules 4 and 5).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    digest::Digest,
    emergency, evidence,
    facts::{Object, RequestFacts},
    instant::stamp,
    person::{self, Identities},
    policy,
};
use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, Stamp, Verb,
    policy::{Party, Stage},
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
    /// What it shortens the duration to.
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
    /// The latest approval that does not count because the guards were not proven then, if there is one.
    pub unguarded: Option<DateTime<Utc>>,
}

impl Progress {
    /// Why less is approved than people have said, for messages; empty where all of it counts.
    #[must_use]
    pub fn why_less(&self) -> String {
        let stale = if self.stale { "; an earlier approval was for what has changed since and no longer counts" } else { "" };
        let unguarded = self.unguarded.map_or_else(String::new, |at| {
            format!(
                "; an approval of {} does not count, since the guards of jit-rbac were not proven to be in force then: approve again",
                stamp(at)
            )
        });
        format!("{stale}{unguarded}")
    }
}

/// The instant from which on nobody can approve any more.
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

/// Somebody's Approve, in time and about the request.
struct Approve<'a> {
    decision: &'a Object<ActivationDecisionSpec>,
    approver: &'a Stamp,
    /// The first stage that lists him, if one does and the Approve says what the policy asks for.
    stage: Option<usize>,
    /// True when it is for what would be granted now.
    fresh: bool,
}

/// Counts the approvals of a request. Each counts only if it names this request and the present digest, came in time, was made by a
/// listed person who is not the requester, and says what the policy asks for; a person counts once, in the first stage that lists
/// him (T4, T5, T6). What else there is among the decisions changes nothing, nor does what was said after the approval was complete:
/// start and deadline stay what they were, whoever computes them again and when.
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
    if policy::is_automatic(&policy.spec) || emergency::skips(&request.object.spec, &policy.spec) {
        return Progress {
            counted: Vec::new(),
            complete_at: Some(request.object.created),
            shortened: None,
            awaiting: None,
            stale: false,
            unguarded: None,
        };
    }
    let stages = &policy.spec.approval.stages;
    let shortest = super::duration::limits(&policy.spec).min_duration.unwrap_or(Duration::from_secs(1));
    let complete = |d: &ActivationDecisionSpec| {
        let comment = d.comment.as_ref().is_some_and(|c| !c.is_blank());
        (comment || !policy.spec.approval.require_comment) && d.duration.is_none_or(|shorter| shorter >= shortest)
    };
    let evident = |decision: &Object<ActivationDecisionSpec>, approver: &Stamp| {
        evidence::check(approver, Party::Approver, decision.created, policy).is_ok()
    };
    let in_time = |d: &&Object<ActivationDecisionSpec>| d.spec.decision == Verb::Approve && request.is_named_by(d) && d.created < until;
    let mut approves: Vec<Approve<'_>> = decisions
        .iter()
        .filter(in_time)
        .filter_map(|decision| {
            let approver = decision.spec.decider.as_ref()?;
            let stage = stage_of(stages, approver).filter(|_| complete(&decision.spec) && evident(decision, approver));
            let fresh = decision.spec.digest.as_deref().is_some_and(|shown| digest.is_shown_as(shown));
            Some(Approve { decision, approver, stage, fresh })
        })
        .collect();
    approves.sort_by(|a, b| (a.decision.created, &a.decision.uid).cmp(&(b.decision.created, &b.decision.uid)));

    // Only when somebody new approves can it become complete, and not before there are as many as all stages need.
    let needed: usize = stages.iter().map(policy::required).sum();
    let mut seen = BTreeSet::new();
    let counting = approves.iter().filter(|a| a.stage.is_some() && a.fresh);
    let times = counting.filter(|a| seen.insert((&a.approver.username, &a.approver.uid, a.stage))).map(|a| a.decision.created);
    for at in times.skip(needed.saturating_sub(1)) {
        let so_far = approves.get(..approves.partition_point(|a| a.decision.created <= at)).unwrap_or_default();
        let count = Count::of(so_far, requester, stages, identities);
        // No stage at all is no approval (T6).
        if !stages.is_empty() && count.open(stages).is_none() {
            let Count { counted, shortened, stale } = count;
            return Progress { counted, complete_at: Some(at), shortened, awaiting: None, stale, unguarded: None };
        }
    }
    let count = Count::of(&approves, requester, stages, identities);
    let awaiting = count.open(stages).map(|(stage, have)| Awaiting {
        stage: stage.name.clone(),
        have: i32::try_from(have).unwrap_or(i32::MAX),
        required: i32::try_from(policy::required(stage)).unwrap_or(i32::MAX),
        deadline: until,
        approvers: stage.approvers.clone(),
    });
    Progress { counted: count.counted, complete_at: None, shortened: None, awaiting, stale: count.stale, unguarded: None }
}

/// What some Approves come to, in the order of their times.
struct Count {
    /// Of each person the earliest, in the first stage that lists any of his identities.
    counted: Vec<Counted>,
    /// The least duration that any approver names, whether or not he counts: this can only take away.
    shortened: Option<Duration>,
    /// True when one would count but for its digest.
    stale: bool,
}

impl Count {
    fn of(approves: &[Approve<'_>], requester: &Stamp, stages: &[Stage], identities: &Identities) -> Self {
        // The requester is the first of the people: whoever is the same human by any chain of names and UIDs never counts.
        let stamps: Vec<&Stamp> = std::iter::once(requester).chain(approves.iter().map(|a| a.approver)).collect();
        let people = identities.people(&stamps);
        let himself = people.first().copied();
        let others = || approves.iter().zip(people.iter().skip(1).copied()).filter(|(_, person)| Some(*person) != himself);
        let counting = || others().filter(|(a, _)| a.fresh).filter_map(|(a, person)| a.stage.map(|stage| (a, person, stage)));

        let mut first_stage: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, person, stage) in counting() {
            first_stage.entry(person).and_modify(|first| *first = stage.min(*first)).or_insert(stage);
        }
        let mut counted: Vec<Counted> = Vec::new();
        for (Approve { decision, approver, .. }, person, stage) in counting() {
            // Taken out once used: the next of this person finds nothing.
            if first_stage.get(&person) != Some(&stage) || first_stage.remove(&person).is_none() {
                continue;
            }
            counted.push(Counted {
                stage,
                person,
                approver: (*approver).clone(),
                at: decision.created,
                duration: decision.spec.duration,
                record: ApprovalRecord {
                    stage: stages.get(stage).map(|s| s.name.clone()).unwrap_or_default(),
                    approver: approver.username.clone(),
                    decision: Verb::Approve,
                    time: decision.created,
                    comment: decision.spec.comment.clone(),
                },
            });
        }
        Self {
            counted,
            shortened: approves.iter().filter(|a| a.fresh && a.stage.is_some()).filter_map(|a| a.decision.spec.duration).min(),
            stale: others().any(|(a, _)| a.stage.is_some() && !a.fresh),
        }
    }

    /// The first stage without enough people, and how many it has.
    fn open<'a>(&self, stages: &'a [Stage]) -> Option<(&'a Stage, usize)> {
        let have = |number: usize| self.counted.iter().filter(|c| c.stage == number).count();
        stages.iter().enumerate().map(|(number, stage)| (stage, have(number))).find(|(stage, have)| *have < policy::required(stage))
    }
}
