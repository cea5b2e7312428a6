//! An object that is being deleted counts as removed: a finalizer can keep it stored for any time, and must keep no access (T28).

use super::*;

fn held<T>() -> Lookup<T> {
    Lookup::Deleting(Deletion::held_by(&["example.com/keep".to_owned()]))
}

const HELD: &str = "is being deleted, which counts as removed; held by metadata.finalizers 'example.com/keep'";

#[test]
fn f07_f52_f60_what_is_being_deleted_grants_nothing() {
    for (case, told) in [
        (
            two_eyes().change(|c| c.snapshot.eligibility = held()),
            format!("Denied EligibilityNotFound: eligibility 'payments-oncall' {HELD}; 'kubectl get roleeligibilities' lists the others"),
        ),
        (
            two_eyes().change(|c| c.snapshot.policy = held()),
            format!("Pending PolicyNotFound: eligibility 'payments-oncall' refers to policy 'two-eyes', which {HELD}"),
        ),
        (
            two_eyes().change(|c| c.snapshot.role = held()),
            format!("Pending RoleNotFound: eligibility 'payments-oncall' refers to ClusterRole 'edit', which {HELD}"),
        ),
    ] {
        assert_eq!(case.told(), told);
        assert!(case.refusal().starts_with(told.split_once(' ').unwrap().1), "admission says the same: {}", case.refusal());
    }
}

#[test]
fn f07_a_start_that_lies_ahead_does_not_come() {
    let scheduled = || {
        let case = case().request(|r| r.start_time = Some(at(600)));
        let verdict = case.decide();
        assert_eq!(verdict.state, State::Scheduled);
        case.apply(&verdict).now(600)
    };
    assert_eq!(scheduled().state(), State::Active);
    let told = scheduled().change(|c| c.snapshot.eligibility = held()).told();
    assert_eq!(told, format!("Revoked EligibilityRemoved: eligibility 'payments-oncall' {HELD}"));
    for case in [scheduled().change(|c| c.snapshot.policy = held()), scheduled().change(|c| c.snapshot.role = held())] {
        assert_eq!((case.state(), case.decide().binding), (State::Pending, BindingAction::Keep), "{}", case.told());
    }
}

#[test]
fn f07_f52_f60_what_runs_ends_as_if_it_were_gone() {
    let going = |c: &mut TestCase| {
        if let Lookup::Found(namespace) = &mut c.snapshot.namespace {
            namespace.terminating = true;
        }
    };
    for (case, told) in [
        (
            case().granted().change(|c| c.snapshot.eligibility = held()),
            format!("Revoked EligibilityRemoved: eligibility 'payments-oncall' {HELD}"),
        ),
        (case().granted().change(|c| c.snapshot.policy = held()), format!("Revoked PolicyRemoved: policy 'two-eyes' {HELD}")),
        (case().granted().change(|c| c.snapshot.role = held()), format!("Revoked RoleRemoved: the ClusterRole 'edit' {HELD}")),
        (case().granted().change(going), "Revoked NamespaceTerminating: namespace 'payments' is terminating".to_owned()),
    ] {
        assert_eq!(case.told(), told);
        assert_eq!(case.decide().binding, BindingAction::Remove);
    }
}

#[test]
fn f07_an_approval_that_is_being_deleted_does_not_count_and_a_denial_does() {
    let approved = two_eyes().approves(&lead(1), 5).now(6);
    assert_eq!(approved.state(), State::Active);
    let going = |c: &mut TestCase| c.snapshot.decisions.iter_mut().for_each(|said| said.deleting = true);
    assert_eq!(approved.change(going).state(), State::AwaitingApproval);
    assert_eq!(two_eyes().says(Verb::Deny, &lead(1), 5).change(going).state(), State::Denied);
}

#[test]
fn f07_the_message_names_what_holds_it_and_is_bounded() {
    let said = |finalizers: &[&str]| Deletion::held_by(&finalizers.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string();
    assert_eq!(said(&[]), "is being deleted, which counts as removed");
    let many: Vec<_> = (0..10).map(|number| format!("f-{number}")).collect();
    let many = said(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(many.ends_with("'f-0', 'f-1', 'f-2', 'f-3' and 6 more"), "{many}");
    assert!(!said(&["a\nb"]).contains('\n'));
}
