//! Objects that were written while the guards were not proven, and grants at such times (T41, T42, T55, invariants 14 and 21).

use super::*;
use api::{Reason, request::ReviewState};
use domain::{GuardFacts, Refusal, Span};

fn span(from: i64, until: Option<i64>) -> Span {
    Span { from: at(from), until: until.map(at) }
}

fn watched(case: TestCase, change: impl FnOnce(&mut GuardFacts)) -> TestCase {
    let mut facts = GuardFacts { proven: vec![span(-1_000, None)], ..GuardFacts::default() };
    change(&mut facts);
    case.change(|c| c.snapshot.guards = Guards::Watched(facts))
}

fn hold() -> Refusal {
    Refusal::new(Reason::GuardsNotVerified, "the guard 'jit-rbac-requests' is missing")
}

#[test]
fn inv_21_while_a_guard_is_not_proven_nothing_new_is_granted_and_all_else_goes_on() {
    assert_eq!(watched(case(), |_| ()).state(), State::Active);
    let held = watched(case(), |g| g.hold = Some(hold()));
    assert_eq!(held.told(), "Pending GuardsNotVerified: the guard 'jit-rbac-requests' is missing");
    assert_eq!((held.decide().binding, held.decide().grant), (BindingAction::Keep, None));
    assert!(held.decide().digest.is_some(), "people can go on looking at it");
    assert_eq!(watched(two_eyes(), |g| g.hold = Some(hold())).state(), State::AwaitingApproval);
    // Active grants continue, and end as usual.
    let running = || watched(case().granted(), |g| g.hold = Some(hold()));
    assert_eq!(running().state(), State::Active);
    assert_eq!(running().now(2_700).state(), State::Expired);
    assert_eq!(running().says(Verb::Deactivate, &dev(), 9).state(), State::Deactivated);
    // A binding that was created before and is not recorded yet is no new grant.
    let made = case().granted().record(|r| *r = Record::default());
    assert_eq!(watched(made, |g| g.hold = Some(hold())).state(), State::Active);
}

#[test]
fn t42_while_guards_are_not_proven_nobody_is_said_to_have_approved_what_may_be_anybodys() {
    let waiting = || case().stages(vec![stage("lead", 2, &["group leads"])]).approves(&lead(1), 5);
    let approved = || waiting().approves(&lead(2), 10);
    let told = |case: &TestCase| case.decide().counted.into_iter().map(|c| c.approver.username.to_string()).collect::<Vec<_>>();
    assert_eq!(told(&watched(approved(), |_| ())), ["lead-1", "lead-2"]);
    let held = |certain: Vec<Span>| watched(approved(), |g| (g.hold, g.proven, g.certain) = (Some(hold()), Vec::new(), certain));
    assert!(told(&held(Vec::new())).is_empty());
    assert_eq!(told(&held(vec![span(-1_000, Some(7))])), ["lead-1"]);
    // A request that waits for approvals reports it too.
    assert!(told(&watched(waiting(), |g| g.hold = Some(hold()))).is_empty());
    // A grant that was created and is not recorded yet rests on them, and the report contains it.
    let made = watched(approved().granted().record(|r| *r = Record::default()), |g| g.hold = Some(hold()));
    assert_eq!((made.state(), told(&made)), (State::Active, vec!["lead-1".to_owned(), "lead-2".to_owned()]));
}

#[test]
fn inv_14_t42_a_request_of_unguarded_times_never_leads_to_a_grant() {
    let told = "Denied WrittenUnguarded: the request was created at 2026-11-02T10:00:00Z, when the admission guards were not verified, so \
                its author cannot be trusted; create it again";
    for (spans, denied) in [
        (vec![span(0, None)], false),
        (vec![span(-5, Some(0))], false),
        (vec![span(1, None)], true),
        (vec![span(-5, Some(-1)), span(1, None)], true),
        (vec![span(-5, Some(-1)), span(0, Some(0)), span(7, None)], false),
    ] {
        let case = watched(case(), |g| g.proven.clone_from(&spans));
        assert_eq!(case.told() == told, denied, "{spans:?}: {}", case.told());
    }
    // Until the guards are known, nothing is granted and nothing is refused permanently.
    let unknown = watched(case(), |g| (g.proven, g.hold) = (Vec::new(), Some(hold())));
    assert_eq!(unknown.state(), State::Pending);
}

