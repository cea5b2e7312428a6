//! The pages of `docs/refusals` and their index are rendered from `src/api/reasons`, and quote the printed messages.

use std::{collections::BTreeSet, fmt::Write as _};

use api::Reason;

use crate::files::{page, pages, root};

const FOLDER: &str = "docs/refusals";
/// Pages of the directory that cover no single reason.
const OTHERS: [&str; 2] = ["README", "as-printed"];
/// The sections of a page, in this order.
const HEADINGS: [&str; 4] = ["## When it happens", "## Example", "## What you can do", "## What an admin can do"];
const LINES: std::ops::RangeInclusive<usize> = 15..=45;

fn text_of(name: &str) -> Option<String> {
    std::fs::read_to_string(root().join(FOLDER).join(format!("{name}.md"))).ok()
}

/// Fails with all errors, one line each.
fn none(faults: &[String], what_to_do: &str) {
    let mut text = String::new();
    for fault in faults {
        let _ = write!(text, "\n  {fault}");
    }
    assert!(faults.is_empty(), "{} faults in {FOLDER}:{text}\n{what_to_do}", faults.len());
}

/// With `BLESS=1` in the environment the files are written.
#[test]
fn the_pages_are_what_is_rendered_from_the_reasons() {
    let mut rendered: Vec<(&str, String)> = Reason::ALL.iter().map(|reason| (reason.as_str(), reason.page())).collect();
    rendered.push(("README", Reason::index()));
    if std::env::var_os("BLESS").is_some() {
        for (name, text) in &rendered {
            std::fs::write(root().join(FOLDER).join(format!("{name}.md")), text).unwrap();
        }
    }
    let differ: Vec<String> = rendered
        .iter()
        .filter(|(name, text)| text_of(name).as_ref() != Some(text))
        .map(|(name, _)| format!("{name}.md differs from src/api/reasons"))
        .collect();
    none(&differ, "edit src/api/reasons, not the pages; `make refusal-pages` writes them");
}

#[test]
fn every_page_has_every_part_and_is_short() {
    let mut faults = Vec::new();
    for reason in Reason::ALL {
        let text = reason.page();
        let parts: Vec<&str> = text.split("\n## ").collect();
        let found: Vec<String> = parts.iter().skip(1).filter_map(|part| part.lines().next()).map(|title| format!("## {title}")).collect();
        if text.lines().next() != Some(&format!("# {reason}")) || found != HEADINGS {
            faults.push(format!("{reason}.md has the headings {found:?} instead of {HEADINGS:?}"));
        }
        if parts.iter().any(|part| part.lines().skip(1).all(|line| line.trim().is_empty())) {
            faults.push(format!("{reason}.md has an empty section"));
        }
        if !parts.get(2).is_some_and(|example| example.contains(reason.as_str())) {
            faults.push(format!("the example in {reason}.md does not show the word {reason}"));
        }
        let lines = text.lines().count();
        if !LINES.contains(&lines) {
            faults.push(format!("{reason}.md has {lines} lines instead of {LINES:?}"));
        }
        let summary = reason.summary();
        if summary.len() < 5 || summary.contains(['|', '\n']) {
            faults.push(format!("the comment of {reason} in src/api/reason.rs is not a single line for the index: {summary}"));
        }
    }
    none(&faults, "see DurationTooLong in src/api/reasons/fields.rs");
}

#[test]
fn every_reason_is_in_one_group() {
    let grouped: Vec<Reason> = Reason::GROUPS.iter().flat_map(|(_, reasons)| reasons.iter().copied()).collect();
    assert_eq!(grouped, Reason::ALL);
}

#[test]
fn every_page_is_about_a_reason() {
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).chain(OTHERS).collect();
    let names =
        pages(FOLDER).into_iter().map(|page| page.path.trim_start_matches(FOLDER).trim_matches('/').trim_end_matches(".md").to_owned());
    let strange: Vec<_> = names.filter(|name| !known.contains(name.as_str())).map(|name| format!("{name}.md has no reason")).collect();
    none(&strange, "delete the page, unless its reason was released: then restore the reason");
}

#[test]
fn examples_are_what_is_printed() {
    let printed = page(&root().join(FOLDER).join("as-printed.md")).text;
    let mut faults = Vec::new();
    for reason in Reason::ALL {
        // The sentence in the form of the webhooks.
        let said = format!("request: {reason}: ");
        let sentences: Vec<&str> = printed.lines().filter_map(|line| line.find(&said).map(|at| &line[at + "request: ".len()..])).collect();
        let Some(first) = sentences.first() else { continue };
        if !reason.page().lines().any(|line| sentences.iter().any(|sentence| matches(line, sentence))) {
            faults.push(format!("{reason}.md quotes none of its refusals in as-printed.md, such as `{first}`"));
        }
    }
    none(&faults, "write each quote on its own line, with `…` for text that varies");
}

/// Returns true if `pattern`, in which `…` matches any text, matches `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn a_quote_is_compared_as_a_whole() {
    assert!(matches("A: at … it is … now", "A: at 8 it is 9 now"));
    assert!(matches("A: b", "A: b"));
    for (pattern, text) in [("A: b", "A: bc"), ("A: …c", "A: bd"), ("…x…b", "ab"), ("B…", "A")] {
        assert!(!matches(pattern, text), "{pattern} matches {text}");
    }
}
