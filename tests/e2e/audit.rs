//! The operator's cost, its calls and its permissions, from the API server's point of view.

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
        automatic_grant_takes_four_writes,
        pending_request_and_each_stage_take_one_more_status_write,
        f02_limits_and_cooldown_need_no_list_call,
        idle_operator_reads_and_writes_nothing,
        inv_28_call_inspector_detects_violations,
        t24_operator_cannot_grant_in_its_namespace_and_its_webhook_nowhere,
        t47_denial_code_is_in_the_audit_log,
        t47_uid_and_digest_are_in_the_audit_log,
        metrics_count_refusals_and_grants,
        t43_labels_and_annotations_do_not_bypass_the_webhook,
    ]
}
