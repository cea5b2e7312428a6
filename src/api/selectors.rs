//! Field selectors for lists and watches of requests.

use super::request::{ReviewState, State};

/// Selects the requests in one of these states. Field selectors have no "or", so the selector excludes the other states.
pub fn in_state(wanted: impl Fn(State) -> bool) -> String {
    let others = State::ALL.into_iter().filter(|state| !wanted(*state));
    others.map(|state| format!("status.state!={state}")).collect::<Vec<_>>().join(",")
}

/// Selects the requests that have not ended, including those without a state.
#[must_use]
pub fn live_states() -> String {
    in_state(|state| !state.is_terminal())
}

/// Selects the completed requests, and those without a state.
#[must_use]
pub fn ended_states() -> String {
    in_state(State::is_terminal)
}

/// Selects the requests of one user name.
#[must_use]
pub fn of_requester(username: &str) -> String {
    format!("spec.requester.username={}", escaped(username))
}

/// Escapes a value as `fields.EscapeValue` of Kubernetes does, so that separators of a selector become part of the value.
fn escaped(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut escaped, c| {
        if matches!(c, '\\' | ',' | '=') {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}

/// Selects the requests whose review is in this state.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_every_user_name_selects_its_own_requests() {
        for (username, selector) in [
            ("ann", "ann"),
            ("oidc:ann@example.org", "oidc:ann@example.org"),
            ("cn=ann,ou=people,dc=example", r"cn\=ann\,ou\=people\,dc\=example"),
            (r"CORP\ann", r"CORP\\ann"),
            (r"a\,status.state=Active", r"a\\\,status.state\=Active"),
            ("a!b == c!=d", r"a!b \=\= c!\=d"),
        ] {
            assert_eq!(of_requester(username), format!("spec.requester.username={selector}"));
        }
    }
}
