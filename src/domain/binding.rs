//! The binding that implements a grant, and whether a stored binding is that one (api rule 8).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    facts::{Record, RequestFacts},
    instant::{self, stamp},
    person::Account,
    refusal::Refusal,
};
use api::{
    Reason, Stamp,
    eligibility::{RoleKind, RoleRef},
    names,
};

/// Everything that a grant's binding contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Name of the binding, derived from the request's UID.
    pub name: String,
    /// Namespace of the binding and the request.
    pub namespace: String,
    /// UID of that namespace.
    pub namespace_uid: String,
    /// Name of the request.
    pub request: String,
    /// UID of the request, the binding's owner.
    pub request_uid: String,
    /// Start of the grant.
    pub start: Timestamp,
    /// Start of the first activation of its extension chain.
    pub began: Timestamp,
    /// Time at which the binding must be removed.
    pub deadline: Timestamp,
    /// The one subject: the stamped requester.
    pub subject: BindingSubject,
    /// The role.
    pub role: RoleRef,
    /// Digest of what was approved.
    pub digest: String,
    /// User name of the requester.
    pub requester: String,
    /// The requester's reason.
    pub justification: String,
}

/// A subject of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingSubject {
    /// User, Group or `ServiceAccount`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace of a `ServiceAccount`.
    pub namespace: Option<String>,
}

impl BindingSubject {
    /// Returns the subject for a requester: the user or `ServiceAccount`, never a group (T11).
    #[must_use]
    pub fn of(requester: &Stamp, account: &Account) -> Self {
        match account {
            Account::User => Self { kind: "User".to_owned(), name: requester.username.to_string(), namespace: None },
            Account::ServiceAccount { namespace, name } => {
                Self { kind: "ServiceAccount".to_owned(), name: name.clone(), namespace: Some(namespace.clone()) }
            }
        }
    }
}

impl Grant {
    /// Returns the annotations of the binding, which the creating call sets.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        [
            (names::EXPIRES_AT, stamp(self.deadline)),
            (names::STARTED_AT, stamp(self.began)),
            (names::REQUEST, self.request.clone()),
            (names::NAMESPACE_UID, self.namespace_uid.clone()),
            (names::DIGEST, self.digest.clone()),
            (names::REQUESTER, self.requester.clone()),
            (names::JUSTIFICATION, self.justification.clone()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// The state of the binding with the request's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Not read. The creation of the binding reports whether there is one.
    Unread,
    /// The API server reports that there is none.
    Absent,
    /// There is a binding.
    Present(BindingFacts),
}

/// A stored binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingFacts {
    /// UID.
    pub uid: String,
    /// True if it has the label of a managed binding.
    pub managed: bool,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its subjects.
    pub subjects: Vec<BindingSubject>,
    /// Kind of its role.
    pub role_kind: String,
    /// Name of its role.
    pub role_name: String,
}

impl BindingFacts {
    /// Returns its deadline, if the annotation can be parsed.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        deadline_of(&self.annotations)
    }

    /// Returns the start of the first activation of its extension chain, if the annotation can be parsed.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        instant::parse(self.annotations.get(names::STARTED_AT)?)
    }

    pub(super) fn is_role(&self, kind: RoleKind, name: &str) -> bool {
        self.role_kind == kind.as_str() && self.role_name == name
    }

    /// Returns the first difference from `grant`. A binding that differs is never adopted (T32).
    #[must_use]
    pub fn difference(&self, grant: &Grant) -> Option<String> {
        let expected = grant.annotations();
        let key = expected.iter().find(|(key, value)| self.annotations.get(*key) != Some(*value)).map(|(key, _)| key);
        if !self.managed {
            Some(format!("the label {} is missing", names::MANAGED_LABEL))
        } else if self.subjects != [grant.subject.clone()] {
            Some("its subjects differ".to_owned())
        } else if !self.is_role(grant.role.kind, &grant.role.name) {
            Some("its roleRef differs".to_owned())
        } else {
            key.map(|key| format!("its annotation {key} differs"))
        }
    }

    /// Returns what was changed since the binding was recorded. Foreign labels and annotations are ignored (api rule 10).
    #[must_use]
    pub fn altered(&self, request: &RequestFacts, requester: &Stamp, account: &Account, record: &Record) -> Option<String> {
        let annotation = |key: &str| self.annotations.get(key).map(String::as_str);
        let expires = record.expires_at.map(stamp);
        let justification = request.object.spec.justification.as_ref().map_or("", |line| line.as_str());
        let checks = [
            (names::EXPIRES_AT, expires.as_deref()),
            (names::REQUEST, Some(request.object.name.as_str())),
            (names::DIGEST, record.digest.as_deref()),
            (names::REQUESTER, Some(requester.username.as_str())),
            (names::JUSTIFICATION, Some(justification)),
        ];
        if !self.managed {
            return Some(format!("its label {} was removed", names::MANAGED_LABEL));
        }
        if self.subjects != [BindingSubject::of(requester, account)] {
            return Some("its subjects were changed".to_owned());
        }
        if record.role.as_ref().is_some_and(|role| !self.is_role(role.kind, &role.name)) {
            return Some("its roleRef was changed".to_owned());
        }
        if record.binding.as_ref().is_some_and(|binding| binding.uid != self.uid) {
            return Some("it was replaced by another of the same name".to_owned());
        }
        let began = record.began.or(record.granted_at);
        let start_moved = began.is_some_and(|began| self.began() != Some(began)).then_some(names::STARTED_AT);
        let changed = checks.iter().find(|(key, value)| annotation(key) != *value).map(|(key, _)| *key).or(start_moved);
        changed.map(|key| format!("its annotation {key} was changed"))
    }
}

/// The final refusal of the binding by the API server: a retry does not change it.
#[must_use]
pub fn refused(why: &str) -> Refusal {
    Refusal::new(Reason::BindingRefused, format!("the API server rejected the RoleBinding: {why}"))
}

/// The refusal of a binding that could not be created yet. The grant would last until `deadline`.
#[must_use]
pub fn not_now(why: &str, deadline: Timestamp) -> Refusal {
    Refusal::new(Reason::BindingRefused, format!("the RoleBinding could not be created yet: {why}; retrying until {}", stamp(deadline)))
}

/// Returns the deadline from the annotations of a managed binding.
#[must_use]
pub fn deadline_of(annotations: &BTreeMap<String, String>) -> Option<Timestamp> {
    instant::parse(annotations.get(names::EXPIRES_AT)?)
}
