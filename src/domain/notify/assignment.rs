//! Active assignments: `RoleBindings` that give an eligible role without jit-rbac.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::RoleBinding;

use super::occasion::Occasion;
use crate::activity::{self, Event, Kind, Subject, Topic};
use api::{RoleEligibility, SubjectKind, conditions, names, text::printable};

/// What is kept of a RoleBinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The binding.
    pub subject: Subject,
    /// When it was created.
    pub created: Timestamp,
    /// Kind and name of its role.
    pub role: (String, String),
    /// Users and groups, as far as their names can be shown.
    pub subjects: Vec<api::Subject>,
}

impl Assignment {
    /// Reads a binding. None for one of jit-rbac, for an incomplete one, and for one that names neither users nor groups.
    #[must_use]
    pub fn of(binding: &RoleBinding) -> Option<Self> {
        let meta = &binding.metadata;
        let (name, uid) = (meta.name.clone()?, meta.uid.clone()?);
        if names::request_uid_of(&name).is_some() {
            return None;
        }
        let subject = |subject: &k8s_openapi::api::rbac::v1::Subject| {
            let kind = match subject.kind.as_str() {
                "User" => SubjectKind::User,
                "Group" => SubjectKind::Group,
                _ => return None,
            };
            Some(api::Subject { kind, name: printable(&subject.name).try_into().ok()?, namespace: None, uid: None })
        };
        let subjects: Vec<_> = binding.subjects.iter().flatten().filter_map(subject).collect();
        let created = conditions::from_time(meta.creation_timestamp.as_ref()?);
        let subject = Subject { kind: "RoleBinding", namespace: meta.namespace.clone(), name, uid };
        let role = (binding.role_ref.kind.clone(), binding.role_ref.name.clone());
        (!subjects.is_empty()).then_some(Self { subject, created, role, subjects })
    }

    /// True if the eligibility is for the role of the binding. Whether it covers the namespace is another question.
    #[must_use]
    pub fn is_eligible(&self, eligibility: &RoleEligibility) -> bool {
        let role = &eligibility.spec.role_ref;
        role.kind.as_str() == self.role.0 && role.name == self.role.1
    }

    /// Returns the event. It follows from the binding alone, so it stays the same after a restart.
    #[must_use]
    pub fn occasion(&self) -> Occasion {
        let names: Vec<String> = self.subjects.iter().map(|subject| format!("'{}'", subject.name)).collect();
        let (kind, name) = &self.role;
        let message = format!("{} {} got {kind} '{}' without an activation", "subjects", names.join(", "), printable(name));
        let event = Event {
            id: activity::id(&self.subject.uid, Kind::Created.as_str(), self.created, 1),
            kind: Kind::Created,
            topic: Topic::ActiveAssignment,
            subject: self.subject.clone(),
            at: self.created,
            // The API server does not record who created a binding.
            actor: String::new(),
            message: message.replacen("subjects ", "", 1),
        };
        Occasion { event, reminder: None, subjects: Some(self.subjects.clone()) }
    }
}
