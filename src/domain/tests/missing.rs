//! Objects that are absent, unreadable or unusable: no grant, and an active one ends only if absence is certain (api rules 6 and 11).

use super::*;

#[test]
fn t06_what_is_missing_while_a_request_waits() {
    let waits = [
        (
            two_eyes().change(|w| w.snapshot.eligibility = Lookup::Unreadable("bad field".to_owned())),
            "Unreadable: eligibility 'payments-oncall' cannot be read: bad field",
        ),
        (
            two_eyes().change(|w| w.snapshot.policy = Lookup::Absent),
            "PolicyNotFound: eligibility 'payments-oncall' refers to policy 'two-eyes', which does not exist",
        ),
        (
            two_eyes().change(|w| w.snapshot.policy = Lookup::Unreadable("bad field".to_owned())),
            "Unreadable: policy 'two-eyes' cannot be read: bad field",
        ),
        (
            two_eyes().change(|w| w.snapshot.role = Lookup::Absent),
            "RoleNotFound: eligibility 'payments-oncall' refers to ClusterRole 'edit', which does not exist",
        ),
        (
            two_eyes().eligibility(|e| e.role_ref.kind = RoleKind::Role).change(|w| w.snapshot.role = Lookup::Absent),
            "RoleNotFound: eligibility 'payments-oncall' refers to Role 'edit', which does not exist in namespace 'payments'",
        ),
        (
            two_eyes().change(|w| w.snapshot.role = Lookup::Unreadable("bad field".to_owned())),
            "Unreadable: ClusterRole 'edit' cannot be read: bad field",
        ),
        (
            two_eyes().change(|w| w.snapshot.namespace = Lookup::Unreadable("bad field".to_owned())),
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
    for (world, message) in waits {
        assert_eq!(world.told(), format!("Pending {message}"));
        assert_eq!(world.refusal(), message, "admission refuses it at once");
        let verdict = world.decide();
        assert_eq!((verdict.binding, verdict.look_again), (BindingAction::Keep, Some(at(86_400))));
        assert_eq!(world.clone().now(86_399).state(), State::Pending);
        let (reason, sentence) = message.split_once(": ").unwrap();
        let over = format!("TimedOut {reason}: timed out at 2026-11-03T10:00:00Z before it could be decided: {sentence}");
        assert_eq!(world.now(86_400).told(), over);
    }
}

#[test]
fn t37_what_is_missing_for_good() {
    let gone = |w: &mut World| w.snapshot.eligibility = Lookup::Absent;
    assert_eq!(
        two_eyes().change(gone).told(),
        "Denied EligibilityNotFound: there is no eligibility 'payments-oncall'; 'kubectl get roleeligibilities' lists them"
    );
    for world in [two_eyes().namespace(|n| n.terminating = true), two_eyes().change(|w| w.snapshot.namespace = Lookup::Absent)] {
        assert_eq!(world.told(), "Denied NamespaceTerminating: namespace 'payments' is terminating: nothing can be activated in it");
    }
}

#[test]
fn a_request_that_is_being_deleted_has_no_binding() {
    for world in [world(), two_eyes(), world().granted()] {
        let verdict = world.change(|w| w.snapshot.request.object.deleting = true).decide();
        assert_eq!((verdict.state, verdict.binding, verdict.grant), (State::Pending, BindingAction::Remove, None));
    }
}

#[test]
fn what_is_gone_for_sure_ends_a_running_grant() {
    for (world, told) in [
        (
            world().granted().change(|w| w.snapshot.eligibility = Lookup::Absent),
            "Revoked EligibilityRemoved: eligibility 'payments-oncall' was removed",
        ),
        (world().granted().change(|w| w.snapshot.policy = Lookup::Absent), "Revoked PolicyRemoved: policy 'two-eyes' was removed"),
        (world().granted().change(|w| w.snapshot.role = Lookup::Absent), "Revoked RoleRemoved: the ClusterRole 'edit' was removed"),
        (
            world().granted().change(|w| w.snapshot.namespace = Lookup::Absent),
            "Revoked NamespaceTerminating: namespace 'payments' no longer exists",
        ),
        (
            world().granted().namespace(|n| n.uid = "another".to_owned()),
            "Revoked NamespaceTerminating: namespace 'payments' is not the one that was approved",
        ),
    ] {
        assert_eq!(world.told(), told);
        assert_eq!(world.decide().binding, BindingAction::Remove);
    }
}

#[test]
fn what_cannot_be_read_ends_nothing() {
    let why = || "bad field".to_owned();
    for world in [
        world().granted().change(|w| w.snapshot.eligibility = Lookup::Unreadable(why())),
        world().granted().change(|w| w.snapshot.policy = Lookup::Unreadable(why())),
        world().granted().change(|w| w.snapshot.role = Lookup::Unreadable(why())),
        world().granted().change(|w| w.snapshot.namespace = Lookup::Unreadable(why())),
        // The snapshot of an unreadable eligibility, whose policy and role are unknown.
        world().granted().change(|w| {
            w.snapshot.eligibility = Lookup::Unreadable(why());
            w.snapshot.policy = Lookup::Absent;
            w.snapshot.role = Lookup::Absent;
        }),
    ] {
        let verdict = world.decide();
        assert_eq!((verdict.state, verdict.binding), (State::Active, BindingAction::Keep), "{verdict:?}");
        assert_eq!(world.now(2_700).told(), "Expired Expired: expired at 2026-11-02T10:45:00Z", "but it ends on time");
    }
}

#[test]
fn a_namespace_that_cannot_be_read_keeps_no_eligibility_alive() {
    let unread = || world().granted().now(60).change(|w| w.snapshot.namespace = Lookup::Unreadable("bad field".to_owned()));
    for (world, reason) in [
        (unread().eligibility(|e| e.suspended = true), "EligibilitySuspended"),
        // Nor is it requeued again and again since that end.
        (unread().eligibility(|e| e.end_time = Some(at(30))), "EligibilityExpired"),
    ] {
        assert!(world.told().starts_with(&format!("Revoked {reason}: ")), "{}", world.told());
    }
}

#[test]
fn recreated_alike_is_as_good() {
    let world = world().granted().change(|w| {
        let Lookup::Found(eligibility) = &mut w.snapshot.eligibility else { panic!() };
        Arc::make_mut(eligibility).uid = "recreated".to_owned();
    });
    assert_eq!(world.state(), State::Active);
}
