//! Descriptions of requests: their state, what they wait for, and the next command.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    goal::Goal,
    paint::Paint,
    read::{full_name, state},
    times::{Times, short},
};
use api::{ApprovalPolicySpec, Duration, People, Reason, RoleActivationRequest, RoleEligibility, State, conditions, eligibility::RoleRef};
use domain::{person, policy, risks, role::Rule};

/// The symbol and the colour of a state.
#[must_use]
pub const fn mark(state: State) -> (&'static str, Paint) {
    match state {
        State::Pending | State::AwaitingApproval => ("◷", Paint::Waits),
        State::Scheduled => ("◷", Paint::Good),
        State::Active => ("✔", Paint::Good),
        State::Expired | State::Deactivated | State::Withdrawn => ("○", Paint::Dim),
        State::Revoked | State::Denied | State::TimedOut | State::Failed => ("✖", Paint::Bad),
    }
}

/// The awaited state, for messages.
#[must_use]
pub const fn goal(goal: Goal) -> &'static str {
    match goal {
        Goal::Settled => "decided",
        Goal::Active => "active",
        Goal::Ended => "completed",
    }
}

/// The message of a request's condition Active. Records of older versions have it in Ready.
#[must_use]
pub fn message(request: &RoleActivationRequest) -> String {
    let conditions = request.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let said = [conditions::ACTIVE, conditions::READY].into_iter().filter_map(|kind| conditions::find(conditions, kind));
    said.map(|condition| condition.message.clone()).find(|message| !message.is_empty()).unwrap_or_default()
}

/// The condition Ready of an eligibility: whether its spec is valid.
#[must_use]
pub fn ready(eligibility: &RoleEligibility) -> Option<&Condition> {
    conditions::find(&eligibility.status.as_ref()?.conditions, conditions::READY)
}

/// The reason of a request's state.
#[must_use]
pub fn reason(request: &RoleActivationRequest) -> &'static str {
    request.status.as_ref().and_then(|status| status.reason).map_or("", Reason::as_str)
}

/// What a request waits for.
#[must_use]
pub fn waits_for(request: &RoleActivationRequest, times: &Times) -> String {
    let Some(awaiting) = request.status.as_ref().and_then(|status| status.awaiting.as_ref()) else {
        return match state(request) {
            State::Active => ends(request, times),
            State::Pending => {
                if message(request).is_empty() {
                    "for the operator".to_owned()
                } else {
                    times.sentence(&message(request))
                }
            }
            _ => times.sentence(&message(request)),
        };
    };
    format!(
        "{} of {} needed in stage '{}': {}, until {}",
        awaiting.have,
        awaiting.required,
        awaiting.stage,
        person::describe(&awaiting.approvers),
        times.clock(awaiting.deadline),
    )
}

/// When a grant ends.
#[must_use]
pub fn ends(request: &RoleActivationRequest, times: &Times) -> String {
    request.status.as_ref().and_then(|status| status.expires_at).map_or_else(String::new, |at| format!("until {}", times.until(at)))
}

/// The state of a request, as a sentence.
#[must_use]
pub fn outcome(request: &RoleActivationRequest, times: &Times) -> String {
    match state(request) {
        State::Active => format!("{} is active {}", role_name(request), ends(request, times)),
        found => {
            let (reason, message) = (reason(request), times.sentence(&message(request)));
            let said = if reason.is_empty() { message } else { format!("{reason}: {message}") };
            format!("{found}{}{said}", if said.is_empty() { "" } else { ", " })
        }
    }
}

/// A completed request and its state: `payments/inc-4711 deactivated`.
#[must_use]
pub fn completed(request: &RoleActivationRequest) -> String {
    let state = match state(request) {
        State::TimedOut => "timed out".to_owned(),
        other => other.as_str().to_lowercase(),
    };
    format!("{} {state}", full_name(request))
}

/// The command that the requester may want next.
#[must_use]
pub fn next(request: &RoleActivationRequest) -> Option<String> {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    match state(request) {
        State::Active | State::Scheduled => Some(format!("kubectl jit deactivate {name} -n {namespace}")),
        State::Pending | State::AwaitingApproval => Some(format!("kubectl jit wait {name} -n {namespace}")),
        State::TimedOut | State::Failed => Some(format!("kubectl jit get {name} -n {namespace}")),
        State::Expired | State::Deactivated | State::Revoked | State::Denied | State::Withdrawn => None,
    }
}

/// The remaining time of access, for a column: `44m` while it is active.
#[must_use]
pub fn left(request: &RoleActivationRequest, times: &Times) -> String {
    let ends = request.status.as_ref().and_then(|status| status.expires_at).filter(|_| state(request) == State::Active);
    ends.map(|at| short(at.duration_since(times.now()))).unwrap_or_default()
}

/// The requested start, while it is in the future.
#[must_use]
pub fn starts(request: &RoleActivationRequest) -> Option<Timestamp> {
    let ahead = matches!(state(request), State::Pending | State::AwaitingApproval | State::Scheduled);
    request.spec.start_time.filter(|_| ahead)
}

