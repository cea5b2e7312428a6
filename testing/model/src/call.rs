//! How one call to the API server goes.

use crate::setting::Act;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// It is done and answered.
    Done,
    /// It is not done, and an error answers.
    Refused,
    /// It is done, and no answer comes.
    Unanswered,
    /// It is not done, and no answer comes.
    Lost,
    /// No answer comes, and it is done later.
    Delayed,
}

impl Call {
    /// The act that makes a call go so, none where all is well.
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

/// What kind of call comes next, which says what may become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A read: whether it was not done or not answered makes no difference.
    Read,
    /// A write that is safe to repeat.
    Write,
    /// The creation of a binding.
    Create,
    /// None: a step within the process.
    Local,
}

impl Kind {
    /// What may become of it.
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
