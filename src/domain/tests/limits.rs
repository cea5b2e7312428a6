//! Limits per person (api rule 12, T51, invariant 27).

use super::*;
use api::policy::Limits;

fn limited(case: TestCase, limits: Limits) -> TestCase {
    case.policy(|p| p.limits = Some(limits))
}

fn with_peers(case: TestCase, others: impl IntoIterator<Item = Peer>) -> TestCase {
    case.change(|c| c.snapshot.peers.extend(others))
}

/// A request under another eligibility with the same policy, in another namespace.
fn other(uid: &str, created: i64, who: Stamp, state: Option<State>) -> Peer {
    let mut peer = peer(&format!("r-{uid}"), uid, at(created), who, state);
    peer.namespace = "shop".to_owned();
    peer.object.spec.eligibility_ref.name = "shop-oncall".to_owned();
    peer
}

#[test]
fn inv_27_activations_of_one_person_at_a_time() {
    let case = || limited(case(), Limits { max_active_per_user: Some(2), ..Limits::default() });
    let active = |uid: &str| other(uid, -60, dev(), Some(State::Active));
    assert_eq!(with_peers(case(), [active("a")]).state(), State::Active);
    let full = || with_peers(case(), [active("a"), other("b", 9, dev(), Some(State::Scheduled))]);
    assert_eq!(
        full().refusal(),
        "TooManyActive: 'dev' already has 2 of at most 2 activations under policy 'two-eyes' (spec.limits.maxActivePerUser); end one with \
         a decision Deactivate, or wait for its end"
    );
    // Other people, other policies, completed requests and requests that await approval do not count.
    let mut elsewhere = active("c");
    elsewhere.policy = Some("self-service".to_owned());
    let not_counted = [
        elsewhere,
        other("d", -60, lead(1), Some(State::Active)),
        other("e", -60, dev(), Some(State::Expired)),
        other("f", -60, dev(), Some(State::AwaitingApproval)),
        other("g", -60, dev(), Some(State::Pending)),
    ];
    assert_eq!(with_peers(case(), not_counted.into_iter().chain([active("a")])).state(), State::Active);
    // Another name of the same person counts.
    let aliased = with_peers(case(), [active("a"), other("b", -60, person("DEV", &[]), Some(State::Active))]);
    assert_eq!(aliased.state(), State::Denied);
    // An extension counts as part of its base.
    let mut longer = active("b");
    longer.object.spec.extends = Some(api::request::Extends { name: "r-a".to_owned() });
    assert_eq!(with_peers(case(), [active("a"), longer]).state(), State::Active);
    // The request may await approval, and the approval is refused.
    let waits = with_peers(limited(two_eyes(), Limits { max_active_per_user: Some(1), ..Limits::default() }), [active("a")]);
    assert_eq!(waits.state(), State::AwaitingApproval);
    let approve = waits.decision(Verb::Approve, &lead(1), 10);
    assert!(waits.admits(&approve).unwrap_err().starts_with("TooManyActive: with this approval, request 'inc-4711' would be Denied: "));
}

#[test]
fn inv_27_of_a_hundred_at_once_as_many_as_allowed_are_granted_in_their_order() {
    let hundred: Vec<Peer> = (0..100)
        .map(|i| {
            let mut peer = other(&format!("{:02}", (i * 37) % 100), i64::from(i >= 90), dev(), None);
            peer.object.spec.eligibility_ref.name = format!("e-{i}");
            peer
        })
        .collect();
    let granted = hundred.iter().filter(|mine| {
        let case = limited(case(), Limits { max_active_per_user: Some(3), ..Limits::default() }).change(|c| {
            c.snapshot.request.object.uid.clone_from(&mine.object.uid);
            c.snapshot.request.object.created = mine.object.created;
            c.snapshot.peers.clone_from(&hundred);
        });
        case.now(1).decide().binding == BindingAction::Create
    });
    let mut first: Vec<_> = hundred.iter().map(|peer| (peer.object.created, peer.object.uid.as_str())).collect();
    first.sort_unstable();
    let mut granted: Vec<_> = granted.map(|peer| (peer.object.created, peer.object.uid.as_str())).collect();
    granted.sort_unstable();
    assert_eq!(granted, first[..3]);
}

