//! The input of the rules: plain values, read earlier and independent of their source.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{author_check::AuthorCheck, refusal::Refusal, role::Rules};
use api::{
    ActivationDecisionSpec, Line, Reason, RoleActivationRequestSpec, State, Verb,
    eligibility::{RoleKind, RoleRef},
    policy::OwedReview,
    request::{BindingRef, ReviewStatus},
    text::printable,
};

/// The result of looking an object up. An error during the read is none of these: the caller stops and retries, so that nothing is granted
/// or revoked because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It exists.
    Found(T),
    /// The API server reports that there is none.
    Absent,
    /// It is being deleted, which counts as removed: any client can delay the removal with a finalizer (T28).
    Deleting(Deletion),
    /// It exists and cannot be parsed, for this reason.
    Unreadable(String),
}

impl<T> Lookup<T> {
    /// Returns the object, if it exists.
    pub const fn found(&self) -> Option<&T> {
        match self {
            Self::Found(object) => Some(object),
            Self::Absent | Self::Deleting(_) | Self::Unreadable(_) => None,
        }
    }
}

/// A requested deletion of an object that is still stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The first finalizers that keep the object stored.
    finalizers: Vec<String>,
    /// How many further finalizers there are.
    more: usize,
}

impl Deletion {
    /// Maximum number of finalizers that are named.
    const MAX_NAMED: usize = 4;

    /// The deletion of an object with these finalizers.
    #[must_use]
    pub fn held_by(finalizers: &[String]) -> Self {
        let named: Vec<_> = finalizers.iter().take(Self::MAX_NAMED).map(|name| printable(name)).collect();
        Self { more: finalizers.len() - named.len(), finalizers: named }
    }
}

impl std::fmt::Display for Deletion {
    /// Writes the predicate of a sentence whose subject is the object.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named: Vec<_> = self.finalizers.iter().map(|name| format!("'{name}'")).collect();
        match (named.as_slice(), self.more) {
            ([], _) => f.write_str("is being deleted, which counts as removed"),
            (named, 0) => write!(f, "is being deleted, which counts as removed; held by metadata.finalizers {}", named.join(", ")),
            (named, more) => {
                write!(f, "is being deleted, which counts as removed; held by metadata.finalizers {} and {more} more", named.join(", "))
            }
        }
    }
}

/// A stored object: its spec and the metadata that the rules read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<S> {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Creation time, by the API server's clock.
    pub created: Timestamp,
    /// True once its deletion was requested.
    pub deleting: bool,
    /// The `metadata.generation`: the API server's count of the changes of its spec.
    pub generation: i64,
    /// For an eligibility or a policy: what the check of its author rested on, as far as that is recorded.
    pub checked: Option<Arc<AuthorCheck>>,
    /// For a policy: the owed reviews that its status lists.
    pub owed: Option<Arc<Owed>>,
    /// Its spec.
    pub spec: S,
}

/// The reviews that are owed under one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// The reviews that the status lists.
    pub reviews: Vec<OwedReview>,
    /// The annotation by which an admin settles the reviews whose requests no longer exist.
    pub settled: Option<String>,
}

/// A review that is owed under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// Name of the policy.
    pub policy: String,
    /// The entry of the policy's status.
    pub review: OwedReview,
}

/// The request that is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// Its namespace, the only one that it can be for (T21).
    pub namespace: String,
    /// The stored object.
    pub object: Object<RoleActivationRequestSpec>,
    /// Its status. No value in it can widen access.
    pub record: Record,
}

impl RequestFacts {
    /// Returns true for a decision that names exactly this request, by name and UID (T3).
    #[must_use]
    pub fn is_named_by(&self, decision: &Object<ActivationDecisionSpec>) -> bool {
        let named = &decision.spec.request_ref;
        named.name == self.object.name && named.uid.as_deref() == Some(self.object.uid.as_str())
    }
}

/// The status of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Last reported state.
    pub state: Option<State>,
    /// Reported start of its own term: for an extension, the end of what it extends.
    pub granted_at: Option<Timestamp>,
    /// Reported start of the chain, if it extends another activation.
    pub began: Option<Timestamp>,
    /// Reported deadline.
    pub expires_at: Option<Timestamp>,
    /// Reported digest.
    pub digest: Option<String>,
    /// Reported binding.
    pub binding: Option<BindingRef>,
    /// Reported role.
    pub role: Option<RoleRef>,
    /// Reported reason.
    pub reason: Option<Reason>,
    /// Reported hash of the role's rules.
    pub rules_hash: Option<String>,
    /// Hash over what those rules allow. Records of older versions have none.
    pub access_hash: Option<String>,
    /// Reported end.
    pub ended_at: Option<Timestamp>,
    /// Reported review.
    pub review: Option<ReviewStatus>,
    /// User names of the approvers whose approvals were reported to count.
    pub approvers: Vec<Line<256>>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// UID.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// True if it has more labels than are read. Then no selector selects it.
    pub labels_too_long: bool,
    /// True once it is being deleted.
    pub terminating: bool,
}

