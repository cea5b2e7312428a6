//! What the check of an author rested on is compared with the present objects at the grant (T15, T16, T37).

use super::*;
use domain::author_check::{AuthorCheck, CheckedRole, SeenPolicy};

/// One role in namespaces with these UIDs, or in the whole cluster without any.
fn role(namespaces: &[(&str, &str)]) -> CheckedRole {
    CheckedRole {
        kind: RoleKind::ClusterRole,
        name: "edit".to_owned(),
        everywhere: namespaces.is_empty(),
        namespaces: namespaces.iter().map(|(name, uid)| ((*name).to_owned(), (*uid).to_owned())).collect(),
    }
}

fn here() -> Vec<CheckedRole> {
    vec![role(&[("payments", "namespace-uid")])]
}

#[expect(clippy::unnecessary_wraps, reason = "as a check has it")]
fn seen(uid: &str, generation: i64) -> Option<SeenPolicy> {
    Some(SeenPolicy { uid: uid.to_owned(), generation })
}

/// Methods for what admission has checked.
trait Checked {
    fn eligibility_checked(self, check: AuthorCheck) -> Self;
    fn policy_checked(self, check: AuthorCheck) -> Self;
}

impl Checked for TestCase {
    fn eligibility_checked(self, check: AuthorCheck) -> Self {
        self.change(|c| {
            let Lookup::Found(eligibility) = &mut c.snapshot.eligibility else { panic!() };
            Arc::make_mut(eligibility).checked = Some(Arc::new(check));
        })
    }

    fn policy_checked(self, check: AuthorCheck) -> Self {
        self.change(|c| {
            let Lookup::Found(policy) = &mut c.snapshot.policy else { panic!() };
            Arc::make_mut(policy).checked = Some(Arc::new(check));
        })
    }
}

/// The stamps of the webhook if the policy existed first.
fn stamped() -> TestCase {
    let check = AuthorCheck { generation: 1, policy: seen("policy-uid", 1), roles: here(), ..AuthorCheck::default() };
    case().eligibility_checked(check).policy_checked(AuthorCheck { generation: 1, ..AuthorCheck::default() })
}

const REMEDY: &str = "must be written again, with a change in any field, by a user who may bind the ClusterRole 'edit' in this namespace";

#[test]
fn f53_a_namespace_that_was_made_anew_needs_a_new_check() {
    assert_eq!(stamped().state(), State::Active);
    let recreated = |case: TestCase| case.namespace(|n| n.uid = "recreated".to_owned());
    let told = recreated(stamped()).told();
    assert_eq!(
        told,
        format!(
            "Pending AuthorLacksBind: namespace 'payments' was deleted and recreated after the author of eligibility 'payments-oncall' was \
             checked for it; the eligibility's spec {REMEDY}"
        )
    );
    assert!(recreated(stamped()).refusal().starts_with("AuthorLacksBind: namespace 'payments'"), "admission says the same");
    let unlisted =
        AuthorCheck { generation: 1, policy: seen("policy-uid", 1), roles: vec![role(&[("shop", "x")])], ..AuthorCheck::default() };
    let told = stamped().eligibility_checked(unlisted).told();
    assert!(told.starts_with("Pending AuthorLacksBind: namespace 'payments' did not exist when the author"), "{told}");
    // An author who may bind in the whole cluster may do so in every later namespace.
    let everywhere = AuthorCheck { generation: 1, policy: seen("policy-uid", 1), roles: vec![role(&[])], ..AuthorCheck::default() };
    assert_eq!(recreated(stamped().eligibility_checked(everywhere)).state(), State::Active);
    // The check of another role does not apply to this one.
    let other = AuthorCheck {
        generation: 1,
        policy: seen("policy-uid", 1),
        roles: vec![CheckedRole { name: "view".to_owned(), ..role(&[]) }],
        ..AuthorCheck::default()
    };
    assert_eq!(stamped().eligibility_checked(other).state(), State::Pending);
    let garbled = AuthorCheck::read("{", 1);
    assert_eq!(stamped().eligibility_checked(garbled).state(), State::Pending, "what cannot be read checks nothing");
}

