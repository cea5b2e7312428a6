//! All guards enabled.

use protocol_model::{
    setting::{
        Act::{
            AddFinalizer, Approve, BreakLease, Crash, Deactivate, Deafen, Delay, DeleteBinding, DeleteLease, DeleteRequest, Error,
            LoseAnswer, LoseCall, LoseWatch, Pause, Recreate, Revoke, Squat, StopWebhook, StripLabel,
        },
        Setting,
    },
    world::{Finalizer, Who::A, Who::B},
};

use super::{holds, scope};

#[test]
fn inv_01_15_31_hold_when_a_replica_ends_between_any_two_calls() {
    holds(&scope(&[Crash(A), LoseAnswer], 2));
    holds(&Setting { alone: true, ..scope(&[Crash(A), Crash(A), Revoke], 2) });
}

#[test]
fn inv_08_16_hold_when_a_decision_meets_a_crash() {
    holds(&Setting { acts_until: 1, ..scope(&[Crash(A), Deactivate], 2) });
}

#[test]
fn inv_01_08_15_hold_with_two_leaders() {
    holds(&scope(&[DeleteLease, Revoke], 3));
    holds(&Setting { acts_until: 1, ..scope(&[DeleteLease, LoseAnswer], 2) });
}

#[test]
fn inv_01_08_15_hold_when_a_call_outlives_the_lease() {
    holds(&scope(&[Delay, Revoke], 3));
    holds(&Setting { acts_until: 0, ..scope(&[Delay, DeleteLease], 2) });
    holds(&Setting { alone: true, ..scope(&[Delay, Pause(A), Revoke], 3) });
}

#[test]
fn inv_08_24_hold_with_a_stale_cache() {
    holds(&scope(&[Deafen(A), Revoke], 4));
    holds(&scope(&[Deafen(A), DeleteRequest], 4));
}

#[test]
fn inv_08_31_hold_when_calls_fail() {
    holds(&scope(&[Error, LoseAnswer, Revoke], 3));
    holds(&Setting { alone: true, ..scope(&[LoseCall, Error, Deactivate], 3) });
    holds(&Setting { alone: true, ..scope(&[LoseWatch(A), DeleteRequest, Error], 3) });
}

#[test]
fn inv_24_holds_without_lease_and_webhook() {
    holds(&scope(&[BreakLease, StopWebhook, Deactivate], 4));
    holds(&scope(&[BreakLease, LoseWatch(B), DeleteRequest], 4));
}

#[test]
fn inv_01_16_hold_against_an_attacker() {
    holds(&scope(&[StripLabel, Pause(A)], 2));
    holds(&Setting { alone: true, ..scope(&[AddFinalizer(Finalizer::Stubborn), Revoke, Error], 3) });
    holds(&Setting { alone: true, ..scope(&[AddFinalizer(Finalizer::Loose), Crash(A)], 2) });
    holds(&scope(&[DeleteBinding, Revoke], 3));
}

#[test]
fn inv_15_holds_against_who_takes_the_name_first() {
    holds(&scope(&[Squat, Crash(A)], 2));
    holds(&Setting { approval: true, ..scope(&[Approve, Squat, StripLabel], 2) });
}

#[test]
fn inv_01_08_hold_when_the_request_comes_again() {
    holds(&scope(&[DeleteRequest, Recreate], 3));
    holds(&Setting { approval: true, alone: true, ..scope(&[Approve, DeleteRequest, Recreate, Revoke], 3) });
}

#[test]
fn inv_01_holds_with_clocks_that_are_wrong() {
    for skew in [(1, -1), (-1, 1), (-1, -1), (1, 1)] {
        holds(&Setting { skew, grace: 2, ..scope(&[Pause(A)], 2) });
        holds(&Setting { skew, grace: 2, alone: true, ..scope(&[Crash(A), Revoke], 3) });
    }
}
