//! Whether an eligibility is valid as written, and whether it makes a requester eligible (api rule 1).

use jiff::Timestamp;

use super::{
    facts::{Deletion, NamespaceFacts, Object},
    instant::stamp,
    namespace,
    person::{self, Account},
    policy,
    refusal::Refusal,
    settings::Settings,
};
use api::{
    Reason, RoleEligibilitySpec, Stamp, SubjectKind,
    eligibility::{RoleKind, RoleRef},
};

/// Refuses an eligibility that is not valid as written.
pub fn check(spec: &RoleEligibilitySpec, settings: &Settings) -> Result<(), Refusal> {
    if spec.subjects.is_empty() {
        return Err(Refusal::new(Reason::InvalidField, "spec.subjects is empty; list at least one user or group"));
    }
    for subject in &spec.subjects {
        let system = subject.name.as_str().starts_with("system:") && subject.kind != SubjectKind::ServiceAccount;
        if system {
            return Err(Refusal::new(
                Reason::SystemNameNotAllowed,
                format!(
                    "spec.subjects lists '{}', which is reserved for Kubernetes; list users, your own groups, or set kind: ServiceAccount",
                    subject.name
                ),
            ));
        }
        if subject.kind == SubjectKind::ServiceAccount && !spec.allow_service_accounts {
            return Err(Refusal::new(
                Reason::ServiceAccountNotAllowed,
                format!("spec.subjects lists the ServiceAccount '{}'; this requires spec.allowServiceAccounts: true", subject.name),
            ));
        }
    }
    spec.namespaces.names.iter().try_for_each(|name| namespace::protected(spec, name, settings))?;
    policy::below_max_grant(spec.max_duration, "spec.maxDuration", settings)?;
    match spec.default_duration {
        Some(default) if default > spec.max_duration => Err(Refusal::new(
            Reason::InvalidField,
            format!("spec.defaultDuration {default} is longer than spec.maxDuration {}", spec.max_duration),
        )),
        _ => Ok(()),
    }
}

/// The refusal where no eligibility of this name exists. `remedy` is how to find the existing ones.
#[must_use]
pub fn not_found(name: &str, remedy: &str) -> Refusal {
    Refusal::new(Reason::EligibilityNotFound, format!("there is no eligibility '{name}'; {remedy}"))
}

/// The refusal where the eligibility of this name is being deleted.
#[must_use]
pub fn deleting(name: &str, deletion: &Deletion) -> Refusal {
    Refusal::new(Reason::EligibilityNotFound, format!("eligibility '{name}' {deletion}; 'kubectl get roleeligibilities' lists the others"))
}

/// The refusal of an active or scheduled grant whose eligibility is being deleted.
#[must_use]
pub fn removal(name: &str, deletion: &Deletion) -> Refusal {
    Refusal::new(Reason::EligibilityRemoved, format!("eligibility '{name}' {deletion}"))
}

/// The refusal of an active or scheduled grant whose eligibility no longer exists.
#[must_use]
pub fn removed(name: &str) -> Refusal {
    Refusal::new(Reason::EligibilityRemoved, format!("eligibility '{name}' was removed"))
}

/// Returns the account if it is eligible at `at`: now, or at a start in the future.
pub fn eligible(
    requester: &Stamp,
    eligibility: &Object<RoleEligibilitySpec>,
    namespace_name: &str,
    namespace: &NamespaceFacts,
    settings: &Settings,
    at: Timestamp,
) -> Result<Account, Refusal> {
    let account = subject(requester, eligibility)?;
    namespace::protected(&eligibility.spec, namespace_name, settings)?;
    if !namespace::covers(&eligibility.spec, namespace_name, namespace) {
        return Err(not_covered(eligibility, namespace_name));
    }
    in_time(eligibility, at)?;
    Ok(account)
}

/// Returns the account if it is one of the subjects.
pub fn subject(requester: &Stamp, eligibility: &Object<RoleEligibilitySpec>) -> Result<Account, Refusal> {
    let account = person::account(requester)?;
    let Object { name, spec, .. } = eligibility;
    if let Account::ServiceAccount { .. } = account
        && !spec.allow_service_accounts
    {
        return Err(Refusal::new(
            Reason::ServiceAccountNotAllowed,
            format!(
                "'{}' is a ServiceAccount, and eligibility '{name}' does not allow ServiceAccounts (spec.allowServiceAccounts)",
                requester.username
            ),
        ));
    }
    if !person::is_subject(requester, &account, &spec.subjects) {
        let of = |kind| spec.subjects.iter().filter(move |subject| subject.kind == kind).map(|subject| &subject.name);
        let hints = person::why_not_listed(requester, of(SubjectKind::User), of(SubjectKind::Group));
        return Err(Refusal::new(
            Reason::NotEligible,
            format!(
                "'{}' is not among the subjects of eligibility '{name}', neither by name nor by a group{hints}; ask an admin, or see 'kubectl get roleeligibilities'",
                requester.username
            ),
        ));
    }
    Ok(account)
}

