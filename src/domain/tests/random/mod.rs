//! Properties over random test cases: the invariants of docs/design/invariants.md, by their numbers.
//!
//! There are few users and few names, so that identities collide. Times are close together, so that limits coincide.

mod activity;
mod cluster;
mod grants;
mod limits;
mod model;
mod order;
mod records;
mod sequences;

use proptest::strategy::{Strategy as _, ValueTree as _};

use super::*;
use test_cases::random::{
    cases, fresh_cases,
    parts::{self, Said, said},
};

/// The properties prove nothing about test cases that are never generated.
#[test]
fn every_state_comes_often_enough() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    let any = cases();
    for _ in 0..1_000 {
        let case = any.new_tree(&mut runner).unwrap().current();
        let fresh = case.clone().fresh().decide();
        *seen.entry(format!("fresh {}", fresh.state)).or_default() += 1;
        *seen.entry(format!("any {} {:?}", case.state(), case.decide().binding)).or_default() += 1;
        let staged = case.snapshot.policy.found().is_some_and(|p| !p.spec.approval.stages.is_empty());
        if staged && fresh.grant.is_some() {
            *seen.entry("approved by people".to_owned()).or_default() += 1;
        }
    }
    for (state, least) in [
        ("fresh Active", 80),
        ("approved by people", 30),
        ("fresh AwaitingApproval", 100),
        ("fresh Denied", 100),
        ("fresh TimedOut", 30),
        ("fresh Withdrawn", 3),
        ("fresh Pending", 50),
        ("any Active Keep", 30),
        ("any Active Create", 3),
        ("any Revoked Remove", 100),
        ("any Expired Remove", 50),
        ("any Failed Remove", 10),
        ("any Deactivated Remove", 10),
    ] {
        assert!(seen.get(state).copied().unwrap_or_default() >= least, "{state}: {seen:#?}");
    }
}
