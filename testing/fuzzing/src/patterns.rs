//! Patterns of tickets and justifications (T14). The first line is the pattern, the others are texts to match with it.
//!
//! The reference implementation never has an anchor in the text of a pattern. It adds the anchors to the parsed pattern, so that no text of
//! a pattern can affect them.

use std::sync::LazyLock;

use api::{
    ApprovalPolicySpec, Line, Reason, RoleActivationRequestSpec, Stamp,
    policy::{JustificationRule, Requirements, TicketRule},
    request::Ticket,
};
use domain::{Object, Record, RequestFacts, pattern, requirements};
use jiff::Timestamp;
use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};

use crate::text;

pub const WORDS: &[&str] = &[
    "INC-[0-9]+",
    "INC-4711",
    "(",
    ")",
    "|",
    "^",
    "$",
    r"\A",
    r"\z",
    r"\b",
    "(?m)",
    "(?x)",
    "(?s)",
    "(?R)",
    "(?i)",
    "(?-u)",
    "(?:",
    "#",
    "[^a]",
    r"\d",
    r"\pL",
    r"\w",
    ".*",
    "{2,3}",
    "{99}",
    "*",
    "+?",
    "a)|(?:b",
    "(?P<n>",
    "\\",
    "\u{a0}",
    "\u{e9}",
    "\r",
];

/// Maximum number of characters of a pattern, and of a text, as in the schema.
const PATTERN: usize = 256;
const TEXT: usize = 128;

/// Returns the pattern as a matcher of whole texts.
fn whole(pattern: &str) -> Option<meta::Regex> {
    let inner = regex_syntax::parse(pattern).ok()?;
    let anchored = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
    meta::Regex::builder().build_from_hir(&anchored).ok()
}

/// Returns a request under a policy that requires this pattern.
fn asked(pattern: &str, text: &str) -> Option<(RequestFacts, Object<ApprovalPolicySpec>)> {
    let rules = Requirements {
        justification: Some(JustificationRule { min_length: Some(0), pattern: Some(pattern.to_owned().try_into().ok()?) }),
        ticket: Some(TicketRule { required: true, system: None, pattern: Some(pattern.to_owned().try_into().ok()?) }),
        authentication: None,
    };
    let spec = RoleActivationRequestSpec {
        justification: Some(text.to_owned().try_into().ok()?),
        ticket: Some(Ticket { system: None, number: Some(text.to_owned().try_into().ok()?) }),
        ..RoleActivationRequestSpec::default()
    };
    let policy = ApprovalPolicySpec { requirements: Some(rules), ..ApprovalPolicySpec::default() };
    Some((RequestFacts { namespace: String::new(), object: stored(spec), record: Record::default() }, stored(policy)))
}

fn stored<S>(spec: S) -> Object<S> {
    Object {
        name: "x".to_owned(),
        uid: "x".to_owned(),
        created: Timestamp::UNIX_EPOCH,
        deleting: false,
        generation: 1,
        checked: None,
        owed: None,
        spec,
    }
}

/// Verifies that a pattern matches a text as a whole or not at all, whatever the pattern contains, and that the rules use the same result.
pub fn check(data: &[u8]) {
    static NOBODY: LazyLock<Stamp> = LazyLock::new(Stamp::default);
    let all = text(data);
    let mut lines = all.split('\n').map(|line| line.trim_end_matches('\r'));
    let pattern: String = lines.next().unwrap_or_default().chars().take(PATTERN).collect();
    let anchored = match pattern::anchored("pattern", &pattern) {
        Ok(anchored) => anchored,
        Err(refusal) => {
            assert_eq!(refusal.reason, Reason::InvalidField);
            assert!(!refusal.message.contains('\n'), "one line: {refusal}");
            assert!(!refusal.message.ends_with("cannot be used: "), "the refusal names the cause: {refusal}");
            return;
        }
    };
    let second = whole(&pattern).unwrap_or_else(|| panic!("an accepted pattern is valid by itself: {pattern:?}"));
    let first = lines.next().unwrap_or_default();
    let around = [format!("{first} "), format!("x{first}"), first.repeat(2)];
    let texts = std::iter::once(first).chain(lines).chain(around.iter().map(String::as_str)).take(12);
    for text in texts {
        let text: String = text.chars().take(TEXT).collect();
        let matches = anchored.is_match(&text);
        assert_eq!(matches, second.is_match(&text), "{pattern:?} against {text:?}");
        if let Some(found) = anchored.find(&text) {
            assert_eq!(found.range(), 0..text.len(), "a part of a text never matches: {pattern:?} in {text:?}");
        }
        let Some((request, policy)) = asked(&pattern, &text) else { continue };
        let answer = requirements::check(&request, &NOBODY, &policy).map_err(|refusal| refusal.reason);
        let expected = match (matches || pattern.is_empty(), api::text::is_blank(&text)) {
            (false, _) => Err(Reason::JustificationMismatch),
            (true, true) => Err(Reason::TicketMissing),
            (true, false) => Ok(()),
        };
        assert_eq!(answer, expected, "{pattern:?} against {text:?}");
    }
    assert!(Line::<PATTERN>::try_from(pattern.clone()).is_ok() || pattern.chars().any(api::text::is_forbidden));
}