#[test]
fn undecided_requests_of_one_person_at_a_time() {
    let case = || limited(two_eyes(), Limits { max_pending_per_user: Some(2), ..Limits::default() });
    let waits = |uid: &str, created: i64| other(uid, created, dev(), Some(State::AwaitingApproval));
    assert_eq!(with_peers(case(), [waits("a", -1)]).state(), State::AwaitingApproval);
    assert_eq!(
        with_peers(case(), [waits("a", -1), waits("b", -2)]).refusal(),
        "TooManyPending: 'dev' already has 2 of at most 2 undecided requests under policy 'two-eyes' (spec.limits.maxPendingPerUser); wait \
         until one is decided, or withdraw one with a decision Deactivate"
    );
    assert_eq!(with_peers(case(), [waits("a", -1), waits("b", 1)]).state(), State::AwaitingApproval, "what came later waits behind");
    let others = [other("b", -1, dev(), Some(State::Active)), other("c", -1, lead(1), None), other("d", -1, dev(), Some(State::Denied))];
    assert_eq!(with_peers(case(), others.into_iter().chain([waits("a", -1)])).state(), State::AwaitingApproval);
    assert_eq!(with_peers(case(), [waits("a", -1), other("b", -1, dev(), None)]).state(), State::Denied);
}

#[test]
fn a_pause_after_a_grant() {
    let ended = |state: State, at_seconds: i64| {
        let mut peer = peer("inc-4710", "a", at(-3_600), dev(), Some(state));
        (peer.record.granted_at, peer.record.ended_at) = (Some(at(-3_600)), Some(at(at_seconds)));
        peer
    };
    let case = || limited(case(), Limits { cooldown: Some(lasting("10m")), ..Limits::default() });
    for state in [State::Expired, State::Deactivated, State::Revoked] {
        assert_eq!(
            with_peers(case(), [ended(state, -599)]).refusal(),
            "CooldownActive: the grant 'inc-4710' ended at 2026-11-02T09:50:01Z, and policy 'two-eyes' requires a cooldown of 10m after \
             that (spec.limits.cooldown): the next one may start at 2026-11-02T10:00:01Z"
        );
        assert_eq!(with_peers(case(), [ended(state, -600)]).state(), State::Active);
    }
    // A start after the cooldown can be requested now.
    assert_eq!(with_peers(case(), [ended(State::Expired, -599)]).request(|r| r.start_time = Some(at(1))).now(0).state(), State::Scheduled);
    let mut denied = ended(State::Denied, -1);
    denied.record.granted_at = None;
    let mut elsewhere = ended(State::Expired, -1);
    elsewhere.namespace = "shop".to_owned();
    let mut under_another = ended(State::Expired, -1);
    under_another.object.spec.eligibility_ref.name = "other".to_owned();
    let mut somebody = ended(State::Expired, -1);
    somebody.requester = lead(1);
    assert_eq!(with_peers(case(), [denied, elsewhere, under_another, somebody]).state(), State::Active);
    let none = limited(super::case(), Limits { cooldown: Some(lasting("0s")), ..Limits::default() });
    assert_eq!(with_peers(none, [ended(State::Expired, -1)]).state(), State::Active);
}

#[test]
fn f19_a_limit_of_none_allows_none() {
    for none in [0, -1, i32::MIN] {
        let case = limited(case(), Limits { max_active_per_user: Some(none), ..Limits::default() });
        let message = "TooManyActive: 'dev' already has 0 of at most 0 activations under policy 'two-eyes' (spec.limits.maxActivePerUser)";
        assert!(case.refusal().starts_with(message), "{none}: {}", case.refusal());
        let waits = limited(two_eyes(), Limits { max_pending_per_user: Some(none), ..Limits::default() });
        let message =
            "TooManyPending: 'dev' already has 0 of at most 0 undecided requests under policy 'two-eyes' (spec.limits.maxPendingPerUser)";
        assert!(waits.refusal().starts_with(message), "{none}: {}", waits.refusal());
    }
}
