//! The timeline of an object: what happened to it, in the order in which the leader reported it.
//!
//! The timeline is the only source of [activity](super::activity). Two writes of users in one second have no order that everybody would
//! derive alike, so the one who reports decides it. An entry is never changed, moved or inserted, and those of a request are never removed.

use jiff::{SignedDuration, Timestamp};

use super::{
    instant::{stamp, whole_seconds},
    snapshot::Snapshot,
    verdict::Verdict,
};
use crate::{emergency, event_kind::Kind};
use api::{
    ApprovalPolicySpec, Line, Reason, RoleActivationRequestSpec, RoleActivationRequestStatus, RoleEligibilitySpec, State, Subject,
    SubjectKind,
    request::{ReviewState, ReviewStatus},
    text::printable,
    timeline::{MAX_TIMELINE, TimelineEntry},
};

/// The actor in timelines where no person acts.
pub const OPERATOR: &str = "jit-rbac";

/// Most entries of one kind that can be repeated. Together with those of the other kinds, each of which a request has once or twice, they fit into
/// a timeline.
const MOST_WAITING: usize = 32;
/// The same for approvals: admission stores 64 decisions on a request, and few more can be stored at the same time.
const MOST_APPROVED: usize = 80;

/// Returns the timeline of a request with this verdict.
#[must_use]
pub fn of_verdict(before: &RoleActivationRequestStatus, snapshot: &Snapshot, verdict: &Verdict, now: Timestamp) -> Vec<TimelineEntry> {
    let mut timeline = Timeline(before.timeline.clone());
    let request = &snapshot.request.object;
    let now = whole_seconds(now);
    if timeline.0.is_empty() {
        let requester = request.spec.requester.as_ref().map(|r| r.username.to_string()).unwrap_or_default();
        timeline.add(request.created, &requester, Kind::Requested, &describe_request(&request.spec));
    }
    for counted in &verdict.counted {
        let comment = counted.record.comment.as_ref().map(|c| format!(": {c}")).unwrap_or_default();
        let shorter = counted.duration.map(|d| format!(", for {d}")).unwrap_or_default();
        let message = format!("approved in stage '{}'{shorter}{comment}", counted.record.stage);
        timeline.add(counted.at, counted.approver.username.as_str(), Kind::Approved, &message);
    }
    let actor = verdict.actor.as_deref().unwrap_or(OPERATOR);
    match verdict.state {
        State::AwaitingApproval => {
            if let Some(awaiting) = &verdict.awaiting {
                let message =
                    format!("waits for {} in stage '{}' until {}", approvals(awaiting.required), awaiting.stage, stamp(awaiting.deadline));
                let digest = verdict.digest.as_ref().map(ToString::to_string);
                // What would be granted has changed: earlier approvals no longer count, and the stage begins again.
                let begins_again = digest.is_some() && digest != before.digest;
                if begins_again || timeline.last(Kind::WaitingForApproval).is_none_or(|last| last.message.as_str() != message) {
                    timeline.add(now, OPERATOR, Kind::WaitingForApproval, &message);
                }
            }
        }
        State::Active => {
            if let Some(grant) = &verdict.grant {
                let message = format!("granted {} '{}' until {}", grant.role.kind, grant.role.name, stamp(grant.deadline));
                timeline.add(now, OPERATOR, Kind::Granted, &message);
            }
            if verdict.reason == Reason::RoleChanged {
                timeline.add(now, OPERATOR, Kind::RoleChanged, &verdict.message);
            }
        }
        State::Scheduled => timeline.add(now, OPERATOR, Kind::Scheduled, &verdict.message),
        state => timeline.ended(now, actor, state, &verdict.message),
    }
    if let Some(review) = &verdict.review {
        timeline.reviewed(review, now);
    }
    timeline.0
}

/// Returns the timeline of a request whose review has changed.
#[must_use]
pub fn of_review(before: &RoleActivationRequestStatus, review: &ReviewStatus, now: Timestamp) -> Vec<TimelineEntry> {
    let mut timeline = Timeline(before.timeline.clone());
    timeline.reviewed(review, whole_seconds(now));
    timeline.0
}

/// Returns the timeline of a request that the operator ended without a decision.
#[must_use]
pub fn of_end(before: &RoleActivationRequestStatus, state: State, message: &str, now: Timestamp) -> Vec<TimelineEntry> {
    let mut timeline = Timeline(before.timeline.clone());
    timeline.ended(whole_seconds(now), OPERATOR, state, message);
    timeline.0
}

/// What the status of an eligibility or a policy reports about its spec.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Time of the creation of the object.
    pub created: Timestamp,
    /// The `metadata.generation` of the last report, if there was one.
    pub observed_generation: Option<i64>,
    /// The present `metadata.generation`.
    pub generation: i64,
    /// The user who wrote the present spec, as admission stamped it; none if nobody is known.
    pub author: Option<&'a str>,
    /// For an eligibility: whether it is suspended.
    pub suspended: bool,
    /// For an eligibility: the end of the time for which it was given, if it has passed.
    pub ended_at: Option<Timestamp>,
    /// The object in one sentence: who is eligible for what, or which requirements apply.
    pub message: &'a str,
}