/// A role, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// `ClusterRole` or Role.
    pub kind: RoleKind,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Its rules.
    pub rules: Arc<Rules>,
}

/// A stored decision on the request that cannot be parsed, for example after a schema change. It counts against the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// Its verb, if that can be parsed.
    pub decision: Option<Verb>,
    /// Why it cannot be read.
    pub why: String,
}

impl Unreadable {
    /// Returns true unless it certainly removes no access.
    #[must_use]
    pub fn may_end(&self) -> bool {
        !matches!(self.decision, Some(Verb::Approve | Verb::Review))
    }
}

/// The decisions on a request that were not or could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The first decisions that cannot be parsed.
    pub unreadable: Vec<Unreadable>,
    /// True if there are more decisions than are read.
    pub more: bool,
}

impl Unread {
    /// Returns why unread decisions prevent a grant. `None` if all were read.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let first = self.unreadable.first().map(|first| (first.name.as_str(), first.why.as_str()));
        self.because(first)
    }

    /// Returns why unread decisions end an active grant: one of them may be a Deny, a Revoke or a Deactivate.
    #[must_use]
    pub fn ends(&self) -> Option<Refusal> {
        let first = self.unreadable.iter().find(|unreadable| unreadable.may_end());
        self.because(first.map(|first| (first.name.as_str(), first.why.as_str())))
    }

    fn because(&self, unreadable: Option<(&str, &str)>) -> Option<Refusal> {
        let message = match unreadable {
            Some((name, why)) => format!(
                "decision '{name}' on this request cannot be read and may deny or revoke it: {why}; an admin who has the verb purge can \
                 remove it"
            ),
            None if self.more => {
                "this request has more decisions than are read, and some may deny or revoke it; create a new request".to_owned()
            }
            None => return None,
        };
        Some(Refusal::new(Reason::Unreadable, message))
    }
}

/// The state of the admission guards: the admission policies, webhook configurations and schemas. Without them any author of a stored
/// object may be forged (T41, T42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guards {
    /// Not queried, as at admission: a guard that calls the webhook is in force.
    Unasked,
    /// They are watched.
    Watched(GuardFacts),
}

impl Guards {
    /// Returns true if they were in force at this instant, as far as they are watched.
    #[must_use]
    pub fn held_at(&self, at: Timestamp) -> bool {
        match self {
            Self::Unasked => true,
            Self::Watched(facts) => facts.proven.is_empty() || facts.proven.iter().any(|span| span.covers(at)),
        }
    }

    /// Returns those of `decisions` whose author is certain.
    #[must_use]
    pub fn surely_decided(&self, decisions: &[Object<ActivationDecisionSpec>]) -> Vec<Object<ActivationDecisionSpec>> {
        decisions.iter().filter(|said| self.held_at(said.created) && self.surely_held_at(said.created)).cloned().collect()
    }

    /// Returns false while it is still open whether they were in force. The author of an object of that time is uncertain, and no name is
    /// recorded.
    #[must_use]
    pub fn surely_held_at(&self, at: Timestamp) -> bool {
        match self {
            Self::Watched(GuardFacts { hold: Some(_), certain, .. }) => certain.iter().any(|span| span.covers(at)),
            Self::Watched(_) | Self::Unasked => true,
        }
    }
}

/// When the guards were in force, and what was written while they were not (T41, T42, T55).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardFacts {
    /// Why nothing may be granted at present: a guard that is not proven, or a clock that cannot be trusted (T35).
    pub hold: Option<Refusal>,
    /// When they were proven to be in force, oldest first, by the API server's clock.
    pub proven: Vec<Span>,
    /// While new grants are on hold: when they were certainly in force, whatever the next proof finds. Approvals from other times are not
    /// recorded yet.
    pub certain: Vec<Span>,
    /// True if the present spec of the eligibility was written at another time.
    pub eligibility_unproven: bool,
    /// True if the present spec of the policy was written at another time.
    pub policy_unproven: bool,
}

/// A time span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// Its last instant; `None` if the span is still open.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Returns true for an instant within it.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at <= until)
    }
}
