//! A grant after its creation: its deadline, and what ends it early (api rules 5, 10, 11 and 13).

use jiff::{SignedDuration, Timestamp};

use super::{
    binding::Binding,
    decisions, duration, eligibility, emergency, extension,
    facts::Lookup,
    instant::stamp,
    person::{self, Account},
    refusal::Refusal,
    risks,
    settings::Settings,
    snapshot::Snapshot,
    start::{self, Term},
    verdict::{Verdict, describe_grant, requeue_at},
};
use api::{Reason, Stamp, State, names::binding_name, policy::OnRoleChange};

/// Upper bound of the difference between the trusted clocks of two replicas, with a margin. Another replica's removal at the deadline can
/// be that much too early by this replica's clock.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);

/// Decides a request whose grant was recorded.
pub(super) fn running(snapshot: &Snapshot, settings: &Settings, now: Timestamp) -> Verdict {
    let record = &snapshot.request.record;
    let recorded = record.expires_at;
    let stored = match &snapshot.binding {
        Binding::Present(found) => found.deadline(),
        Binding::Absent | Binding::Unread => None,
    };
    // The earlier of both ends applies. Without any end the grant has expired.
    let deadline = match (recorded, stored) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let policy = snapshot.policy.found().map(|policy| &policy.spec);
    let review = emergency::review(&snapshot.request, record.granted_at, policy, &snapshot.surely_decided(), &settings.identities, now);
    let Some(deadline) = deadline.filter(|deadline| now < *deadline) else {
        let message = deadline.map_or_else(|| "the grant has no readable end".to_owned(), |at| format!("expired at {}", stamp(at)));
        return Verdict { review, ..Verdict::new(State::Expired, Reason::Expired, message) };
    };
    if let Some(end) = ended(snapshot, settings, deadline, now) {
        return Verdict { links: extension::links(snapshot, &settings.identities), review, ..end };
    }
    let look_again = snapshot.eligibility.found().map_or(deadline, |eligibility| requeue_at(deadline, eligibility, review.as_ref()));
    let granted = record
        .role
        .as_ref()
        .map_or_else(|| format!("until {}", stamp(deadline)), |role| describe_grant(role, &snapshot.request.namespace, deadline));
    let (reason, message) = if role_changed(snapshot) {
        (Reason::RoleChanged, format!("{granted}; the role's rules have changed since it was granted"))
    } else {
        (Reason::Granted, granted)
    };
    Verdict { review, look_again: Some(look_again), ..Verdict::new(State::Active, reason, message) }
}

/// Returns true if the role's access differs from what was granted (T17). A grant without a recorded hash counts as changed. Records of
/// older versions are compared with the rules as written.
fn role_changed(snapshot: &Snapshot) -> bool {
    let (record, Some(role)) = (&snapshot.request.record, snapshot.role.found()) else { return false };
    match &record.access_hash {
        Some(granted) => granted != role.rules.access_hash(),
        None => record.rules_hash.as_deref() != Some(role.rules.hash()),
    }
}

/// The refusal of a role whose access has changed, if the policy ends its grants then. A policy without a setting ends them if the role
/// gained access that outlives a grant and that the eligibility's author has not accepted (T18).
fn role_no_longer_granted(snapshot: &Snapshot) -> Option<Refusal> {
    let (role, policy, eligibility) = (snapshot.role.found()?, snapshot.policy.found()?, snapshot.eligibility.found()?);
    if !role_changed(snapshot) {
        return None;
    }
    let message = match policy.spec.on_role_change {
        Some(OnRoleChange::Report) => return None,
        Some(OnRoleChange::Revoke) => {
            format!(
                "the rules of the {} '{}' changed, and policy '{}' sets Revoke for this case (spec.onRoleChange)",
                role.kind, role.name, policy.name
            )
        }
        None => {
            let refusal = risks::check(&eligibility.spec.role_ref, &role.rules, &eligibility.spec.accept_risks).err()?;
            format!(
                "the rules of the {} '{}' changed while it was active, and eligibility '{}' does not accept them: {} (policy '{}' can \
                 override this in spec.onRoleChange)",
                role.kind, role.name, eligibility.name, refusal.message, policy.name
            )
        }
    };
    Some(Refusal::new(Reason::RoleChanged, message))
}

