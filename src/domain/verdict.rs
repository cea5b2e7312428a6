//! What was decided about a request.

use chrono::{DateTime, Utc};

use super::{approval::Counted, binding::Grant, digest::Digest, facts::Object, instant::stamp, refusal::Refusal};
use api::{
    Duration, Reason, RoleEligibilitySpec, State,
    eligibility::RoleRef,
    request::{Awaiting, ReviewState, ReviewStatus},
    text::printable,
};

/// What must happen to the binding that bears the request's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingAction {
    /// Nothing.
    Keep,
    /// Create it as the verdict's grant says.
    Create,
    /// Make sure that it is gone.
    Remove,
}

/// What a request is, why, and what is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where it stands.
    pub state: State,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
    /// Who caused it; none for the operator's own rules.
    pub actor: Option<String>,
    /// Digest of what would be granted, where it can be told.
    pub digest: Option<Digest>,
    /// Duration that is asked for, where it can be told.
    pub asked: Option<Duration>,
    /// Approvals that count.
    pub counted: Vec<Counted>,
    /// Who can decide now.
    pub awaiting: Option<Awaiting>,
    /// What is to be granted, with [`BindingAction::Create`].
    pub grant: Option<Grant>,
    /// What must happen to the binding.
    pub binding: BindingAction,
    /// Other bindings in the namespace that must go with this one: those of its chain, where it ended before its time.
    pub links: Vec<String>,
    /// The review that an emergency owes.
    pub review: Option<ReviewStatus>,
    /// When time alone can change the verdict.
    pub look_again: Option<DateTime<Utc>>,
}

impl Verdict {
    /// A state with its reason and nothing else; a state that is an end removes the binding.
    #[must_use]
    pub fn new(state: State, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            reason,
            message: printable(&message.into()),
            actor: None,
            digest: None,
            asked: None,
            counted: Vec::new(),
            awaiting: None,
            grant: None,
            binding: if state.is_terminal() { BindingAction::Remove } else { BindingAction::Keep },
            links: Vec::new(),
            review: None,
            look_again: None,
        }
    }

    pub(super) fn refused(state: State, refusal: Refusal) -> Self {
        Self::new(state, refusal.reason, refusal.message)
    }

    /// The same verdict, if a refusal stands in the way of what it says.
    #[must_use]
    pub fn because(self, state: State, refusal: Refusal) -> Self {
        Self { state, reason: refusal.reason, message: refusal.message, ..self }
    }

    pub(super) fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// The refusal of a request with this verdict; none where it is granted, or where approvers decide.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let no = match self.state {
            State::Pending => true,
            State::AwaitingApproval | State::Scheduled | State::Active => false,
            terminal => terminal.is_terminal(),
        };
        no.then(|| Refusal::new(self.reason, self.message.clone()))
    }
}

/// Describes what is granted.
pub(super) fn describe_grant(role: &RoleRef, namespace: &str, deadline: DateTime<Utc>) -> String {
    format!("{} '{}' in namespace '{namespace}' until {}", role.kind, role.name, stamp(deadline))
}

/// The instant at which time alone can change a running grant: its end, that of the eligibility, or the deadline of its review.
pub(super) fn requeue_at(
    deadline: DateTime<Utc>,
    eligibility: &Object<RoleEligibilitySpec>,
    review: Option<&ReviewStatus>,
) -> DateTime<Utc> {
    let due = review.filter(|review| review.state == ReviewState::Owed).map(|review| review.deadline);
    [eligibility.spec.end_time, due].into_iter().flatten().chain([deadline]).min().unwrap_or(deadline)
}
