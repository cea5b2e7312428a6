//! The evidence that a user presents in addition to the name: how and when they signed in, and a ticket.
//!
//! A missing value is never evidence, nor is an ambiguous one (T9).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    facts::Object,
    instant::stamp,
    pattern::anchored,
    person::{self, Account},
    refusal::Refusal,
};
use api::{
    ApprovalPolicySpec, Duration, Line, Reason, RoleActivationRequestSpec, Stamp,
    policy::{AuthenticationRule, Claim, MaxAge, Party, TicketRule},
    text::is_blank,
};

/// How far in the future a sign-in may be. Synchronized clocks differ by less, and seconds are rounded. The value is small because it adds
/// to the maximum age, and a user whose identity provider's clock is further ahead only has to wait.
const SKEW: SignedDuration = SignedDuration::from_secs(10);

/// Maximum number of characters of a stamped value that a message shows.
const MAX_SHOWN: usize = 64;

fn rule(policy: &ApprovalPolicySpec) -> Option<&AuthenticationRule> {
    policy.requirements.as_ref()?.authentication.as_ref()
}

fn ticket_rule(policy: &ApprovalPolicySpec) -> Option<&TicketRule> {
    policy.requirements.as_ref()?.ticket.as_ref()
}

/// Returns the keys of `userInfo.extra` in which a policy looks for evidence.
#[must_use]
pub fn keys(policy: &ApprovalPolicySpec) -> BTreeSet<&str> {
    let claims = rule(policy).into_iter().flat_map(|rule| rule.claims.iter().map(|claim| claim.key.as_str()));
    claims.chain(rule(policy).and_then(|rule| rule.max_age.as_ref()).map(|age| age.key.as_str())).collect()
}

/// Refuses a policy whose required evidence can never be presented, or is set and requires nothing.
pub fn check_rules(policy: &ApprovalPolicySpec) -> Result<(), Refusal> {
    if let Some(pattern) = ticket_rule(policy).and_then(|rule| rule.pattern.as_ref()) {
        matches(pattern.as_str(), "")?;
    }
    rule(policy).map_or(Ok(()), check_rule)
}

fn check_rule(rule: &AuthenticationRule) -> Result<(), Refusal> {
    let refuse = |field: &str, why: &str| Err(Refusal::new(Reason::InvalidField, format!("spec.requirements.authentication{field} {why}")));
    if rule.claims.is_empty() && rule.max_age.is_none() {
        return refuse("", "requires nothing: set `claims` or `maxAge`, or remove it");
    }
    for (i, claim) in rule.claims.iter().enumerate() {
        if claim.key.is_empty() {
            return refuse(&format!(".claims[{i}].key"), "is empty; set it to a key of userInfo.extra");
        }
        if claim.any_of.iter().all(Line::is_empty) {
            return refuse(&format!(".claims[{i}].anyOf"), "has no value: no sign-in could match it");
        }
    }
    match &rule.max_age {
        Some(age) if age.key.is_empty() => {
            refuse(".maxAge.key", "is empty; set it to the key of userInfo.extra with the time of the sign-in")
        }
        Some(age) if age.duration.is_zero() => refuse(".maxAge.duration", "must be greater than 0s"),
        _ => Ok(()),
    }
}

/// Refuses a user who acts as `party` without the evidence that the policy requires of that party. `at` is the creation time of the user's
/// object.
pub fn check(who: &Stamp, party: Party, at: Timestamp, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    let Some(rule) = rule(&policy.spec).filter(|rule| applies(rule, party)) else { return Ok(()) };
    check_rule(rule)?;
    if let Account::ServiceAccount { .. } = person::account(who)? {
        return Err(Refusal::new(
            Reason::EvidenceMissing,
            format!(
                "'{}' is a ServiceAccount, and policy '{}' requires evidence of how a person signed in (spec.requirements.authentication); \
                 a person must do it",
                who.username, policy.name
            ),
        ));
    }
    for claim in &rule.claims {
        check_claim(claim, who, &policy.name)?;
    }
    rule.max_age.as_ref().map_or(Ok(()), |age| check_age(age, who, at, &policy.name))
}

fn applies(rule: &AuthenticationRule, party: Party) -> bool {
    if rule.applies_to.is_empty() { party == Party::Requester } else { rule.applies_to.contains(&party) }
}

/// Returns the non-empty values of a key.
fn values<'a>(who: &'a Stamp, key: &str) -> Vec<&'a str> {
    who.extra.get(key).into_iter().flatten().map(String::as_str).filter(|value| !value.is_empty()).collect()
}

fn missing(who: &Stamp, key: &str, wanted: &str, policy: &str) -> Refusal {
    Refusal::new(
        Reason::EvidenceMissing,
        format!(
            "the sign-in of '{}' has no '{key}', and policy '{policy}' requires {wanted}; sign in again without impersonation; if that \
             does not help, ask an admin whether the cluster's authentication passes '{key}' on",
            who.username
        ),
    )
}

