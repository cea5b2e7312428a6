//! Whoever asks what proves an invariant finds a test by its number.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::files::root;

/// How many there are.
const ALL: u32 = 31;
/// Of the audit trail, which is not built yet.
const TRAIL: u32 = 25;

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_invariant_has_a_test_that_carries_its_number() {
    let mut paths = Vec::new();
    for directory in ["src", "tests"] {
        sources(&root().join(directory), &mut paths);
    }
    // A comment names an invariant in another way.
    let text: String = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let without: Vec<u32> = (1..=ALL).filter(|number| *number != TRAIL && !text.contains(&format!("inv_{number:02}_"))).collect();
    assert!(without.is_empty(), "no test has these invariants in its name: {without:?}");
}
