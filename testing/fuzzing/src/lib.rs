//! The assertions of the fuzz targets, one file per target.
//!
//! libFuzzer calls these functions from `fuzz/fuzz_targets`. `tests/corpus.rs` calls them with everything in `fuzz/corpus` and with
//! mutations of it, on a stable toolchain and with every `cargo test --workspace`. A check accepts any bytes, reads them as text, and
//! panics where the product violates a property. `docs/fuzzing.md` lists what each one asserts.

#![allow(clippy::missing_panics_doc, reason = "a check reports a violation by a panic")]
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
mod windows;

pub use digest::covers;
use mutate::Mutation;
pub use rules::holds;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its directory in `fuzz/corpus`.
    pub name: &'static str,
    /// The assertion about any input.
    pub check: fn(&[u8]),
    /// The mutation of its inputs.
    pub mutation: Mutation,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "admission", check: admission::check, mutation: Mutation::Json(admission::WORDS) },
    Target { name: "canonical", check: canonical::check, mutation: Mutation::Json(canonical::WORDS) },
    Target { name: "digest", check: digest::check, mutation: Mutation::Text(test_cases::WORDS) },
    Target { name: "durations", check: durations::check, mutation: Mutation::Text(durations::WORDS) },
    Target { name: "patterns", check: patterns::check, mutation: Mutation::Text(patterns::WORDS) },
    Target { name: "risks", check: risks::check, mutation: Mutation::Text(risks::WORDS) },
    Target { name: "rules", check: rules::check, mutation: Mutation::Text(test_cases::WORDS) },
    Target { name: "windows", check: windows::check, mutation: Mutation::Text(windows::WORDS) },
];

/// Returns the target of this name.
#[must_use]
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target '{name}'"))
}

/// Returns bytes as text; invalid UTF-8 becomes the replacement character.
fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// Returns true for text that may be shown in a terminal unescaped (T13, invariant 26).
fn is_printable(text: &str) -> bool {
    !text.chars().any(api::text::is_forbidden)
}
