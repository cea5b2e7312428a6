//! The text of a message.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    occasion::{Occasion, Reminder},
    rule::Matter,
};
use crate::{
    activity::{Kind, Severity, Topic},
    instant::stamp,
};
use api::{RoleActivationRequest, State as RequestState, request::ReviewState};

/// How long the alert of something lasts on which nobody has to act.
const INFORMATION: SignedDuration = SignedDuration::from_mins(15);

/// What a message means for the matter that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The matter needs attention.
    Open,
    /// Someone acts on it.
    Acknowledged,
    /// Nothing is left to do.
    Resolved,
}

/// The text of a message, independent of its format. Nothing is escaped.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// One line: what happened.
    pub title: String,
    /// Names and values of details.
    pub facts: Vec<(&'static str, String)>,
    /// The command to copy.
    pub command: Option<String>,
    /// What the message means for its thread.
    pub state: State,
    /// When the state ends by itself.
    pub until: Option<Timestamp>,
    /// What all messages about the same matter have in common, such as the UID of the request.
    pub thread: String,
    /// How urgent the matter of the thread is: the same for all its messages.
    pub thread_severity: Severity,
    /// How urgent this message is.
    pub severity: Severity,
    /// The `data` of the `CloudEvent`.
    pub data: Value,
}

/// Returns the text of a message about `occasion`.
#[must_use]
pub fn of(occasion: &Occasion, matter: Matter<'_>) -> Text {
    let event = &occasion.event;
    let (state, until) = meaning(occasion, matter.request);
    let is_request = matter.request.is_some();
    // A message about an eligibility is never resolved by another one, so it is a matter of its own.
    let thread = if is_request || event.topic == Topic::Guard { &event.subject.uid } else { &event.id };
    let thread_severity = match event.topic {
        Topic::Emergency | Topic::Guard => Severity::Critical,
        Topic::Activation | Topic::ActiveAssignment => Severity::Warning,
        Topic::Eligibility | Topic::Policy => Severity::Info,
    };
    let facts = facts(occasion, matter);
    Text {
        title: title(occasion, matter),
        command: command(occasion, matter.request),
        state,
        until,
        thread: thread.clone(),
        thread_severity,
        severity: if occasion.reminder.is_some() { event.severity().max(Severity::Warning) } else { event.severity() },
        data: data(occasion, matter, &facts),
        facts,
    }
}

/// Returns `namespace/name`, or the name of an object of the cluster.
#[must_use]
pub fn subject(occasion: &Occasion) -> String {
    let subject = &occasion.event.subject;
    subject.namespace.as_ref().map_or_else(|| subject.name.clone(), |namespace| format!("{namespace}/{}", subject.name))
}

fn meaning(occasion: &Occasion, request: Option<&RoleActivationRequest>) -> (State, Option<Timestamp>) {
    let event = &occasion.event;
    let status = request.and_then(|request| request.status.as_ref());
    let was_asked = status.is_some_and(|status| status.timeline.iter().any(|entry| entry.event == Kind::WaitingForApproval.as_str()));
    let information = event.at.checked_add(INFORMATION).ok();
    let expires = status.and_then(|status| status.expires_at);
    let awaiting = status.and_then(|status| status.awaiting.as_ref()).map(|awaiting| awaiting.deadline);
    let review = status.and_then(|status| status.review.as_ref());
    match (occasion.reminder, event.topic, event.kind) {
        (Some(Reminder::Undecided(_)), ..) | (None, _, Kind::WaitingForApproval) => (State::Open, awaiting),
        (Some(Reminder::BeforeEnd(_)), ..) => (State::Open, expires),
        (None, _, Kind::Approved) => (State::Acknowledged, awaiting.or(information)),
        (None, Topic::Emergency, kind) if kind == Kind::Granted || kind.is_end() => {
            let is_owed = review.is_some_and(|review| review.state != ReviewState::Done);
            if kind == Kind::Granted || is_owed { (State::Open, review.map(|review| review.deadline)) } else { (State::Resolved, None) }
        }
        (None, _, Kind::Granted) if !was_asked => (State::Open, expires),
        (None, _, Kind::Granted | Kind::Scheduled | Kind::Reviewed | Kind::GuardsVerified) => (State::Resolved, None),
        (None, Topic::Activation, kind) if kind.is_end() => (State::Resolved, None),
        (None, _, Kind::ReviewOverdue | Kind::GuardsLost) => (State::Open, None),
        (None, _, Kind::RoleChanged) => (State::Open, expires.or(information)),
        _ => (State::Open, information),
    }
}

