//! What a message may be about: an event, or a reminder of one at a time of its own.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::rule::Rule;
use crate::activity::{self, Event, Kind, Topic};
use api::{Duration, RoleActivationRequest, RoleEligibility, State, Subject, request::ReviewState};

/// A reminder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reminder {
    /// A request is undecided this long after a stage opened.
    Undecided(Duration),
    /// A grant ends in this time.
    BeforeEnd(Duration),
    /// An eligibility ends in this time.
    EligibilityBeforeEnd(Duration),
}

/// An event, or a reminder of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The event. That of a reminder has the id and the time of the reminder.
    pub event: Event,
    /// None for the event itself.
    pub reminder: Option<Reminder>,
    /// The subjects of an active assignment.
    pub subjects: Option<Vec<Subject>>,
}

impl Reminder {
    /// Returns the word for ids and types.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecided(_) => "Undecided",
            Self::BeforeEnd(_) => "EndsSoon",
            Self::EligibilityBeforeEnd(_) => "EligibilityEndsSoon",
        }
    }

    const fn duration(self) -> Duration {
        match self {
            Self::Undecided(duration) | Self::BeforeEnd(duration) | Self::EligibilityBeforeEnd(duration) => duration,
        }
    }
}

impl Occasion {
    /// Returns the occasion of an event.
    #[must_use]
    pub const fn of(event: Event) -> Self {
        Self { event, reminder: None, subjects: None }
    }

    /// Returns the reminder at `at`. Its id follows from the object, the reminder and the time: it stays the same after a restart.
    fn reminding(of: &Event, reminder: Reminder, at: Timestamp, message: String) -> Self {
        let kind = format!("{}/{}", reminder.as_str(), reminder.duration());
        let event = Event { id: activity::id(&of.subject.uid, &kind, at, 1), at, message, ..of.clone() };
        Self { event, reminder: Some(reminder), subjects: None }
    }

    /// Returns the type of the `CloudEvent`.
    #[must_use]
    pub fn cloud_event_type(&self) -> String {
        let of_event = self.event.cloud_event_type();
        match (self.reminder, of_event.strip_suffix(&format!("{}.v1", self.event.kind.verb()))) {
            (Some(reminder), Some(start)) => format!("{start}{}.v1", reminder.as_str().to_lowercase()),
            _ => of_event,
        }
    }

    /// Returns false for a message that asks for something that nobody can do any more. What happened stays true.
    #[must_use]
    pub fn is_still_true(&self, request: Option<&RoleActivationRequest>, eligibility: Option<&RoleEligibility>) -> bool {
        let status = request.and_then(|request| request.status.as_ref());
        let state = status.and_then(|status| status.state);
        match self.reminder {
            Some(Reminder::BeforeEnd(before)) => {
                let due = status.and_then(|status| status.expires_at).and_then(|end| earlier(end, before));
                state == Some(State::Active) && due == Some(self.event.at)
            }
            Some(Reminder::EligibilityBeforeEnd(before)) => {
                let end = eligibility.filter(|eligibility| !eligibility.spec.suspended).and_then(|eligibility| eligibility.spec.end_time);
                end.and_then(|end| earlier(end, before)) == Some(self.event.at)
            }
            // The stage is still open: another one would have an event of its own.
            Some(Reminder::Undecided(after)) => {
                let opened = later(self.event.at, after, -1);
                state == Some(State::AwaitingApproval) && last_opened(request) == opened
            }
            None => match self.event.kind {
                Kind::WaitingForApproval => state == Some(State::AwaitingApproval) && last_opened(request) == Some(self.event.at),
                Kind::ReviewOverdue => {
                    status.and_then(|status| status.review.as_ref()).is_some_and(|review| review.state == ReviewState::Overdue)
                }
                _ => true,
            },
        }
    }
}

fn last_opened(request: Option<&RoleActivationRequest>) -> Option<Timestamp> {
    let timeline = &request?.status.as_ref()?.timeline;
    timeline.iter().rev().find(|entry| entry.event == Kind::WaitingForApproval.as_str()).map(|entry| entry.time)
}

fn later(at: Timestamp, by: Duration, sign: i32) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_secs(i64::from(by.as_secs())).checked_mul(sign)?).ok()
}

fn earlier(at: Timestamp, by: Duration) -> Option<Timestamp> {
    later(at, by, -1)
}

/// Returns the reminders of a request that some rule wants, with their due times. Those that are no longer true are left out.
#[must_use]
pub fn of_request(request: &RoleActivationRequest, events: &[Event], rules: &[Rule]) -> Vec<Occasion> {
    let Some(status) = request.status.as_ref() else { return Vec::new() };
    let mut due = Vec::new();
    match status.state {
        Some(State::AwaitingApproval) => {
            if let Some(opened) = events.iter().rev().find(|event| event.kind == Kind::WaitingForApproval) {
                for after in wanted(rules, |reminders| &reminders.undecided_after) {
                    if let Some(at) = later(opened.at, after, 1) {
                        due.push(Occasion::reminding(opened, Reminder::Undecided(after), at, format!("undecided for {after}")));
                    }
                }
            }
        }
        Some(State::Active) => {
            let granted = events.iter().rev().find(|event| event.kind == Kind::Granted);
            if let (Some(granted), Some(end)) = (granted, status.expires_at) {
                for before in wanted(rules, |reminders| &reminders.before_end) {
                    // A grant that is shorter than the reminder is announced by its start.
                    if let Some(at) = earlier(end, before).filter(|at| *at > granted.at) {
                        due.push(Occasion::reminding(granted, Reminder::BeforeEnd(before), at, format!("the grant ends in {before}")));
                    }
                }
            }
        }
        _ => {}
    }
    due
}

/// Returns the reminders of an eligibility.
#[must_use]
pub fn of_eligibility(eligibility: &RoleEligibility, rules: &[Rule]) -> Vec<Occasion> {
    let Some(end) = eligibility.spec.end_time.filter(|_| !eligibility.spec.suspended) else { return Vec::new() };
    let meta = &eligibility.metadata;
    let subject = activity::Subject {
        kind: "RoleEligibility",
        namespace: None,
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    };
    let created = meta.creation_timestamp.as_ref().map(api::conditions::from_time).unwrap_or_default();
    let reminder = |before: Duration| {
        let at = earlier(end, before).filter(|at| *at > created)?;
        let event = Event {
            id: String::new(),
            kind: Kind::Ended,
            topic: Topic::Eligibility,
            subject: subject.clone(),
            at,
            actor: crate::timeline::OPERATOR.to_owned(),
            message: String::new(),
        };
        Some(Occasion::reminding(&event, Reminder::EligibilityBeforeEnd(before), at, format!("the eligibility ends in {before}")))
    };
    wanted(rules, |reminders| &reminders.eligibility_before_end).into_iter().filter_map(reminder).collect()
}

fn wanted(rules: &[Rule], of: impl Fn(&api::notification_rule::Reminders) -> &Vec<Duration>) -> BTreeSet<Duration> {
    rules.iter().filter_map(|rule| rule.spec.reminders.as_ref()).flat_map(|reminders| of(reminders).iter().copied()).collect()
}
