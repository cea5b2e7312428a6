//! The justification of a request (requirements.justification).

use super::*;
use api::policy::{JustificationRule, Requirements};

fn asked_for(least: Option<i32>, pattern: &str, said: Option<&str>) -> TestCase {
    let rule = JustificationRule { min_length: least, pattern: (!pattern.is_empty()).then(|| line(pattern)) };
    case()
        .policy(|p| p.requirements = Some(Requirements { justification: Some(rule), ..Requirements::default() }))
        .request(|r| r.justification = said.map(line))
}

#[test]
fn t14_a_justification_is_there_long_enough_and_matches() {
    let missing = |least: i32| {
        Some(format!(
            "JustificationMissing: no justification was given; policy 'two-eyes' requires one of at least {least} characters in \
             spec.justification"
        ))
    };
    let short =
        |has: usize| Some(format!("JustificationTooShort: the justification has {has} characters; policy 'two-eyes' requires at least 10"));
    let other = || {
        Some("JustificationMismatch: the justification does not match 'INC-[0-9]+', which policy 'two-eyes' requires (the whole text must match)".to_owned())
    };
    for (least, pattern, said, answer) in [
        (None, "", None, missing(1)),
        (None, "", Some("x"), None),
        (Some(0), "", None, None),
        (Some(10), "", None, missing(10)),
        (Some(10), "", Some(""), missing(10)),
        (Some(10), "", Some("            "), missing(10)),
        (Some(10), "", Some("   nine c.   "), short(7)),
        (Some(10), "", Some("123456789"), short(9)),
        (Some(10), "", Some("1234567890"), None),
        // Ten characters, not ten bytes.
        (Some(10), "", Some("日本日本日本日本日"), short(9)),
        (Some(10), "", Some("日本日本日本日本日本"), None),
        (None, "INC-[0-9]+", Some("INC-4711"), None),
        (None, "INC-[0-9]+", Some("see INC-4711"), other()),
        (None, "INC-[0-9]+", Some("INC-4711 "), other()),
        (Some(0), "INC-[0-9]+", None, other()),
        (Some(0), "(INC-[0-9]+)?", None, None),
    ] {
        let case = format!("{least:?} {pattern:?} {said:?}");
        let refusal = asked_for(least, pattern, said).decide().refusal().map(|refusal| refusal.to_string());
        assert_eq!(refusal, answer, "{case}");
    }
}

#[test]
fn t14_a_pattern_that_cannot_be_used_stops_its_policy_only() {
    let case = asked_for(None, "a)|(?:b", Some("a"));
    assert_eq!(
        case.told(),
        "Pending PolicyNotReady: policy 'two-eyes' cannot be used: InvalidField: spec.requirements.justification.pattern 'a)|(?:b' cannot be \
         used: unopened group"
    );
    assert_eq!(asked_for(None, "(?x)a # all else is a comment", Some("a")).state(), State::Pending, "it would swallow our anchor");
    assert_eq!(asked_for(None, "(?m)a", Some("b\u{a0}a")).state(), State::Denied, "a flag of its own does not loosen our anchors");
}

#[test]
fn no_rule_asks_for_nothing() {
    assert_eq!(case().request(|r| r.justification = None).state(), State::Active);
}