/// Returns the timeline of an eligibility or a policy. An object can be changed any number of times: the oldest entries are forgotten once
/// there are too many.
#[must_use]
pub fn of_written(before: &[TimelineEntry], written: Written<'_>, now: Timestamp) -> Vec<TimelineEntry> {
    let mut timeline = Timeline(before.to_vec());
    let now = whole_seconds(now);
    // The second is part of an event's id, and the oldest entries are forgotten, so no two of a kind may share one.
    let now = timeline
        .last_time()
        .map_or(now, |last| if last < now { now } else { last.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now) });
    let author = written.author.unwrap_or_default();
    let is_new_generation = written.observed_generation != Some(written.generation);
    if before.is_empty() {
        timeline.push(written.created, author, Kind::Created, written.message);
    } else if is_new_generation {
        timeline.push(now, author, Kind::Changed, written.message);
    }
    let was_suspended = timeline.is_suspended();
    if is_new_generation && written.suspended && !was_suspended {
        timeline.push(now, author, Kind::Suspended, "suspended: nothing can be activated, and every grant ends");
    }
    if is_new_generation && !written.suspended && was_suspended {
        timeline.push(now, author, Kind::Resumed, "no longer suspended");
    }
    if let Some(ended) = written.ended_at.filter(|ended| !timeline.0.iter().any(|e| e.event == Kind::Ended.as_str() && e.time == *ended)) {
        timeline.push(ended, OPERATOR, Kind::Ended, &format!("ended at {}", stamp(ended)));
    }
    let surplus = timeline.0.len().saturating_sub(MAX_TIMELINE);
    timeline.0.drain(..surplus);
    timeline.0
}

/// Describes a request for its timeline.
#[must_use]
pub fn describe_request(request: &RoleActivationRequestSpec) -> String {
    let duration = request.duration.map(|duration| format!(" for {duration}")).unwrap_or_default();
    let why = request.justification.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("requested eligibility '{}'{duration}{why}", request.eligibility_ref.name)
}

/// Describes an eligibility for its timeline.
#[must_use]
pub fn describe(eligibility: &RoleEligibilitySpec) -> String {
    let named = |subject: &Subject| match subject.kind {
        SubjectKind::User => format!("user '{}'", subject.name),
        SubjectKind::Group => format!("group '{}'", subject.name),
        SubjectKind::ServiceAccount => format!("ServiceAccount '{}'", subject.name),
    };
    let shown: Vec<String> = eligibility.subjects.iter().take(MOST_NAMED).map(named).collect();
    let more = eligibility.subjects.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let until = eligibility.end_time.map(|end| format!(" until {}", stamp(end))).unwrap_or_default();
    let role = &eligibility.role_ref;
    let why = eligibility.justification.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!(
        "{}{more} can activate {} '{}' under policy '{}'{until}{why}",
        shown.join(", "),
        role.kind,
        role.name,
        eligibility.policy_ref.name
    )
}

/// Describes a policy for its timeline.
#[must_use]
pub fn describe_policy(policy: &ApprovalPolicySpec) -> String {
    match policy.approval.stages.len() {
        0 => "activations need no approval".to_owned(),
        1 => "activations need the approval of one stage".to_owned(),
        stages => format!("activations need the approval of {stages} stages"),
    }
}

fn approvals(required: i32) -> String {
    if required == 1 { "1 approval".to_owned() } else { format!("{required} approvals") }
}

/// Most subjects that are named.
const MOST_NAMED: usize = 4;

struct Timeline(Vec<TimelineEntry>);

impl Timeline {
    /// Adds what can happen to a request once, unless the timeline has it, and what can happen again up to its limit.
    fn add(&mut self, time: Timestamp, actor: &str, kind: Kind, message: &str) {
        let same = |entry: &&TimelineEntry| entry.event == kind.as_str();
        let (is_known, most) = match kind {
            Kind::Approved => (self.0.iter().filter(same).any(|entry| entry.time == time && entry.actor.as_str() == actor), MOST_APPROVED),
            Kind::WaitingForApproval => (false, MOST_WAITING),
            _ => (self.0.iter().any(|entry| same(&entry)), 1),
        };
        if !is_known && self.0.iter().filter(same).count() < most && self.0.len() < MAX_TIMELINE {
            self.push(time, actor, kind, message);
        }
    }

    fn ended(&mut self, now: Timestamp, actor: &str, state: State, message: &str) {
        if let Some(kind) = Kind::of_end(state) {
            self.add(now, actor, kind, message);
        }
    }

    fn reviewed(&mut self, review: &ReviewStatus, now: Timestamp) {
        match review.state {
            ReviewState::Owed => {}
            ReviewState::Overdue => self.add(now, OPERATOR, Kind::ReviewOverdue, &emergency::describe(review)),
            ReviewState::Done => {
                let reviewer = review.reviewed_by.as_ref().map_or("", Line::as_str);
                self.add(review.reviewed_at.unwrap_or(now), reviewer, Kind::Reviewed, &emergency::describe(review));
            }
        }
    }

    fn push(&mut self, time: Timestamp, actor: &str, kind: Kind, message: &str) {
        self.0.push(TimelineEntry { time, actor: line(actor), event: kind.as_str().to_owned(), message: line(message) });
    }

    fn last(&self, kind: Kind) -> Option<&TimelineEntry> {
        self.0.iter().rev().find(|entry| entry.event == kind.as_str())
    }

    fn last_time(&self) -> Option<Timestamp> {
        self.0.iter().map(|entry| entry.time).max()
    }

    fn is_suspended(&self) -> bool {
        let either = |entry: &&TimelineEntry| [Kind::Suspended, Kind::Resumed].iter().any(|kind| kind.as_str() == entry.event);
        self.0.iter().rev().find(either).is_some_and(|entry| entry.event == Kind::Suspended.as_str())
    }
}

/// Returns `text` as a single line of at most `MAX` characters.
fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    let shown: String = printable(text).chars().take(MAX).collect();
    Line::try_from(shown).unwrap_or_default()
}
