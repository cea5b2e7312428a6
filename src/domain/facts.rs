//! What the rules look at: plain values, read before and without any tie to where they came from.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::{author_check::AuthorCheck, refusal::Refusal, role::Rules};
use api::{
    ActivationDecisionSpec, Line, Reason, RoleActivationRequestSpec, State, Verb,
    eligibility::{RoleKind, RoleRef},
    policy::OwedReview,
    request::{BindingRef, ReviewStatus},
    text::printable,
};

/// The result of looking an object up. An error on the way is none of these: who gathers stops there and tries again, so that
/// nothing is granted and nothing revoked because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// The API server says that there is none.
    Absent,
    /// It is stored and being deleted, which counts as removed: how long its finalizers keep it is anybody's choice (T28).
    Deleting(Deletion),
    /// It is there and cannot be understood, for this reason.
    Unreadable(String),
}

impl<T> Lookup<T> {
    /// The object, if it is there.
    pub const fn found(&self) -> Option<&T> {
        match self {
            Self::Found(object) => Some(object),
            Self::Absent | Self::Deleting(_) | Self::Unreadable(_) => None,
        }
    }
}

/// The deletion of an object that somebody asked for and that is not done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The first of the finalizers that keep the object stored.
    finalizers: Vec<String>,
    /// How many there are besides those.
    more: usize,
}

impl Deletion {
    /// Most finalizers that are named.
    const MAX_NAMED: usize = 4;

    /// The deletion of an object with these finalizers.
    #[must_use]
    pub fn held_by(finalizers: &[String]) -> Self {
        let named: Vec<_> = finalizers.iter().take(Self::MAX_NAMED).map(|name| printable(name)).collect();
        Self { more: finalizers.len() - named.len(), finalizers: named }
    }
}

impl std::fmt::Display for Deletion {
    /// The predicate of a sentence whose subject is the object.
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

/// A stored object: its spec and what of its metadata counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<S> {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The API server's time of its creation.
    pub created: DateTime<Utc>,
    /// True once somebody asked for its deletion.
    pub deleting: bool,
    /// The API server's count of the changes of its spec.
    pub generation: i64,
    /// Of an eligibility or a policy: what the check of its author rested on, as far as that is recorded.
    pub checked: Option<Arc<AuthorCheck>>,
    /// Of a policy: the reviews that its status says are owed.
    pub owed: Option<Arc<Owed>>,
    /// What it says.
    pub spec: S,
}

/// The reviews that are owed under one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// What the status lists.
    pub reviews: Vec<OwedReview>,
    /// The annotation by which an admin settles those whose requests no longer exist.
    pub settled: Option<String>,
}

/// A review that is owed under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// Name of the policy.
    pub policy: String,
    /// What the policy's status says.
    pub review: OwedReview,
}

/// The request that is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The namespace it lives in, the only one that it can be for (T21).
    pub namespace: String,
    /// The stored object.
    pub object: Object<RoleActivationRequestSpec>,
    /// What its status says. Nothing in it can widen access.
    pub record: Record,
}

impl RequestFacts {
    /// True for a decision that names exactly this request, by name and UID (T3).
    #[must_use]
    pub fn is_named_by(&self, decision: &Object<ActivationDecisionSpec>) -> bool {
        let named = &decision.spec.request_ref;
        named.name == self.object.name && named.uid.as_deref() == Some(self.object.uid.as_str())
    }
}

/// What the status of a request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// State that was reported last.
    pub state: Option<State>,
    /// Start of its own term that was reported: of an extension it is the end of what it extends.
    pub granted_at: Option<DateTime<Utc>>,
    /// Start of the chain that was reported, where another activation is prolonged.
    pub began: Option<DateTime<Utc>>,
    /// Deadline that was reported.
    pub expires_at: Option<DateTime<Utc>>,
    /// Digest that was reported.
    pub digest: Option<String>,
    /// Binding that was reported.
    pub binding: Option<BindingRef>,
    /// Role that was reported.
    pub role: Option<RoleRef>,
    /// Reason that was reported.
    pub reason: Option<Reason>,
    /// Hash of the role's rules that was reported.
    pub rules_hash: Option<String>,
    /// Hash over what those rules allow; records of older versions have none.
    pub access_hash: Option<String>,
    /// End that was reported.
    pub ended_at: Option<DateTime<Utc>>,
    /// Review that was reported.
    pub review: Option<ReviewStatus>,
    /// User names of those whose approvals were reported to count.
    pub approvers: Vec<Line<256>>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// UID.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// True where it has more labels than are read: then no selector selects it.
    pub labels_too_long: bool,
    /// True once it is going away.
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

