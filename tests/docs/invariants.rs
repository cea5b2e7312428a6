//! Whoever asks what proves an invariant finds a test by its number.

use std::fs;

use crate::files::files;

/// How many there are.
const ALL: u32 = 31;
/// Of the audit trail, which is not built yet.
const TRAIL: u32 = 25;

#[test]
fn every_invariant_has_a_test_that_carries_its_number() {
    // A comment names an invariant in another way.
    let text: String =
        ["src", "tests"].into_iter().flat_map(|directory| files(directory, "rs")).map(|path| fs::read_to_string(path).unwrap()).collect();
    let without: Vec<u32> = (1..=ALL).filter(|number| *number != TRAIL && !text.contains(&format!("inv_{number:02}_"))).collect();
    assert!(without.is_empty(), "no test has these invariants in its name: {without:?}");
}
