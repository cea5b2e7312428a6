//! The corpus of the fuzz targets as tests: every file of `fuzz/corpus`, and some thousand mutations of them. The mutations are always the
//! same ones, as many of each target as a debug build runs in a few seconds.
//!
//! `MUTATIONS=1000000 cargo test -p fuzzing --test corpus` runs more, `SEED=7` others; both replace libFuzzer where there is no nightly
//! toolchain.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "all of it is a test")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use fuzzing::{TARGETS, Target, mutate::Dice, target};

/// Maximum number of files of the whole corpus, so that it stays readable.
const FILES: usize = 200;
/// Largest file, in bytes.
const LARGEST: u64 = 4 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// Returns the names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is '{text}', and must be a number")))
}

/// Checks one input; a failure names the input.
fn held(target: Target, name: &str, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.check)(data))).is_err() {
        let text = String::from_utf8_lossy(data);
        panic!(
            "{} does not hold for {name}; as a file of fuzz/corpus/{} it would be\n{text}\n=== {}",
            target.name,
            target.name,
            data.escape_ascii()
        );
    }
}

fn replay(target: Target, mutations: usize) {
    let directory = corpus().join(target.name);
    let files: Vec<(String, Vec<u8>)> =
        names(&directory).into_iter().map(|name| (name.clone(), std::fs::read(directory.join(name)).unwrap())).collect();
    assert!(!files.is_empty(), "{} has no corpus", target.name);
    for (name, data) in &files {
        held(target, name, data);
    }
    let seed = number("SEED", 0);
    let mut dice = Dice::new(u64::try_from(seed).unwrap());
    for mutation in 0..number("MUTATIONS", mutations) {
        let (name, data) = &files[dice.below(files.len())];
        held(target, &format!("mutation {mutation} (of {name}, SEED={seed})"), &target.mutation.of(data, &mut dice));
    }
}

macro_rules! replayed {
    ($($name:ident $mutations:literal)*) => {
        $(
            #[test]
            fn $name() {
                replay(target(stringify!($name)), $mutations);
            }
        )*

        #[test]
        fn every_target_is_replayed_and_can_be_run() {
            let here = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(here.as_slice(), all);
            assert_eq!(names(&corpus()), all);
            let files: Vec<String> = all.iter().map(|name| format!("{name}.rs")).collect();
            assert_eq!(names(&corpus().join("../fuzz_targets")), files);
        }
    };
}

replayed!(admission 250 canonical 1000 digest 100 durations 4000 patterns 100 risks 300 rules 200 windows 100);

#[test]
fn the_corpus_stays_small_enough_to_be_read() {
    let files: Vec<PathBuf> = names(&corpus())
        .iter()
        .map(|name| corpus().join(name))
        .flat_map(|at| names(&at).into_iter().map(move |name| at.join(name)))
        .collect();
    assert!(files.len() <= FILES, "{} files", files.len());
    for file in files {
        assert!(std::fs::metadata(&file).unwrap().len() <= LARGEST, "{} is too large", file.display());
    }
}