#[test]
fn t42_an_approval_of_unguarded_times_does_not_count_and_a_no_always_does() {
    let gap = |g: &mut GuardFacts| g.proven = vec![span(-1_000, Some(9)), span(20, None)];
    let approved = |seconds: i64| watched(two_eyes().approves(&lead(1), seconds).now(30), gap);
    assert_eq!(
        (approved(9).state(), approved(10).state(), approved(19).state(), approved(20).state()),
        (State::Active, State::AwaitingApproval, State::AwaitingApproval, State::Active)
    );
    assert_eq!(watched(two_eyes().says(Verb::Deny, &lead(1), 15).now(30), gap).state(), State::Denied);
    assert_eq!(watched(two_eyes().says(Verb::Deactivate, &dev(), 15).now(30), gap).state(), State::Withdrawn);
}

#[test]
fn t42_an_approval_of_unguarded_times_can_be_given_again() {
    let stages = || vec![stage("lead", 1, &["group leads"]), stage("security", 1, &["group security"])];
    let gap = |g: &mut GuardFacts| g.proven = vec![span(-1_000, Some(9)), span(20, None)];
    for case in [two_eyes(), case().stages(vec![stage("lead", 2, &["group leads"])]), case().stages(stages())] {
        // The controller does not count it, and reports that.
        let waiting = watched(case.approves(&lead(1), 15).now(60), gap);
        assert!(
            waiting.told().ends_with(
                "; an approval at 2026-11-02T10:00:15Z does not count because the admission guards were not verified then: approve again"
            ),
            "{}",
            waiting.told()
        );
        // Admission counts it until there was enough time to record it.
        let door = waiting.clone().apply(&waiting.decide()).change(|c| c.snapshot.guards = Guards::Unasked);
        assert!(door.admits(&door.decision(Verb::Approve, &lead(1), 45)).is_err());
        for who in [lead(1), lead(2)] {
            assert_eq!(door.admits(&door.decision(Verb::Approve, &who, 60)), Ok(()), "{}", who.username);
        }
        assert!(door.admits(&door.decision(Verb::Approve, &person("mallory", &[]), 60)).unwrap_err().starts_with("NotAnApprover: "));
        let mut another = door.decision(Verb::Approve, &lead(1), 60);
        another.spec.digest = Some("sha256:00000000000000000000".to_owned());
        assert!(door.admits(&another).unwrap_err().starts_with("DigestStale: "));
        // The repeated approval counts.
        let again = waiting.approves(&lead(1), 60).now(61).decide();
        assert!(again.counted.iter().any(|counted| counted.at == at(60)), "{again:?}");
    }
}

#[test]
fn inv_14_a_review_of_unguarded_times_does_not_count() {
    let urgent = || {
        let allowed =
            api::policy::Emergency { allowed: true, reviewers: Some(people(&["group security"])), ..api::policy::Emergency::default() };
        two_eyes().policy(|p| p.emergency = Some(allowed)).request(|r| r.emergency = true)
    };
    let reviewed = |seconds: i64, change: fn(&mut GuardFacts)| {
        let said = urgent().granted().says(Verb::Review, &person("sec-1", &["security"]), seconds).now(60);
        watched(said, change).decide().review.unwrap().state
    };
    let gap = |g: &mut GuardFacts| g.proven = vec![span(-1_000, Some(9)), span(20, None)];
    assert_eq!((reviewed(9, gap), reviewed(15, gap), reviewed(20, gap)), (ReviewState::Done, ReviewState::Owed, ReviewState::Done));
    // While it is uncertain, only what is certain counts.
    let held = |g: &mut GuardFacts| (g.hold, g.proven, g.certain) = (Some(hold()), Vec::new(), vec![span(-1_000, Some(9))]);
    assert_eq!((reviewed(9, held), reviewed(15, held)), (ReviewState::Done, ReviewState::Owed));
}

#[test]
fn t55_what_admins_wrote_in_unguarded_times_must_be_written_again() {
    let eligibility = watched(case(), |g| g.eligibility_unproven = true);
    assert_eq!(
        eligibility.told(),
        "Pending WrittenUnguarded: eligibility 'payments-oncall' was written while the admission guards were not verified, so its author \
         cannot be trusted: an admin must review it and write it again with another spec, or delete and recreate it"
    );
    let policy = watched(case(), |g| g.policy_unproven = true);
    assert!(policy.told().starts_with("Pending WrittenUnguarded: policy 'two-eyes' was written while"), "{}", policy.told());
    // Active grants continue, and revocations apply.
    let running = |change: fn(TestCase) -> TestCase| {
        watched(change(case().granted()), |g| (g.eligibility_unproven, g.policy_unproven) = (true, true))
    };
    assert_eq!(running(|c| c).state(), State::Active);
    assert_eq!(running(|c| c.eligibility(|e| e.suspended = true)).state(), State::Revoked);
}
