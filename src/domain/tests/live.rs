//! One active or pending request per person, eligibility and namespace (T51).

use super::*;

fn with_peer(seconds: i64, uid: &str, who: Stamp, state: Option<State>) -> TestCase {
    case().change(|c| {
        c.snapshot.peers.push(peer("inc-4710", uid, at(seconds), who, state));
    })
}

#[test]
fn t51_the_first_goes_first() {
    for (seconds, uid, state, goes) in [
        // Created earlier, in every state that is not terminal.
        (-1, "f", None, false),
        (-1, "f", Some(State::Pending), false),
        (-1, "f", Some(State::AwaitingApproval), false),
        (-1, "f", Some(State::Scheduled), false),
        (-1, "f", Some(State::Active), false),
        (-1, "f", Some(State::Expired), true),
        (-1, "f", Some(State::Deactivated), true),
        (-1, "f", Some(State::Revoked), true),
        (-1, "f", Some(State::Denied), true),
        (-1, "f", Some(State::TimedOut), true),
        (-1, "f", Some(State::Withdrawn), true),
        (-1, "f", Some(State::Failed), true),
        // Within one second the UID decides. That of the request begins with 0b.
        (0, "0a", None, false),
        (0, "0c", None, true),
        (0, REQUEST_UID, Some(State::Active), true),
        // Created later: it has no precedence, unless it is granted already.
        (1, "0a", None, true),
        (1, "0a", Some(State::AwaitingApproval), true),
        (1, "0a", Some(State::Scheduled), false),
        (1, "0a", Some(State::Active), false),
    ] {
        let case = with_peer(seconds, uid, dev(), state);
        assert_eq!(case.state(), if goes { State::Active } else { State::Denied }, "{seconds} {uid} {state:?}");
    }
    assert_eq!(
        with_peer(-1, "f", dev(), Some(State::Active)).refusal(),
        "AlreadyRequested: 'dev' already has the request 'inc-4710' (Active) for this eligibility and namespace; wait for its end, or end \
         it with a decision Deactivate"
    );
    assert!(with_peer(-1, "f", dev(), None).refusal().contains("'inc-4710' (Pending)"));
}

#[test]
fn t51_a_person_not_a_name() {
    assert_eq!(with_peer(-1, "f", lead(1), Some(State::Active)).state(), State::Active, "another user's");
    assert_eq!(with_peer(-1, "f", person("DEV", &[]), None).state(), State::Denied);
    let known = |other: &str| with_peer(-1, "f", uid(person("other", &[]), other), None).requester(uid(dev(), "u1"));
    assert_eq!(known("u1").state(), State::Denied);
    assert_eq!(known("u2").state(), State::Active);
}

#[test]
fn t51_of_a_hundred_at_once_one_is_granted() {
    let hundred: Vec<Peer> = (0..100).map(|i| peer(&format!("r-{i}"), &format!("{:02}", (i * 37) % 100), at(0), dev(), None)).collect();
    let granted = hundred.iter().filter(|mine| {
        let case = case().change(|c| {
            c.snapshot.request.object.uid.clone_from(&mine.object.uid);
            c.snapshot.peers.clone_from(&hundred);
        });
        case.decide().binding == BindingAction::Create
    });
    assert_eq!(granted.map(|peer| peer.object.uid.as_str()).collect::<Vec<_>>(), ["00"]);
}

#[test]
fn a_running_grant_is_not_ended_by_another_request() {
    let running = case().granted();
    let peer = peer("inc-4710", "0a", at(-9), dev(), Some(State::Active));
    assert_eq!(running.change(|c| c.snapshot.peers.push(peer)).state(), State::Active);
}