/// A stored decision on the request that cannot be understood, as after a change of its schema. It counts against the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// What it decides, where that can be told.
    pub decision: Option<Verb>,
    /// Why it cannot be read.
    pub why: String,
}

impl Unreadable {
    /// True unless it is certain that it takes nothing away.
    #[must_use]
    pub fn may_end(&self) -> bool {
        !matches!(self.decision, Some(Verb::Approve | Verb::Review))
    }
}

/// What of the decisions on a request was not read, or could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Decisions that cannot be understood; the first few.
    pub unreadable: Vec<Unreadable>,
    /// True where there are more than anybody reads.
    pub more: bool,
}

impl Unread {
    /// Why nothing may be granted beside it; none where all was read.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let first = self.unreadable.first().map(|first| (first.name.as_str(), first.why.as_str()));
        self.because(first)
    }

    /// Why what runs may not go on beside it: something of it may be a Deny, a Revoke or a Deactivate.
    #[must_use]
    pub fn ends(&self) -> Option<Refusal> {
        let first = self.unreadable.iter().find(|unreadable| unreadable.may_end());
        self.because(first.map(|first| (first.name.as_str(), first.why.as_str())))
    }

    fn because(&self, unreadable: Option<(&str, &str)>) -> Option<Refusal> {
        let message = match unreadable {
            Some((name, why)) => format!(
                "decision '{name}' on this request cannot be read, and it may be one against it: {why}; an admin can remove it, which takes the verb \
                 purge"
            ),
            None if self.more => "this request has more decisions than are read, and some may be against it; ask anew".to_owned(),
            None => return None,
        };
        Some(Refusal::new(Reason::Unreadable, message))
    }
}

/// What is known of the guards: the admission policies, webhook configurations and schemas without which what is stored may be
/// anybody's word (T41, T42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guards {
    /// Nobody asked, as at admission: a guard that asks is in force.
    Unasked,
    /// They are watched.
    Watched(GuardFacts),
}

impl Guards {
    /// True when they were in force at this instant, as far as anybody watches them.
    #[must_use]
    pub fn held_at(&self, at: DateTime<Utc>) -> bool {
        match self {
            Self::Unasked => true,
            Self::Watched(facts) => facts.proven.is_empty() || facts.proven.iter().any(|span| span.covers(at)),
        }
    }

    /// Those of `decisions` that were certainly written by whom they name.
    #[must_use]
    pub fn surely_decided(&self, decisions: &[Object<ActivationDecisionSpec>]) -> Vec<Object<ActivationDecisionSpec>> {
        decisions.iter().filter(|said| self.held_at(said.created) && self.surely_held_at(said.created)).cloned().collect()
    }

    /// False while nobody knows yet whether they were: what was written then may be anybody's, and no name is recorded for it.
    #[must_use]
    pub fn surely_held_at(&self, at: DateTime<Utc>) -> bool {
        match self {
            Self::Watched(GuardFacts { hold: Some(_), certain, .. }) => certain.iter().any(|span| span.covers(at)),
            Self::Watched(_) | Self::Unasked => true,
        }
    }
}

/// Since when the guards hold, and what was written while they did not (T41, T42, T55).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardFacts {
    /// Why nothing may be granted at present, if so: a guard that is not proven, or a clock that cannot be trusted (T35).
    pub hold: Option<Refusal>,
    /// When they were proven to be in force, oldest first, by the API server's clock.
    pub proven: Vec<Span>,
    /// While something holds grants back: when they were in force for certain, whatever comes out. Of approvals from outside of it the
    /// record says nothing yet.
    pub certain: Vec<Span>,
    /// True when the present spec of the eligibility was written outside of that.
    pub eligibility_unproven: bool,
    /// True when the present spec of the policy was written outside of that.
    pub policy_unproven: bool,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// Its last instant; none: it lasts.
    pub until: Option<DateTime<Utc>>,
}

impl Span {
    /// True for an instant within it.
    #[must_use]
    pub fn covers(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.until.is_none_or(|until| at <= until)
    }
}