fn check_claim(claim: &Claim, who: &Stamp, policy: &str) -> Result<(), Refusal> {
    let key = claim.key.as_str();
    let accepted: Vec<&str> = claim.any_of.iter().map(Line::as_str).filter(|value| !value.is_empty()).collect();
    let wanted = if let [one] = accepted.as_slice() { format!("'{one}'") } else { format!("one of {}", quoted(&accepted)) };
    let shown = values(who, key);
    if shown.is_empty() {
        return Err(missing(who, key, &wanted, policy));
    }
    if shown.iter().any(|value| accepted.contains(value)) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::EvidenceMismatch,
        format!(
            "the sign-in of '{}' has '{key}' with the value {}, and policy '{policy}' requires {wanted} \
             (spec.requirements.authentication.claims); sign in again to meet this requirement",
            who.username,
            quoted(&shown)
        ),
    ))
}

fn check_age(age: &MaxAge, who: &Stamp, at: Timestamp, policy: &str) -> Result<(), Refusal> {
    let (key, oldest) = (age.key.as_str(), age.duration);
    let unreadable = |why: String| {
        Err(Refusal::new(
            Reason::EvidenceUnreadable,
            format!(
                "the sign-in of '{}' {why}, and policy '{policy}' requires one at most {oldest} old \
                 (spec.requirements.authentication.maxAge); sign in again; if that does not help, ask an admin what the cluster's \
                 authentication passes on",
                who.username
            ),
        ))
    };
    let time = match values(who, key).as_slice() {
        [] => return Err(missing(who, key, &format!("a sign-in at most {oldest} old"), policy)),
        [one] => *one,
        several => return unreadable(format!("has several times as '{key}': {}", quoted(several))),
    };
    let Some(signed_in) = seconds(time) else {
        return unreadable(format!("has '{key}' with the value {}, which is not a time in seconds since 1970", quoted(&[time])));
    };
    let passed = at.duration_since(signed_in);
    if passed < -SKEW {
        return unreadable(format!("is at {}, in the future", stamp(signed_in)));
    }
    if passed > SignedDuration::from(oldest) {
        let passed = Duration::from_secs(u32::try_from(passed.as_secs()).unwrap_or(u32::MAX));
        return Err(Refusal::new(
            Reason::EvidenceTooOld,
            format!(
                "'{}' signed in at {}, {passed} before the request or decision was created, and policy '{policy}' allows at most {oldest} \
                 (spec.requirements.authentication.maxAge); sign in again and retry",
                who.username,
                stamp(signed_in)
            ),
        ));
    }
    Ok(())
}

/// Parses whole seconds since 1970 in plain digits, without sign, fraction or exponent.
fn seconds(text: &str) -> Option<Timestamp> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<i64>().ok().filter(|_| digits).and_then(|seconds| Timestamp::from_second(seconds).ok())
}

fn quoted(values: &[&str]) -> String {
    let short = |value: &&str| format!("'{}'", value.chars().take(MAX_SHOWN).collect::<String>());
    values.iter().map(short).collect::<Vec<_>>().join(", ")
}

/// Refuses a request's ticket that does not satisfy the policy. A ticket that is set must match even if it is optional.
pub fn ticket(request: &RoleActivationRequestSpec, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    let Some(rule) = ticket_rule(&policy.spec) else { return Ok(()) };
    let given = request.ticket.clone().unwrap_or_default();
    let system = given.system.as_ref().map_or("", |system| system.as_str());
    let number = given.number.as_ref().map_or("", |number| number.as_str());
    let name = &policy.name;
    if is_blank(number) {
        if !rule.required && is_blank(system) {
            return Ok(());
        }
        return Err(Refusal::new(
            Reason::TicketMissing,
            format!("no ticket was given; policy '{name}' requires {} in spec.ticket", describe(rule)),
        ));
    }
    if let Some(only) = rule.system.as_ref().map(Line::as_str).filter(|only| !only.is_empty() && *only != system) {
        let said = if system.is_empty() { "names no system".to_owned() } else { format!("is of the system '{system}'") };
        return Err(Refusal::new(
            Reason::TicketMismatch,
            format!("the ticket '{number}' {said}; policy '{name}' requires '{only}' in spec.ticket.system"),
        ));
    }
    match rule.pattern.as_ref().filter(|pattern| !pattern.is_empty()) {
        Some(pattern) if !matches(pattern.as_str(), number)? => Err(Refusal::new(
            Reason::TicketMismatch,
            format!(
                "the ticket '{number}' does not match '{pattern}', which policy '{name}' requires for spec.ticket.number (the whole text \
                 must match)"
            ),
        )),
        _ => Ok(()),
    }
}

fn describe(rule: &TicketRule) -> String {
    let system = rule.system.as_ref().filter(|system| !system.is_empty()).map(|system| format!(" of the system '{system}'"));
    let pattern = rule.pattern.as_ref().filter(|pattern| !pattern.is_empty()).map(|pattern| format!(" whose number matches '{pattern}'"));
    format!("one{}{}", system.unwrap_or_default(), pattern.unwrap_or_default())
}

fn matches(pattern: &str, text: &str) -> Result<bool, Refusal> {
    anchored("spec.requirements.ticket.pattern", pattern).map(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests;
