//! What the check of an author rested on, and whether it still applies to the present objects (T15, T16, T37).
//!
//! Admission checks authors once, at each write of a spec. Two things can change afterwards without another check. A namespace can be
//! deleted and created again for another owner. An eligibility and its policy can be written at the same time, each check unaware of the
//! other write. So the basis of a check is stamped on the object and compared at every grant.

use super::{
    author_check::{AuthorCheck, Stands},
    facts::{NamespaceFacts, Object},
    refusal::Refusal,
};
use api::{ApprovalPolicySpec, Reason, RoleEligibilitySpec};

impl<S> Object<S> {
    /// Returns the author check of the present spec. `None` if the spec was written before the record existed.
    fn check(&self) -> Option<&AuthorCheck> {
        self.checked.as_deref().filter(|check| check.generation == self.generation)
    }

    /// Returns true if the present spec has no record of its author's check. The check at its write is then the only one.
    #[must_use]
    pub fn is_unrecorded(&self) -> bool {
        self.check().is_none()
    }
}

/// Refuses unless the eligibility's author was checked for this namespace UID. In addition, either that author must have been checked with
/// the present policy, or the policy's author for this role there.
///
/// A spec from before the record counts as checked at its write. A policy and an eligibility that both lack the record count as checked for
/// each other.
pub fn stands(
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
    namespace: &str,
    facts: &NamespaceFacts,
) -> Result<(), Refusal> {
    let role = &eligibility.spec.role_ref;
    let refuse = |why: String, which: &str| {
        let remedy = format!(
            "{which} must be written again, with a change in any field, by a user who may bind the {} '{}' in this namespace",
            role.kind, role.name
        );
        Err(Refusal::new(Reason::AuthorLacksBind, format!("{why}; {remedy}")))
    };
    let name = &eligibility.name;
    let own = eligibility.check();
    match own.map(|check| check.stands(role, namespace, &facts.uid)) {
        None | Some(Stands::Checked) => {}
        Some(Stands::AnotherNamespace) => {
            return refuse(
                format!("namespace '{namespace}' was deleted and recreated after the author of eligibility '{name}' was checked for it"),
                "the eligibility's spec",
            );
        }
        Some(Stands::Unchecked) => {
            return refuse(
                format!("namespace '{namespace}' did not exist when the author of eligibility '{name}' was checked"),
                "the eligibility's spec",
            );
        }
    }
    let seen = own.and_then(|check| check.policy.as_ref());
    if seen.is_some_and(|seen| seen.uid == policy.uid && seen.generation == policy.generation) {
        return Ok(());
    }
    let at_once = || {
        format!(
            "policy '{}' and eligibility '{name}' were written at the same time, so neither author was checked for the other",
            policy.name
        )
    };
    match policy.check() {
        Some(check) if check.administers => Ok(()),
        Some(check) => match check.stands(role, namespace, &facts.uid) {
            Stands::Checked => Ok(()),
            Stands::AnotherNamespace => refuse(
                format!(
                    "namespace '{namespace}' was deleted and recreated after the author of policy '{}' was checked for it",
                    policy.name
                ),
                "the policy's spec",
            ),
            Stands::Unchecked => refuse(at_once(), "the spec of either"),
        },
        None if own.is_none() => Ok(()),
        None => refuse(at_once(), "the spec of either"),
    }
}
