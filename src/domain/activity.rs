//! What happened to an object, as events. Notifications, the audit log, the history and the metrics use nothing else.
//!
//! The events of an object follow from what is stored of it, so a process that restarts derives the same list again: the stored objects are the
//! outbox. The list of an object only grows at its end, and an event keeps its id.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

pub use super::event_kind::Kind;
use super::{
    canonical::hex,
    facts::Span,
    instant::stamp,
    timeline::{OPERATOR, describe_request},
};
use api::{ApprovalPolicy, RoleActivationRequest, RoleEligibility, conditions, names::GROUP, timeline::TimelineEntry};

/// The object to which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A request for an activation.
    Activation,
    /// A request for an emergency activation.
    Emergency,
    /// An eligibility.
    Eligibility,
    /// A policy.
    Policy,
    /// The admission guards.
    Guard,
    /// A RoleBinding that gives an eligible role without jit-rbac.
    ActiveAssignment,
}

/// How urgent an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For information.
    Info,
    /// Someone should look at it.
    Warning,
    /// Someone must act.
    Critical,
}

/// The people whom an event concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// The user who requested, or who is eligible.
    pub requester: bool,
    /// Those who may approve, or for an emergency those who review.
    pub approvers: bool,
    /// Those who administer eligibilities and policies.
    pub admins: bool,
}

/// The object of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Kind of the object, such as `RoleActivationRequest`.
    pub kind: &'static str,
    /// Namespace; none for an object of the cluster.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The deterministic id: 32 hex digits of a hash over object, type and instant.
    pub id: String,
    /// What happened.
    pub kind: Kind,
    /// To what kind of object.
    pub topic: Topic,
    /// The object.
    pub subject: Subject,
    /// When it happened. Events of several writers need not be in the order of their times.
    pub at: Timestamp,
    /// Who acted: a user name, or [`OPERATOR`](super::timeline::OPERATOR).
    pub actor: String,
    /// The event in one sentence.
    pub message: String,
}

impl Topic {
    /// Returns the word in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activation => "Activation",
            Self::Emergency => "Emergency",
            Self::Eligibility => "Eligibility",
            Self::Policy => "Policy",
            Self::Guard => "Guard",
            Self::ActiveAssignment => "ActiveAssignment",
        }
    }
}

impl Severity {
    /// Returns the word for labels and texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Event {
    /// Returns the type of the `CloudEvent`, such as `dev.jitrbac.activation.granted.v1`.
    #[must_use]
    pub fn cloud_event_type(&self) -> String {
        let reversed: Vec<&str> = GROUP.rsplit('.').collect();
        format!("{}.{}.{}.v1", reversed.join("."), self.topic.as_str().to_lowercase(), self.kind.verb())
    }

    /// Returns how urgent it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match (self.kind, self.topic) {
            (Kind::ReviewOverdue | Kind::GuardsLost, _) | (Kind::Granted, Topic::Emergency) => Severity::Critical,
            (Kind::RoleChanged | Kind::Revoked | Kind::Failed | Kind::TimedOut | Kind::Suspended | Kind::WaitingForApproval, _)
            | (_, Topic::ActiveAssignment) => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// Returns whom it concerns.
    #[must_use]
    pub const fn audience(&self) -> Audience {
        let (requester, approvers, admins) = match (self.topic, self.kind) {
            (Topic::Activation, Kind::WaitingForApproval) => (false, true, false),
            (Topic::Activation, Kind::Requested | Kind::Approved) | (Topic::Policy | Topic::Guard, _) => (false, false, true),
            // Those who were asked learn that nothing is left to decide.
            (Topic::Activation, Kind::Scheduled | Kind::Denied | Kind::TimedOut | Kind::Withdrawn)
            | (Topic::Activation | Topic::Emergency, Kind::Granted | Kind::Revoked | Kind::Reviewed | Kind::ReviewOverdue)
            | (Topic::ActiveAssignment, _)
            // An approver is asked to have it renewed.
            | (Topic::Eligibility, Kind::Ended) => (true, true, true),
            (Topic::Activation | Topic::Emergency | Topic::Eligibility, _) => (true, false, true),
        };
        Audience { requester, approvers, admins }
    }
}

