//! What one replica concludes from its observations, over time.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::advance;

use super::{
    probe::{Finding, NOT_IN_FORCE},
    skew::Skew,
    state::{State, Step},
};
use api::Reason;
use domain::guards::ledger::{Kind, Known, Ledger, Pair, Proven, Stored};

fn at(seconds: i64) -> Timestamp {
    "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

#[expect(clippy::unnecessary_wraps, reason = "none is a guard that is missing")]
fn guard(generation: i64) -> Option<Pair> {
    Some(Pair { uid: "g".to_owned(), generation })
}

type Found = BTreeMap<String, (Option<Pair>, Finding)>;

fn seen(seconds: i64, pair: Option<Pair>, finding: Finding) -> (Found, Proven) {
    let guards = pair.clone().map(|pair| ("guard".to_owned(), pair)).into_iter().collect();
    let versions = [(Kind::RoleEligibility, 10), (Kind::ApprovalPolicy, 10)].into();
    ([("guard".to_owned(), (pair, finding))].into(), Proven { guards, at: at(seconds), versions })
}

/// Returns a check of the guard of [`proven`] that finds it in force.
pub(super) fn holds(seconds: i64) -> (Found, Proven) {
    seen(seconds, guard(1), Finding::Holds)
}

fn look(state: &mut State, seconds: i64, pair: Option<Pair>, finding: Finding) -> Step {
    let (found, proven) = seen(seconds, pair, finding);
    state.looked(found, &proven, Known::new())
}

fn begin(state: &mut State, seconds: i64, generation: i64, exists: &[Stored]) -> bool {
    let guards = guard(generation).map(|pair| ("guard".to_owned(), pair)).into_iter().collect();
    let versions = [(Kind::RoleEligibility, 10), (Kind::ApprovalPolicy, 10)].into();
    state.begin(Proven { guards, at: at(seconds), versions }, exists).is_some()
}

fn reason(state: &State) -> Option<Reason> {
    state.hold().map(|hold| hold.reason)
}

/// Returns a leader that has proven its one guard in generation 1.
pub(super) async fn proven() -> State {
    let mut state = State::default();
    state.see("guard", guard(1));
    advance(Duration::from_secs(3)).await;
    state.take_over(Ledger::first());
    assert_eq!(look(&mut state, 0, guard(1), Finding::Holds), Step::Begin);
    assert!(begin(&mut state, 0, 1, &[]));
    state
}

/// `helm upgrade` alone removes no additions of others, and fails at what others changed: verified with Helm 4.
#[tokio::test(start_paused = true)]
async fn f61_a_hold_says_how_the_guard_is_restored() {
    for (key, why, cure) in [
        (
            "ValidatingWebhookConfiguration jit-rbac",
            "differs from the expected content: .webhooks[0].namespaceSelector is set and should not be",
            "run 'kubectl delete validatingwebhookconfiguration jit-rbac', then 'helm upgrade' with the values of the release",
        ),
        ("ValidatingAdmissionPolicy jit-rbac-status", "is missing", "run 'helm upgrade' with the values of the release"),
        ("ValidatingAdmissionPolicy jit-rbac-status", "is being deleted", "run 'helm upgrade' with the values of the release"),
        (
            "CustomResourceDefinition roleeligibilities.jitrbac.dev",
            "differs from the expected content: .spec.x is missing",
            "run 'helm upgrade' with the values of the release, with --server-side=true --force-conflicts",
        ),
    ] {
        let mut state = proven().await;
        let found = [(key.to_owned(), (guard(2), Finding::Weak(why.to_owned())))].into();
        state.looked(found, &holds(1).1, Known::new());
        let message = state.hold().unwrap().message;
        assert!(message.contains(&format!(": {key} {why}. An admin restores it: {cure}. ")), "{message}");
        assert!(!message.contains("delete customresource"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn f68_a_replica_is_ready_when_requests_can_be_decided_and_stays_so() {
    let mut state = State::default();
    assert!(!state.can_judge(), "nobody knows who holds the Lease");
    state.follow();
    assert!(state.can_judge(), "another one decides");
    state.take_over(Ledger::first());
    assert!(!state.can_judge(), "it decides and has proven nothing");
    assert_eq!(look(&mut state, 0, guard(1), Finding::Holds), Step::Rest);
    advance(Duration::from_secs(3)).await;
    look(&mut state, 3, guard(1), Finding::Weak("is missing".to_owned()));
    assert!(!state.can_judge(), "what it looked at is weak");
    assert_eq!(look(&mut state, 4, guard(1), Finding::Holds), Step::Begin);
    assert!(begin(&mut state, 4, 1, &[]) && state.can_judge());
    look(&mut state, 5, guard(2), Finding::Weak("is missing".to_owned()));
    assert!(state.hold().is_some() && state.can_judge(), "a guard that is weakened later makes no replica unready");
    state.release();
    state.take_over(Ledger::first());
    assert!(state.can_judge(), "it has proven them before");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_granted_and_nothing_denied_before_all_is_known() {
    let mut state = State::default();
    let held = |state: &State| {
        let facts = state.facts(Some(("e", 1)), None);
        facts.hold.is_some_and(|hold| hold.reason == Reason::GuardsNotVerified)
            // Without any span, no object is denied for being outside of one.
            && facts.proven.is_empty()
            && !facts.eligibility_unproven
    };
    assert!(held(&state), "who does not hold the Lease");
    state.take_over(Ledger::first());
    assert!(held(&state), "who has read the record and proven nothing");
    assert_eq!(look(&mut state, 0, guard(1), Finding::Holds), Step::Rest, "it has just been observed for the first time");
    assert!(held(&state));
    advance(Duration::from_secs(3)).await;
    assert_eq!(look(&mut state, 3, guard(1), Finding::Holds), Step::Begin);
    assert!(held(&state) && begin(&mut state, 3, 1, &[]) && !held(&state));
    assert_eq!(reason(&state), None);
    state.release();
    assert!(held(&state));
}

#[tokio::test(start_paused = true)]
async fn t41_a_change_holds_before_anybody_has_looked() {
    for seen in [None, guard(2), Some(Pair { uid: "other".to_owned(), generation: 1 })] {
        let mut state = proven().await;
        assert!(state.holds("guard"));
        assert!(state.see("guard", seen.clone()).is_news(), "it is worth a look");
        assert_eq!(reason(&state), Some(Reason::GuardsNotVerified), "{seen:?}");
        assert!(!state.holds("guard"));
    }
    let mut state = proven().await;
    assert!(!state.see("guard", guard(1)).is_news() && !state.see("guard", guard(0)).is_news(), "old news");
    assert_eq!(reason(&state), None);
}

#[tokio::test(start_paused = true)]
async fn t41_what_is_weak_holds_until_it_is_settled_and_proven_again() {
    let mut state = proven().await;
    assert_eq!(look(&mut state, 20, guard(1), Finding::Holds), Step::Rest);
    look(&mut state, 30, guard(2), Finding::Weak("differs from the expected content: .spec".to_owned()));
    let hold = state.hold().unwrap();
    assert!(hold.message.contains("guard differs from the expected content: .spec") && hold.message.contains("helm upgrade"), "{hold}");
    advance(Duration::from_mins(1)).await;
    // The API server may still use the old content for a moment.
    assert_eq!(look(&mut state, 90, guard(3), Finding::Holds), Step::Rest);
    assert!(!begin(&mut State::default(), 90, 3, &[]), "only a holder begins");
    assert_eq!(reason(&state), Some(Reason::GuardsNotVerified));
    advance(Duration::from_secs(3)).await;
    assert_eq!(look(&mut state, 93, guard(3), Finding::Holds), Step::Begin);
    let written =
        Stored { kind: Kind::RoleEligibility, name: "e".to_owned(), pair: Pair { uid: "e".to_owned(), generation: 1 }, version: 11 };
    assert!(begin(&mut state, 93, 3, &[written]));
    let facts = state.facts(Some(("e", 1)), Some(("e", 1)));
    assert_eq!((facts.hold, facts.eligibility_unproven, facts.policy_unproven), (None, true, false));
    let covered = |seconds| facts.proven.iter().any(|span| span.covers(at(seconds)));
    assert_eq!([19, 20, 50, 93, 94].map(covered), [true, false, false, false, true]);
    assert!(state.facts(Some(("e", 2)), None).hold.is_none() && !state.facts(Some(("e", 2)), None).eligibility_unproven, "written again");
    let refused = state.check(Kind::RoleEligibility, "e", "e", 1).unwrap_err();
    assert!(refused.reason == Reason::WrittenUnguarded && refused.message.contains("write it again"), "{refused}");
    assert!(state.check(Kind::RoleEligibility, "e", "e", 2).is_ok());
}

#[tokio::test(start_paused = true)]
async fn t41_a_guard_that_lets_a_probe_through_is_a_gap_though_it_says_all_it_must() {
    let mut state = proven().await;
    look(&mut state, 20, guard(1), Finding::Holds);
    look(&mut state, 30, guard(1), Finding::Weak("is not in force".to_owned()));
    assert!(reason(&state).is_some());
    assert_eq!(look(&mut state, 40, guard(1), Finding::Holds), Step::Begin);
    assert!(begin(&mut state, 40, 1, &[]));
    assert!(!state.facts(None, None).proven.iter().any(|span| span.covers(at(30))));
}

#[tokio::test(start_paused = true)]
async fn f38_a_policy_that_was_written_again_and_is_not_in_force_yet_says_nothing_of_the_one_before() {
    let covers = |state: &State, seconds| {
        let facts = state.facts(None, None);
        facts.proven.iter().chain(&facts.certain).any(|span| span.covers(at(seconds)))
    };
    for (generation, was_in_force) in [(1, false), (2, true)] {
        let mut state = proven().await;
        look(&mut state, 20, guard(1), Finding::NotAsked);
        assert!(covers(&state, 10));
        look(&mut state, 30, guard(generation), Finding::Weak(NOT_IN_FORCE.to_owned()));
        assert_eq!(covers(&state, 10), was_in_force, "generation {generation}");
        assert!(!covers(&state, 20));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_between_proof_and_begin_begins_nothing() {
    let mut state = State::default();
    state.take_over(Ledger::first());
    look(&mut state, 0, guard(1), Finding::Holds);
    advance(Duration::from_secs(3)).await;
    assert_eq!(look(&mut state, 3, guard(1), Finding::Holds), Step::Begin);
    state.see("guard", guard(2));
    assert!(!begin(&mut state, 3, 1, &[]));
    assert!(reason(&state).is_some());
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_grants_go_on_for_half_a_minute_and_there_is_no_gap_after() {
    let mut state = proven().await;
    advance(Duration::from_secs(25)).await;
    look(&mut state, 25, None, Finding::Unknown("no answer".to_owned()));
    assert_eq!(reason(&state), None);
    advance(Duration::from_secs(6)).await;
    let hold = state.hold().unwrap();
    assert!(hold.message.contains("the last verification is more than 30 seconds ago: guard no answer"), "{hold}");
    assert_eq!(look(&mut state, 300, guard(1), Finding::Holds), Step::Rest);
    assert_eq!(reason(&state), None);
    assert!(state.facts(None, None).proven.iter().any(|span| span.covers(at(200))));
}

#[tokio::test(start_paused = true)]
async fn t41_a_takeover_with_equal_guards_goes_on_after_one_proof() {
    let record = proven().await.ledger.unwrap().write();
    let mut other = State::default();
    other.take_over(Ledger::read(Some(&record)).unwrap());
    assert!(reason(&other).is_some());
    assert_eq!(look(&mut other, 50, guard(1), Finding::Holds), Step::Rest);
    assert_eq!(reason(&other), None);
    assert!(other.facts(None, None).proven.iter().any(|span| span.covers(at(30))));
}

#[tokio::test(start_paused = true)]
async fn t35_a_wrong_clock_holds_and_is_no_gap() {
    let mut state = proven().await;
    state.skew = Some(Skew::new(at(0), at(60), at(60)));
    assert_eq!(reason(&state), Some(Reason::ClockSkewed));
    state.skew = Some(Skew::new(at(0), at(1), at(1)));
    assert_eq!(reason(&state), None);
}

#[tokio::test(start_paused = true)]
async fn t57_f50_who_serves_our_kinds_must_be_left_alone_for_longer_than_an_answer_takes() {
    let mut state = proven().await;
    // The first observation is no change.
    let served = |version| Some(Pair { uid: "served".to_owned(), generation: version });
    assert!(!state.see("APIService v1alpha1.jitrbac.dev", served(7)).is_change());
    advance(Duration::from_secs(3)).await;
    let with = |version, finding: Finding| -> Found {
        [("guard".to_owned(), (guard(1), Finding::Holds)), ("APIService v1alpha1.jitrbac.dev".to_owned(), (served(version), finding))]
            .into()
    };
    let look = |state: &mut State, version, finding| {
        let found = with(version, finding);
        let guards = found.iter().filter_map(|(key, (pair, _))| Some((key.clone(), pair.clone()?))).collect();
        let proven = Proven { guards, at: at(50), versions: [].into() };
        state.looked(found, &proven, Known::new())
    };
    assert_eq!(look(&mut state, 7, Finding::Holds), Step::Begin);
    let weak = Finding::Weak("lets the Service 'a/b' serve the kinds of jit-rbac instead of the API server".to_owned());
    assert_eq!(look(&mut state, 8, weak), Step::Rest);
    let hold = state.hold().unwrap();
    assert!(
        hold.message.contains("lets the Service 'a/b' serve") && hold.message.contains("'kubectl delete apiservice v1alpha1.jitrbac.dev'"),
        "{hold}"
    );
    // The `APIService` is local again. That is a second write, and it is always recent.
    advance(Duration::from_secs(1)).await;
    assert_eq!(look(&mut state, 9, Finding::Holds), Step::Rest);
    advance(Duration::from_secs(11)).await;
    assert_eq!(look(&mut state, 9, Finding::Holds), Step::Rest, "an answer of another server may still be on its way");
    assert!(state.is_moving() && state.hold().is_some());
    advance(Duration::from_secs(1)).await;
    assert_eq!(look(&mut state, 9, Finding::Holds), Step::Begin);
}
