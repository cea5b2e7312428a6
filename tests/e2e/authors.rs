//! Who may make people eligible: only somebody who may bind the role wherever they become eligible (T15, T16), and nobody by a
//! label of a namespace that selectors rely on (T20).

mod denied_writes;
pub mod matrix;
mod namespace_labels;
mod stale_author_check;

use crate::{env::TestCase, test_cases};
use denied_writes::*;
use matrix::*;
use namespace_labels::*;
use stale_author_check::*;

/// People who write eligibilities and policies, each with another right to bind; see [`matrix::Authors::prepare`].
pub const AUTHORS: [&str; 6] = ["author-none", "author-one", "author-all", "author-everywhere", "author-other", "author-holder"];
/// People whom one test each gives rights in the whole cluster: what another one expects to be refused must not be theirs.
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
        t15_inv_22_an_author_makes_eligible_only_where_he_may_bind,
        t15_inv_23_the_webhook_alone_refuses_the_same,
        t15_what_is_refused_is_not_there_and_what_was_there_stays,
        f67_an_eligibility_may_carry_rbacs_api_group,
        t16_a_policy_is_changed_by_who_may_bind_what_is_activated_under_it,
        f53_a_namespace_that_was_made_anew_needs_a_new_check_of_the_author,
        f76_writes_that_cross_each_other_make_nobody_eligible,
        t20_a_tenant_widens_no_eligibility_by_a_guarded_label,
        t20_a_selector_on_labels_that_anybody_may_write_is_told,
    ]
}
