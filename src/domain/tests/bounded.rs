//! The bound on a request's decisions, and unreadable decisions that count against it (T45).

use super::*;
use api::Reason;
use domain::{Unreadable, bounds, fold::Fold};

fn with_revokers(case: TestCase) -> TestCase {
    case.policy(|p| p.revokers = Some(people(&["group security"])))
}

fn security(number: usize) -> Stamp {
    person(&format!("sec-{number}"), &["security"])
}

/// An active grant that `lead-1` has approved.
fn running() -> TestCase {
    with_revokers(two_eyes()).approves(&lead(1), 10).now(10).granted()
}

#[test]
fn f01_a_decision_on_a_request_that_has_ended_is_refused() {
    let ended = |state: State| running().record(|r| r.state = Some(state));
    for state in State::ALL.into_iter().filter(|state| state.is_terminal()) {
        let case = ended(state);
        for (verb, who) in [(Verb::Deny, lead(1)), (Verb::Revoke, security(1)), (Verb::Deactivate, dev())] {
            let message =
                format!("RequestCompleted: request 'inc-4711' has already ended ({state}): the decision {verb} would have no effect");
            assert_eq!(case.admits(&case.decision(verb, &who, 30)), Err(message));
        }
        let message = format!("RequestCompleted: request 'inc-4711' is already {state}: there is nothing left to approve");
        assert_eq!(case.admits(&case.decision(Verb::Approve, &lead(2), 30)), Err(message));
    }
    // The request alone refuses them, so that no other object is read.
    let case = ended(State::Deactivated);
    let decision = case.decision(Verb::Deactivate, &dev(), 30);
    assert!(admit_decision::review_alone(&case.snapshot.request, &decision, &case.settings).is_err());
}

#[test]
fn f01_one_person_ends_a_request_once_and_others_still_can() {
    for (first, who) in [(Verb::Deactivate, dev()), (Verb::Revoke, security(1)), (Verb::Deny, lead(1))] {
        let case = running().says(first, &who, 20);
        for verb in [Verb::Deny, Verb::Revoke, Verb::Deactivate] {
            for other in [dev(), security(1), lead(1)] {
                let said = case.admits(&case.decision(verb, &other, 30));
                if other == who && verb == first {
                    let message = format!(
                        "RequestCompleted: '{}' has already made the decision {first} on request 'inc-4711', at 2026-11-02T10:00:20Z: it counts, and \
                         {verb} would have no effect; wait until it is carried out",
                        who.username
                    );
                    assert_eq!(said, Err(message));
                } else if other != who {
                    let before = running().admits(&running().decision(verb, &other, 30));
                    assert_eq!(said, before, "{verb} of {} after {first} of {}", other.username, who.username);
                }
            }
        }
    }
}

#[test]
fn f01_whatever_others_have_said_who_may_end_a_running_grant_does() {
    // Decisions that do not count: by users without permission, about another request, Approves and Reviews.
    let mut flooded = running();
    for number in 0..700 {
        flooded = flooded.says(Verb::Revoke, &person(&format!("mallory-{number}"), &[]), 20);
        flooded = flooded.says(Verb::Deactivate, &lead(number), 20).says(Verb::Approve, &lead(1), 20);
    }
    flooded.snapshot.unread.more = true;
    for (verb, who) in [(Verb::Revoke, security(1)), (Verb::Deny, lead(2)), (Verb::Revoke, lead(1)), (Verb::Deactivate, dev())] {
        assert_eq!(flooded.admits(&flooded.decision(verb, &who, 30)), Ok(()), "{verb}");
        let ended = flooded.clone().says(verb, &who, 30).now(31);
        assert!(ended.state().is_terminal(), "{verb}");
    }
}

#[test]
fn f01_words_against_a_request_have_a_bound_that_only_those_that_count_reach() {
    let mut case = running();
    for number in 1..=bounds::MAX_AGAINST {
        let revoke = case.decision(Verb::Revoke, &security(number), 20);
        assert_eq!(case.admits(&revoke), Ok(()), "{number}");
        case = case.said(revoke);
    }
    let message = "RequestCompleted: 8 decisions that end request 'inc-4711' have already been made: Deactivate would have no effect; wait until they are \
                   carried out";
    assert_eq!(case.admits(&case.decision(Verb::Deactivate, &dev(), 30)), Err(message.to_owned()));
}

#[test]
fn f01_one_person_approves_anew_so_often_and_no_more() {
    let mut case = two_eyes();
    for round in 0..bounds::MAX_OF_ONE {
        let approve = case.decision(Verb::Approve, &lead(1), 5);
        assert_eq!(case.admits(&approve), Ok(()), "{round}");
        // A writer of the role can make every approval stale.
        case = case.said(approve).policy(|p| p.approval.timeout = Some(Duration::from_hours(30 + u32::try_from(round).unwrap())));
    }
    let message = "TooManyDecisions: 'lead-1' has made 16 of at most 16 decisions Approve and Review on request 'inc-4711'; the requester must \
         create it again";
    assert_eq!(case.admits(&case.decision(Verb::Approve, &lead(1), 9)), Err(message.to_owned()));
    assert_eq!(case.admits(&case.decision(Verb::Approve, &lead(2), 9)), Ok(()), "others have room");
    for (verb, who) in [(Verb::Deny, lead(1)), (Verb::Revoke, lead(1)), (Verb::Deactivate, dev())] {
        assert_eq!(case.admits(&case.decision(verb, &who, 9)), Ok(()), "{verb}");
    }
}