/// The refusal of a namespace that an eligibility does not cover.
#[must_use]
pub fn not_covered(eligibility: &Object<RoleEligibilitySpec>, namespace: &str) -> Refusal {
    let Object { name, spec, .. } = eligibility;
    Refusal::new(
        Reason::NamespaceNotCovered,
        format!("namespace '{namespace}' is not covered by eligibility '{name}', which is for {}", describe_scope(spec)),
    )
}

/// Refuses if the eligibility cannot be activated at `at`: suspended, not yet started, or expired.
pub fn in_time(eligibility: &Object<RoleEligibilitySpec>, at: Timestamp) -> Result<(), Refusal> {
    let Object { name, spec, .. } = eligibility;
    if spec.suspended {
        return Err(Refusal::new(Reason::EligibilitySuspended, format!("eligibility '{name}' is suspended (spec.suspended)")));
    }
    if let Some(start) = spec.start_time.filter(|start| at < *start) {
        return Err(Refusal::new(
            Reason::EligibilityNotStarted,
            format!("eligibility '{name}' has not started at {}: it starts at {} (spec.startTime)", stamp(at), stamp(start)),
        ));
    }
    if let Some(end) = spec.end_time.filter(|end| at >= *end) {
        return Err(Refusal::new(
            Reason::EligibilityExpired,
            format!("eligibility '{name}' is not valid at {}: it ends at {} (spec.endTime)", stamp(at), stamp(end)),
        ));
    }
    Ok(())
}

/// The status of an eligibility, independent of requester and namespace.
#[derive(Debug)]
pub struct Standing {
    /// Whether it is valid as written. A withdrawn eligibility is never invalid.
    pub ready: Result<(), Refusal>,
    /// Whether it can be activated now.
    pub usable: Result<(), Refusal>,
    /// Its progress.
    pub progress: Progress,
}

/// The progress of an object, in the terms of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is pending: "current".
    Settled,
    /// Another object is missing that may still be applied: "in progress".
    Waits,
    /// It cannot work as written: "failed".
    Stalled,
}

/// Returns the status of an eligibility at `now`. `checked` is whether it can be used, apart from its times and its suspension.
///
/// A suspended or expired eligibility is settled whatever `checked` is. Otherwise a health check of a deployment tool would wait for it or
/// report it as failed, and the tool would undo the withdrawal.
#[must_use]
pub fn standing(eligibility: &Object<RoleEligibilitySpec>, checked: Result<(), Refusal>, now: Timestamp) -> Standing {
    let in_time = in_time(eligibility, now);
    match (in_time, checked) {
        (Err(withdrawn), checked) if withdrawn.reason != Reason::EligibilityNotStarted => {
            let besides = checked.err().map(|refusal| format!("; also, {refusal}")).unwrap_or_default();
            let usable = Err(Refusal::new(withdrawn.reason, format!("{}{besides}", withdrawn.message)));
            Standing { ready: Ok(()), usable, progress: Progress::Settled }
        }
        (usable, Ok(())) => Standing { ready: Ok(()), usable, progress: Progress::Settled },
        (_, Err(refusal)) => {
            // Policy, role and eligibility are applied in any order, so an object that another one can still complete is in progress.
            let others = [Reason::PolicyNotFound, Reason::PolicyNotReady, Reason::RoleNotFound, Reason::Unreadable];
            let progress = if others.contains(&refusal.reason) { Progress::Waits } else { Progress::Stalled };
            Standing { ready: Err(refusal.clone()), usable: Err(refusal), progress }
        }
    }
}

/// The refusal of a role that the operator may not bind (T25).
#[must_use]
pub fn not_bindable(role: &RoleRef) -> Refusal {
    let list = match role.kind {
        RoleKind::ClusterRole => "bindableRoles.clusterRoles",
        RoleKind::Role => "bindableRoles.roles",
    };
    Refusal::new(
        Reason::RoleNotBindable,
        format!(
            "{} '{}' is not in the chart's value {list}, so the operator may not grant it; add it there, or use a role that is listed",
            role.kind, role.name
        ),
    )
}

/// Describes the scope of an eligibility.
fn describe_scope(spec: &RoleEligibilitySpec) -> String {
    let names = &spec.namespaces.names;
    let selector = spec.namespaces.selector.as_ref().map(|selector| format!("namespaces with {}", namespace::describe(selector)));
    let more = names.len().saturating_sub(8);
    let listed = (!names.is_empty()).then(|| {
        let shown = names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    });
    [listed, selector].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}
