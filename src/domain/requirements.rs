//! What a request must bring with it.

use regex::{Regex, RegexBuilder};

use super::{
    evidence,
    facts::{Object, RequestFacts},
    refusal::Refusal,
};
use api::{
    ApprovalPolicySpec, Reason, RoleActivationRequestSpec, Stamp,
    policy::{JustificationRule, Party},
    text::visible_length,
};

/// Most memory that a compiled pattern may take, in bytes. The engine itself never backtracks (T14).
const PATTERN_SIZE: usize = 1 << 18;

/// A pattern that must match a whole text.
///
/// It must be a pattern by itself too: `a)|(?:b` would otherwise close our group and leave the anchors outside.
pub fn anchored(pattern: &str) -> Result<Regex, Refusal> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build();
    compile(pattern).and_then(|_| compile(&format!("^(?:{pattern})$"))).map_err(|error| {
        Refusal::new(
            Reason::InvalidField,
            format!("spec.requirements.justification.pattern '{pattern}' cannot be used: {}", last_line(&error.to_string())),
        )
    })
}

/// The regex crate draws the pattern with a caret over several lines; the sentence stands in the last.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
}

/// The refusal, if the request does not bring what the policy asks for: a justification, a ticket, a sign-in. An emergency brings all of
/// it too.
pub fn check(request: &RequestFacts, requester: &Stamp, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    justification(&request.object.spec, policy)?;
    evidence::ticket(&request.object.spec, policy)?;
    evidence::check(requester, Party::Requester, request.object.created, policy)
}

/// The refusal, if the justification is not what the policy asks for.
pub fn justification(request: &RoleActivationRequestSpec, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    let rule = policy.spec.requirements.as_ref().and_then(|rules| rules.justification.as_ref());
    rule.map_or(Ok(()), |rule| fits(request, rule, &policy.name))
}

fn fits(request: &RoleActivationRequestSpec, rule: &JustificationRule, policy: &str) -> Result<(), Refusal> {
    let text = request.justification.as_ref().map_or("", |line| line.as_str());
    let least = usize::try_from(rule.min_length.unwrap_or(1)).unwrap_or(0);
    // Blanks and what nobody sees are no reason.
    let length = visible_length(text);
    if length == 0 && least > 0 {
        return Err(Refusal::new(
            Reason::JustificationMissing,
            format!("no justification was given; policy '{policy}' asks for one of at least {least} characters in spec.justification"),
        ));
    }
    if length < least {
        let characters = if length == 1 { "character" } else { "characters" };
        return Err(Refusal::new(
            Reason::JustificationTooShort,
            format!("the justification has {length} {characters}; policy '{policy}' asks for at least {least}"),
        ));
    }
    match rule.pattern.as_ref().filter(|p| !p.is_empty()) {
        Some(pattern) if !anchored(pattern.as_str())?.is_match(text) => Err(Refusal::new(
            Reason::JustificationMismatch,
            format!("the justification does not match '{pattern}', which policy '{policy}' asks for (the whole text must match)"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_anchored_and_bounded() {
        assert!(anchored("INC-[0-9]+").unwrap().is_match("INC-1"));
        assert!(!anchored("INC-[0-9]+").unwrap().is_match("no INC-1"));
        assert!(!anchored("a|b").unwrap().is_match("ax"), "an alternative is anchored as a whole");
        for bad in ["(", "[z-a]", "a{1,99999999}", "(?P<x>a)(?P<x>b)", r"\p{Nope}", "a)|(?:b", "((((a{100}){100}){100}){100})"] {
            assert!(anchored(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(pattern in any::<String>(), near in r"[()\[\]{}*+?|^$\\a-z0-9,.]{0,40}") {
            let _ = anchored(&pattern);
            let _ = anchored(&near);
        }
    }
}
