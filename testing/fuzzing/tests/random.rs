//! The assertions of the fuzz targets `rules` and `digest` with the random test cases of the rules' own tests.

use proptest::prelude::*;
use test_cases::random::cases;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_for_random_test_cases(case in cases()) {
        fuzzing::holds(&case);
    }

    #[test]
    fn the_digest_covers_random_test_cases(case in cases(), seed in any::<u64>()) {
        fuzzing::covers(&case, seed);
    }
}
