//! Every reason has its page in `docs/refusals`, in one form, and the index lists it.

use std::{collections::BTreeSet, fmt::Write as _};

use api::Reason;

use crate::files::{page, pages, root};

const FOLDER: &str = "docs/refusals";
/// Pages of the folder that are about no single reason.
const OTHERS: [&str; 2] = ["README", "as-printed"];
/// The form of a page, in this order.
const HEADINGS: [&str; 4] = ["## When it happens", "## Example", "## What you can do", "## What an admin can do"];
/// Says that the example is still to come.
const TO_COME: &str = "<!-- example -->";
const LINES: std::ops::RangeInclusive<usize> = 15..=40;

fn text_of(name: &str) -> Option<String> {
    std::fs::read_to_string(root().join(FOLDER).join(format!("{name}.md"))).ok()
}

/// Fails with everything that is wrong, a line each, so that whoever adds three reasons is told of all three.
fn none(faults: &[String], what_to_do: &str) {
    let mut text = String::new();
    for fault in faults {
        let _ = write!(text, "\n  {fault}");
    }
    assert!(faults.is_empty(), "{} faults in {FOLDER}:{text}\n{what_to_do}", faults.len());
}

#[test]
fn every_reason_has_its_page() {
    let missing: Vec<_> =
        Reason::ALL.iter().filter(|reason| text_of(reason.as_str()).is_none()).map(|r| format!("{r}.md is missing")).collect();
    none(&missing, "write them in the form of DurationTooLong.md and list them in README.md");
}

#[test]
fn every_page_has_the_form_and_is_short() {
    let mut faults = Vec::new();
    for reason in Reason::ALL {
        let Some(text) = text_of(reason.as_str()) else { continue };
        if text.lines().next() != Some(&format!("# {reason}")) {
            faults.push(format!("{reason}.md does not begin with `# {reason}`"));
        }
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        if found != HEADINGS {
            faults.push(format!("{reason}.md has the headings {found:?} instead of {HEADINGS:?}"));
        }
        let example = text.split(HEADINGS[1]).nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
        if !example.contains(TO_COME) && !example.contains(reason.as_str()) {
            faults.push(format!("the example in {reason}.md does not show the word {reason}"));
        }
        let lines = text.lines().count();
        if !LINES.contains(&lines) {
            faults.push(format!("{reason}.md has {lines} lines instead of {LINES:?}"));
        }
    }
    none(&faults, "see DurationTooLong.md");
}

#[test]
fn no_page_is_about_a_reason_that_there_is_not() {
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).chain(OTHERS).collect();
    let names =
        pages(FOLDER).into_iter().map(|page| page.path.trim_start_matches(FOLDER).trim_matches('/').trim_end_matches(".md").to_owned());
    let strange: Vec<_> = names.filter(|name| !known.contains(name.as_str())).map(|name| format!("{name}.md is about no reason")).collect();
    none(&strange, "src/api/reason.rs has every reason; the words are stable, so a page goes only with one that was never released");
}

#[test]
fn the_index_lists_every_reason_once() {
    let index = text_of("README").expect("the index");
    let listed = |reason: &&Reason| {
        let row = format!("| [{reason}]({reason}.md) | ");
        index.lines().filter(|line| line.strip_prefix(&row).is_some_and(|rest| rest.trim_end_matches(['|', ' ']).len() > 5)).count()
    };
    let faults: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| (reason, listed(&reason)))
        .filter(|(_, count)| *count != 1)
        .map(|(reason, count)| {
            format!("README.md lists {reason} {count} times instead of once, as `| [{reason}]({reason}.md) | what it means |`")
        })
        .collect();
    none(&faults, "add or remove the row");
    let rows = index.lines().filter(|line| line.starts_with("| [")).count();
    assert_eq!(rows, Reason::ALL.len(), "README.md has rows about no reason");
}

#[test]
fn examples_are_what_is_printed() {
    let printed = page(&root().join(FOLDER).join("as-printed.md")).text;
    let mut faults = Vec::new();
    for reason in Reason::ALL {
        // The sentence as webhooks say it.
        let said = format!("request: {reason}: ");
        let sentences: Vec<&str> = printed.lines().filter_map(|line| line.find(&said).map(|at| &line[at + "request: ".len()..])).collect();
        let Some(first) = sentences.first() else { continue };
        let Some(text) = text_of(reason.as_str()) else { continue };
        if !text.lines().any(|line| sentences.iter().any(|sentence| matches(line, sentence))) {
            faults.push(format!("{reason}.md quotes none of its refusals in as-printed.md, such as `{first}`"));
        }
    }
    none(&faults, "a quote stands on a line of its own; `…` stands for what is another one each time");
}

/// True if `pattern`, in which `…` stands for anything, is `text`.
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
        assert!(!matches(pattern, text), "{pattern} is not {text}");
    }
}