fn title(occasion: &Occasion, matter: Matter<'_>) -> String {
    let event = &occasion.event;
    let name = &event.subject.name;
    if let Some(request) = matter.request {
        let who = requester(request);
        let role = role(request, matter)
            .map_or_else(|| format!("eligibility '{}'", request.spec.eligibility_ref.name), |role| format!("'{role}'"));
        let namespace = event.subject.namespace.as_deref().unwrap_or_default();
        let what = format!("{role} in namespace '{namespace}'");
        let emergency = if event.topic == Topic::Emergency { "emergency: " } else { "" };
        return match (occasion.reminder, event.kind) {
            (Some(Reminder::Undecided(after)), _) => format!("{who} has waited for {after} for an approval of {what}"),
            (Some(_), _) => format!("{who}'s {what} ends soon: {}", event.message),
            (None, Kind::Requested) => format!("{emergency}{who} requested {what}"),
            (None, Kind::WaitingForApproval) => format!("{who} waits for an approval of {what}"),
            (None, Kind::Approved) => format!("{} approved {what} for {who}", event.actor),
            (None, Kind::Scheduled) => format!("{what} is scheduled for {who}"),
            (None, Kind::Granted) => format!("{emergency}{who} has {what}"),
            (None, Kind::Expired) => format!("{emergency}{who}'s {what} reached its end"),
            (None, Kind::Deactivated) => format!("{emergency}{who} deactivated {what}"),
            (None, Kind::Revoked) => format!("{emergency}{who}'s {what} was revoked by {}", event.actor),
            (None, Kind::Denied) => format!("{who}'s request for {what} was denied"),
            (None, Kind::TimedOut) => format!("{who}'s request for {what} was not approved in time"),
            (None, Kind::Withdrawn) => format!("{who} withdrew the request for {what}"),
            (None, Kind::Failed) => format!("{who}'s request for {what} failed"),
            (None, Kind::ReviewOverdue) => format!("the review of {who}'s emergency activation of {what} is overdue"),
            (None, Kind::Reviewed) => format!("{} reviewed {who}'s emergency activation of {what}", event.actor),
            (None, _) => format!("{what} of {who}: {}", event.message),
        };
    }
    match (occasion.reminder, event.topic, event.kind) {
        (Some(_), ..) => format!("eligibility '{name}' ends soon: {}", event.message),
        (None, Topic::Guard, _) => event.message.clone(),
        (None, Topic::ActiveAssignment, _) => {
            format!("{} in namespace '{}'", event.message, event.subject.namespace.as_deref().unwrap_or_default())
        }
        (None, topic, kind) => {
            let noun = if topic == Topic::Policy { "policy" } else { "eligibility" };
            let verb = match kind {
                Kind::Created => "was created",
                Kind::Changed => "was changed",
                Kind::Suspended => "was suspended",
                Kind::Resumed => "is no longer suspended",
                Kind::Ended => "ended",
                _ => "was reported",
            };
            let by = if event.actor.is_empty() || kind == Kind::Ended { String::new() } else { format!(" by {}", event.actor) };
            format!("{noun} '{name}' {verb}{by}")
        }
    }
}

fn requester(request: &RoleActivationRequest) -> String {
    request.spec.requester.as_ref().map_or_else(|| "someone".to_owned(), |stamp| stamp.username.to_string())
}

fn role(request: &RoleActivationRequest, matter: Matter<'_>) -> Option<String> {
    let reported = request.status.as_ref().and_then(|status| status.role.as_ref()).map(|role| role.name.clone());
    reported.filter(|name| !name.is_empty()).or_else(|| matter.eligibility.map(|eligibility| eligibility.spec.role_ref.name.clone()))
}

