//! Words that the project does not use.

use std::{fs, path::Path};

/// Where people read or write prose.
const ROOTS: [&str; 12] = [
    "src",
    "charts",
    "crds",
    "docs",
    "tests",
    "testing",
    "benches",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
];
/// The endings of text files, apart from those without one.
const ENDINGS: [&str; 9] = ["rs", "md", "yaml", "yml", "tpl", "txt", "json", "toml", "awk"];
/// A person is "they", or has a role. The words are in two parts, because this file is read too.
const PRONOUNS: [&str; 7] = [
    concat!("h", "e"),
    concat!("h", "is"),
    concat!("h", "im"),
    concat!("h", "imself"),
    concat!("sh", "e"),
    concat!("h", "er"),
    concat!("h", "erself"),
];

/// The lines of a file, or of the files below a directory, that have one of `words`.
fn lines_with(path: &Path, words: &[&str], found: &mut Vec<String>) {
    if path.is_dir() {
        let mut below: Vec<_> =
            fs::read_dir(path).expect("the directory can be read").map(|entry| entry.expect("an entry").path()).collect();
        below.sort();
        for path in below {
            lines_with(&path, words, found);
        }
        return;
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    if ending.is_some_and(|ending| !ENDINGS.contains(&ending)) {
        return;
    }
    let Ok(text) = fs::read_to_string(path) else { return };
    for (number, line) in text.lines().enumerate() {
        let is_one = |word: &str| words.iter().any(|unwanted| word.eq_ignore_ascii_case(unwanted));
        if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(is_one) {
            found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
        }
    }
}

#[test]
fn people_are_they_or_have_a_role() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for name in ROOTS {
        let path = root.join(name);
        assert!(path.exists(), "{name} is missing");
        lines_with(&path, &PRONOUNS, &mut found);
    }
    assert!(found.is_empty(), "use the role (requester, approver, author), or \"they\":\n{}", found.join("\n"));
}

#[test]
fn a_word_is_found_as_a_word_only() {
    let directory = std::env::temp_dir().join(format!("jit-rbac-words-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("page.md"), format!("the, this\n{} asks\n", PRONOUNS[0])).unwrap();
    fs::write(directory.join("picture.svg"), PRONOUNS[0]).unwrap();
    let mut found = Vec::new();
    lines_with(&directory, &PRONOUNS, &mut found);
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("page.md:2: "), "{found:?}");
}
