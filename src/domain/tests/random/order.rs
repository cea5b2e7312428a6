//! Additions, repetitions and permutations that gain nothing: invariants 9 and 10, and admission.

use proptest::{prelude::*, sample::Index};

use super::*;
use api::Reason;
use domain::{admit_decision, policy};

/// A change that must bring no request closer to a grant.
#[derive(Clone, Debug)]
enum Attack {
    /// The requester approves their own request, with any groups.
    Requester(Said, bool),
    /// A repetition by the same person.
    Again(Index, i64),
    /// A user who is not listed.
    Outsider(Said),
    /// A decision about another request, or with an outdated digest.
    Malformed(Said, u8),
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        (said(), any::<bool>()).prop_map(|(said, more)| Attack::Requester(said, more)),
        (any::<Index>(), 0..10_i64).prop_map(|(which, later)| Attack::Again(which, later)),
        (said(), parts::anybody()).prop_map(|(said, who)| Attack::Outsider(Said { who: Some(who), ..said })),
        (said(), 0..4_u8).prop_map(|(said, how)| Attack::Malformed(said, how)),
    ]
}

fn approves(said: Said) -> Said {
    Said { verb: Verb::Approve, shown: Shown::Present, about: None, ..said }
}

impl Attack {
    fn on(self, case: TestCase) -> TestCase {
        match self {
            Self::Requester(said, more) => {
                let requester = case.snapshot.request.object.spec.requester.clone();
                let with_groups = |who: Stamp| Stamp { groups: vec![line("leads"), line("security")], ..who };
                let who = requester.map(|who| if more { with_groups(who) } else { who });
                case.hears(&Said { who, ..approves(said) })
            }
            Self::Again(which, later) => {
                let before = &case.snapshot.decisions;
                if before.is_empty() {
                    return case;
                }
                let mut again = which.get(before).clone();
                again.uid = format!("again-{}", before.len());
                again.created += SignedDuration::from_secs(later);
                case.said(again)
            }
            Self::Outsider(said) => {
                let listed = |who: &Stamp| {
                    let stages = case.snapshot.policy.found().map(|p| p.spec.approval.stages.clone()).unwrap_or_default();
                    stages.iter().any(|s| domain::person::is_listed(who, &s.approvers))
                };
                let who = said.who.clone().filter(|who| !listed(who)).unwrap_or_else(|| person("eve", &[]));
                case.hears(&Said { who: Some(who), ..approves(said) })
            }
            Self::Malformed(said, how) => {
                let good = approves(said);
                case.hears(&match how {
                    0 => Said { about: Some("another-uid"), ..good },
                    1 => Said { shown: Shown::Stale, ..good },
                    2 => Said { shown: Shown::Nothing, ..good },
                    _ => Said { seconds: 86_400 + good.seconds.max(0), ..good },
                })
            }
        }
    }
}

/// Asserts that there is no new, earlier or longer grant.
fn no_gain(before: &TestCase, after: &TestCase) -> Result<(), TestCaseError> {
    let gained = before.gained(after);
    prop_assert!(gained.is_none(), "{gained:?}");
    Ok(())
}

/// What the random test cases reach once in tens of thousands: a grant whose time has passed, and an identity that joins its approvers.
#[test]
fn inv_10_an_identity_that_joins_two_approvers_needs_a_further_approver() {
    let leads = |name: &str| person(name, &["leads"]);
    let two = test_cases::case().stages(vec![stage("lead", 2, &["group leads"])]).request(|r| r.duration = Some(Duration::from_secs(1)));
    let joins = |who: &str| uid(person(who, &[]), "u3");
    let lapsed = two.approves(&leads("eve"), 0).approves(&leads("dora"), 5).approves(&joins("eve"), 0).now(6);
    assert_eq!(lapsed.decide().reason, Reason::DeadlineExceeded);
    let joined = lapsed.clone().approves(&joins("dora"), 0);
    assert_eq!(joined.gain(), None, "one person");
    let (before, after) = (lapsed.approves(&leads("bob"), 8), joined.approves(&leads("bob"), 8));
    assert_eq!(before.gain(), None);
    assert_eq!(after.gain().map(|(start, _)| start), Some(at(8)));
    assert_eq!(before.gained(&after), None);
}

