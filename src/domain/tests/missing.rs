//! Objects that are absent, unreadable or unusable: no grant, and an active one ends only if absence is certain (api rules 6 and 11).

use super::*;

#[test]
fn t06_what_is_missing_while_a_request_waits() {
    let waits = [
        (
            two_eyes().change(|c| c.snapshot.eligibility = Lookup::Unreadable("bad field".to_owned())),
            "Unreadable: eligibility 'payments-oncall' cannot be read: bad field",
        ),
        (
            two_eyes().change(|c| c.snapshot.policy = Lookup::Absent),
            "PolicyNotFound: eligibility 'payments-oncall' refers to policy 'two-eyes', which does not exist",
        ),
        (
            two_eyes().change(|c| c.snapshot.policy = Lookup::Unreadable("bad field".to_owned())),
            "Unreadable: policy 'two-eyes' cannot be read: bad field",
        ),
        (
            two_eyes().change(|c| c.snapshot.role = Lookup::Absent),
            "RoleNotFound: eligibility 'payments-oncall' refers to ClusterRole 'edit', which does not exist",
        ),
        (
            two_eyes().eligibility(|e| e.role_ref.kind = RoleKind::Role).change(|c| c.snapshot.role = Lookup::Absent),
            "RoleNotFound: eligibility 'payments-oncall' refers to Role 'edit', which does not exist in namespace 'payments'",
        ),
        (
            two_eyes().change(|c| c.snapshot.role = Lookup::Unreadable("bad field".to_owned())),
            "Unreadable: ClusterRole 'edit' cannot be read: bad field",
        ),
        (
            two_eyes().change(|c| c.snapshot.namespace = Lookup::Unreadable("bad field".to_owned())),
            "Unreadable: namespace 'payments' cannot be read: bad field",
        ),
        (
            two_eyes().eligibility(|e| e.subjects.clear()),
            "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: InvalidField: spec.subjects is empty; list at least one user or group",
        ),
        (
            two_eyes().eligibility(|e| e.end_time = None),
            "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: EndRequired: spec.endTime is missing and policy 'two-eyes' \
             requires it (spec.eligibility.requireEnd); set it, or set requireEnd to false",
        ),
    ];
    for (case, message) in waits {
        assert_eq!(case.told(), format!("Pending {message}"));
        assert_eq!(case.refusal(), message, "admission refuses it at once");
        let verdict = case.decide();
        assert_eq!((verdict.binding, verdict.look_again), (BindingAction::Keep, Some(at(86_400))));
        assert_eq!(case.clone().now(86_399).state(), State::Pending);
        let (reason, sentence) = message.split_once(": ").unwrap();
        let over = format!("TimedOut {reason}: timed out at 2026-11-03T10:00:00Z before it could be decided: {sentence}");
        assert_eq!(case.now(86_400).told(), over);
    }
}

#[test]
fn t37_what_is_missing_for_good() {
    let gone = |c: &mut TestCase| c.snapshot.eligibility = Lookup::Absent;
    assert_eq!(
        two_eyes().change(gone).told(),
        "Denied EligibilityNotFound: there is no eligibility 'payments-oncall'; 'kubectl get roleeligibilities' lists them"
    );
    for case in [two_eyes().namespace(|n| n.terminating = true), two_eyes().change(|c| c.snapshot.namespace = Lookup::Absent)] {
        assert_eq!(case.told(), "Denied NamespaceTerminating: namespace 'payments' is terminating: nothing can be activated in it");
    }
}

#[test]
fn a_request_that_is_being_deleted_has_no_binding() {
    for case in [case(), two_eyes(), case().granted()] {
        let verdict = case.change(|c| c.snapshot.request.object.deleting = true).decide();
        assert_eq!((verdict.state, verdict.binding, verdict.grant), (State::Pending, BindingAction::Remove, None));
    }
}

#[test]
fn what_is_gone_for_sure_ends_a_running_grant() {
    for (case, told) in [
        (
            case().granted().change(|c| c.snapshot.eligibility = Lookup::Absent),
            "Revoked EligibilityRemoved: eligibility 'payments-oncall' was removed",
        ),
        (case().granted().change(|c| c.snapshot.policy = Lookup::Absent), "Revoked PolicyRemoved: policy 'two-eyes' was removed"),
        (case().granted().change(|c| c.snapshot.role = Lookup::Absent), "Revoked RoleRemoved: the ClusterRole 'edit' was removed"),
        (
            case().granted().change(|c| c.snapshot.namespace = Lookup::Absent),
            "Revoked NamespaceTerminating: namespace 'payments' no longer exists",
        ),
        (
            case().granted().namespace(|n| n.uid = "another".to_owned()),
            "Revoked NamespaceTerminating: namespace 'payments' is not the one that was approved",
        ),
    ] {
        assert_eq!(case.told(), told);
        assert_eq!(case.decide().binding, BindingAction::Remove);
    }
}

#[test]
fn what_cannot_be_read_ends_nothing() {
    let why = || "bad field".to_owned();
    for case in [
        case().granted().change(|c| c.snapshot.eligibility = Lookup::Unreadable(why())),
        case().granted().change(|c| c.snapshot.policy = Lookup::Unreadable(why())),
        case().granted().change(|c| c.snapshot.role = Lookup::Unreadable(why())),
        case().granted().change(|c| c.snapshot.namespace = Lookup::Unreadable(why())),
        // The snapshot of an unreadable eligibility, whose policy and role are unknown.
        case().granted().change(|c| {
            c.snapshot.eligibility = Lookup::Unreadable(why());
            c.snapshot.policy = Lookup::Absent;
            c.snapshot.role = Lookup::Absent;
        }),
    ] {
        let verdict = case.decide();
        assert_eq!((verdict.state, verdict.binding), (State::Active, BindingAction::Keep), "{verdict:?}");
        assert_eq!(case.now(2_700).told(), "Expired Expired: expired at 2026-11-02T10:45:00Z", "but it ends on time");
    }
}

#[test]
fn a_namespace_that_cannot_be_read_keeps_no_eligibility_alive() {
    let unread = || case().granted().now(60).change(|c| c.snapshot.namespace = Lookup::Unreadable("bad field".to_owned()));
    for (case, reason) in [
        (unread().eligibility(|e| e.suspended = true), "EligibilitySuspended"),
        // Nor is it requeued again and again since that end.
        (unread().eligibility(|e| e.end_time = Some(at(30))), "EligibilityExpired"),
    ] {
        assert!(case.told().starts_with(&format!("Revoked {reason}: ")), "{}", case.told());
    }
}

#[test]
fn recreated_alike_is_as_good() {
    let case = case().granted().change(|c| {
        let Lookup::Found(eligibility) = &mut c.snapshot.eligibility else { panic!() };
        Arc::make_mut(eligibility).uid = "recreated".to_owned();
    });
    assert_eq!(case.state(), State::Active);
}
