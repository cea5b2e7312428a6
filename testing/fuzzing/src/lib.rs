//! What the fuzz targets assert, one file a target.
//!
//! libFuzzer calls these functions from `fuzz/fuzz_targets`, and `tests/corpus.rs` calls them with everything in `fuzz/corpus` and with
//! mutations of it, on a stable toolchain and with every `cargo test --workspace`. A check takes any bytes, reads them as text, and
//! panics where the product breaks its word. `docs/fuzzing.md` says what each one asserts.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a check says no")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is a finding, with the input that led to it")]

mod admission;
mod canonical;
mod cluster;
mod digest;
mod durations;
pub mod mutate;
mod patterns;
mod risks;
mod rules;
mod scenario;
mod windows;

use mutate::Mutation;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, that of its directory in `fuzz/corpus` too.
    pub name: &'static str,
    /// What it asserts about any input.
    pub check: fn(&[u8]),
    /// How its inputs are changed into others.
    pub mutation: Mutation,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "admission", check: admission::check, mutation: Mutation::Json(admission::WORDS) },
    Target { name: "canonical", check: canonical::check, mutation: Mutation::Json(canonical::WORDS) },
    Target { name: "digest", check: digest::check, mutation: Mutation::Text(scenario::WORDS) },
    Target { name: "durations", check: durations::check, mutation: Mutation::Text(durations::WORDS) },
    Target { name: "patterns", check: patterns::check, mutation: Mutation::Text(patterns::WORDS) },
    Target { name: "risks", check: risks::check, mutation: Mutation::Text(risks::WORDS) },
    Target { name: "rules", check: rules::check, mutation: Mutation::Text(scenario::WORDS) },
    Target { name: "windows", check: windows::check, mutation: Mutation::Text(windows::WORDS) },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target '{name}'"))
}

/// Bytes as text; what is no UTF-8 becomes the replacement character.
fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// True for what may be shown in a terminal as it stands (T13, invariant 26).
fn is_printable(text: &str) -> bool {
    !text.chars().any(api::text::is_forbidden)
}
