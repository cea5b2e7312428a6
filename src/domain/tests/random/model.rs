//! The plain model: a second implementation of invariants 1 to 16 of the threat model without the rules' own code. It may be slow and knows
//! only the small cluster. Where it and the rules differ, one of them is wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cluster::{Cluster, Stored},
    *,
};
use api::{policy::OnRoleChange, request::ReviewState};

/// Returns one name per person.
fn human(stamp: &Stamp) -> String {
    stamp.username.as_str().to_lowercase()
}

fn requester(stored: &Stored) -> String {
    stored.facts.object.spec.requester.as_ref().map(human).unwrap_or_default()
}

fn listed(stamp: &Stamp, people: &People) -> bool {
    people.users.contains(&stamp.username) || stamp.groups.iter().any(|group| people.groups.contains(group))
}

/// Returns true if an authorized user denied or revoked the request, or its requester deactivated it.
fn ended_by_a_word(cluster: &Cluster, stored: &Stored) -> bool {
    stored.decisions.iter().any(|said| {
        let Some(decider) = &said.spec.decider else { return false };
        let approver = |policy: &ApprovalPolicySpec| policy.approval.stages.iter().any(|stage| listed(decider, &stage.approvers));
        let policy = cluster.policy.as_ref().filter(|_| cluster.eligibilities.contains_key(&stored.facts.object.spec.eligibility_ref.name));
        match said.spec.decision {
            Verb::Deactivate => human(decider) == requester(stored),
            Verb::Deny => policy.is_some_and(|policy| approver(&policy.spec)),
            Verb::Revoke => {
                policy.is_some_and(|p| approver(&p.spec) || p.spec.revokers.as_ref().is_some_and(|people| listed(decider, people)))
            }
            Verb::Approve | Verb::Review => false,
        }
    })
}

/// Returns true if the context of a request allows its requester the role at all, at an instant.
fn surrounded(cluster: &Cluster, stored: &Stored, at: Timestamp) -> bool {
    let Some(eligibility) = cluster.eligibilities.get(&stored.facts.object.spec.eligibility_ref.name) else { return false };
    let Some(requester) = &stored.facts.object.spec.requester else { return false };
    let is_subject = eligibility.spec.subjects.iter().any(|subject| match subject.kind {
        SubjectKind::User => subject.name == requester.username,
        SubjectKind::Group => requester.groups.contains(&subject.name),
        SubjectKind::ServiceAccount => false,
    });
    is_subject
        && !eligibility.spec.suspended
        && eligibility.spec.end_time.is_none_or(|end| at < end)
        && eligibility.spec.namespaces.names.contains(&stored.facts.namespace)
        && cluster.policy.is_some()
        && cluster.role.is_some()
        && cluster.namespaces.contains_key(&stored.facts.namespace)
}

/// Returns the approval that a grant rests on, by the plain count.
fn approved(cluster: &Cluster, stored: &Stored, digest: &str) -> bool {
    let Some(policy) = &cluster.policy else { return false };
    let request = &stored.facts.object;
    let emergency = request.spec.emergency && policy.spec.emergency.as_ref().is_some_and(|emergency| emergency.allowed);
    if emergency || policy.spec.approval.automatic.is_some() {
        return true;
    }
    let until = request.created + SignedDuration::from_mins(10);
    !policy.spec.approval.stages.is_empty()
        && policy.spec.approval.stages.iter().all(|stage| {
            let yes = stored.decisions.iter().filter(|said| {
                said.spec.decision == Verb::Approve
                    && said.spec.digest.as_deref() == Some(digest)
                    && said.spec.request_ref.uid.as_deref() == Some(request.uid.as_str())
                    && said.created >= request.created
                    && said.created < until
                    && cluster.spans.iter().any(|span| span.covers(said.created))
            });
            let people: BTreeSet<String> =
                yes.filter_map(|said| said.spec.decider.as_ref()).filter(|who| listed(who, &stage.approvers)).map(human).collect();
            people.iter().filter(|who| **who != requester(stored)).count() >= usize::try_from(stage.required.unwrap_or(1)).unwrap()
        })
}

