//! Words that the project does not use in prose: comments, messages, help texts and pages.

use std::{fs, path::Path};

/// Where people read or write prose.
const ROOTS: [&str; 15] = [
    "src",
    "charts",
    "crds",
    "docs",
    "tests",
    "testing",
    "benches",
    "fuzz/fuzz_targets",
    "release",
    "Dockerfile",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
];
/// The endings of text files, apart from those without one.
const ENDINGS: [&str; 10] = ["rs", "md", "yaml", "yml", "tpl", "txt", "json", "toml", "awk", "sh"];
/// This file lists the words.
const NOT_READ: &str = "tests/house/words.rs";

/// Words and phrases, and what to write instead. A person is "they", or has a role. The others were names that only this project understood.
const UNWANTED: &[(&str, &[&str])] = &[
    ("the role (requester, approver, author), or \"they\"", &["he", "his", "him", "himself", "she", "her", "herself"]),
    ("admission", &["door", "doors"]),
    ("accepted, recorded, held", &["taken"]),
    ("reports", &["is said", "are said", "was said", "is told", "are told", "was told"]),
    ("denies", &["says no", "say no"]),
    ("from the API server's cache", &["at hand"]),
    ("a consistent read", &["as of now"]),
    ("handler", &["desk", "desks"]),
    ("concurrency limit, permit", &["turn", "turns", "shares"]),
    ("observed, event", &["seen", "sight", "sights", "sighting", "sightings"]),
    ("baseline, namespace fixture, field path, position", &["ground", "grounds", "place", "places"]),
    ("product", &["ours"]),
    ("end-to-end test", &["journey", "journeys"]),
    ("execute, run", &["play", "plays", "played", "playing"]),
    ("control plane", &["plane", "planes"]),
    ("minimum resource version", &["horizon", "horizons"]),
    ("context", &["surroundings"]),
    ("peers, in addition to, next to", &["beside", "besides"]),
    ("caches, snapshot", &["world", "worlds"]),
    ("active or pending request", &["one live", "live request", "live requests"]),
    ("description", &["in words"]),
    ("requeue, read again", &["look again", "looks again", "looked again", "looking again"]),
    ("poll interval, backoff, delay", &["nap", "naps", "pause", "pauses"]),
    ("verify", &["doubt", "doubts"]),
    ("denial, approval", &["the no", "a yes"]),
    ("extension chain, reference", &["link", "links", "chain of grants", "chains of grants"]),
    ("completed requests, expired", &["ended request", "ended requests", "is over", "are over", "was over", "were over", "be over"]),
    ("deactivate", &["give back", "gives back", "gave back", "given back", "giving back"]),
    ("withdraw", &["take back", "takes back", "took back", "taking back"]),
    ("revoke", &["take away", "takes away", "took away", "taking away"]),
    ("JSON bounds check", &["survey", "surveys"]),
    ("restored", &["put back", "puts back"]),
    ("again, recreated", &["anew"]),
    ("someone, another user", &["somebody", "whoever"]),
    ("extends", &["prolong", "prolongs", "prolonged", "prolonging"]),
];

/// Returns the lines of prose in a file, each with its number. Of sources these are comments, and string literals with a blank; of Markdown
/// what is not code; of manifests of cargo and make the comments; of everything else all lines.
fn prose(ending: &str, text: &str) -> Vec<(usize, String)> {
    match ending {
        "rs" => prose_of_source(text),
        "md" => {
            let mut fenced = false;
            let mut is_prose = |line: &str| {
                let fence = line.trim_start().starts_with("```");
                fenced ^= fence;
                !fence && !fenced && !line.starts_with("    ")
            };
            text.lines().enumerate().filter(|(_, line)| is_prose(line)).map(|(number, line)| (number + 1, without_targets(line))).collect()
        }
        "" | "toml" => {
            let comment = |(number, line): (usize, &str)| Some((number + 1, line.split_once('#')?.1.to_owned()));
            text.lines().enumerate().filter_map(comment).collect()
        }
        // Comments and messages; a command may be called as it likes.
        "sh" => {
            let is_prose = |line: &&str| line.contains('#') || line.contains("echo ");
            let lines = text.lines().enumerate().filter(|(_, line)| is_prose(line));
            lines.map(|(number, line)| (number + 1, line.to_owned())).collect()
        }
        _ => text.lines().enumerate().map(|(number, line)| (number + 1, line.to_owned())).collect(),
    }
}

