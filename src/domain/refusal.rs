//! A "no" that says why.

use crate::api::Reason;

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
    /// A refusal by the rule `reason`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