/// Returns why a new grant is not allowed. `cluster` is the state before it.
pub fn wrong_grant(cluster: &Cluster, stored: &Stored, grant: &Grant) -> Option<&'static str> {
    let request = &stored.facts.object;
    let spec = &request.spec;
    let eligibility = cluster.eligibilities.get(&spec.eligibility_ref.name)?;
    let policy = cluster.policy.as_ref()?;
    let bound =
        |other: &&Stored| cluster.bindings.contains_key(&(other.facts.namespace.clone(), format!("jit-{}", other.facts.object.uid)));
    let mine: Vec<&Stored> = cluster.requests.iter().filter(bound).filter(|other| requester(other) == requester(stored)).collect();
    let same = |other: &&&Stored| {
        other.facts.namespace == stored.facts.namespace && other.facts.object.spec.eligibility_ref == spec.eligibility_ref
    };
    let base = spec.extends.as_ref().map(|extends| extends.name.clone());
    let is_base = |other: &Stored| Some(&other.facts.object.name) == base.as_ref() && other.facts.namespace == stored.facts.namespace;
    // The base, the base of the base, and so on: these overlap.
    let mut chain: Vec<String> = Vec::new();
    let mut link = base.clone();
    while let Some(name) = link.filter(|name| !chain.contains(name)) {
        let found =
            cluster.requests.iter().find(|other| other.facts.namespace == stored.facts.namespace && other.facts.object.name == name);
        link = found.and_then(|found| found.facts.object.spec.extends.as_ref()).map(|extends| extends.name.clone());
        chain.push(name);
    }
    let length = grant.deadline.duration_since(grant.start);
    let rules = [
        // Invariant 4 and 5: one person, in the request's namespace, for the role that the eligibility names.
        (grant.namespace == stored.facts.namespace, "in another namespace"),
        (Some(&grant.subject.name) == spec.requester.as_ref().map(|r| r.username.to_string()).as_ref(), "for another user"),
        (grant.subject.kind == "User", "for a group"),
        (grant.role == eligibility.spec.role_ref, "another role"),
        (cluster.digest(stored).as_ref() == Some(&grant.digest), "for what is not so"),
        // Invariants 6, 7, 12: eligible now, approved by enough authorized people, for exactly this digest.
        (surrounded(cluster, stored, grant.start), "without eligibility"),
        (approved(cluster, stored, &grant.digest), "without approval"),
        (!ended_by_a_word(cluster, stored), "against a decision"),
        (!cluster.namespaces[&grant.namespace].terminating, "into a namespace that goes"),
        // Invariant 3: the end follows from stored times.
        (length <= SignedDuration::from(spec.duration.unwrap()) && length > SignedDuration::ZERO, "for too long"),
        (length <= SignedDuration::from(eligibility.spec.max_duration), "for longer than the eligibility allows"),
        (grant.start >= request.created && spec.start_time.is_none_or(|start| grant.start >= start), "before its start"),
        (
            grant.began <= grant.start && grant.deadline.duration_since(grant.began) <= SignedDuration::from_hours(24),
            "for longer than anything may last",
        ),
        // Invariant 8: a completed request never starts again.
        (!stored.facts.record.state.is_some_and(State::is_terminal), "after its end"),
        // Invariant 14 and 21: nothing from unguarded times, and nothing while a guard is missing.
        (!cluster.held && cluster.spans.iter().any(|span| span.covers(request.created)), "unguarded"),
        // Invariant 15 and api rule 12: one at a time.
        (mine.iter().filter(same).all(|other| chain.contains(&other.facts.object.name)), "in addition to another one"),
        (base.is_none() || mine.iter().any(|other| is_base(other)), "extending nothing"),
        (
            base.is_some() || mine.iter().filter(|other| other.facts.object.spec.extends.is_none()).count() < 2,
            "beyond the limit of activations",
        ),
        (
            !spec.emergency || !cluster.requests.iter().any(|other| owes(other, request.created) && requester(other) == requester(stored)),
            "despite an overdue review",
        ),
    ];
    let _ = policy;
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why)
}

