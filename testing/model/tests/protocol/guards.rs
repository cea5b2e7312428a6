//! Each guard is disabled alone, in a scope in which nothing breaks with it.

use protocol_model::{
    guards::Guard,
    properties::{INV_01, INV_08, INV_15, INV_16, INV_24, INV_31},
    setting::{
        Act::{
            AddFinalizer, Approve, BreakLease, Crash, DeleteBinding, DeleteRequest, LoseAnswer, LoseWatch, Pause, Recreate, Revoke, Squat,
            StopWebhook, StripLabel,
        },
        Setting,
    },
    world::{Finalizer, Who::A, Who::B},
};

use super::{breaks, broken, holds, scope};

#[test]
fn inv_16_without_a_look_after_deleted() {
    breaks(&[INV_16], Guard::LookAfterDeleted, &scope(&[StripLabel], 2));
}

#[test]
fn inv_16_without_a_look_after_a_delete() {
    breaks(&[INV_16, INV_01], Guard::LookAfterDelete, &scope(&[AddFinalizer(Finalizer::Loose)], 2));
}

#[test]
fn inv_01_without_stripping_finalizers() {
    breaks(&[INV_01, INV_31], Guard::StripOrEmpty, &scope(&[AddFinalizer(Finalizer::Stubborn)], 2));
}

#[test]
fn inv_15_without_a_name_from_the_uid() {
    breaks(&[INV_15], Guard::NameFromUid, &scope(&[Crash(A)], 2));
}

#[test]
fn inv_15_without_a_comparison_of_what_exists() {
    breaks(&[INV_15], Guard::CompareExisting, &scope(&[Squat], 2));
}

#[test]
fn inv_01_08_without_sweeps() {
    let alone = Setting { alone: true, sweep_every: Some(3), grace: 4, horizon: 8, ..scope(&[Crash(A), StripLabel, DeleteRequest], 1) };
    breaks(&[INV_01, INV_08], Guard::Sweep, &alone);
}

#[test]
fn inv_08_without_a_fresh_read_of_the_request() {
    breaks(&[INV_08], Guard::ReadRequest, &scope(&[DeleteRequest], 2));
}

#[test]
fn inv_08_without_a_fresh_list_of_decisions() {
    breaks(&[INV_08], Guard::ReadDecisions, &scope(&[Revoke], 2));
}

#[test]
fn inv_01_without_uids_in_decisions() {
    breaks(&[INV_01], Guard::DecisionNamesUid, &Setting { approval: true, ..scope(&[Approve, DeleteRequest, Recreate], 2) });
}

#[test]
fn inv_08_without_asking_for_the_lease_again() {
    breaks(&[INV_08], Guard::AskLeaseAgain, &scope(&[Pause(A), Revoke], 4));
}

#[test]
fn inv_01_without_a_check_for_too_late() {
    breaks(&[INV_01], Guard::DeadlineExceeded, &scope(&[Pause(A)], 1));
}

#[test]
fn inv_01_with_deadlines_from_a_replicas_clock() {
    breaks(&[INV_01], Guard::StoredTimes, &scope(&[Crash(A)], 2));
}

#[test]
fn inv_08_without_versions_in_status_writes() {
    breaks(&[INV_08], Guard::StatusVersion, &scope(&[Pause(A), Revoke], 4));
}

#[test]
fn inv_01_24_without_a_standby_that_ends() {
    breaks(&[INV_01, INV_24], Guard::StandbyEnds, &scope(&[Pause(A)], 2));
}

#[test]
fn inv_08_24_without_a_standby_that_revokes() {
    breaks(&[INV_08, INV_24], Guard::StandbyRevokes, &scope(&[Pause(A), Revoke], 4));
}

#[test]
fn inv_31_without_a_look_at_takeover() {
    breaks(&[INV_31], Guard::LookAtTakeover, &scope(&[Crash(A)], 5));
}

#[test]
fn inv_08_31_without_an_end_of_strays() {
    breaks(&[INV_08, INV_31], Guard::StraysGo, &scope(&[DeleteRequest], 4));
}

#[test]
fn inv_08_without_a_second_look_before_decisions_go() {
    breaks(&[INV_08], Guard::SecondLook, &Setting { alone: true, ..scope(&[DeleteRequest, Recreate, Revoke], 4) });
}

#[test]
fn inv_01_24_without_a_new_list_after_a_lost_watch() {
    breaks(&[INV_01, INV_24], Guard::Relist, &scope(&[LoseWatch(B), Crash(A), BreakLease], 2));
}

#[test]
fn inv_31_without_webhooks_that_skip_the_operator() {
    breaks(&[INV_31], Guard::WebhookSkipsOperator, &scope(&[StopWebhook], 2));
}

#[test]
fn inv_08_without_a_note_at_creation() {
    breaks(&[INV_08], Guard::NoteAtCreation, &Setting { alone: true, ..scope(&[DeleteRequest], 4) });
}

#[test]
fn inv_31_without_a_note_at_creation() {
    breaks(&[INV_31], Guard::NoteAtCreation, &scope(&[DeleteBinding, LoseWatch(A)], 5));
}

#[test]
fn inv_08_24_with_expectations_of_what_may_not_be_made() {
    let alone = Setting { alone: true, ..scope(&[LoseAnswer, Pause(A), BreakLease, Revoke], 5) };
    breaks(&[INV_08, INV_24], Guard::ExpectOnlyMade, &alone);
}

#[test]
fn inv_16_a_delete_by_uid_is_a_second_line() {
    // A name belongs to one request forever, so that a delete by name never affects another request's binding.
    let setting = scope(&[DeleteBinding, Crash(A)], 2);
    assert!(broken(&setting.clone().without(Guard::DeleteByUid), &[]).is_empty());
    holds(&setting);
}
