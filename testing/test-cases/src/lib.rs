//! Test cases of the rules: one decision with everything that it rests on.
//!
//! This crate is the only one that builds them. [`case`] is a small scenario in which `dev` of the group `devs` is granted every request.
//! There are three ways to another one:
//!
//! * by hand, for a test of one rule, which changes only what it is about: `two_eyes().approves(&lead(1), 5)`;
//! * from a text of a few lines ([`TestCase::read`]), which libFuzzer mutates and `fuzz/corpus` keeps;
//! * at random ([`random`]), for properties.
//!
//! The tests of `src/domain` use the first and the last. The fuzz targets of `testing/fuzzing` use the second, and property tests there
//! check their assertions with the last as well. libFuzzer does not mutate a seed of random test cases: a corpus of seeds could not be
//! read, and would mean something else after each change of the strategies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is for tests, and a panic is a finding")]
#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, clippy::return_self_not_must_use, reason = "all of it is for tests")]

mod builders;
mod gain;
pub mod random;
mod scenario;
mod test_case;

pub use builders::{
    BINDING, REQUEST_UID, Shown, at, dev, lasting, lead, line, object, peer, people, person, rule, stage, stored, subject, uid,
};
pub use scenario::WORDS;
pub use test_case::{TestCase, case, report, two_eyes};
