//! The lists in `docs/design` compared with their mentions, in both directions.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    files::{Page, page, pages},
    references::{DESIGN, List, Mention, functions, mentions, numbers_of, sources, strangers},
};

/// The page that explains the limits that no test can prove.
const LIMITS: &str = "../known-limits.md";

impl List {
    const ALL: [Self; 5] = [Self::Threat, Self::Invariant, Self::Fault, Self::Rule, Self::Kep];

    /// The page that has the entries.
    const fn page(self) -> &'static str {
        match self {
            Self::Threat => "docs/design/threats.md",
            Self::Invariant => "docs/design/invariants.md",
            Self::Fault => "docs/design/faults.md",
            Self::Rule => "docs/design/rules.md",
            Self::Kep => "docs/design/README.md",
        }
    }

    /// The text before an entry's number.
    const fn before(self) -> &'static str {
        match self {
            Self::Threat => "### T",
            Self::Invariant => "### Invariant ",
            Self::Fault => "| F",
            Self::Rule => "### Rule ",
            Self::Kep => "| [KEP-",
        }
    }

    /// The text after it.
    const fn behind(self) -> &'static str {
        match self {
            Self::Threat | Self::Invariant | Self::Rule => ": ",
            Self::Fault => " | ",
            Self::Kep => "](https://kep.k8s.io/",
        }
    }

    /// The prefix of an entry.
    fn form(self, number: u32) -> String {
        let number = if self == Self::Fault { format!("{number:02}") } else { number.to_string() };
        format!("{}{number}{}...", self.before(), self.behind())
    }

    /// The prefix of the names of its tests.
    fn test(self, number: u32) -> String {
        let letter = match self {
            Self::Invariant => "inv_",
            Self::Fault => "f",
            Self::Threat | Self::Rule | Self::Kep => "t",
        };
        format!("`{letter}{number:02}_...`")
    }
}

/// One entry of a list.
#[derive(Debug)]
struct Entry {
    list: List,
    number: u32,
    place: String,
    /// Its first line, and the lines that belong to it.
    text: String,
}

impl Entry {
    /// Its location and kind, for messages.
    fn name(&self) -> String {
        format!("{}: {}", self.place, self.list.name(self.number))
    }

    /// Returns a part of the entry that begins as `- **Tests:**`.
    fn part(&self, name: &str) -> Option<String> {
        let begin = format!("- **{name}:** ");
        let mut lines = self.text.lines().skip_while(|line| !line.starts_with(&begin));
        let first = lines.next()?.strip_prefix(&begin)?.to_owned();
        Some(lines.take_while(|line| line.starts_with("  ")).fold(first, |all, line| format!("{all} {}", line.trim())))
    }

    /// Returns the tests that it names.
    fn tests(&self) -> Vec<String> {
        let part = self.part("Tests").unwrap_or_default();
        part.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
}

/// Returns the entries of one page, in their order.
fn entries_in(list: List, page: &Page) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut inside = false;
    for (at, line) in page.text.lines().enumerate() {
        let number = line.strip_prefix(list.before()).and_then(|rest| rest.split_once(list.behind())?.0.parse().ok());
        if let Some(number) = number {
            found.push(Entry { list, number, place: format!("{}:{}", page.path, at + 1), text: line.to_owned() });
            // A row is a line.
            inside = line.starts_with('#');
        } else if line.starts_with('#') {
            inside = false;
        } else if let (true, Some(entry)) = (inside, found.last_mut()) {
            entry.text.push('\n');
            entry.text.push_str(line);
        }
    }
    found
}

fn entries() -> Vec<Entry> {
    List::ALL.into_iter().flat_map(|list| entries_in(list, &page(Path::new(list.page())))).collect()
}

/// Returns all mentions, including those in the lists themselves.
fn all_mentions() -> Vec<Mention> {
    let found: Vec<Mention> = sources().iter().flat_map(mentions).collect();
    assert!(found.len() > 1_000, "only {} mentions were found", found.len());
    found
}

