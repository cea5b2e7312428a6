//! The kinds and the rules read no clock: the time is a parameter.
//!
//! The features of the crates do not prove it, because kube enables the clock of jiff. So this test reads the text, tests included.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::imports::tokens;

/// The directories without a clock.
const ROOTS: [&str; 2] = ["src/api", "src/domain"];
/// The functions that read a clock or the time zone of the machine, whatever their type.
const FUNCTIONS: [[&str; 2]; 4] = [["::", "now"], ["::", "system"], ["::", "try_system"], [".", "elapsed"]];
/// The types of the standard library's clocks.
const TYPES: [&str; 2] = ["Instant", "SystemTime"];

/// Returns the functions and types of a clock in a Rust text.
fn clocks(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let functions = tokens.windows(2).filter(|pair| FUNCTIONS.iter().any(|name| pair == name)).map(<[String]>::concat);
    functions.chain(tokens.iter().filter(|token| TYPES.contains(&token.as_str())).cloned()).collect()
}

/// Returns the Rust files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory can be read").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect()
}

#[test]
fn the_kinds_and_the_rules_have_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ROOTS {
        let files = files(&root.join(name));
        assert!(files.iter().any(|file| file.ends_with("lib.rs")), "the files of {name} were not found");
        for file in files {
            let found = clocks(&fs::read_to_string(&file).expect("the file can be read"));
            assert!(found.is_empty(), "{} reads a clock: {found:?}", file.display());
        }
    }
}

#[test]
fn a_clock_is_found_however_it_is_written() {
    for text in [
        "let now = Timestamp::now();",
        "let clock = jiff :: Zoned :: now;",
        "use jiff::Timestamp as T; const A: fn() -> T = T::now;",
        "std::time::UNIX_EPOCH.elapsed()",
        "use std::time::{Duration, Instant};",
        "use std::time::SystemTime as S;",
        "TimeZone::system()",
    ] {
        assert_eq!(clocks(text).len(), 1, "{text}");
    }
    for text in
        ["fn decide(now: Timestamp) { now.duration_since(now) }", "// Timestamp::now()", "\"Timestamp::now()\"", "not_now(world.now)"]
    {
        assert_eq!(clocks(text), [""; 0], "{text}");
    }
}
