//! The objects that users write: requests, decisions, and the context of a request.

use api::{
    ActivationDecisionSpec, RoleActivationRequestSpec, Stamp, Verb,
    decision::RequestRef,
    instant::whole_seconds,
    request::{Extends, Ticket},
};
use domain::{Base, Binding, Lookup, Peer, Record, RequestFacts};

use super::{
    Said, instant, line, list, pairs,
    stored::{alters, extended, reports},
    word,
};
use crate::{
    TestCase,
    builders::{Shown, at, object},
};

/// Changes a stamp by one pair; returns false for a pair of another object.
fn who(stamp: &mut Stamp, key: &str, value: &str) -> bool {
    match key {
        "by" => stamp.username = line(value).unwrap_or_default(),
        "groups" => stamp.groups = list(value, line),
        "uid" => stamp.uid = line(value),
        "extra" => {
            let (key, values) = value.split_once(':').unwrap_or((value, ""));
            stamp.extra.insert(key.to_owned(), list(values, |one| Some(one.to_owned())));
        }
        _ => return false,
    }
    true
}

/// Parses a decision: `says Approve by=lead groups=leads at=+5`.
pub fn said(text: &str, number: usize) -> Said {
    let mut stamp = Some(Stamp::default());
    let mut said = Said {
        spec: ActivationDecisionSpec {
            request_ref: RequestRef::default(),
            decision: Verb::Approve,
            digest: None,
            duration: None,
            comment: None,
            decider: None,
        },
        uid: format!("decision-{number}"),
        seconds: at(1),
        shown: Shown::Present,
    };
    for (key, value) in pairs(text) {
        match key {
            "unstamped" => stamp = None,
            "at" => said.seconds = instant(value).unwrap_or(said.seconds),
            "digest" => said.shown = shown(value),
            "duration" => said.spec.duration = value.parse().ok(),
            "comment" => said.spec.comment = line(value),
            "about" => value.clone_into(&mut said.spec.request_ref.name),
            "about-uid" => said.spec.request_ref.uid = Some(value.to_owned()),
            "id" => said.uid = format!("{value}-{number}"),
            _ if stamp.as_mut().is_some_and(|stamp| who(stamp, key, value)) => {}
            verb => said.spec.decision = word(verb).unwrap_or(said.spec.decision),
        }
    }
    said.spec.decider = stamp;
    said
}

fn shown(text: &str) -> Shown {
    match text {
        "present" => Shown::Present,
        "short" => Shown::Short,
        "stale" => Shown::Stale,
        "none" => Shown::Nothing,
        other => Shown::Text(other.to_owned()),
    }
}

/// Changes a request by one pair.
fn asks(spec: &mut RoleActivationRequestSpec, key: &str, value: &str) {
    if spec.requester.as_mut().is_some_and(|stamp| who(stamp, key, value)) {
        return;
    }
    match key {
        "unstamped" => spec.requester = None,
        "duration" => spec.duration = value.parse().ok(),
        "start" => spec.start_time = instant(value),
        "extends" => spec.extends = Some(Extends { name: value.to_owned() }),
        "emergency" => spec.emergency = true,
        "justification" => spec.justification = line(value),
        "ticket" => {
            let (system, number) = value.split_once(':').unwrap_or(("", value));
            spec.ticket = Some(Ticket { system: line(system), number: line(number) });
        }
        "eligibility" => value.clone_into(&mut spec.eligibility_ref.name),
        _ => {}
    }
}

/// Changes the request.
pub fn request(case: &mut TestCase, text: &str) {
    let request = &mut case.snapshot.request;
    for (key, value) in pairs(text) {
        match key {
            "deleting" => request.object.deleting = true,
            "namespace" => value.clone_into(&mut request.namespace),
            "name" => value.clone_into(&mut request.object.name),
            _ => asks(&mut request.object.spec, key, value),
        }
    }
}

/// Another request, by default of the same user for the same access.
pub fn peer(case: &mut TestCase, text: &str) {
    let number = case.snapshot.peers.len();
    let mut facts = RequestFacts { record: Record::default(), ..case.snapshot.request.clone() };
    facts.object = object(&format!("peer-{number}"), &format!("peer-{number}-uid"), at(-60), facts.object.spec);
    let mut policy = Some("two-eyes".to_owned());
    for (key, value) in pairs(text) {
        match key {
            "at" => facts.object.created = whole_seconds(instant(value).unwrap_or(facts.object.created)),
            "name" => value.clone_into(&mut facts.object.name),
            "id" => facts.object.uid = format!("{value}-{number}"),
            "namespace" => value.clone_into(&mut facts.namespace),
            "policy" => policy = Some(value.to_owned()).filter(|name| !name.is_empty()),
            _ => {
                asks(&mut facts.object.spec, key, value);
                reports(&mut facts.record, key, value);
            }
        }
    }
    let Some(requester) = facts.object.spec.requester.clone() else { return };
    case.snapshot.peers.push(Peer { namespace: facts.namespace, object: facts.object, requester, policy, record: facts.record });
}

/// The activation that the request extends: by default active, of the same user, from ten minutes before until ten minutes after.
pub fn base(case: &mut TestCase, text: &str) {
    let mut facts = case.snapshot.request.clone();
    facts.object = object("base", "base-uid", at(-600), RoleActivationRequestSpec { extends: None, ..facts.object.spec });
    facts.record = Record { granted_at: Some(at(-600)), expires_at: Some(at(600)), state: word("Active"), ..Record::default() };
    let mut binding = extended(&facts);
    for (key, value) in pairs(text) {
        match (key, &mut binding) {
            ("none", _) => return case.snapshot.base = None,
            ("absent", _) => return case.snapshot.base = Some(Lookup::Absent),
            ("unreadable", _) => return case.snapshot.base = Some(Lookup::Unreadable("bad field".to_owned())),
            ("deleting", _) => facts.object.deleting = true,
            ("same", _) => facts.object.uid.clone_from(&case.snapshot.request.object.uid),
            ("unbound", _) => binding = Binding::Absent,
            ("unread", _) => binding = Binding::Unread,
            (_, Binding::Present(found)) => {
                alters(found, key, value);
                asks(&mut facts.object.spec, key, value);
                reports(&mut facts.record, key, value);
            }
            _ => {
                asks(&mut facts.object.spec, key, value);
                reports(&mut facts.record, key, value);
            }
        }
    }
    case.snapshot.base = Some(Lookup::Found(Box::new(Base { request: facts, binding })));
}