/// Returns the tests of each number, by name.
fn tests_by_number(mentions: &[Mention]) -> BTreeMap<(List, u32), BTreeSet<&str>> {
    let mut tests: BTreeMap<(List, u32), BTreeSet<&str>> = BTreeMap::new();
    for mention in mentions {
        if let Some(function) = &mention.function {
            tests.entry((mention.list, mention.number)).or_default().insert(function);
        }
    }
    tests
}

fn none(faults: &[String], what: &str) {
    assert!(faults.is_empty(), "{what} ({}):\n  {}", faults.len(), faults.join("\n  "));
}

#[test]
fn every_number_that_is_mentioned_has_an_entry() {
    let known: BTreeSet<(List, u32)> = entries().iter().map(|entry| (entry.list, entry.number)).collect();
    let faults: Vec<String> = all_mentions()
        .iter()
        .filter(|mention| !known.contains(&(mention.list, mention.number)))
        .map(|mention| {
            let (list, number) = (mention.list, mention.number);
            let (name, place) = (list.name(number), mention.place());
            format!("{place}: {name} has no entry; correct the number, or add `{}` to {}", list.form(number), list.page())
        })
        .collect();
    none(&faults, "numbers without an entry");
}

#[test]
fn every_entry_is_proven_or_mentioned() {
    let mentions = all_mentions();
    let tests = tests_by_number(&mentions);
    let mut faults = Vec::new();
    for entry in entries() {
        let (list, number) = (entry.list, entry.number);
        let has_test = tests.contains_key(&(list, number));
        let mentioned_in = |tree: &str| mentions.iter().any(|m| (m.list, m.number) == (list, number) && m.path.starts_with(tree));
        let accepted = entry.part("Accepted");
        let fault = match list {
            List::Rule if mentioned_in("src/") => None,
            List::Rule => Some(format!("nothing in src mentions it; write `{}` where it is applied", list.name(number))),
            List::Kep => {
                let outside = mentions.iter().any(|m| (m.list, m.number) == (list, number) && !m.path.starts_with(DESIGN));
                (!outside).then(|| "nothing mentions it; remove the row".to_owned())
            }
            _ => match accepted {
                Some(_) if has_test => Some("a test has its number now; name it in `- **Tests:**` instead of `- **Accepted:**`".to_owned()),
                Some(limit) if !limit.contains(LIMITS) => Some(format!("`- **Accepted:**` must name the section of {LIMITS} about it")),
                Some(_) => None,
                None if has_test || !entry.tests().is_empty() => None,
                None if list == List::Fault => Some(format!("no test proves it; name one {}", list.test(number))),
                None => Some(format!("no test proves it; name one {}, or name the test that does in `- **Tests:**`", list.test(number))),
            },
        };
        faults.extend(fault.map(|fault| format!("{}: {fault}", entry.name())));
    }
    none(&faults, "entries without a test");
}

#[test]
fn every_test_that_an_entry_names_exists() {
    let sources = sources();
    let functions = functions(&sources);
    let mentions = all_mentions();
    let by_number = tests_by_number(&mentions);
    let mut faults = Vec::new();
    for entry in entries().iter().filter(|entry| matches!(entry.list, List::Threat | List::Invariant)) {
        let named = entry.tests();
        let carrying: Vec<&str> = by_number.get(&(entry.list, entry.number)).into_iter().flatten().copied().collect();
        let these = if carrying.is_empty() { "none".to_owned() } else { carrying.join(", ") };
        for name in named.iter().filter(|name| !functions.contains_key(*name)) {
            faults.push(format!("{}: there is no test `{name}`; tests with this number: {these}", entry.name()));
        }
        if !carrying.is_empty() && !named.iter().any(|name| carrying.contains(&name.as_str())) {
            faults.push(format!("{}: it names none of the tests with its number: {these}", entry.name()));
        }
    }
    none(&faults, "tests that do not exist");
}

