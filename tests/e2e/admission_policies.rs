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

/// What a test comes to: nothing, or what went otherwise than it should.
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
        requests_and_decisions::t1_a_stamp_is_the_writers_own,
        requests_and_decisions::t1_a_person_in_a_thousand_groups_is_served,
        requests_and_decisions::t1_a_decision_names_its_request_and_its_writer,
        requests_and_decisions::t2_nothing_written_is_changed_even_where_the_schema_lost_its_rule,
        requests_and_decisions::t4_nobody_approves_his_own_request,
        requests_and_decisions::t10_anonymous_people_neither_ask_nor_decide,
        requests_and_decisions::t31_metadata_is_no_lever,
        requests_and_decisions::f29_a_record_is_applied_again_by_its_maker_alone,
        requests_and_decisions::t43_labels_of_object_and_namespace_exempt_nobody,
        requests_and_decisions::t46_a_dry_run_is_answered_alike_and_leaves_nothing,
        requests_and_decisions::t53_the_operator_makes_no_requests_and_no_decisions,
        requests_and_decisions::f48_records_carry_a_bounded_weight_of_metadata,
        eligibilities_and_policies::t1_the_author_is_whoever_changed_the_spec,
        eligibilities_and_policies::t11_system_names_are_never_eligible_and_never_approve,
        eligibilities_and_policies::f52_a_finalizer_on_an_eligibility_takes_the_right_to_bind,
        eligibilities_and_policies::f48_rules_carry_a_bounded_weight_of_metadata,
        eligibilities_and_policies::the_largest_policy_and_eligibility_fit_the_cost_limits,
        authors::t15_inv_23_the_floor_alone_refuses_the_same_but_for_what_it_cannot_ask,
        bindings::t25_the_operator_binds_no_role_that_is_not_listed_though_it_holds_it,
        bindings::t27_only_the_operator_writes_managed_bindings,
        bindings::t32_nobody_takes_a_grants_name,
        bindings::t43_everybody_elses_bindings_are_let_be,
        bindings::t53_the_operator_makes_only_bindings_that_end,
        bindings::t53_the_operator_changes_a_grant_only_towards_its_end,
        bindings::t53_the_operator_lets_other_bindings_be,
        deletion::f58_the_operator_deletes_completed_requests_only,
        deletion::t28_a_finalizer_is_refused_and_never_holds_a_grant,
        deletion::t30_foreground_and_orphan_deletion_end,
        deletion::t31_a_records_finalizers_go_only_while_it_is_being_deleted,
        deletion::t37_a_namespace_goes_with_all_that_is_in_it,
        deletion::t52_records_are_deleted_by_those_who_may_purge,
        guard_objects::t41_guards_are_changed_by_administrators_only,
        guard_objects::t41_the_webhook_writes_its_ca_bundle_and_nothing_else,
        guard_objects::t41_every_policy_refuses_its_probe_to_everybody,
        guard_objects::t44_the_secret_and_no_other_is_the_webhooks,
        large_objects::f75_guarded_labels_are_found_among_many,
        subresources::t22_status_is_the_operators,
        subresources::t23_whatever_discovery_shows_is_guarded,
        upgrade::an_upgrade_takes_nothing_back_that_the_webhook_wrote,
        upgrade::f61_what_somebody_added_to_a_guard_goes_with_the_guard,
        upgrade::f69_the_chart_takes_over_kinds_that_are_there,
    ]
}

/// Tests that say how long something may take.
pub fn against_time() -> Vec<(&'static str, TestCase)> {
    policy_test_cases![large_objects::f75_no_policy_takes_much_longer_for_the_largest_object]
}
