//! Refusals and their reasons.

use api::{Reason, text::printable};

/// Why something is refused: one word for programs and one sentence for the user. The sentence contains the requested value, the allowed
/// value, the object that limits it and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule, as one stable word.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal by the rule `reason`. The message can contain names that other users chose, so it is made safe to print (T13).
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: printable(&message.into()) }
    }

    /// Parses a refusal that was written as `Reason: sentence`. `None` if the text does not begin with a known reason.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (word, message) = text.split_once(": ")?;
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == word)?;
        Some(Self::new(*reason, message))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