/// Returns the events of a request. It has at least one.
#[must_use]
pub fn of_request(request: &RoleActivationRequest) -> Vec<Event> {
    let meta = &request.metadata;
    let topic = if request.spec.emergency { Topic::Emergency } else { Topic::Activation };
    let subject = subject("RoleActivationRequest", meta.namespace.clone(), meta.name.as_deref(), meta.uid.as_deref());
    let timeline = request.status.as_ref().map_or(&[][..], |status| &status.timeline);
    // Before the first report, and where a record has lost it: the same event as the first entry of a timeline.
    let is_there = timeline.first().is_some_and(|entry| entry.event == Kind::Requested.as_str());
    let requested = (!is_there).then(|| {
        let requester = request.spec.requester.as_ref().map(|stamp| stamp.username.to_string()).unwrap_or_default();
        let created = meta.creation_timestamp.as_ref().map(conditions::from_time).unwrap_or_default();
        (created, Kind::Requested, requester, describe_request(&request.spec))
    });
    Numbered::default().events(requested.into_iter().chain(happened(timeline)), topic, &subject)
}

/// Returns the events of an eligibility, as far as its timeline goes back.
#[must_use]
pub fn of_eligibility(eligibility: &RoleEligibility) -> Vec<Event> {
    let meta = &eligibility.metadata;
    let timeline = eligibility.status.as_ref().map_or(&[][..], |status| &status.timeline);
    of_timeline(timeline, Topic::Eligibility, &subject("RoleEligibility", None, meta.name.as_deref(), meta.uid.as_deref()))
}

/// Returns the events of a policy, as far as its timeline goes back.
#[must_use]
pub fn of_policy(policy: &ApprovalPolicy) -> Vec<Event> {
    let meta = &policy.metadata;
    let timeline = policy.status.as_ref().map_or(&[][..], |status| &status.timeline);
    of_timeline(timeline, Topic::Policy, &subject("ApprovalPolicy", None, meta.name.as_deref(), meta.uid.as_deref()))
}

/// Returns the events of the guards, as far as the record on the Lease with this UID goes back.
#[must_use]
pub fn of_guards(lease_uid: &str, spans: &[Span]) -> Vec<Event> {
    let subject = subject("Lease", None, Some("guards"), Some(lease_uid));
    let happened = spans.iter().flat_map(|span| {
        let verified = (span.from, Kind::GuardsVerified, "the admission guards are verified");
        let lost = span.until.map(|until| (until, Kind::GuardsLost, "an admission guard is not verified: nothing is granted"));
        [Some(verified), lost].into_iter().flatten()
    });
    let happened = happened.map(|(at, kind, message)| (at, kind, OPERATOR.to_owned(), message.to_owned()));
    Numbered::default().events(happened, Topic::Guard, &subject)
}

fn subject(kind: &'static str, namespace: Option<String>, name: Option<&str>, uid: Option<&str>) -> Subject {
    Subject { kind, namespace, name: name.unwrap_or_default().to_owned(), uid: uid.unwrap_or_default().to_owned() }
}

fn of_timeline(timeline: &[TimelineEntry], topic: Topic, subject: &Subject) -> Vec<Event> {
    Numbered::default().events(happened(timeline), topic, subject)
}

/// Entries of a newer version whose kind is unknown here are left out.
fn happened(timeline: &[TimelineEntry]) -> impl Iterator<Item = (Timestamp, Kind, String, String)> {
    timeline.iter().filter_map(|entry| {
        let kind = Kind::parse(&entry.event)?;
        Some((entry.time, kind, entry.actor.to_string(), entry.message.to_string()))
    })
}

/// Numbers what would have the same id otherwise: two approvals in one second. A list that only grows at its end keeps these numbers.
#[derive(Debug, Default)]
struct Numbered(std::collections::BTreeMap<(Kind, Timestamp), usize>);

impl Numbered {
    fn events(
        mut self,
        happened: impl IntoIterator<Item = (Timestamp, Kind, String, String)>,
        topic: Topic,
        subject: &Subject,
    ) -> Vec<Event> {
        let event = |(at, kind, actor, message): (Timestamp, Kind, String, String)| {
            let number = self.0.entry((kind, at)).or_default();
            *number += 1;
            Event { id: id(&subject.uid, kind.as_str(), at, *number), kind, topic, subject: subject.clone(), at, actor, message }
        };
        happened.into_iter().map(event).collect()
    }
}

/// Returns the id of an event: `number` is 1 for the first of this kind and instant.
#[must_use]
pub fn id(uid: &str, kind: &str, at: Timestamp, number: usize) -> String {
    let text = format!("{uid}\n{kind}\n{}\n{number}", stamp(at));
    Sha256::digest(text.as_bytes()).first_chunk::<16>().map_or_else(String::new, |half| hex(half))
}
