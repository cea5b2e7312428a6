//! The two classes of reviews, which have permits of their own.

/// Whose permits a review takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Requests and decisions, and what is none of ours.
    People,
    /// Eligibilities and policies.
    Authors,
}

impl Class {
    /// The class of a resource in the plural.
    pub fn of(resource: &str) -> Self {
        match resource {
            "roleeligibilities" | "approvalpolicies" => Self::Authors,
            _ => Self::People,
        }
    }
}