#[test]
fn every_test_that_a_page_names_exists() {
    let functions = functions(&sources());
    let mut faults = Vec::new();
    let mut count = 0;
    for page in pages("docs").iter().filter(|page| !page.path.starts_with(DESIGN)) {
        for (at, line) in page.text.lines().enumerate() {
            for code in line.split('`').skip(1).step_by(2).filter(|code| !numbers_of(code).is_empty()) {
                count += 1;
                // The end of a long name may be omitted.
                let begin = code.split(['…', ' ', '.']).next().unwrap_or_default();
                let is_whole = begin == code && !code.ends_with('_');
                if !(functions.contains_key(code) || !is_whole && functions.keys().any(|name| name.starts_with(begin))) {
                    faults.push(format!("{}:{}: there is no test `{code}`; correct the name, or remove it", page.path, at + 1));
                }
            }
        }
    }
    assert!(count > 50, "only {count} names were found");
    none(&faults, "tests that do not exist");
}

#[test]
fn entries_have_one_form_and_a_number_of_their_own() {
    let mut faults = Vec::new();
    let mut seen = BTreeMap::new();
    let mut counts: BTreeMap<List, usize> = BTreeMap::new();
    for entry in entries() {
        *counts.entry(entry.list).or_default() += 1;
        if let Some(earlier) = seen.insert((entry.list, entry.number), entry.place.clone()) {
            faults.push(format!("{}: the number already belongs to {earlier}; use the next one that was never used", entry.name()));
        }
        let missing = |part: &str| entry.part(part).is_none_or(|text| text.is_empty());
        match entry.list {
            List::Threat if missing("Guard") => faults.push(format!("{}: it has no `- **Guard:** ...`", entry.name())),
            List::Threat | List::Invariant if missing("Tests") && missing("Accepted") => {
                faults.push(format!("{}: it has neither `- **Tests:** ...` nor `- **Accepted:** ...`", entry.name()));
            }
            List::Fault | List::Kep => {
                let cells: Vec<&str> = entry.text.trim_matches('|').split(" | ").map(str::trim).collect();
                let expected = if entry.list == List::Fault { 3 } else { 2 };
                if cells.len() != expected || cells.iter().any(|cell| cell.is_empty()) {
                    faults.push(format!("{}: its row has {} cells instead of {expected}", entry.name(), cells.len()));
                }
            }
            _ => {}
        }
    }
    none(&faults, "entries in a different form");
    assert!(List::ALL.iter().all(|list| counts.get(list).is_some_and(|count| *count > 0)), "a list is empty: {counts:?}");
}

#[test]
fn no_number_is_of_a_list_that_there_is_not() {
    let faults: Vec<String> = sources().iter().flat_map(strangers).collect();
    none(&faults, "numbers without a list");
}

#[test]
fn an_entry_is_read_as_a_whole() {
    let text = "# Threats\n\n### T1: A\n\nWhat.\n\n- **Guard:** one\n  more\n- **Tests:** `t1_a`,\n  `t1_b`\n\n## Next\n\nNot `t1_c`.\n\n### T2: B\n";
    let page = Page { path: "docs/design/threats.md".to_owned(), text: text.to_owned() };
    let found = entries_in(List::Threat, &page);
    assert_eq!(
        found.iter().map(|entry| (entry.number, entry.place.as_str())).collect::<Vec<_>>(),
        [(1, "docs/design/threats.md:3"), (2, "docs/design/threats.md:16")]
    );
    assert_eq!(found[0].part("Guard").as_deref(), Some("one more"));
    assert_eq!(found[0].tests(), ["t1_a", "t1_b"]);
    assert!(found[1].tests().is_empty() && found[0].part("Accepted").is_none());
    let page = Page { path: String::new(), text: "| F07 | input | behavior |\n| F8 | x |\n".to_owned() };
    assert_eq!(entries_in(List::Fault, &page).iter().map(|entry| entry.number).collect::<Vec<_>>(), [7, 8]);
}
