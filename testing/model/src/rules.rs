//! The rules for one request (`decide` in `src/domain/decide.rs`, `running` in `src/domain/running.rs`), as far as the protocol needs them:
//! there is one eligibility, one policy and one role, and they never change.

use crate::{
    guards::Guard,
    setting::Setting,
    world::{Binding, Decision, Request, State, Subjects, Time, Verb},
};

/// The decisions on a request that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heard {
    /// When it was approved.
    pub approved: Option<Time>,
    /// The first decision against it.
    pub against: Option<Verb>,
}

/// The observed binding with the request's name (`Binding` in `src/domain/binding.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// It was not read.
    Unread,
    /// There is none.
    Absent,
    /// This one exists.
    Present(Binding),
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request waits for an approval. An existing binding is removed.
    Waits,
    /// Grant until this time, or keep the grant until then.
    Grant(Time),
    /// The request is completed, and its binding is removed.
    Ends(State),
}

/// Returns which decisions count for this request.
pub fn heard<'d>(setting: &Setting, request: &Request, decisions: impl Iterator<Item = &'d Decision>) -> Heard {
    let mut heard = Heard { approved: None, against: None };
    for decision in decisions.filter(|decision| decision.about == request.uid || !setting.has(Guard::DecisionNamesUid)) {
        match decision.verb {
            Verb::Approve => heard.approved = heard.approved.or(Some(decision.at)),
            Verb::Revoke | Verb::Deactivate => heard.against = heard.against.or(Some(decision.verb)),
        }
    }
    heard
}

/// Returns start plus duration, from stored times; none while it waits for an approval (`term` in `src/domain/start.rs`).
#[must_use]
pub fn deadline(setting: &Setting, request: &Request, heard: Heard) -> Option<Time> {
    let complete = if setting.approval { heard.approved? } else { request.created };
    Some(request.created.max(complete) + setting.duration)
}

/// Returns the verdict at the local time `clock`.
#[must_use]
pub fn decide(setting: &Setting, request: &Request, heard: Heard, binding: Seen, clock: i16) -> Verdict {
    match request.state {
        State::Active => running(request, heard, binding, clock),
        State::Pending => deciding(setting, request, heard, binding, clock),
        ended => Verdict::Ends(ended),
    }
}

fn deciding(setting: &Setting, request: &Request, heard: Heard, binding: Seen, clock: i16) -> Verdict {
    match heard.against {
        Some(Verb::Deactivate) => return Verdict::Ends(State::Withdrawn),
        Some(_) => return Verdict::Ends(State::Denied),
        None => {}
    }
    let Some(stored) = deadline(setting, request, heard) else { return Verdict::Waits };
    let deadline =
        if setting.has(Guard::StoredTimes) { stored } else { u8::try_from(clock.max(0)).unwrap_or(Time::MAX) + setting.duration };
    if clock >= i16::from(deadline) {
        return Verdict::Ends(State::TimedOut);
    }
    match binding {
        // An existing binding of that name must be the one that would be granted now.
        Seen::Present(found) if setting.has(Guard::CompareExisting) && differs(&found, deadline) => Verdict::Ends(State::Failed),
        _ => Verdict::Grant(deadline),
    }
}

fn differs(found: &Binding, deadline: Time) -> bool {
    !found.labelled || found.subjects != Subjects::Requester || found.deadline != deadline
}

fn running(request: &Request, heard: Heard, binding: Seen, clock: i16) -> Verdict {
    let stored = match binding {
        Seen::Present(found) => Some(found.deadline),
        Seen::Absent | Seen::Unread => None,
    };
    // The earlier end counts.
    let deadline = [request.expires, stored].into_iter().flatten().min();
    let Some(deadline) = deadline.filter(|deadline| clock < i16::from(*deadline)) else { return Verdict::Ends(State::Expired) };
    match (heard.against, binding) {
        (Some(Verb::Deactivate), _) => Verdict::Ends(State::Deactivated),
        (Some(_), _) | (None, Seen::Absent) => Verdict::Ends(State::Revoked),
        (None, Seen::Present(found)) if altered(request, &found) => Verdict::Ends(State::Revoked),
        (None, Seen::Present(_) | Seen::Unread) => Verdict::Grant(deadline),
    }
}

/// `altered` in `src/domain/binding.rs`.
fn altered(request: &Request, found: &Binding) -> bool {
    !found.labelled
        || found.subjects != Subjects::Requester
        || request.binding.is_some_and(|uid| uid != found.uid)
        || request.expires.is_some_and(|expires| expires != found.deadline)
}
