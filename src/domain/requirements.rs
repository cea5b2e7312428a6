//! The justification, ticket and sign-in that a request must contain.

use super::{
    evidence,
    facts::{Object, RequestFacts},
    pattern::{self, anchored},
    refusal::Refusal,
};
use api::{
    ApprovalPolicySpec, Reason, RoleActivationRequestSpec, Stamp,
    policy::{JustificationRule, Party},
    text::visible_length,
};

/// Refuses a request that lacks what the policy requires: a justification, a ticket, a sign-in. An emergency requires all of it too.
pub fn check(request: &RequestFacts, requester: &Stamp, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    justification(&request.object.spec, policy)?;
    evidence::ticket(&request.object.spec, policy)?;
    evidence::check(requester, Party::Requester, request.object.created, policy)
}

/// Refuses a justification that does not satisfy the policy.
pub fn justification(request: &RoleActivationRequestSpec, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    let rule = policy.spec.requirements.as_ref().and_then(|rules| rules.justification.as_ref());
    rule.map_or(Ok(()), |rule| fits(request, rule, &policy.name))
}

fn fits(request: &RoleActivationRequestSpec, rule: &JustificationRule, policy: &str) -> Result<(), Refusal> {
    let text = request.justification.as_ref().map_or("", |line| line.as_str());
    let least = usize::try_from(rule.min_length.unwrap_or(1)).unwrap_or(0);
    // Blanks and invisible characters are not a justification.
    let length = visible_length(text);
    if length == 0 && least > 0 {
        return Err(Refusal::new(
            Reason::JustificationMissing,
            format!("no justification was given; policy '{policy}' requires one of at least {least} characters in spec.justification"),
        ));
    }
    if length < least {
        let characters = if length == 1 { "character" } else { "characters" };
        return Err(Refusal::new(
            Reason::JustificationTooShort,
            format!("the justification has {length} {characters}; policy '{policy}' requires at least {least}"),
        ));
    }
    match rule.pattern.as_ref().filter(|p| !p.is_empty()) {
        Some(pattern) if !anchored(pattern::JUSTIFICATION, pattern.as_str())?.is_match(text) => Err(Refusal::new(
            Reason::JustificationMismatch,
            format!("the justification does not match '{pattern}', which policy '{policy}' requires (the whole text must match)"),
        )),
        _ => Ok(()),
    }
}
