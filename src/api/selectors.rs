//! Field selectors over requests, as lists and watches of them are limited.

use super::request::{ReviewState, State};

/// Selects the requests whose state is one of these. Field selectors know no "or", so the others are ruled out.
pub fn in_state(wanted: impl Fn(State) -> bool) -> String {
    let others = State::ALL.into_iter().filter(|state| !wanted(*state));
    others.map(|state| format!("status.state!={state}")).collect::<Vec<_>>().join(",")
}

/// Selects the requests that are not at an end. One without a state is such a request.
#[must_use]
pub fn live_states() -> String {
    in_state(|state| !state.is_terminal())
}

/// Selects the requests that are at an end, and those without a state.
#[must_use]
pub fn ended_states() -> String {
    in_state(State::is_terminal)
}

/// Selects the requests of one user name; none where the name would end the value early and cannot be part of a selector. Then whoever
/// asks compares the requests of everybody.
#[must_use]
pub fn of_requester(username: &str) -> Option<String> {
    (!username.contains([',', '=', '!', '\\'])).then(|| format!("spec.requester.username={username}"))
}

/// Selects the requests whose review stands so.
#[must_use]
pub fn in_review(state: ReviewState) -> String {
    format!("status.review.state={}", state.as_str())
}

/// Selects the requests under one eligibility.
#[must_use]
pub fn under_eligibility(name: &str) -> String {
    format!("spec.eligibilityRef.name={name}")
}

/// Selects the decisions on one request.
#[must_use]
pub fn on_request(name: &str) -> String {
    format!("spec.requestRef.name={name}")
}
