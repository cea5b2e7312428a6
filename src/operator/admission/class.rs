//! The two classes of reviews, each with its own permits.

/// The class whose permits a review takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Requests, decisions, and kinds of other products.
    People,
    /// Eligibilities and policies.
    Authors,
}

impl Class {
    /// Returns the class of a resource by its plural name.
    pub fn of(resource: &str) -> Self {
        match resource {
            "roleeligibilities" | "approvalpolicies" => Self::Authors,
            _ => Self::People,
        }
    }
}