fn owes(stored: &Stored, now: Timestamp) -> bool {
    stored.facts.record.review.as_ref().is_some_and(|review| review.state != ReviewState::Done && now >= review.deadline)
}

/// The history of every observed binding.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By UID of the binding, and by UID of its request.
    deadlines: BTreeMap<String, Timestamp>,
    /// Requests whose record was removed or never written. What is approved again then is another grant.
    lost: BTreeSet<String>,
    rules: BTreeMap<(String, String), String>,
    terminal: BTreeMap<String, State>,
}

impl Seen {
    /// Records that the status of a request was lost.
    pub fn lost(&mut self, request: &str) {
        self.lost.insert(request.to_owned());
    }

    /// Records a grant.
    pub fn granted(&mut self, cluster: &Cluster, grant: &Grant) {
        let key = (grant.namespace.clone(), grant.name.clone());
        let rules = cluster.role.as_ref().map(|role| role.rules.access_hash().to_owned()).unwrap_or_default();
        self.rules.insert(key, rules);
    }

    /// Returns why a state is wrong in which the controller has reconciled every object, if it is.
    pub fn wrong_state(&mut self, cluster: &Cluster) -> Option<String> {
        let now = at(cluster.now + cluster.skew);
        for stored in &cluster.requests {
            let object = &stored.facts.object;
            let key = (stored.facts.namespace.clone(), format!("jit-{}", object.uid));
            let state = stored.facts.record.state;
            // Invariant 8: a terminal state is final.
            if let Some(before) = self.terminal.get(&object.uid)
                && state != Some(*before)
            {
                return Some(format!("{} was {before} and is {state:?}", object.name));
            }
            if let Some(state) = state.filter(|state| state.is_terminal()) {
                self.terminal.insert(object.uid.clone(), state);
            }
            let Some(binding) = cluster.bindings.get(&key) else { continue };
            let wrong = |why: &str| Some(format!("{} has a binding {why}: {state:?}", object.name));
            let Some(deadline) = binding.deadline() else { return wrong("without an end") };
            if deadline <= now {
                return wrong("after its end");
            }
            // Invariant 3: the end of a binding never changes, nor that of a request, whatever happens to its binding.
            let recorded = (!self.lost.contains(&object.uid)).then(|| object.uid.clone());
            for uid in recorded.into_iter().chain([binding.uid.clone()]) {
                if *self.deadlines.entry(uid).or_insert(deadline) < deadline {
                    return wrong("whose end moved later");
                }
            }
            if state != Some(State::Active) {
                return wrong("and is not active");
            }
            if ended_by_a_word(cluster, stored) {
                return wrong("against a decision");
            }
            if !surrounded(cluster, stored, now) {
                return wrong("that nothing around it allows any more");
            }
            if binding.subjects.len() != 1
                || Some(&binding.subjects[0].name) != object.spec.requester.as_ref().map(|r| r.username.to_string()).as_ref()
            {
                return wrong("for another user");
            }
            let policy = cluster.policy.as_ref().map(|policy| &policy.spec);
            if policy.is_some_and(|p| p.on_role_change == Some(OnRoleChange::Revoke))
                && self.rules.get(&key) != cluster.role.as_ref().map(|role| role.rules.access_hash().to_owned()).as_ref()
            {
                return wrong("for a role that changed");
            }
            let length = deadline.duration_since(stored.facts.record.granted_at.unwrap_or(deadline));
            if cluster
                .eligibilities
                .get(&object.spec.eligibility_ref.name)
                .is_some_and(|e| length > SignedDuration::from(e.spec.max_duration))
            {
                return wrong("that is longer than the eligibility allows now");
            }
        }
        // Invariant 1: no binding without its request.
        let known = |name: &String| cluster.requests.iter().any(|stored| *name == format!("jit-{}", stored.facts.object.uid));
        cluster.bindings.keys().find(|(_, name)| !known(name)).map(|(_, name)| format!("{name} has no request"))
    }
}
