//! The outcomes of one call to the API server.

use crate::setting::Act;

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// It is executed and answered.
    Done,
    /// It is not executed, and an error is returned.
    Refused,
    /// It is executed, and no response arrives.
    Unanswered,
    /// It is not executed, and no response arrives.
    Lost,
    /// No response arrives, and it is executed later.
    Delayed,
}

impl Call {
    /// Returns the act that causes this outcome, none for a successful call.
    #[must_use]
    pub const fn act(self) -> Option<Act> {
        match self {
            Self::Done => None,
            Self::Refused => Some(Act::Error),
            Self::Unanswered => Some(Act::LoseAnswer),
            Self::Lost => Some(Act::LoseCall),
            Self::Delayed => Some(Act::Delay),
        }
    }
}

/// The kind of the next call, which determines its possible outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A read: an unexecuted one and an unanswered one are equivalent.
    Read,
    /// An idempotent write.
    Write,
    /// The create of a binding.
    Create,
    /// None: a step within the process.
    Local,
}

impl Kind {
    /// Returns the possible outcomes.
    #[must_use]
    pub const fn calls(self) -> &'static [Call] {
        match self {
            Self::Local => &[Call::Done],
            Self::Read => &[Call::Done, Call::Refused],
            Self::Write => &[Call::Done, Call::Refused, Call::Unanswered],
            Self::Create => &[Call::Done, Call::Refused, Call::Unanswered, Call::Lost, Call::Delayed],
        }
    }
}
