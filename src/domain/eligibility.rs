//! Whether an eligibility can be used as it is written, and whether it makes somebody eligible (api rule 1).

use chrono::{DateTime, Utc};

use super::{
    facts::{NamespaceFacts, Object, Settings},
    in_force, namespace,
    person::{self, Account},
    policy::{self, stamp},
    refusal::Refusal,
};
use crate::api::{
    Reason, RoleEligibilitySpec, Stamp, SubjectKind,
    eligibility::{RoleKind, RoleRef},
};

/// The refusal, if the eligibility cannot be used as it is written.
pub fn check(spec: &RoleEligibilitySpec, settings: &Settings) -> Result<(), Refusal> {
    in_force::eligibility(spec)?;
    if spec.subjects.is_empty() {
        return Err(Refusal::new(Reason::InvalidField, "spec.subjects is empty; name at least one person or group"));
    }
    for subject in &spec.subjects {
        let system = subject.name.as_str().starts_with("system:") && subject.kind != SubjectKind::ServiceAccount;
        if system {
            return Err(Refusal::new(
                Reason::SystemName,
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
    if let Some(name) = spec.namespaces.names.iter().find(|n| namespace::is_protected(n, settings)) {
        return Err(protected(name, settings));
    }
    policy::below_max_grant(spec.max_duration, "spec.maxDuration", settings)?;
    match spec.default_duration {
        Some(default) if default > spec.max_duration => Err(Refusal::new(
            Reason::InvalidField,
            format!("spec.defaultDuration {default} is longer than spec.maxDuration {}", spec.max_duration),
        )),
        _ => Ok(()),
    }
}

fn protected(name: &str, settings: &Settings) -> Refusal {
    let whose = if name == settings.operator_namespace { "the operator's own" } else { "the cluster's own" };
    Refusal::new(Reason::NamespaceProtected, format!("namespace '{name}' is {whose}: no role can be activated in it"))
}

/// The account, if it is eligible now.
pub fn eligible(
    requester: &Stamp,
    eligibility: &Object<RoleEligibilitySpec>,
    namespace_name: &str,
    namespace: &NamespaceFacts,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<Account, Refusal> {
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
        return Err(Refusal::new(
            Reason::NotASubject,
            format!(
                "'{}' is not among the subjects of eligibility '{name}', neither by name nor by a group; ask an admin, or see 'kubectl get roleeligibilities'",
                requester.username
            ),
        ));
    }
    if namespace::is_protected(namespace_name, settings) {
        return Err(protected(namespace_name, settings));
    }
    if !namespace::covers(spec, namespace_name, namespace) {
        return Err(Refusal::new(
            Reason::NamespaceNotCovered,
            format!("namespace '{namespace_name}' is not covered by eligibility '{name}', which is for {}", scope_in_words(spec)),
        ));
    }
    in_time(eligibility, now)?;
    Ok(account)
}

/// The refusal, if nobody can activate the eligibility now: suspended, not begun or over.
pub fn in_time(eligibility: &Object<RoleEligibilitySpec>, now: DateTime<Utc>) -> Result<(), Refusal> {
    let Object { name, spec, .. } = eligibility;
    if spec.suspended {
        return Err(Refusal::new(Reason::EligibilitySuspended, format!("eligibility '{name}' is suspended (spec.suspended)")));
    }
    if let Some(start) = spec.start_time.filter(|start| now < *start) {
        return Err(Refusal::new(
            Reason::EligibilityNotBegun,
            format!("eligibility '{name}' begins at {} (spec.startTime); it is {} now", stamp(start), stamp(now)),
        ));
    }
    if let Some(end) = spec.end_time.filter(|end| now >= *end) {
        return Err(Refusal::new(
            Reason::EligibilityOver,
            format!("eligibility '{name}' ended at {} (spec.endTime); it is {} now", stamp(end), stamp(now)),
        ));
    }
    Ok(())
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
