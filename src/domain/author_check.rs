//! The record of an author's check, as the object's annotation stores it. [`super::checked`] describes its use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use api::eligibility::{RoleKind, RoleRef};

/// What the check of one spec's author rested on: the value of the annotation [`api::names::AUTHOR_CHECK`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorCheck {
    /// The `metadata.generation` of the spec. The check does not apply to another generation.
    pub generation: i64,
    /// For an eligibility: its policy as read for the check; none if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SeenPolicy>,
    /// For a policy: true if its author may change it whatever refers to it.
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
    /// True: in the whole cluster, including namespaces that are created later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
    /// Otherwise the namespaces by name, each with its UID at the time of the check.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, String>,
}

/// The result of a check for one role in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// The author was allowed to bind the role there.
    Checked,
    /// The author was allowed to bind the role in an earlier namespace of that name.
    AnotherNamespace,
    /// There was no check.
    Unchecked,
}

impl AuthorCheck {
    /// Returns the check of a spec of this generation, from the annotation. An annotation that cannot be read counts as no check.
    #[must_use]
    pub fn read(annotation: &str, generation: i64) -> Self {
        serde_json::from_str(annotation).unwrap_or(Self { generation, ..Self::default() })
    }

    /// Returns the value of the annotation.
    #[must_use]
    pub fn write(&self) -> String {
        // Plain strings and numbers always serialize. An empty text would count as no check.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns true if `other` allows its author all that this check does.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let within = |role: &CheckedRole| {
            let Some(there) = other.roles.iter().find(|there| there.kind == role.kind && there.name == role.name) else { return false };
            there.everywhere || (!role.everywhere && role.namespaces.iter().all(|(name, uid)| there.namespaces.get(name) == Some(uid)))
        };
        other.administers || (!self.administers && self.roles.iter().all(within))
    }

    /// Returns the result of the check for a role in the namespace of this name and UID.
    pub(super) fn stands(&self, role: &RoleRef, namespace: &str, uid: &str) -> Stands {
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