fn facts(occasion: &Occasion, matter: Matter<'_>) -> Vec<(&'static str, String)> {
    let event = &occasion.event;
    let mut facts = Vec::new();
    let mut add = |label, value: Option<String>| facts.extend(value.filter(|value| !value.is_empty()).map(|value| (label, value)));
    if let Some(request) = matter.request {
        let status = request.status.as_ref();
        add("Requester", Some(requester(request)));
        add("Role", role(request, matter));
        add("Namespace", event.subject.namespace.clone());
        add("Request", Some(event.subject.name.clone()));
        add("Eligibility", Some(request.spec.eligibility_ref.name.clone()));
        add("Duration", request.spec.duration.map(|duration| duration.to_string()));
        add("Justification", request.spec.justification.as_ref().map(ToString::to_string));
        add("Ticket", request.spec.ticket.as_ref().and_then(|ticket| ticket.number.as_ref()).map(ToString::to_string));
        add("Risks", status.and_then(|status| status.role.as_ref()).map(|role| role.risk_summary.clone()));
        let awaiting = status.and_then(|status| status.awaiting.as_ref());
        add("Stage", awaiting.map(|awaiting| format!("{}, {} of {} approvals", awaiting.stage, awaiting.have, awaiting.required)));
        add("Decide until", awaiting.map(|awaiting| stamp(awaiting.deadline)));
        add("Approved by", status.and_then(|status| status.approved_by.clone()));
        add(
            "Active until",
            status.filter(|status| status.state == Some(RequestState::Active)).and_then(|status| status.expires_at).map(stamp),
        );
        add("Review until", status.and_then(|status| status.review.as_ref()).map(|review| stamp(review.deadline)));
    } else if let Some(eligibility) = matter.eligibility {
        let spec = &eligibility.spec;
        add("Eligibility", eligibility.metadata.name.clone());
        add("Role", Some(spec.role_ref.name.clone()));
        add("Policy", Some(spec.policy_ref.name.clone()));
        add("Namespace", event.subject.namespace.clone());
        add("Ends", spec.end_time.map(stamp));
    }
    add("What happened", Some(event.message.clone()));
    add("By", Some(event.actor.clone()).filter(|actor| actor != crate::timeline::OPERATOR));
    add("Time", Some(stamp(event.at)));
    facts
}

fn command(occasion: &Occasion, request: Option<&RoleActivationRequest>) -> Option<String> {
    let subject = &occasion.event.subject;
    let (Some(_), Some(namespace)) = (request, &subject.namespace) else { return None };
    let verb = match (occasion.reminder, occasion.event.kind) {
        (Some(Reminder::Undecided(_)), _) | (None, Kind::WaitingForApproval) => "approve",
        (None, Kind::ReviewOverdue) => "review",
        (None, Kind::Granted) if occasion.event.topic == Topic::Emergency => "review",
        _ => "describe",
    };
    Some(format!("kubectl jit {verb} {} -n {namespace}", subject.name))
}

fn data(occasion: &Occasion, matter: Matter<'_>, facts: &[(&'static str, String)]) -> Value {
    let event = &occasion.event;
    let request = matter.request.map(|request| {
        let status = request.status.as_ref();
        json!({
            "requester": request.spec.requester.as_ref().map(|stamp| stamp.username.clone()),
            "eligibility": request.spec.eligibility_ref.name,
            "emergency": request.spec.emergency,
            "role": role(request, matter),
            "state": status.and_then(|status| status.state),
            "reason": status.and_then(|status| status.reason),
            "expiresAt": status.and_then(|status| status.expires_at),
            "digest": status.and_then(|status| status.digest.clone()),
            "justification": request.spec.justification,
        })
    });
    json!({
        "kind": event.subject.kind,
        "namespace": event.subject.namespace,
        "name": event.subject.name,
        "uid": event.subject.uid,
        "event": event.kind.as_str(),
        "reminder": occasion.reminder.map(Reminder::as_str),
        "severity": event.severity().as_str(),
        "actor": event.actor,
        "message": event.message,
        "request": request,
        "facts": facts.iter().map(|(label, value)| json!({"label": label, "value": value})).collect::<Vec<_>>(),
    })
}