#[test]
fn f53_what_runs_and_what_was_written_before_the_record_goes_on() {
    assert_eq!(case().namespace(|n| n.uid = "recreated".to_owned()).state(), State::Active);
    let old = AuthorCheck { generation: 0, policy: seen("other", 9), roles: Vec::new(), ..AuthorCheck::default() };
    let case = case().eligibility_checked(old.clone()).policy_checked(old).namespace(|n| n.uid = "recreated".to_owned());
    assert_eq!(case.state(), State::Active, "the record of another spec says nothing about this one");
    let running = stamped().granted().policy_checked(AuthorCheck { generation: 1, ..AuthorCheck::default() });
    assert_eq!(running.eligibility_checked(AuthorCheck { generation: 1, ..AuthorCheck::default() }).state(), State::Active);
}

#[test]
fn f76_a_policy_and_an_eligibility_that_were_written_at_once_grant_nothing() {
    // The eligibility's check read the policy before its last change, and the policy's check listed no such eligibility.
    let blind = |policy: Option<SeenPolicy>| {
        let check = AuthorCheck { generation: 1, policy, roles: here(), ..AuthorCheck::default() };
        stamped().eligibility_checked(check)
    };
    for before in [None, seen("policy-uid", 0), seen("another-uid", 1)] {
        assert_eq!(
            blind(before).told(),
            format!(
                "Pending AuthorLacksBind: policy 'two-eyes' and eligibility 'payments-oncall' were written at the same time, so neither \
                 author was checked for the other; the spec of either {REMEDY}"
            )
        );
    }
    // The check of the next write of either object includes the other.
    assert_eq!(blind(seen("policy-uid", 1)).state(), State::Active);
    let again = |check: AuthorCheck| blind(None).policy_checked(AuthorCheck { generation: 1, ..check }).state();
    assert_eq!(again(AuthorCheck { roles: here(), ..AuthorCheck::default() }), State::Active);
    assert_eq!(again(AuthorCheck { roles: vec![role(&[])], ..AuthorCheck::default() }), State::Active);
    assert_eq!(again(AuthorCheck { administers: true, ..AuthorCheck::default() }), State::Active);
    assert_eq!(again(AuthorCheck { roles: vec![role(&[("shop", "shop-uid")])], ..AuthorCheck::default() }), State::Pending);
    // A namespace that was created again is a different one for the policy's author too.
    let told =
        blind(None).policy_checked(AuthorCheck { generation: 1, roles: vec![role(&[("payments", "before")])], ..AuthorCheck::default() });
    assert!(told.told().contains("after the author of policy 'two-eyes' was checked for it; the policy's spec"), "{}", told.told());
    // Written by a webhook without this record, after one with it.
    let told = blind(seen("policy-uid", 0)).policy_checked(AuthorCheck { generation: 0, administers: true, ..AuthorCheck::default() });
    assert_eq!(told.state(), State::Pending);
}

#[test]
fn f76_a_later_edit_of_the_policy_by_who_may_breaks_no_eligibility() {
    let edited = |check: AuthorCheck| {
        stamped().policy_checked(AuthorCheck { generation: 2, ..check }).change(|c| {
            let Lookup::Found(policy) = &mut c.snapshot.policy else { panic!() };
            Arc::make_mut(policy).generation = 2;
        })
    };
    for check in [
        AuthorCheck { administers: true, ..AuthorCheck::default() },
        AuthorCheck { roles: vec![role(&[])], ..AuthorCheck::default() },
        AuthorCheck { roles: here(), ..AuthorCheck::default() },
    ] {
        assert_eq!(edited(check).state(), State::Active);
    }
    assert_eq!(edited(AuthorCheck::default()).state(), State::Pending, "its author was checked for nothing");
    let unrecorded = case().policy_checked(AuthorCheck { generation: 1, roles: here(), ..AuthorCheck::default() });
    assert_eq!(unrecorded.state(), State::Active, "an eligibility from before the record, under a policy from after it");
}

#[test]
fn f76_a_record_says_again_what_was_written() {
    let check = AuthorCheck { generation: 3, policy: seen("p", 2), administers: false, roles: vec![role(&[("a", "1")]), role(&[])] };
    assert_eq!(AuthorCheck::read(&check.write(), 9), check);
    assert_eq!(
        AuthorCheck { generation: 3, administers: true, ..AuthorCheck::default() }.write(),
        r#"{"generation":3,"administers":true}"#
    );
}