/// An approver whose groups have changed still counts once. Admission denies the second approval all the same.
#[test]
fn inv_10_an_approver_in_an_earlier_stage_counts_once() {
    let stages = || vec![stage("security", 2, &["group security"]), stage("lead", 1, &["group leads"])];
    let (sec, lead) = (|name: &str| person(name, &["security"]), |name: &str| person(name, &["leads"]));
    let before = test_cases::case().stages(stages()).approves(&sec("ann"), 0).approves(&lead("finn"), 0).approves(&lead("bob"), 0).now(1);
    let after = before.clone().approves(&sec("finn"), 1);
    let decision = after.snapshot.decisions.last().unwrap();
    let refusal = admit_decision::review(&before.snapshot, decision, &before.settings, before.now).unwrap_err();
    assert_eq!(refusal.reason, Reason::AlreadyApproved);
    assert!(before.counts_if_stored(decision, refusal.reason) && !before.counts_if_stored(decision, Reason::NotAnApprover));
    assert_eq!((before.gain(), after.decide().counted.len()), (None, 3));
    assert!(after.gain().is_some());
    let again = before.clone().approves(&lead("bob"), 1);
    assert!(!before.counts_if_stored(again.snapshot.decisions.last().unwrap(), Reason::AlreadyApproved), "the same stage");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn inv_09_order_does_not_matter(case in cases(), keys in prop::collection::vec(any::<u8>(), 10)) {
        let verdict = case.decide();
        prop_assert_eq!(&case.decide(), &verdict);
        let mut shuffled = case.clone();
        let mut order: Vec<usize> = (0..case.snapshot.decisions.len()).collect();
        order.sort_by_key(|i| keys.get(*i).copied());
        shuffled.snapshot.decisions = order.into_iter().map(|i| case.snapshot.decisions[i].clone()).collect();
        prop_assert_eq!(&shuffled.decide(), &verdict);
        shuffled.snapshot.peers.reverse();
        let verdict = Verdict { message: String::new(), ..verdict };
        prop_assert_eq!(Verdict { message: String::new(), ..shuffled.decide() }, verdict, "but for which of their other requests is named");
    }

    #[test]
    fn inv_09_doing_it_again_changes_nothing(case in cases()) {
        let first = case.decide();
        let once = case.apply(&first);
        let second = once.decide();
        prop_assert_eq!((second.state, second.reason), (first.state, first.reason));
        let gone = once.snapshot.binding == Binding::Absent;
        prop_assert!(second.binding == BindingAction::Keep || (second.binding == BindingAction::Remove && gone), "{second:?}");
        let twice = once.clone().apply(&second);
        prop_assert_eq!(twice.decide(), second);
        prop_assert_eq!(twice.snapshot.request.record, once.snapshot.request.record);
        prop_assert_eq!(twice.snapshot.binding, once.snapshot.binding);
    }

    #[test]
    fn inv_10_no_attacker_gains(case in fresh_cases(), attacks in prop::collection::vec(attack(), 1..4)) {
        let after = attacks.into_iter().fold(case.clone(), |case, attack| attack.on(case));
        no_gain(&case, &after)?;
    }

    #[test]
    fn inv_10_what_the_door_refuses_brings_no_grant_nearer(case in fresh_cases(), said in said(), late in any::<bool>()) {
        // Including the very second of the deadline.
        let mut case = case;
        let created = case.snapshot.request.object.created;
        if let (true, Some(policy)) = (late, case.snapshot.policy.found()) {
            case.now = created + SignedDuration::from(policy::timeout(Some(&policy.spec)));
        }
        case.snapshot.decisions.retain(|d| d.created <= case.now);
        let seconds = case.now.duration_since(created).as_secs();
        let after = case.clone().hears(&Said { seconds, ..said });
        let decision = after.snapshot.decisions.last().unwrap();
        if let Err(refusal) = admit_decision::review(&case.snapshot, decision, &case.settings, case.now) {
            if case.counts_if_stored(decision, refusal.reason) {
                // A person counts once, whatever they add.
                let only_once = refusal.reason != Reason::AlreadyApproved || after.decide().counted.len() <= case.decide().counted.len();
                prop_assert!(only_once, "{:?}", after.decide().counted);
            } else {
                no_gain(&case, &after)?;
            }
        }
    }

    #[test]
    fn what_the_door_takes_counts(case in fresh_cases(), said in said(), who in parts::anybody(), pick in any::<bool>()) {
        let anonymous = |who: Stamp| Stamp { uid: None, ..who };
        // With names alone no chain is needed to be the same person.
        let mut case = case.request(|r| r.requester = r.requester.take().map(anonymous));
        let digest = case.digest_if_known();
        for decision in &mut case.snapshot.decisions {
            decision.spec.decider = decision.spec.decider.take().map(anonymous);
            decision.spec.digest = digest.as_ref().map(ToString::to_string).filter(|_| decision.spec.digest.is_some());
            decision.created = decision.created.min(case.now);
        }
        // Counted approvals were recorded. An approval that was not may be given again.
        let counted = case.decide().counted;
        let case = case.record(|r| r.approvers = counted.into_iter().map(|counted| counted.approver.username).collect());
        let seconds = case.now.duration_since(case.snapshot.request.object.created).as_secs();
        let who = if pick { Some(who) } else { said.who.clone() };
        let after = case.clone().hears(&Said { seconds, verb: Verb::Approve, who: who.map(anonymous), ..said });
        let decision = after.snapshot.decisions.last().unwrap();
        if admit_decision::review(&case.snapshot, decision, &case.settings, case.now).is_ok() {
            let (before, verdict) = (case.decide(), after.decide());
            prop_assert_eq!(verdict.counted.len(), before.counted.len() + 1);
            let stands = matches!(verdict.state, State::AwaitingApproval | State::Active);
            prop_assert!(stands || verdict.reason == Reason::DurationTooShort, "{verdict:?}");
        }
    }
}
