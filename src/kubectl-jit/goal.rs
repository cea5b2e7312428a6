//! What a command waits for.

use super::{problem::Exit, read::state};
use api::{RoleActivationRequest, State};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Goal {
    /// It has an outcome: it is active, or at an end, or approved for later.
    Settled,
    /// It is active.
    Active,
    /// It is at an end.
    Ended,
}

impl Goal {
    /// True for a state after which nothing is left to wait for.
    #[must_use]
    pub const fn reached(self, state: State) -> bool {
        match self {
            Self::Settled => state.is_terminal() || matches!(state, State::Active | State::Scheduled),
            Self::Active => state.is_terminal() || matches!(state, State::Active),
            Self::Ended => state.is_terminal(),
        }
    }

    /// How a command ends that waited for this and found the request like that.
    #[must_use]
    pub fn exit(self, request: &RoleActivationRequest) -> Exit {
        let found = state(request);
        let reason = request.status.as_ref().and_then(|status| status.reason);
        match self {
            // An end was expected. Only an end by another user has an exit code of its own.
            Self::Ended if matches!(found, State::Expired | State::Deactivated | State::Withdrawn) => Exit::Done,
            Self::Settled | Self::Active | Self::Ended => Exit::of_state(found, reason),
        }
    }
}
