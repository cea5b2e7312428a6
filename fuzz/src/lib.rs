//! The shared body of the fuzz targets: libFuzzer's inputs go to a check of `testing/fuzzing`. Two of three mutations are those that the
//! tests use too.

pub use fuzzing::target;
pub use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// Defines the target of this name, for a file with no other content.
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
