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

/// Those that go through every call of a grant's life: `make test-faults` runs them, since they take minutes each.
pub fn long_test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t33_t34_inv_31_kill_9_at_every_call_of_a_grant,
        t40_inv_31_the_holder_hangs_at_every_write_of_a_grant_and_goes_on_when_another_has_taken_over,
        t34_inv_15_inv_31_each_call_of_a_grant_is_lost_doubled_delayed_or_refused,
    ]
}

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t40_inv_24_inv_31_a_holder_cut_off_is_replaced_and_what_is_refused_is_tried_again,
        inv_01_inv_09_inv_31_watches_that_double_swap_break_off_delay_or_lose_events,
        f03_a_grant_rests_on_what_is_stored_whatever_the_caches_missed,
        f16_f64_nobody_waits_for_somebody_else_and_what_fails_is_told,
        f41_watches_that_go_on_ahead_of_the_store_are_found_out_and_begun_anew,
    ]
}
