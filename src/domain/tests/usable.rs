//! The chain of checks whether an eligibility can be used.

use super::*;
use crate::usable::{Check, Input, failures, usable};
use api::Reason;

fn failed(input: &Input<'_>) -> Vec<Check> {
    failures(input).map(|failed| failed.check).collect()
}

#[test]
fn what_a_caller_does_not_know_passes() {
    let world = world();
    let eligibility = world.snapshot.eligibility.found().unwrap();
    assert_eq!(usable(&Input::new(eligibility, &world.settings)), Ok(()));
    let all = Input {
        policy: Some(&world.snapshot.policy),
        namespace: Some(("payments", &world.snapshot.namespace)),
        role: Some(&world.snapshot.role),
        ..Input::new(eligibility, &world.settings)
    };
    assert_eq!(failed(&all), []);
}

#[test]
fn all_failures_are_found_and_the_first_is_reported() {
    let world = world();
    let mut eligibility = world.snapshot.eligibility.found().unwrap().as_ref().clone();
    eligibility.spec.subjects.clear();
    let input = Input {
        policy: Some(&Lookup::Absent),
        namespace: Some(("payments", &Lookup::Absent)),
        role: Some(&Lookup::Absent),
        ..Input::new(&eligibility, &world.settings)
    };
    assert_eq!(failed(&input), [Check::Written, Check::PolicyFound, Check::NamespaceFound, Check::RoleFound]);
    let first = usable(&input).unwrap_err();
    assert_eq!((first.check, first.refusal.reason), (Check::Written, Reason::InvalidField));
}
