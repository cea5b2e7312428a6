//! The admission policies alone: what the API server denies while no operator runs and no webhook is called.
//!
//! These tests share a control plane without webhooks. Each test has a namespace of its own.

mod authors;
mod bindings;
mod deletion;
mod eligibilities_and_policies;
mod fixture;
mod guard_objects;
mod large_objects;
mod requests_and_decisions;
mod subresources;
mod upgrade;

use fixture::{Fixture, shared};

use crate::env::TestCase;

/// The result of a test: nothing, or the unexpected behavior.
type Outcome = Result<(), String>;

macro_rules! policy_test_cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$((
            concat!("admission_policies::", stringify!($name)),
            (|_| Box::pin(async { Ok($module::$name(&*shared().await?).await?) })) as TestCase,
        )),*]
    };
}

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    policy_test_cases![
        requests_and_decisions::t1_stamp_names_the_authenticated_user,
        requests_and_decisions::t1_user_in_a_thousand_groups_is_admitted,
        requests_and_decisions::t1_decision_names_its_request_and_its_creator,
        requests_and_decisions::t2_records_are_immutable_without_the_schema_rule,
        requests_and_decisions::t4_requester_cannot_approve,
        requests_and_decisions::t10_anonymous_users_cannot_request_or_decide,
        requests_and_decisions::t31_finalizers_and_owners_are_denied,
        requests_and_decisions::f29_only_the_creator_can_reapply_a_record,
        requests_and_decisions::t43_labels_do_not_exempt_from_admission_policies,
        requests_and_decisions::t46_dry_run_passes_the_same_policies_and_stores_nothing,
        requests_and_decisions::t53_operator_cannot_create_requests_or_decisions,
        requests_and_decisions::f48_metadata_size_of_records_is_limited,
        eligibilities_and_policies::t1_author_is_the_user_who_changed_the_spec,
        eligibilities_and_policies::t11_system_names_are_never_eligible_and_never_approve,
        eligibilities_and_policies::f52_finalizer_on_an_eligibility_requires_the_right_to_bind,
        eligibilities_and_policies::f48_metadata_size_of_eligibilities_and_policies_is_limited,
        eligibilities_and_policies::largest_policy_and_eligibility_fit_the_cost_limits,
        authors::t15_inv_23_admission_policy_alone_denies_the_same_within_its_limits,
        bindings::t25_operator_cannot_bind_an_unlisted_role_that_it_holds,
        bindings::t27_only_the_operator_writes_managed_bindings,
        bindings::t32_only_the_operator_uses_grant_names,
        bindings::t43_unmanaged_bindings_are_not_restricted,
        bindings::t53_operator_creates_only_bindings_with_a_deadline,
        bindings::t53_operator_can_only_shorten_a_grant,
        bindings::t53_operator_cannot_change_other_bindings,
        deletion::f58_operator_deletes_only_completed_requests,
        deletion::t28_finalizer_is_denied_and_keeps_no_grant,
        deletion::t30_foreground_and_orphan_deletion_complete,
        deletion::t31_finalizers_of_a_record_are_removable_only_during_deletion,
        deletion::t37_namespace_deletion_removes_all_records,
        deletion::t52_deletion_of_records_requires_the_purge_verb,
        guard_objects::t41_only_administrators_change_guards,
        guard_objects::t41_webhook_writes_only_its_ca_bundle,
        guard_objects::t41_every_policy_denies_its_probe,
        guard_objects::t44_webhook_writes_only_its_secret,
        large_objects::f75_guarded_labels_are_checked_among_many_labels,
        subresources::t22_only_the_operator_writes_status,
        subresources::t23_every_discovered_resource_is_guarded,
        upgrade::an_upgrade_takes_nothing_back_that_the_webhook_wrote,
        upgrade::f61_what_somebody_added_to_a_guard_goes_with_the_guard,
        upgrade::f69_the_chart_takes_over_kinds_that_are_there,
    ]
}

/// Tests with time limits.
pub fn against_time() -> Vec<(&'static str, TestCase)> {
    policy_test_cases![large_objects::f75_policies_add_little_time_for_the_largest_object]
}