#[test]
fn f01_no_policy_can_use_as_many_decisions_as_are_stored() {
    use api::policy::{MAX_REQUIRED, MAX_STAGES};
    for (stages, required) in [(1, 1), (2, 16), (MAX_STAGES, MAX_REQUIRED)] {
        let all = (0..stages).map(|number| stage(&format!("s-{number}"), i32::try_from(required).unwrap(), &["group leads"])).collect();
        let case = case().stages(all);
        let most = bounds::most_decisions(case.snapshot.policy.found().map(|policy| &policy.spec));
        assert!(most >= 3 * stages * required && most <= 256, "{stages} stages of {required}: {most}");
    }
    // A value that the schema forbids raises the bound no further.
    let wide = case().stages((0..50).map(|number| stage(&format!("s-{number}"), i32::MAX, &["group leads"])).collect());
    assert_eq!(bounds::most_decisions(wide.snapshot.policy.found().map(|policy| &policy.spec)), 256);

    let mut full = two_eyes();
    for number in 0..bounds::LEAST_DECISIONS {
        full = full.approves(&lead(number + 2), 5);
    }
    let full = full.policy(|p| p.approval.timeout = Some(lasting("30h")));
    let message = "TooManyDecisions: request 'inc-4711' has 64 or more decisions, so no further Approve is stored; end it with Deny, \
                   Revoke or Deactivate; the requester must create it again";
    assert_eq!(full.admits(&full.decision(Verb::Approve, &lead(1), 9)), Err(message.to_owned()));
    assert_eq!(full.admits(&full.decision(Verb::Deny, &lead(1), 9)), Ok(()));
}

#[test]
fn f01_what_is_kept_of_a_flood_is_bounded_and_decides_the_same() {
    let fold = |case: &TestCase, decisions: Vec<Object<ActivationDecisionSpec>>| {
        let mut fold = Fold::new(REQUEST_UID);
        for decision in decisions {
            fold.add(decision);
        }
        let (decisions, unread) = fold.done();
        case.clone().change(|c| (c.snapshot.decisions, c.snapshot.unread) = (decisions, unread))
    };
    let mut flood = Vec::new();
    let case = with_revokers(two_eyes());
    for number in 0_i64..20_000 {
        for (verb, who) in [(Verb::Deactivate, lead(9)), (Verb::Revoke, person("mallory", &[])), (Verb::Review, lead(3))] {
            flood.push(Object { uid: format!("{verb}-{number}"), ..case.decision(verb, &who, 20 + number % 60) });
        }
    }
    let flooded = fold(&case, flood.clone());
    assert!(flooded.snapshot.decisions.len() <= 48, "{}", flooded.snapshot.decisions.len());
    assert_eq!((flooded.state(), flooded.snapshot.unread.more), (State::AwaitingApproval, false));
    for (verb, who, state) in [(Verb::Approve, lead(1), State::Active), (Verb::Revoke, security(1), State::Denied)] {
        flood.push(Object { uid: "last".to_owned(), ..case.decision(verb, &who, 80) });
        assert_eq!(fold(&case, flood.clone()).now(81).state(), state, "{verb}");
        flood.pop();
    }
    // Decisions of more people than are kept are reported, and nothing is granted then.
    let many =
        (0..200).map(|number| Object { uid: format!("{number}"), ..case.decision(Verb::Revoke, &person(&format!("m-{number}"), &[]), 20) });
    let many = fold(&case, many.collect()).approves(&lead(1), 80).now(81);
    assert!(many.snapshot.unread.more && many.snapshot.decisions.len() <= 129);
    assert_eq!(
        many.told(),
        "Pending Unreadable: this request has more decisions than are read, and some may deny or revoke it; create a new request"
    );
}

fn unreadable(decision: Option<Verb>) -> Unreadable {
    Unreadable { name: "inc-4711-x7".to_owned(), decision, why: "unknown variant `Annul`".to_owned() }
}

#[test]
fn f12_nothing_is_granted_beside_a_decision_that_cannot_be_read() {
    let message = "decision 'inc-4711-x7' on this request cannot be read and may deny or revoke it: unknown variant `Annul`; an admin who \
                   has the verb purge can remove it";
    for decision in [None, Some(Verb::Deny), Some(Verb::Approve), Some(Verb::Review)] {
        for case in [case(), two_eyes().approves(&lead(1), 5)] {
            let with = case.clone().change(|c| c.snapshot.unread.unreadable.push(unreadable(decision))).now(10);
            assert_eq!(with.told(), format!("Pending Unreadable: {message}"), "{decision:?}");
            let verdict = with.decide();
            assert_eq!((verdict.binding, verdict.look_again), (BindingAction::Keep, Some(at(70))), "its removal is observed soon");
            assert_eq!(with.now(86_400).state(), State::TimedOut, "it does not wait for ever");
            assert!(case.now(10).state() == State::Active, "without it there is a grant");
        }
    }
    let denied = two_eyes().says(Verb::Deny, &lead(1), 5).change(|c| c.snapshot.unread.unreadable.push(unreadable(None)));
    assert_eq!(denied.decide().reason, Reason::DeniedByApprover, "what can be read still counts");
}

#[test]
fn f12_a_running_grant_ends_by_what_may_be_a_word_against_it() {
    for (decision, state) in [
        (None, State::Revoked),
        (Some(Verb::Deny), State::Revoked),
        (Some(Verb::Revoke), State::Revoked),
        (Some(Verb::Deactivate), State::Revoked),
        (Some(Verb::Approve), State::Active),
        (Some(Verb::Review), State::Active),
    ] {
        let case = running().change(|c| c.snapshot.unread.unreadable.push(unreadable(decision))).now(20);
        assert_eq!(case.state(), state, "{decision:?}");
    }
}
