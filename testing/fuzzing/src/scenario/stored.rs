//! The objects that the operator stores: bindings and statuses; and its knowledge of the guards.

use api::{instant::stamp, names, request::BindingRef};
use domain::{BindingAction, BindingFacts, Grant, GuardFacts, Span, binding::BindingSubject, guards::not_proven};

use super::{Binding, Guards, MOST, RequestFacts, RoleKind, RoleRef, Verdict, World, at, instant, pairs, people};

/// The binding of a grant.
pub fn bound(grant: &Grant) -> BindingFacts {
    BindingFacts {
        uid: "binding-uid".to_owned(),
        managed: true,
        annotations: grant.annotations(),
        subjects: vec![grant.subject.clone()],
        role_kind: grant.role.kind.to_string(),
        role_name: grant.role.name.clone(),
    }
}

/// The binding of a request that stays active for ten more minutes.
pub(super) fn prolonged(facts: &RequestFacts) -> Binding {
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
pub(super) fn alters(binding: &mut BindingFacts, key: &str, value: &str) -> bool {
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

impl World {
    /// The binding with the request's name: by default that of the grant that would be made.
    pub(super) fn binding(&mut self, text: &str, granted: &Verdict) {
        let usual = || World::usual().decide().grant;
        let mut binding = granted.grant.clone().or_else(usual).map_or(Binding::Absent, |grant| Binding::Present(bound(&grant)));
        for (key, value) in pairs(text) {
            match (key, &mut binding) {
                ("unread", _) => binding = Binding::Unread,
                ("absent", _) => binding = Binding::Absent,
                (_, Binding::Present(found)) => drop(alters(found, key, value)),
                _ => {}
            }
        }
        self.snapshot.binding = binding;
    }

    /// Parses the status: `lived` is a grant that was made and recorded, then the pairs.
    pub(super) fn record(&mut self, text: &str, granted: &Verdict) {
        for (key, value) in pairs(text) {
            match key {
                "lived" => self.apply(granted),
                "digest" => {
                    let right = granted.digest.as_ref().map(ToString::to_string);
                    self.snapshot.request.record.digest = if value == "right" { right } else { Some(value.to_owned()) };
                }
                "rules" => self.snapshot.request.record.rules_hash = Some(value.to_owned()),
                "role" => self.snapshot.request.record.role = Some(RoleRef { kind: RoleKind::ClusterRole, name: value.to_owned() }),
                "binding" => {
                    let name = names::binding_name(&self.snapshot.request.object.uid);
                    self.snapshot.request.record.binding = Some(BindingRef { name, uid: value.to_owned() });
                }
                _ => people::reports(&mut self.snapshot.request.record, key, value),
            }
        }
    }

    /// Applies a verdict, and reports it as the controller does.
    pub fn apply(&mut self, verdict: &Verdict) {
        match (verdict.binding, &verdict.grant) {
            (BindingAction::Create, Some(grant)) => self.snapshot.binding = Binding::Present(bound(grant)),
            (BindingAction::Remove, _) => self.snapshot.binding = Binding::Absent,
            (BindingAction::Create | BindingAction::Keep, _) => {}
        }
        let rules = self.snapshot.role.found().map(|role| role.rules.hash().to_owned());
        let binding = match &self.snapshot.binding {
            Binding::Present(found) => {
                Some(BindingRef { name: names::binding_name(&self.snapshot.request.object.uid), uid: found.uid.clone() })
            }
            Binding::Absent | Binding::Unread => None,
        };
        let record = &mut self.snapshot.request.record;
        record.state = Some(verdict.state);
        record.reason = Some(verdict.reason);
        record.review = verdict.review.clone().or(record.review.take());
        if let Some(digest) = &verdict.digest {
            record.digest = Some(digest.to_string());
        }
        if let Some(grant) = &verdict.grant {
            record.rules_hash = rules;
            record.granted_at = Some(grant.start);
            record.began = Some(grant.began);
            record.expires_at = Some(grant.deadline);
            record.role = Some(grant.role.clone());
            record.binding = binding;
        }
    }

    /// Parses `guards hold proven=-60:+60 proven=+90: policy-unproven`.
    pub(super) fn guards(&mut self, text: &str) {
        let mut facts = GuardFacts::default();
        for (key, value) in pairs(text) {
            match key {
                "unasked" => return self.snapshot.guards = Guards::Unasked,
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
        self.snapshot.guards = Guards::Watched(facts);
    }
}
