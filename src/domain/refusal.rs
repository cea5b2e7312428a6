//! A "no" that says why.

use api::{Reason, text::printable};

/// Why something is refused: one word for programs and a sentence for the person, with the asked value, the allowed value, the
/// object that says so and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule, as one stable word.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
}

impl Refusal {
    /// A refusal by the rule `reason`. What others wrote into names stands in the sentence, so it is made safe to show (T13).
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: printable(&message.into()) }
    }

    /// The refusal that was written as `Reason: sentence`; none where a text does not begin with one of our reasons.
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
