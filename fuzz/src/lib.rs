//! What every fuzz target does: libFuzzer's inputs go to a check of `testing/fuzzing`, and its mutations are the ones that the tests use too,
//! but for every third.

pub use fuzzing::target;
pub use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// The target of this name, for a file with nothing else in it.
#[macro_export]
macro_rules! fuzzed {
    ($name:literal) => {
        $crate::fuzz_target!(|data: &[u8]| ($crate::target($name).check)(data));
        $crate::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let other = $crate::target($name).mutation.in_place(&mut data[..max_size], size, seed);
            other.unwrap_or_else(|| $crate::fuzzer_mutate(data, size, max_size))
        });
    };
}