fn prose_of_source(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut rest, mut number) = (text, 1);
    let add = |found: &mut Vec<(usize, String)>, number: usize, text: &str| {
        found.extend(text.lines().enumerate().map(|(offset, line)| (number + offset, line.to_owned())));
    };
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            add(&mut found, number, &rest[2..length]);
            length
        } else if let Some((quote, hashes)) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = &rest[quote..];
            let length = body.find(&end).unwrap_or(body.len());
            add(&mut found, number, &body[..length]);
            rest.len().min(quote + length + end.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, letter)| {
                let ends = *letter == '"' && !escaped;
                escaped = *letter == '\\' && !escaped;
                ends
            });
            let end = end.map_or(rest.len(), |(at, _)| at);
            if rest[1..end].trim().contains(' ') {
                add(&mut found, number, &rest[1..end]);
            }
            rest.len().min(end + 1)
        } else {
            // A character, or the tick of a lifetime.
            ["'\"'", "'\\\"'"].iter().find(|literal| rest.starts_with(**literal)).map_or(first.len_utf8(), |literal| literal.len())
        };
        number += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// Returns where the body of a raw string begins, and the number of its hashes.
fn raw_string(text: &str) -> Option<(usize, usize)> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some((hashes + 2, hashes))
}

/// Returns a line without the addresses of its links.
fn without_targets(line: &str) -> String {
    let mut parts = line.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| line + "] " + part.split_once(')').map_or("", |(_, after)| after))
}

/// Returns the words of a line in lower case, without code in backticks and without placeholders.
fn words(line: &str) -> Vec<String> {
    let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" x ");
    let mut depth = 0_usize;
    let outside: String = outside
        .chars()
        .map(|letter| {
            depth = match letter {
                '{' => depth + 1,
                '}' => depth.saturating_sub(1),
                _ => depth,
            };
            if depth > 0 { ' ' } else { letter }
        })
        .collect();
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    outside.split(|letter| !is_word(letter)).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Returns the unwanted word or phrase of a line, and what to write instead.
fn unwanted(line: &str) -> Option<(&'static str, &'static str)> {
    let words = words(line);
    let has = |phrase: &str| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.windows(phrase.len()).enumerate().any(|(at, window)| {
            let is_term = phrase[0].starts_with("plane") && at > 0 && words[at - 1] == "control";
            !is_term && window.iter().zip(&phrase).all(|(word, wanted)| word == wanted)
        })
    };
    UNWANTED.iter().find_map(|(instead, phrases)| phrases.iter().find(|phrase| has(phrase)).map(|phrase| (*phrase, *instead)))
}

/// Adds the lines with unwanted words of a file, or of the files below a directory.
fn find(path: &Path, found: &mut Vec<String>) {
    if path.ends_with(NOT_READ) {
        return;
    }
    if path.is_dir() {
        let mut below: Vec<_> =
            fs::read_dir(path).expect("the directory can be read").map(|entry| entry.expect("an entry").path()).collect();
        below.sort();
        for path in below {
            find(&path, found);
        }
        return;
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !ending.is_empty() && !ENDINGS.contains(&ending) {
        return;
    }
    let Ok(text) = fs::read_to_string(path) else { return };
    for (number, line) in prose(ending, &text) {
        if let Some((word, instead)) = unwanted(&line) {
            found.push(format!("{}:{number}: '{word}': write {instead}: {}", path.display(), line.trim()));
        }
    }
}

#[test]
fn prose_uses_the_words_of_kubernetes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for name in ROOTS {
        let path = root.join(name);
        assert!(path.exists(), "{name} is missing");
        find(&path, &mut found);
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

#[test]
fn only_prose_is_read() {
    let source =
        "let door = \"door\"; // the first door\nlet text = \"the door\nof two\"; let c = '\"'; // a second door\nr#\"raw door\"#\n";
    let lines: Vec<(usize, String)> = prose("rs", source).into_iter().filter(|(_, line)| unwanted(line).is_some()).collect();
    let lines: Vec<(usize, &str)> = lines.iter().map(|(number, line)| (*number, line.trim())).collect();
    assert_eq!(lines, [(1, "the first door"), (2, "the door"), (3, "a second door"), (4, "raw door")]);
    let page = "# A door\n```\ndoor\n```\n    door\nThe [page](door.md) has `door`.\n";
    assert_eq!(
        prose("md", page).into_iter().filter(|(_, line)| unwanted(line).is_some()).collect::<Vec<_>>(),
        [(1, "# A door".to_owned())]
    );
}

#[test]
fn a_word_is_found_as_a_word_and_a_phrase_as_a_phrase() {
    for (line, expected) in [
        ("the, this: he asks", Some("he")),
        ("then this", None),
        ("It was given back.", Some("given back")),
        ("given the back", None),
        ("the control plane, a control-plane", None),
        ("the plane", Some("plane")),
        ("{door} and {a {door}}", None),
    ] {
        assert_eq!(unwanted(line).map(|(word, _)| word), expected, "{line}");
    }
}