/// The duration of the grant for a request: the requested one, or the eligibility's default within the policy's limit. None if the
/// eligibility is unknown.
#[must_use]
pub fn asked(
    request: &RoleActivationRequest,
    eligibility: Option<&RoleEligibility>,
    policy: Option<&ApprovalPolicySpec>,
) -> Option<Duration> {
    request.spec.duration.or_else(|| {
        let eligibility = eligibility?;
        let longest = longest(eligibility, policy);
        Some(eligibility.spec.default_duration.map_or(longest, |length| length.min(longest)))
    })
}

/// Descriptions of rules, the riskiest first. A rule that cannot be parsed, for example a truncated one, comes before all others.
#[must_use]
pub fn riskiest_first(rules: &[String]) -> Vec<&str> {
    let (mut unread, mut read) = (Vec::new(), Vec::new());
    for words in rules {
        match Rule::parse(words) {
            Some(rule) => read.push((rule, words.as_str())),
            None => unread.push(words.as_str()),
        }
    }
    let mut order: Vec<&Rule> = read.iter().map(|(rule, _)| rule).collect();
    risks::riskiest_first(&mut order);
    unread.extend(order.into_iter().filter_map(|rule| read.iter().find(|(other, _)| std::ptr::eq(other, rule)).map(|(_, words)| *words)));
    unread
}

/// The risks of an eligibility's role, for a column. An eligibility does not report the rules of a namespaced Role: its risks are unknown,
/// not none.
#[must_use]
pub fn risks(eligibility: &RoleEligibility) -> String {
    match eligibility.status.as_ref().and_then(|status| status.role.as_ref()) {
        Some(role) if !role.rules_hash.is_empty() => role.risk_summary.clone(),
        _ => "unknown".to_owned(),
    }
}

/// A role as `ClusterRole edit`.
#[must_use]
pub fn role(role: &RoleRef) -> String {
    format!("{} {}", role.kind, role.name)
}

/// The same without a blank, for a column.
#[must_use]
pub fn role_column(role: &RoleRef) -> String {
    format!("{}/{}", role.kind, role.name)
}

/// The name of a request's role, from its status.
#[must_use]
pub fn role_name(request: &RoleActivationRequest) -> &str {
    request.status.as_ref().and_then(|status| status.role.as_ref()).map_or("", |role| role.name.as_str())
}

/// The justification of a request.
#[must_use]
pub fn justification(request: &RoleActivationRequest) -> &str {
    request.spec.justification.as_ref().map_or("", |why| why.as_str())
}

/// The number of a request's ticket.
#[must_use]
pub fn ticket(request: &RoleActivationRequest) -> &str {
    request.spec.ticket.as_ref().and_then(|ticket| ticket.number.as_ref()).map_or("", |number| number.as_str())
}

/// The approval of a policy, for a column: `automatic`, or the stages as `leads(1) > security(2)`.
#[must_use]
pub fn approval(policy: &ApprovalPolicySpec) -> String {
    if policy::is_automatic(policy) {
        return "automatic".to_owned();
    }
    let stages = policy.approval.stages.iter().map(|stage| format!("{}({})", stage.name, policy::required(stage)));
    stages.collect::<Vec<_>>().join(" > ")
}

/// The requirements of a policy, for a column: `reason,ticket,sign-in`.
#[must_use]
pub fn requires(policy: &ApprovalPolicySpec) -> String {
    let Some(rules) = &policy.requirements else { return String::new() };
    let ticket = rules.ticket.as_ref().is_some_and(|ticket| ticket.required);
    let wanted = [(rules.justification.is_some(), "reason"), (ticket, "ticket"), (rules.authentication.is_some(), "sign-in")];
    wanted.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
}

/// The longest activation that eligibility and policy allow.
#[must_use]
pub fn longest(eligibility: &RoleEligibility, policy: Option<&ApprovalPolicySpec>) -> Duration {
    let by_policy = policy.and_then(|policy| policy.limits.as_ref()).and_then(|limits| limits.max_duration);
    by_policy.map_or(eligibility.spec.max_duration, |longest| longest.min(eligibility.spec.max_duration))
}

/// The namespaces of an eligibility from its status: the first names and the number of others.
#[must_use]
pub fn scope(eligibility: &RoleEligibility, most: usize) -> String {
    let Some(found) = eligibility.status.as_ref().and_then(|status| status.namespaces.as_ref()) else {
        return eligibility.spec.namespaces.names.join(",");
    };
    let shown: Vec<&str> = found.names.iter().take(most).map(String::as_str).collect();
    let more = usize::try_from(found.count).unwrap_or(0).saturating_sub(shown.len());
    if more == 0 { shown.join(",") } else { format!("{},+{more}", shown.join(",")) }
}

/// The first ones of a list, and the number of the others.
pub fn first(all: impl ExactSizeIterator<Item = String>, most: usize) -> String {
    let more = all.len().saturating_sub(most);
    let mut named: Vec<String> = all.take(most).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}

/// A description of users and groups, or `none`.
#[must_use]
pub fn people(people: Option<&People>) -> String {
    people.map_or_else(|| "none".to_owned(), person::describe)
}
