//! The chain of checks whether an eligibility can be used.

use super::*;
use api::Reason;
use domain::usable::{Check, Input, failures, usable};

fn failed(input: &Input<'_>) -> Vec<Check> {
    failures(input).map(|failed| failed.check).collect()
}

#[test]
fn what_a_caller_does_not_know_passes() {
    let case = case();
    let eligibility = case.snapshot.eligibility.found().unwrap();
    assert_eq!(usable(&Input::new(eligibility, &case.settings)), Ok(()));
    let all = Input {
        policy: Some(&case.snapshot.policy),
        namespace: Some(("payments", &case.snapshot.namespace)),
        role: Some(&case.snapshot.role),
        ..Input::new(eligibility, &case.settings)
    };
    assert_eq!(failed(&all), []);
}

#[test]
fn all_failures_are_found_and_the_first_is_reported() {
    let case = case();
    let mut eligibility = case.snapshot.eligibility.found().unwrap().as_ref().clone();
    eligibility.spec.subjects.clear();
    let input = Input {
        policy: Some(&Lookup::Absent),
        namespace: Some(("payments", &Lookup::Absent)),
        role: Some(&Lookup::Absent),
        ..Input::new(&eligibility, &case.settings)
    };
    assert_eq!(failed(&input), [Check::Written, Check::PolicyFound, Check::NamespaceFound, Check::RoleFound]);
    let first = usable(&input).unwrap_err();
    assert_eq!((first.check, first.refusal.reason), (Check::Written, Reason::InvalidField));
}
