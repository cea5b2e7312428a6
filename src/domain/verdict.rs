//! The result of a decision about a request.

use jiff::Timestamp;

use super::{approval::Counted, binding::Grant, digest::Digest, facts::Object, instant::stamp, refusal::Refusal};
use api::{
    Duration, Reason, RoleEligibilitySpec, State,
    eligibility::RoleRef,
    request::{Awaiting, ReviewState, ReviewStatus},
    text::printable,
};

/// The action on the binding with the request's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingAction {
    /// Nothing.
    Keep,
    /// Create the binding of the verdict's grant.
    Create,
    /// Ensure that it is removed.
    Remove,
}

/// The state of a request, its reason, and the required action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// State of the request.
    pub state: State,
    /// Its reason, as one word.
    pub reason: Reason,
    /// Its reason, as a sentence.
    pub message: String,
    /// The user who caused it; none for the operator's own rules.
    pub actor: Option<String>,
    /// Digest of what would be granted, if it can be computed.
    pub digest: Option<Digest>,
    /// Requested duration, if it is known.
    pub asked: Option<Duration>,
    /// Approvals that count.
    pub counted: Vec<Counted>,
    /// Who can decide now.
    pub awaiting: Option<Awaiting>,
    /// The grant to create, with [`BindingAction::Create`].
    pub grant: Option<Grant>,
    /// The action on the binding.
    pub binding: BindingAction,
    /// Other bindings in the namespace that must be removed with this one: those of its chain, if it ended early.
    pub links: Vec<String>,
    /// The review that an emergency owes.
    pub review: Option<ReviewStatus>,
    /// When the verdict can change by time alone.
    pub look_again: Option<Timestamp>,
}

impl Verdict {
    /// Returns a state with its reason and nothing else. A terminal state removes the binding.
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

    /// Returns the same verdict, or the refusal that prevents it.
    #[must_use]
    pub fn because(self, state: State, refusal: Refusal) -> Self {
        Self { state, reason: refusal.reason, message: refusal.message, ..self }
    }

    pub(super) fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Returns the refusal of a request with this verdict. `None` if it is granted, or if approvers decide.
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
pub(super) fn describe_grant(role: &RoleRef, namespace: &str, deadline: Timestamp) -> String {
    format!("{} '{}' in namespace '{namespace}' until {}", role.kind, role.name, stamp(deadline))
}

/// Returns when time alone can change an active grant: at its end, at that of the eligibility, or at the deadline of its review.
pub(super) fn requeue_at(deadline: Timestamp, eligibility: &Object<RoleEligibilitySpec>, review: Option<&ReviewStatus>) -> Timestamp {
    let due = review.filter(|review| review.state == ReviewState::Owed).map(|review| review.deadline);
    [eligibility.spec.end_time, due].into_iter().flatten().chain([deadline]).min().unwrap_or(deadline)
}
