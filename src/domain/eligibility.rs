//! Whether an eligibility can be used as it is written, and whether it makes somebody eligible (api rule 1).

use chrono::{DateTime, Utc};

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

/// The refusal, if the eligibility cannot be used as it is written.
pub fn check(spec: &RoleEligibilitySpec, settings: &Settings) -> Result<(), Refusal> {
    if spec.subjects.is_empty() {
        return Err(Refusal::new(Reason::InvalidField, "spec.subjects is empty; name at least one person or group"));
    }
    for subject in &spec.subjects {
        let system = subject.name.as_str().starts_with("system:") && subject.kind != SubjectKind::ServiceAccount;
        if system {
            return Err(Refusal::new(
                Reason::SystemNameNotAllowed,
                format!(
                    "spec.subjects names '{}', which belongs to Kubernetes itself; name people, your own groups, or write kind: ServiceAccount",
                    subject.name
                ),
            ));
        }
        if subject.kind == SubjectKind::ServiceAccount && !spec.allow_service_accounts {
            return Err(Refusal::new(
                Reason::ServiceAccountNotAllowed,
                format!("spec.subjects names the ServiceAccount '{}'; that needs spec.allowServiceAccounts: true", subject.name),
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

/// There is none of this name to ask for.
#[must_use]
pub fn not_found(name: &str) -> Refusal {
    Refusal::new(Reason::EligibilityNotFound, format!("there is no eligibility '{name}'; 'kubectl get roleeligibilities' lists them"))
}

/// The one of this name is being deleted.
#[must_use]
pub fn deleting(name: &str, deletion: &Deletion) -> Refusal {
    Refusal::new(Reason::EligibilityNotFound, format!("eligibility '{name}' {deletion}; 'kubectl get roleeligibilities' lists the others"))
}

/// What was granted, or granted for later, rests on one that is being deleted.
#[must_use]
pub fn removal(name: &str, deletion: &Deletion) -> Refusal {
    Refusal::new(Reason::EligibilityRemoved, format!("eligibility '{name}' {deletion}"))
}

/// What was granted, or granted for later, rests on one that is there no more.
#[must_use]
pub fn removed(name: &str) -> Refusal {
    Refusal::new(Reason::EligibilityRemoved, format!("eligibility '{name}' was removed"))
}

/// The account, if it is eligible at `at`: now, or at a start that lies ahead.
pub fn eligible(
    requester: &Stamp,
    eligibility: &Object<RoleEligibilitySpec>,
    namespace_name: &str,
    namespace: &NamespaceFacts,
    settings: &Settings,
    at: DateTime<Utc>,
) -> Result<Account, Refusal> {
    let account = subject(requester, eligibility)?;
    namespace::protected(&eligibility.spec, namespace_name, settings)?;
    if !namespace::covers(&eligibility.spec, namespace_name, namespace) {
        return Err(not_covered(eligibility, namespace_name));
    }
    in_time(eligibility, at)?;
    Ok(account)
}

/// The account, if it is one of the subjects.
pub fn subject(requester: &Stamp, eligibility: &Object<RoleEligibilitySpec>) -> Result<Account, Refusal> {
    let account = person::account(requester)?;
    let Object { name, spec, .. } = eligibility;
    if let Account::ServiceAccount { .. } = account
        && !spec.allow_service_accounts
    {
        return Err(Refusal::new(
            Reason::ServiceAccountNotAllowed,
            format!(
                "'{}' is a ServiceAccount, and eligibility '{name}' is for people only (spec.allowServiceAccounts)",
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
        format!("namespace '{namespace}' is not covered by eligibility '{name}', which is for {}", scope_in_words(spec)),
    )
}

/// The refusal, if nobody can activate the eligibility at `at`: suspended, not begun or over.
pub fn in_time(eligibility: &Object<RoleEligibilitySpec>, at: DateTime<Utc>) -> Result<(), Refusal> {
    let Object { name, spec, .. } = eligibility;
    if spec.suspended {
        return Err(Refusal::new(Reason::EligibilitySuspended, format!("eligibility '{name}' is suspended (spec.suspended)")));
    }
    if let Some(start) = spec.start_time.filter(|start| at < *start) {
        return Err(Refusal::new(
            Reason::EligibilityNotStarted,
            format!("eligibility '{name}' has not begun at {}: it begins at {} (spec.startTime)", stamp(at), stamp(start)),
        ));
    }
    if let Some(end) = spec.end_time.filter(|end| at >= *end) {
        return Err(Refusal::new(
            Reason::EligibilityExpired,
            format!("eligibility '{name}' is over at {}: it ends at {} (spec.endTime)", stamp(at), stamp(end)),
        ));
    }
    Ok(())
}

/// Where an eligibility stands, whoever asks and in whichever namespace.
#[derive(Debug)]
pub struct Standing {
    /// Whether it is valid as it is written. One that was withdrawn asks for nothing, so nothing is wrong with it.
    pub ready: Result<(), Refusal>,
    /// Whether it can be activated now.
    pub usable: Result<(), Refusal>,
    /// What is left to do for it.
    pub progress: Progress,
}

/// What is left to do for an object, in the terms of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: "current".
    Settled,
    /// It waits for another object, which may still be applied: "in progress".
    Waits,
    /// It cannot work as it is written: "failed".
    Stalled,
}

/// Where an eligibility stands at `now`. `checked` is whether it can be used, its times and its suspension aside.
///
/// An eligibility that is suspended or over is settled whatever `checked` says: a health check that waited for it, or called it failed,
/// would make a deployment tool take the withdrawal back.
#[must_use]
pub fn standing(eligibility: &Object<RoleEligibilitySpec>, checked: Result<(), Refusal>, now: DateTime<Utc>) -> Standing {
    let in_time = in_time(eligibility, now);
    match (in_time, checked) {
        (Err(withdrawn), checked) if withdrawn.reason != Reason::EligibilityNotStarted => {
            let besides = checked.err().map(|refusal| format!("; besides, {refusal}")).unwrap_or_default();
            let usable = Err(Refusal::new(withdrawn.reason, format!("{}{besides}", withdrawn.message)));
            Standing { ready: Ok(()), usable, progress: Progress::Settled }
        }
        (usable, Ok(())) => Standing { ready: Ok(()), usable, progress: Progress::Settled },
        (_, Err(refusal)) => {
            // Policy, role and eligibility are applied in any order: what another object can still bring is waited for.
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
            "{} '{}' is not in the chart's value {list}, so the operator may not grant it; add it there, or choose a role that is listed",
            role.kind, role.name
        ),
    )
}

/// Where an eligibility holds, in words.
fn scope_in_words(spec: &RoleEligibilitySpec) -> String {
    let names = &spec.namespaces.names;
    let selector = spec.namespaces.selector.as_ref().map(|selector| format!("namespaces with {}", namespace::in_words(selector)));
    let more = names.len().saturating_sub(8);
    let listed = (!names.is_empty()).then(|| {
        let shown = names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    });
    [listed, selector].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}
