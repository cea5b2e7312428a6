//! Who has approved, and whether the approvals suffice (api rules 4 and 5).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

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
    /// The person, by a number that all identities of one human share.
    pub person: usize,
    /// The approver as stamped.
    pub approver: Stamp,
    /// Time of the approval, by the API server's clock.
    pub at: Timestamp,
    /// Duration to which the approver shortens the activation.
    pub duration: Option<Duration>,
    /// The approval as the request's status lists it.
    pub record: ApprovalRecord,
}

/// The progress of a request's approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The approvals that count, in the order of their times.
    pub counted: Vec<Counted>,
    /// Time at which the last quorum was reached, if all were.
    pub complete_at: Option<Timestamp>,
    /// The shortest duration that an approver set until then.
    pub shortened: Option<Duration>,
    /// The open stage, if there is one.
    pub awaiting: Option<Awaiting>,
    /// True if an approval names a digest that differs from what would be granted now.
    pub stale: bool,
    /// The latest approval that does not count because the guards were not proven then, if there is one.
    pub unguarded: Option<Timestamp>,
}

impl Progress {
    /// Explains in messages why some approvals do not count. Empty if all of them count.
    #[must_use]
    pub fn why_less(&self) -> String {
        let stale = if self.stale { "; an earlier approval no longer counts because what it approved has changed" } else { "" };
        let unguarded = self.unguarded.map_or_else(String::new, |at| {
            format!("; an approval at {} does not count because the admission guards were not verified then: approve again", stamp(at))
        });
        format!("{stale}{unguarded}")
    }
}

/// Returns the instant from which on no approval is accepted.
#[must_use]
pub fn deadline(request: &RequestFacts, policy: Option<&ApprovalPolicySpec>) -> Timestamp {
    let created = request.object.created;
    created.checked_add(SignedDuration::from(policy::timeout(policy))).unwrap_or(created)
}

/// Returns the number of the first stage that lists this person.
#[must_use]
pub fn stage_of(stages: &[Stage], stamp: &Stamp) -> Option<usize> {
    stages.iter().position(|stage| person::is_listed(stamp, &stage.approvers))
}

/// An Approve of the request, made in time.
struct Approve<'a> {
    decision: &'a Object<ActivationDecisionSpec>,
    approver: &'a Stamp,
    /// The first stage that lists the approver, if there is one and the Approve carries what the policy requires.
    stage: Option<usize>,
    /// True if its digest is that of what would be granted now.
    fresh: bool,
}

/// Counts the approvals of a request.
///
/// An approval counts only if it names this request and the present digest and came in time. Its author must be a listed person other than
/// the requester, and it must carry what the policy requires. A person counts once, in the first stage that lists them (T4, T5, T6).
///
/// Other decisions change nothing, nor does an approval after completion: start and deadline stay the same whenever any replica computes
/// them again.
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

    // Only an approval by a further person can complete it, and only once there are as many approvals as all stages require.
    let needed: usize = stages.iter().map(policy::required).sum();
    let mut seen = BTreeSet::new();
    let counting = approves.iter().filter(|a| a.stage.is_some() && a.fresh);
    let times = counting.filter(|a| seen.insert((&a.approver.username, &a.approver.uid, a.stage))).map(|a| a.decision.created);
    for at in times.skip(needed.saturating_sub(1)) {
        let so_far = approves.get(..approves.partition_point(|a| a.decision.created <= at)).unwrap_or_default();
        let count = Count::of(so_far, requester, stages, identities);
        // A policy without stages is not an approval (T6).
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

/// The result of counting some Approves in the order of their times.
struct Count {
    /// The earliest approval of each person, in the first stage that lists any of their identities.
    counted: Vec<Counted>,
    /// The shortest duration that any approver sets, even if the approval does not count: this can only reduce access.
    shortened: Option<Duration>,
    /// True if an approval fails to count only because of its digest.
    stale: bool,
}

impl Count {
    fn of(approves: &[Approve<'_>], requester: &Stamp, stages: &[Stage], identities: &Identities) -> Self {
        // The requester is the first person: an identity that any chain of names and UIDs connects to the requester never counts.
        let stamps: Vec<&Stamp> = std::iter::once(requester).chain(approves.iter().map(|a| a.approver)).collect();
        let people = identities.people(&stamps);
        let requester_itself = people.first().copied();
        let others = || approves.iter().zip(people.iter().skip(1).copied()).filter(|(_, person)| Some(*person) != requester_itself);
        let counting = || others().filter(|(a, _)| a.fresh).filter_map(|(a, person)| a.stage.map(|stage| (a, person, stage)));

        let mut first_stage: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, person, stage) in counting() {
            first_stage.entry(person).and_modify(|first| *first = stage.min(*first)).or_insert(stage);
        }
        let mut counted: Vec<Counted> = Vec::new();
        for (Approve { decision, approver, .. }, person, stage) in counting() {
            // Removed once used, so that a second approval by this person does not count.
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

    /// Returns the first stage that lacks approvals, and how many it has.
    fn open<'a>(&self, stages: &'a [Stage]) -> Option<(&'a Stage, usize)> {
        let have = |number: usize| self.counted.iter().filter(|c| c.stage == number).count();
        stages.iter().enumerate().map(|(number, stage)| (stage, have(number))).find(|(stage, have)| *have < policy::required(stage))
    }
}
