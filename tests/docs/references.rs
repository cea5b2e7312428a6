//! Numbers of the lists in `docs/design`, as code, charts, tests and pages mention them.

use std::{collections::BTreeMap, path::Path};

use crate::files::{Page, files, page, root};

/// The directories and files that are searched.
const TREES: [&str; 11] =
    ["benches", "charts", "crds", "docs", "examples", "fuzz/fuzz_targets", "fuzz/src", "release", "src", "testing", "tests"];
const FILES: [&str; 5] = ["CHANGELOG.md", "Cargo.toml", "Dockerfile", "Makefile", "README.md"];
const EXTENSIONS: [&str; 9] = ["go", "json", "md", "rs", "sh", "toml", "tpl", "txt", "yaml"];
/// This file contains examples of invalid references.
const HERE: &str = "tests/docs/references.rs";
/// The pages that have the lists.
pub const DESIGN: &str = "docs/design/";

/// A list of `docs/design`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// `T28`, `t28_...`.
    Threat,
    /// `invariant 8`, `inv_08_...`.
    Invariant,
    /// `F41`, `f41_...`.
    Fault,
    /// `api rule 9`.
    Rule,
    /// `KEP-2340`.
    Kep,
}

impl List {
    /// Returns a number of this list, in the form of prose.
    pub fn name(self, number: u32) -> String {
        match self {
            Self::Threat => format!("T{number}"),
            Self::Invariant => format!("invariant {number}"),
            Self::Fault => format!("F{number:02}"),
            Self::Rule => format!("api rule {number}"),
            Self::Kep => format!("KEP-{number}"),
        }
    }
}

/// A number of a list, and the location of its mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The list.
    pub list: List,
    /// The number.
    pub number: u32,
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The function whose name mentions it; none for prose.
    pub function: Option<String>,
}

impl Mention {
    /// `src/a.rs:12`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.path, self.line)
    }
}

/// Returns all searched files.
pub fn sources() -> Vec<Page> {
    let trees = TREES.into_iter().filter(|tree| root().join(tree).is_dir());
    let mut paths: Vec<_> = trees.flat_map(|tree| EXTENSIONS.into_iter().flat_map(move |extension| files(tree, extension))).collect();
    paths.extend(FILES.map(|name| root().join(name)).into_iter().filter(|path| path.is_file()));
    paths.iter().map(|path| page(path)).filter(|page| page.path != HERE).collect()
}

/// A text as one line, without comment markers: a list of numbers can continue on the next line.
struct Flat {
    text: String,
    /// The start of each line.
    starts: Vec<usize>,
}

impl Flat {
    fn of(text: &str) -> Self {
        let mut flat = Self { text: String::with_capacity(text.len()), starts: Vec::new() };
        for line in text.lines() {
            flat.starts.push(flat.text.len());
            flat.text.push_str(line.trim().trim_start_matches(['/', '!', '#', '*']).trim_start());
            flat.text.push(' ');
        }
        flat
    }

    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Returns the words of letters, digits and `_`, with their positions.
    fn words(&self) -> Vec<(usize, &str)> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut words = Vec::new();
        let mut begun = None;
        for (at, c) in self.text.char_indices() {
            match (begun, is_part(c)) {
                (None, true) => begun = Some(at),
                (Some(start), false) => {
                    words.push((start, &self.text[start..at]));
                    begun = None;
                }
                _ => {}
            }
        }
        words
    }
}

