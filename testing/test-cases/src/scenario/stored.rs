//! The objects that the operator stores: bindings and statuses; and its knowledge of the guards.

use api::{
    eligibility::{RoleKind, RoleRef},
    instant::stamp,
    names,
    request::{BindingRef, ReviewState, ReviewStatus},
};
use domain::{Binding, BindingFacts, GuardFacts, Guards, Record, RequestFacts, Span, Verdict, binding::BindingSubject, guards::not_proven};

use super::{MOST, instant, pairs, people, word};
use crate::{TestCase, at};

/// The binding of a request that stays active for ten more minutes.
pub fn extended(facts: &RequestFacts) -> Binding {
    let times = [(names::EXPIRES_AT, 600), (names::STARTED_AT, -600)];
    let text = |seconds| stamp(at(seconds));
    Binding::Present(BindingFacts {
        uid: format!("{}-binding", facts.object.uid),
        managed: true,
        annotations: times.into_iter().map(|(key, seconds)| (key.to_owned(), text(seconds))).collect(),
        subjects: Vec::new(),
        role_kind: "ClusterRole".to_owned(),
        role_name: "edit".to_owned(),
    })
}

/// Changes a binding by one pair; returns false for a pair of another object.
pub fn alters(binding: &mut BindingFacts, key: &str, value: &str) -> bool {
    let subject = |kind: &str, name: &str| BindingSubject { kind: kind.to_owned(), name: name.to_owned(), namespace: None };
    match key {
        "unmanaged" => binding.managed = false,
        "subject" => binding.subjects.push(subject("User", value)),
        "group" => binding.subjects = vec![subject("Group", value)],
        "nobody" => binding.subjects.clear(),
        "bound-role" => value.clone_into(&mut binding.role_name),
        "bound-kind" => value.clone_into(&mut binding.role_kind),
        "annotation" => {
            let (key, text) = value.split_once(':').unwrap_or((value, ""));
            // An instant relative to the request, or any text.
            let text = text.parse().map_or_else(|_| text.to_owned(), |seconds| stamp(at(seconds)));
            binding.annotations.insert(format!("jitrbac.dev/{key}"), text);
        }
        "without" => drop(binding.annotations.remove(&format!("jitrbac.dev/{value}"))),
        _ => return false,
    }
    true
}

/// Changes a status by one pair.
pub fn reports(record: &mut Record, key: &str, value: &str) {
    match key {
        "state" => record.state = word(value),
        "reason" => record.reason = word(value),
        "granted" => record.granted_at = instant(value),
        "began" => record.began = instant(value),
        "expires" => record.expires_at = instant(value),
        "ended" => record.ended_at = instant(value),
        "review" => {
            let (state, deadline) = value.split_once(':').unwrap_or((value, "+86400"));
            record.review = word::<ReviewState>(state).map(|state| ReviewStatus {
                state,
                deadline: instant(deadline).unwrap_or_default(),
                reviewers: people("@security"),
                reviewed_by: None,
                reviewed_at: None,
                comment: None,
            });
        }
        _ => {}
    }
}

/// The binding with the request's name: by default that of the grant that would be made.
pub fn binding(case: &mut TestCase, text: &str, granted: &Verdict) {
    let usual = || crate::case().decide().grant;
    let mut binding = granted.grant.clone().or_else(usual).map_or(Binding::Absent, |grant| Binding::Present(crate::stored(&grant)));
    for (key, value) in pairs(text) {
        match (key, &mut binding) {
            ("unread", _) => binding = Binding::Unread,
            ("absent", _) => binding = Binding::Absent,
            (_, Binding::Present(found)) => drop(alters(found, key, value)),
            _ => {}
        }
    }
    case.snapshot.binding = binding;
}

/// Parses the status: `lived` is a grant that was made and recorded, then the pairs.
pub fn record(case: &mut TestCase, text: &str, granted: &Verdict) {
    for (key, value) in pairs(text) {
        match key {
            "lived" => *case = case.clone().apply(granted),
            "digest" => {
                let right = granted.digest.as_ref().map(ToString::to_string);
                case.snapshot.request.record.digest = if value == "right" { right } else { Some(value.to_owned()) };
            }
            "rules" => case.snapshot.request.record.rules_hash = Some(value.to_owned()),
            "role" => case.snapshot.request.record.role = Some(RoleRef { kind: RoleKind::ClusterRole, name: value.to_owned() }),
            "binding" => {
                let name = names::binding_name(&case.snapshot.request.object.uid);
                case.snapshot.request.record.binding = Some(BindingRef { name, uid: value.to_owned() });
            }
            _ => reports(&mut case.snapshot.request.record, key, value),
        }
    }
}

/// Parses `guards hold proven=-60:+60 proven=+90: policy-unproven`.
pub fn guards(case: &mut TestCase, text: &str) {
    let mut facts = GuardFacts::default();
    for (key, value) in pairs(text) {
        match key {
            "unasked" => return case.snapshot.guards = Guards::Unasked,
            "hold" => facts.hold = Some(not_proven("a policy is gone")),
            "proven" if facts.proven.len() < MOST => {
                let (from, until) = value.split_once(':').unwrap_or((value, ""));
                facts.proven.extend(instant(from).map(|from| Span { from, until: instant(until) }));
            }
            "eligibility-unproven" => facts.eligibility_unproven = true,
            "policy-unproven" => facts.policy_unproven = true,
            _ => {}
        }
    }
    case.snapshot.guards = Guards::Watched(facts);
}
