//! The authors of eligibilities: only users who may bind the role wherever users become eligible (T15, T16), and none by a label of a
//! namespace that selectors rely on (T20).

mod denied_writes;
pub mod matrix;
mod namespace_labels;
mod stale_author_check;

use crate::{env::TestCase, test_cases};
use denied_writes::*;
use matrix::*;
use namespace_labels::*;
use stale_author_check::*;

/// Authors of eligibilities and policies, each with a different right to bind; see [`matrix::Authors::prepare`].
pub const AUTHORS: [&str; 6] = ["author-none", "author-one", "author-all", "author-everywhere", "author-other", "author-holder"];
/// Users to whom one test each gives rights in the whole cluster: a right must not affect another test that expects a denial.
pub const ESCALATOR: &str = "author-who-escalates";
pub const LOOSENER: &str = "author-who-loosens";
pub const LABELLER: &str = "tenant-who-labels";
pub const REFUSED: &str = "author-who-is-refused";
pub const TENANT: &str = "author-of-a-tenant";
pub const RACER: &str = "author-who-races";
/// All of them.
pub const ALONE: [&str; 6] = [ESCALATOR, LOOSENER, LABELLER, REFUSED, TENANT, RACER];

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t15_inv_22_author_needs_the_right_to_bind_in_every_namespace,
        t15_inv_23_webhook_alone_denies_the_same,
        t15_denied_writes_change_nothing,
        f67_eligibility_accepts_the_rbac_api_group,
        t16_policy_change_requires_the_right_to_bind_its_roles,
        f53_recreated_namespace_requires_a_new_author_check,
        f76_concurrent_writes_make_nobody_eligible,
        t20_tenant_cannot_widen_an_eligibility_with_a_guarded_label,
        t20_selector_on_unguarded_labels_is_warned_about,
    ]
}
