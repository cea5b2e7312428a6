//! Faults between the controllers and the API server, call by call, through a proxy.

mod call_sequence;
mod disturbed_watches;
mod each_call_disturbed;
mod kill_at_each_call;
mod missed_events;
mod network_partition;
mod slow_calls;

use crate::{env::TestCase, test_cases};
pub use call_sequence::proxied;
pub use disturbed_watches::WATCHED;
use disturbed_watches::*;
use each_call_disturbed::*;
use kill_at_each_call::*;
use missed_events::*;
use network_partition::*;
use slow_calls::*;

/// Tests that cover every call of a grant's life: `make test-faults` runs them, since they take minutes each.
pub fn long_test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t33_t34_inv_31_kill_9_at_every_call_of_a_grant,
        t40_inv_31_lease_holder_hangs_at_every_write_and_resumes_after_a_takeover,
        t34_inv_15_inv_31_each_call_of_a_grant_is_lost_duplicated_delayed_or_denied,
    ]
}

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t40_inv_24_inv_31_partitioned_lease_holder_is_replaced_and_failed_calls_are_retried,
        inv_01_inv_09_inv_31_watches_duplicate_reorder_break_off_delay_or_lose_events,
        f03_grant_uses_stored_objects_when_caches_are_stale,
        f16_f64_slow_and_failing_calls_block_no_other_request_and_are_reported,
        f41_watches_ahead_of_the_store_are_detected_and_restarted,
    ]
}