/// Returns the number, if `text` contains nothing else.
fn number(text: &str) -> Option<u32> {
    (text.len() <= 4 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Returns the numbers at the start of `text`: ` 3`, ` 2, 3 and 13`, ` 3 to 14 and 26`.
fn numbers(text: &str) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut rest = text;
    let mut separators: &[&str] = &[" "];
    loop {
        let next = separators.iter().find_map(|separator| {
            let behind = rest.strip_prefix(separator)?;
            let digits = behind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(behind.len());
            Some((*separator, number(&behind[..digits])?, &behind[digits..]))
        });
        let Some((separator, number, behind)) = next else { return found };
        match found.last() {
            Some(last) if separator == " to " => found.extend(last + 1..=number),
            _ => found.push(number),
        }
        rest = behind;
        separators = &[", and ", ", ", " and ", " or ", " to "];
    }
}

/// Returns the numbers at the start of a function's name: `t33_t34_inv_31_...`, `inv_01_08_...`, `inv_01_to_16_...`.
pub fn numbers_of(name: &str) -> Vec<(List, u32)> {
    let parts: Vec<&str> = name.split('_').collect();
    let invariant = |at: usize| parts.get(at).filter(|part| part.len() == 2).and_then(|part| number(part));
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(part) = parts.get(at) {
        at += 1;
        if *part == "inv" {
            while let Some(number) = invariant(at) {
                found.push((List::Invariant, number));
                at += 1;
                if let (Some(&"to"), Some(last)) = (parts.get(at), invariant(at + 1)) {
                    found.extend((number + 1..=last).map(|number| (List::Invariant, number)));
                    at += 2;
                }
            }
            continue;
        }
        // `f64` alone is a type.
        let of = |list, letter| Some((list, number(part.strip_prefix(letter)?)?)).filter(|_| parts.len() > 1);
        match of(List::Threat, 't').or_else(|| of(List::Fault, 'f')) {
            Some(numbered) => found.push(numbered),
            None => break,
        }
    }
    found
}

/// Returns the numbers that `word` mentions, with the text after it. `before` is the word before it.
fn numbers_at(before: &str, word: &str, behind: &str, in_design: bool) -> Vec<(List, u32)> {
    let all = |list, numbers: Vec<u32>| numbers.into_iter().map(|number| (list, number)).collect();
    // In a time, as `T00:00:00`, it is followed by minutes.
    let is_time = behind.strip_prefix(':').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let single = |letter| word.strip_prefix(letter).and_then(number).filter(|_| !is_time);
    match word.to_lowercase().as_str() {
        "invariant" | "invariants" => all(List::Invariant, numbers(behind)),
        "rule" | "rules" if in_design || before.eq_ignore_ascii_case("api") => all(List::Rule, numbers(behind)),
        "kep" => {
            let digits = behind.strip_prefix('-').map_or("", |rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
            all(List::Kep, number(digits).into_iter().collect())
        }
        _ => match (single('T'), single('F')) {
            (Some(number), _) => vec![(List::Threat, number)],
            (_, Some(number)) => vec![(List::Fault, number)],
            (None, None) => numbers_of(word),
        },
    }
}

/// Returns the numbers that a file mentions.
pub fn mentions(page: &Page) -> Vec<Mention> {
    let flat = Flat::of(&page.text);
    let in_design = page.path.starts_with(DESIGN);
    let mut found = Vec::new();
    let mut before = "";
    for (at, word) in flat.words() {
        let function = (before == "fn").then(|| word.to_owned());
        let numbers = numbers_at(before, word, &flat.text[at + word.len()..], in_design);
        found.extend(numbers.into_iter().map(|(list, number)| Mention {
            list,
            number,
            path: page.path.clone(),
            line: flat.line(at),
            function: function.clone(),
        }));
        before = word;
    }
    found
}

/// Returns the functions of all Rust files by name, with one location of each.
pub fn functions(sources: &[Page]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for page in sources.iter().filter(|page| Path::new(&page.path).extension().is_some_and(|extension| extension == "rs")) {
        let flat = Flat::of(&page.text);
        for pair in flat.words().windows(2).filter(|pair| pair[0].1 == "fn") {
            found.insert(pair[1].1.to_owned(), format!("{}:{}", page.path, flat.line(pair[1].0)));
        }
    }
    found
}

/// Returns mentions in the form of a list that does not exist, with their location and the correct form.
pub fn strangers(page: &Page) -> Vec<String> {
    let flat = Flat::of(&page.text);
    let words = flat.words();
    let mut found = Vec::new();
    for (place, (at, word)) in words.iter().enumerate() {
        let behind = &flat.text[at + word.len()..];
        let digit_behind = |prefix| behind.strip_prefix(prefix).is_some_and(|rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()));
        let before = place.checked_sub(1).map_or("", |place| words[place].1);
        // `b03_...` has the form of a list; `x509_...` and `v1_...` do not.
        let lettered = word.split_once('_').and_then(|(first, _)| {
            let letter = first.chars().next().filter(char::is_ascii_lowercase)?;
            number(first.get(1..)?).filter(|_| first.len() <= 3).map(|_| letter)
        });
        let what = match *word {
            "VAP" if digit_behind("-") => Some("name the admission policy by its name in the chart, such as `bindings`"),
            "threats" | "Threats" if digit_behind(" ") => Some("name a threat as T28"),
            "api" if behind.starts_with(" \"") => Some("name a rule as `api rule 9`, or the page of docs/design"),
            _ if before == "fn" && lettered.is_some_and(|letter| !['t', 'f', 'v'].contains(&letter)) => {
                Some("no list has such numbers; name the test after a threat, an invariant or a fault, or give it no number")
            }
            _ => None,
        };
        if let Some(what) = what {
            let text: String = flat.text[*at..].chars().take(40).collect();
            found.push(format!("{}:{}: `{text}`: {what}", page.path, flat.line(*at)));
        }
    }
    found
}

#[test]
fn numbers_are_found_however_they_are_written() {
    use List::{Fault, Invariant, Kep, Rule, Threat};
    let found = |path: &str, text: &str| -> Vec<(List, u32, usize)> {
        let page = Page { path: path.to_owned(), text: text.to_owned() };
        mentions(&page).into_iter().map(|mention| (mention.list, mention.number, mention.line)).collect()
    };
    for (text, expected) in [
        ("/// a finalizer (T28, T4).", vec![(Threat, 28, 1), (Threat, 4, 1)]),
        ("at 2026-11-01T12:00:00Z, {:02}T00:00:00, UTF8, T, TT1, T1x", vec![]),
        ("// F65: a part that adds nothing\n// (F61)", vec![(Fault, 65, 1), (Fault, 61, 2)]),
        ("fn t33_t34_inv_31_kill_9_at() -> f64 {}", vec![(Threat, 33, 1), (Threat, 34, 1), (Invariant, 31, 1)]),
        ("inv_01_08_without inv_16_31", vec![(Invariant, 1, 1), (Invariant, 8, 1), (Invariant, 16, 1), (Invariant, 31, 1)]),
        ("inv_01_to_03_no", vec![(Invariant, 1, 1), (Invariant, 2, 1), (Invariant, 3, 1)]),
        ("f16_f64_nobody() f64 as_f64 of_t1_x t_1 f1x_y", vec![(Fault, 16, 1), (Fault, 64, 1)]),
        ("//! (T42, invariants\n//! 14 and 21).", vec![(Threat, 42, 1), (Invariant, 14, 1), (Invariant, 21, 1)]),
        ("Invariant 8: an end is an end; invariants hold, invariant 1), 2", vec![(Invariant, 8, 1), (Invariant, 1, 1)]),
        (
            "(invariants 3 to 5 and 26, api rules 2, 3 and 13)",
            vec![(Invariant, 3, 1), (Invariant, 4, 1), (Invariant, 5, 1), (Invariant, 26, 1), (Rule, 2, 1), (Rule, 3, 1), (Rule, 13, 1)],
        ),
        ("rule 9, api rule 9, Api rule 10: x, rules[0]", vec![(Rule, 9, 1), (Rule, 10, 1)]),
        ("Kubernetes 1.31 (KEP-2340)", vec![(Kep, 2340, 1)]),
    ] {
        assert_eq!(found("src/a.rs", text), expected, "{text}");
    }
    assert_eq!(found("docs/design/a.md", "see [rules 2 and 3](rules.md)"), [(Rule, 2, 1), (Rule, 3, 1)]);
}

#[test]
fn what_no_list_has_is_found() {
    for (text, is_strange) in [
        ("fn b03_a_sentence() {}", true),
        ("//! (VAP-3)", true),
        ("//! (threats 2.8)", true),
        ("//! (T18, api \"Risk classes\")", true),
        ("fn t03_a() {} fn f03_b() {} fn x509_a() {} fn v1_a() {} fn p52() {} let b03_a = 1;", false),
        ("threats and VAP, the api rules", false),
    ] {
        let page = Page { path: "src/a.rs".to_owned(), text: text.to_owned() };
        assert_eq!(strangers(&page).len(), usize::from(is_strange), "{text}");
    }
}
