//! What the check of an author rested on, and whether it still stands for what is there now (T15, T16, T37).
//!
//! Admission asks about authors once, at each write of a spec. Two things can change afterwards without another check: a namespace can be
//! deleted and made anew for somebody else, and an eligibility and its policy can be written at the same time, each check unaware of the
//! other write. So what a check rested on is stamped on the object, and compared at every grant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    facts::{NamespaceFacts, Object},
    refusal::Refusal,
};
use api::{
    ApprovalPolicySpec, Reason, RoleEligibilitySpec,
    eligibility::{RoleKind, RoleRef},
};

/// What the check of the author of one spec rested on: the value of the annotation [`api::names::AUTHOR_CHECK`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorCheck {
    /// The `metadata.generation` of the spec. The check of another one says nothing about it.
    pub generation: i64,
    /// Of an eligibility: its policy as it was read for the check; none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SeenPolicy>,
    /// Of a policy: its author may change it whatever refers to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub administers: bool,
    /// The roles that the author may bind, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<CheckedRole>,
}

/// One spec of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenPolicy {
    /// UID of the policy.
    pub uid: String,
    /// The `metadata.generation` of its spec.
    pub generation: i64,
}

/// Where an author may bind one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedRole {
    /// `ClusterRole` or Role.
    pub kind: RoleKind,
    /// Name of the role.
    pub name: String,
    /// True: in the whole cluster, in whatever namespaces it comes to have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
    /// Otherwise the namespaces by name, each with the UID that it had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, String>,
}

/// How a check stands to one role in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// The author was allowed to bind it there.
    Checked,
    /// He was allowed to in another namespace of that name.
    AnotherNamespace,
    /// Nobody asked.
    Unchecked,
}

impl AuthorCheck {
    /// The check of a spec of this generation, from the annotation. What cannot be read checks nothing.
    #[must_use]
    pub fn read(annotation: &str, generation: i64) -> Self {
        serde_json::from_str(annotation).unwrap_or(Self { generation, ..Self::default() })
    }

    /// As the annotation says it.
    #[must_use]
    pub fn write(&self) -> String {
        // Plain strings and numbers always serialise; an empty text would check nothing.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// True where `other` lets its author do all that this one says.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let within = |role: &CheckedRole| {
            let Some(there) = other.roles.iter().find(|there| there.kind == role.kind && there.name == role.name) else { return false };
            there.everywhere || (!role.everywhere && role.namespaces.iter().all(|(name, uid)| there.namespaces.get(name) == Some(uid)))
        };
        other.administers || (!self.administers && self.roles.iter().all(within))
    }

    fn stands(&self, role: &RoleRef, namespace: &str, uid: &str) -> Stands {
        let Some(checked) = self.roles.iter().find(|checked| checked.kind == role.kind && checked.name == role.name) else {
            return Stands::Unchecked;
        };
        match checked.namespaces.get(namespace) {
            _ if checked.everywhere => Stands::Checked,
            Some(was) if was == uid => Stands::Checked,
            Some(_) => Stands::AnotherNamespace,
            None => Stands::Unchecked,
        }
    }
}

impl<S> Object<S> {
    /// What the check of the author of the present spec rested on; none where the spec was written before there was such a record.
    fn check(&self) -> Option<&AuthorCheck> {
        self.checked.as_deref().filter(|check| check.generation == self.generation)
    }

    /// True where the present spec bears no record of its author's check: then the check at its write is all there is.
    #[must_use]
    pub fn is_unrecorded(&self) -> bool {
        self.check().is_none()
    }
}

/// The refusal, unless the author of the eligibility was checked for this very namespace, and either its author for the present policy or
/// the policy's author for this role there.
///
/// Specs from before the record count as checked by their write, and a policy and an eligibility that both have none as checked for each other.
pub fn stands(
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
    namespace: &str,
    facts: &NamespaceFacts,
) -> Result<(), Refusal> {
    let role = &eligibility.spec.role_ref;
    let refuse = |why: String, which: &str| {
        let remedy = format!(
            "{which} must be written again, changed in any field, by somebody who may bind the {} '{}' in this namespace",
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
                format!("namespace '{namespace}' was deleted and made anew since the author of eligibility '{name}' was checked for it"),
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
    let at_once =
        || format!("policy '{}' and eligibility '{name}' were written at the same time, neither author checked for the other", policy.name);
    match policy.check() {
        Some(check) if check.administers => Ok(()),
        Some(check) => match check.stands(role, namespace, &facts.uid) {
            Stands::Checked => Ok(()),
            Stands::AnotherNamespace => refuse(
                format!(
                    "namespace '{namespace}' was deleted and made anew since the author of policy '{}' was checked for it",
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
