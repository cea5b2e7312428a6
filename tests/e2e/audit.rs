//! What the operator costs, what it asks for and what it could do, as the API server tells it.

mod audit_annotations;
mod inspector;
mod measurements;
mod operator_permissions;
mod rbac_rules;
mod write_count;

pub use inspector::{Inspector, conclude};
pub use measurements::{Calls, is, measured};

use crate::{env::TestCase, test_cases};
use audit_annotations::*;
use operator_permissions::*;
use write_count::*;

/// User name of the controllers.
pub const CONTROLLER: &str = "system:serviceaccount:jit-system:jit-rbac-controller";
/// User name of the webhook.
pub const WEBHOOK: &str = "system:serviceaccount:jit-system:jit-rbac-webhook";

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        an_automatic_grant_costs_four_writes,
        waiting_costs_one_status_more_and_each_stage_one,
        f02_a_request_under_limits_and_a_cooldown_lists_no_requests,
        nothing_is_read_or_written_while_nothing_happens,
        inv_28_the_last_look_sees_what_is_wrong,
        t24_the_operator_grants_nothing_in_its_own_namespace_and_its_webhook_nothing_at_all,
        t47_a_refusal_leaves_its_code_in_the_audit_log_whoever_refuses,
        t47_what_is_stored_leaves_its_uid_and_digest_in_the_audit_log,
        what_happens_is_counted,
        t43_labels_and_annotations_lead_nobody_past_the_webhook,
    ]
}