/// Returns what ends an active grant early, if anything does.
fn ended(snapshot: &Snapshot, settings: &Settings, deadline: Timestamp, now: Timestamp) -> Option<Verdict> {
    let request = &snapshot.request;
    let revoked = |refusal: Refusal| Verdict::refused(State::Revoked, refusal);
    let Some(requester) = &request.object.spec.requester else {
        return Some(revoked(Refusal::new(Reason::UserInfoMissing, "the request has no stamped author")));
    };
    if let Some(decision) = decisions::deactivation(snapshot, requester, settings) {
        let message = format!("deactivated {}", decisions::describe(decision));
        return Some(Verdict::new(State::Deactivated, Reason::DeactivatedByRequester, message).by(decisions::decider(decision)));
    }
    if let Some(decision) = snapshot.policy.found().and_then(|policy| decisions::veto(snapshot, &policy.spec)) {
        let message = format!("revoked {}", decisions::describe(decision));
        return Some(Verdict::new(State::Revoked, Reason::RevokedByUser, message).by(decisions::decider(decision)));
    }
    if let Some(refusal) = snapshot.unread.ends() {
        return Some(revoked(refusal));
    }
    if let Some(refusal) = withdrawn(snapshot, requester, settings, deadline, now) {
        return Some(revoked(refusal));
    }
    if let Some((state, refusal)) = extension::broken(snapshot, &settings.identities, now) {
        return Some(Verdict::refused(state, refusal));
    }
    if let Some(refusal) = role_no_longer_granted(snapshot) {
        return Some(revoked(refusal));
    }
    let name = binding_name(&request.object.uid);
    match &snapshot.binding {
        Binding::Unread => None,
        // Most likely another replica removed it at the deadline, by a clock that is ahead of this one. The deadline passes soon, and no
        // chain ends early.
        Binding::Absent if deadline.duration_since(now) <= CLOCKS => None,
        Binding::Absent => Some(revoked(Refusal::new(
            Reason::BindingRemoved,
            format!("RoleBinding '{name}' was removed by another client before its end"),
        ))),
        Binding::Present(found) => {
            let account = person::account(requester).unwrap_or(Account::User);
            let altered = found.altered(request, requester, &account, &request.record)?;
            Some(revoked(Refusal::new(Reason::BindingModified, format!("RoleBinding '{name}' was modified by another client: {altered}"))))
        }
    }
}

/// Returns what an admin withdrew from an active grant, if anything (api rule 11). Only absence that the API server has confirmed counts.
/// An object that cannot be read revokes nothing.
fn withdrawn(snapshot: &Snapshot, requester: &Stamp, settings: &Settings, deadline: Timestamp, now: Timestamp) -> Option<Refusal> {
    let request = &snapshot.request;
    let name = &request.object.spec.eligibility_ref.name;
    let eligibility = match &snapshot.eligibility {
        Lookup::Found(eligibility) => eligibility,
        Lookup::Absent => return Some(eligibility::removed(name)),
        Lookup::Deleting(deletion) => return Some(eligibility::removal(name, deletion)),
        Lookup::Unreadable(_) => return None,
    };
    let namespace = match &snapshot.namespace {
        Lookup::Found(namespace) if !namespace.terminating => namespace,
        Lookup::Found(_) | Lookup::Deleting(_) => {
            return Some(Refusal::new(Reason::NamespaceTerminating, format!("namespace '{}' is terminating", request.namespace)));
        }
        Lookup::Absent => {
            return Some(Refusal::new(Reason::NamespaceTerminating, format!("namespace '{}' no longer exists", request.namespace)));
        }
        // Coverage cannot be verified then, but the eligibility's times can.
        Lookup::Unreadable(_) => return eligibility::in_time(eligibility, now).err(),
    };
    if let Binding::Present(found) = &snapshot.binding
        && found.annotations.get(api::names::NAMESPACE_UID) != Some(&namespace.uid)
    {
        return Some(Refusal::new(
            Reason::NamespaceTerminating,
            format!("namespace '{}' is not the one that was approved", request.namespace),
        ));
    }
    if let Err(refusal) = eligibility::eligible(requester, eligibility, &request.namespace, namespace, settings, now) {
        return Some(refusal);
    }
    let now_for = &eligibility.spec.role_ref;
    let covered = match (&request.record.role, &snapshot.binding) {
        (Some(role), _) => role == now_for,
        (None, Binding::Present(found)) => found.is_role(now_for.kind, &now_for.name),
        (None, Binding::Absent | Binding::Unread) => true,
    };
    if !covered {
        return Some(Refusal::new(
            Reason::RoleNotCovered,
            format!("eligibility '{name}' now refers to {} '{}'", now_for.kind, now_for.name),
        ));
    }
    match &snapshot.role {
        Lookup::Absent => return Some(Refusal::new(Reason::RoleRemoved, format!("the {} '{}' was removed", now_for.kind, now_for.name))),
        Lookup::Deleting(deletion) => {
            return Some(Refusal::new(Reason::RoleRemoved, format!("the {} '{}' {deletion}", now_for.kind, now_for.name)));
        }
        Lookup::Found(_) | Lookup::Unreadable(_) => {}
    }
    let policy = match &snapshot.policy {
        Lookup::Found(policy) => policy,
        Lookup::Absent => {
            return Some(Refusal::new(Reason::PolicyRemoved, format!("policy '{}' was removed", eligibility.spec.policy_ref.name)));
        }
        Lookup::Deleting(deletion) => {
            return Some(Refusal::new(Reason::PolicyRemoved, format!("policy '{}' {deletion}", eligibility.spec.policy_ref.name)));
        }
        Lookup::Unreadable(_) => return None,
    };
    // A start that was not recorded, or that is impossible, counts as the earliest possible one.
    let created = request.object.created;
    let start = request.record.granted_at.filter(|start| (created..deadline).contains(start)).unwrap_or(created);
    duration::still_allowed(deadline.duration_since(start), eligibility, policy).err().or_else(|| {
        let stored = match &snapshot.binding {
            Binding::Present(found) => found.began(),
            Binding::Absent | Binding::Unread => None,
        };
        let began = [stored, request.record.began].into_iter().flatten().chain([start]).min().unwrap_or(start);
        let term = Term { start, deadline, began };
        let refusal = start::total(&term, &policy.spec, &policy.name, settings).err()?;
        Some(Refusal::new(Reason::DurationNoLongerAllowed, refusal.message))
    })
}
