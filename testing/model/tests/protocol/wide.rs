//! All guards enabled, in scopes that take minutes: `cargo test -p protocol-model -- --ignored`.

use protocol_model::{
    setting::{
        Act::{
            AddFinalizer, Approve, BreakLease, Crash, Deactivate, Deafen, Delay, DeleteBinding, DeleteLease, DeleteRequest, Error,
            LoseAnswer, LoseWatch, Pause, Recreate, Revoke, Squat, StripLabel,
        },
        Setting,
    },
    world::{Finalizer, Who::A, Who::B},
};

use super::{holds, scope};

/// The same in the first two ticks only.
fn early(setting: Setting) -> Setting {
    Setting { acts_until: 1, ..setting }
}

#[test]
#[ignore = "takes minutes"]
fn inv_08_15_hold_with_two_leaders_of_which_one_hangs() {
    holds(&early(scope(&[DeleteLease, Pause(A), Revoke], 4)));
    holds(&early(scope(&[Delay, DeleteLease, Revoke], 3)));
}

#[test]
#[ignore = "takes minutes"]
fn inv_24_holds_with_one_replica_left() {
    holds(&early(scope(&[Deafen(A), Crash(B), DeleteRequest], 3)));
    holds(&early(scope(&[BreakLease, Crash(A), LoseWatch(B), Revoke], 3)));
}

#[test]
#[ignore = "takes minutes"]
fn inv_16_31_hold_against_hands_and_crashes() {
    holds(&early(scope(&[DeleteBinding, StripLabel, Crash(A)], 2)));
    holds(&early(scope(&[AddFinalizer(Finalizer::Loose), Crash(A), Deactivate], 2)));
    holds(&early(scope(&[Squat, Crash(A), Revoke], 2)));
}

#[test]
#[ignore = "takes minutes"]
fn inv_08_holds_when_the_request_comes_again_and_calls_fail() {
    holds(&early(scope(&[DeleteRequest, Recreate, Revoke, Error], 3)));
    holds(&early(scope(&[DeleteRequest, Recreate, Crash(A)], 3)));
    holds(&early(Setting { approval: true, ..scope(&[Approve, Revoke, Crash(A), LoseAnswer], 2) }));
}

#[test]
#[ignore = "takes minutes"]
fn inv_01_holds_with_wrong_clocks_and_two_leaders() {
    for skew in [(1, -1), (-1, 1)] {
        holds(&early(Setting { skew, grace: 2, ..scope(&[DeleteLease, Revoke, Pause(A)], 2) }));
    }
}
