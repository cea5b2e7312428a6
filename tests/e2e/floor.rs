//! The floor: what the API server refuses by itself, with no operator running and no webhook asked.
//!
//! A plane of its own, because the webhooks are out of the way on it. Every test works in a namespace of its own.

mod activations;
mod admins;
mod authors;
mod bindings;
mod deletion;
mod guards;
mod largest;
mod plane;
mod subresources;
mod upgrade;

use plane::{Floor, shared};

use crate::env::TestCase;

/// What a test comes to: nothing, or what went otherwise than it should.
type Outcome = Result<(), String>;

macro_rules! over_the_floor {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$((
            concat!("floor::", stringify!($name)),
            (|_| Box::pin(async { Ok($module::$name(&*shared().await?).await?) })) as TestCase,
        )),*]
    };
}

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    over_the_floor![
        activations::t1_a_stamp_is_the_writers_own,
        activations::t1_a_person_in_a_thousand_groups_is_served,
        activations::t1_a_decision_names_its_request_and_its_writer,
        activations::t2_nothing_written_is_changed_even_where_the_schema_lost_its_rule,
        activations::t4_nobody_approves_his_own_request,
        activations::t10_anonymous_people_neither_ask_nor_decide,
        activations::t31_metadata_is_no_lever,
        activations::f29_a_record_is_applied_again_by_its_maker_alone,
        activations::t43_labels_of_object_and_namespace_exempt_nobody,
        activations::t46_a_dry_run_is_answered_alike_and_leaves_nothing,
        activations::t53_the_operator_makes_no_requests_and_no_decisions,
        activations::f48_records_carry_a_bounded_weight_of_metadata,
        admins::t1_the_author_is_whoever_changed_the_spec,
        admins::t11_system_names_are_never_eligible_and_never_approve,
        admins::f52_a_finalizer_on_an_eligibility_takes_the_right_to_bind,
        admins::f48_rules_carry_a_bounded_weight_of_metadata,
        admins::the_largest_policy_and_eligibility_fit_the_cost_limits,
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
        guards::t41_guards_are_changed_by_administrators_only,
        guards::t41_the_webhook_writes_its_ca_bundle_and_nothing_else,
        guards::t41_every_policy_refuses_its_probe_to_everybody,
        guards::t44_the_secret_and_no_other_is_the_webhooks,
        largest::f75_guarded_labels_are_found_among_many,
        subresources::t22_status_is_the_operators,
        subresources::t23_whatever_discovery_shows_is_guarded,
        upgrade::an_upgrade_takes_nothing_back_that_the_webhook_wrote,
        upgrade::f61_what_somebody_added_to_a_guard_goes_with_the_guard,
        upgrade::f69_the_chart_takes_over_kinds_that_are_there,
    ]
}

/// Tests that say how long something may take.
pub fn against_time() -> Vec<(&'static str, TestCase)> {
    over_the_floor![largest::f75_no_policy_takes_much_longer_for_the_largest_object]
}
