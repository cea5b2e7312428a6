//! Extension of an active activation (api rule 13).

use super::*;
use api::{policy::Limits, request::Extends};
use domain::Base;

const BASE_UID: &str = "7c1f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d";

/// The activation `inc-4710`, which began 30 minutes ago and ends in 15.
fn base() -> Base {
    let first = case().change(|c| {
        c.snapshot.request.object = object("inc-4710", BASE_UID, at(-1_800), c.snapshot.request.object.spec.clone());
    });
    let running = first.now(-1_800).granted();
    Base { request: running.snapshot.request, binding: running.snapshot.binding }
}

/// A request that extends it by 45 minutes.
fn prolonging() -> TestCase {
    case()
        .change(|c| c.snapshot.base = Some(Lookup::Found(Box::new(base()))))
        .request(|r| r.extends = Some(Extends { name: "inc-4710".to_owned() }))
}

fn with_base(change: impl FnOnce(&mut Base)) -> TestCase {
    prolonging().change(|c| {
        if let Some(Lookup::Found(base)) = &mut c.snapshot.base {
            change(base);
        }
    })
}

#[test]
fn it_goes_on_where_the_other_ends_and_overlaps_it() {
    let grant = prolonging().grant();
    assert_eq!((grant.began, grant.start, grant.deadline), (at(-1_800), at(900), at(900 + 2_700)));
    assert_eq!(prolonging().decide().binding, BindingAction::Create, "now, so that there is no gap");
    let approved = prolonging().stages(vec![stage("lead", 1, &["group leads"])]);
    assert_eq!(approved.state(), State::AwaitingApproval);
    assert_eq!(approved.decide().look_again, Some(at(900)), "then it is too late");
    assert_eq!(approved.clone().approves(&lead(1), 100).now(101).grant().deadline, at(900 + 2_700));
    assert!(approved.approves(&lead(1), 100).now(900).refusal().starts_with("ExtendedRequestNotActive: "));
    // The start of the chain is carried over: a second extension counts from the first activation.
    let second = with_base(|base| {
        if let Binding::Present(found) = &mut base.binding {
            found.annotations.insert("jitrbac.dev/started-at".to_owned(), "2026-11-02T08:00:00Z".to_owned());
        }
    });
    assert_eq!(second.grant().began, at(-7_200));
}

#[test]
fn only_a_running_one_of_his_own_under_the_same_eligibility() {
    let refused =
        |case: TestCase, why: &str| assert_eq!(case.refusal(), format!("ExtendedRequestNotActive: spec.extends names 'inc-4710', {why}"));
    refused(
        prolonging().change(|c| c.snapshot.base = Some(Lookup::Absent)),
        "but there is no such request in namespace 'payments'; request a new activation",
    );
    refused(
        with_base(|b| b.request.object.spec.requester = Some(lead(1))),
        "which belongs to another user; you can extend only your own activations",
    );
    refused(
        with_base(|b| b.request.object.spec.eligibility_ref.name = "other".to_owned()),
        "which is under eligibility 'other', not 'payments-oncall'; name the same one in spec.eligibilityRef",
    );
    for state in State::ALL.into_iter().filter(|state| *state != State::Active) {
        refused(
            with_base(|b| b.request.record.state = Some(state)),
            &format!("which is {state}: only an active one can be extended; request a new activation"),
        );
    }
    refused(with_base(|b| b.binding = Binding::Absent), "whose end is unknown; request a new activation");
    refused(with_base(|b| b.request.record.expires_at = None), "whose end is unknown; request a new activation");
    refused(prolonging().now(900), "which has expired; request a new activation");
    // The webhook cannot read bindings, so it uses the record.
    assert_eq!(with_base(|b| b.binding = Binding::Unread).state(), State::Active);
    assert_eq!(
        with_base(|b| b.request.object.spec.requester = Some(person("DEV", &[]))).state(),
        State::Active,
        "their own by another spelling"
    );
}

#[test]
fn inv_03_no_record_makes_it_longer() {
    let later = with_base(|b| b.request.record.expires_at = Some(at(90_000)));
    assert_eq!(later.grant().start, at(900), "the binding says when it ends");
    let earlier = with_base(|b| b.request.record.expires_at = Some(at(800)));
    assert_eq!(earlier.grant().start, at(800));
}

#[test]
fn a_chain_has_a_longest_length() {
    let limited = |longest: &str| {
        prolonging().policy(|p| p.limits = Some(Limits { max_total_duration: Some(lasting(longest)), ..Limits::default() }))
    };
    assert_eq!(limited("90m").grant().deadline, at(3_600));
    assert_eq!(
        limited("89m").refusal(),
        "MaxTotalDurationExceeded: from 2026-11-02T09:30:00Z to 2026-11-02T11:00:00Z the activation would last 1h30m with its extensions, at most 1h29m is \
         allowed by policy 'two-eyes' (spec.limits.maxTotalDuration): it may end at 2026-11-02T10:59:00Z at the latest"
    );
    let chart = prolonging().change(|c| c.settings.max_grant = lasting("1h"));
    assert!(
        chart.eligibility(|e| e.max_duration = lasting("1h")).refusal().contains("at most 1h is allowed by the chart's value maxGrant")
    );
    // An active extension is subject to it too.
    let running =
        prolonging().granted().policy(|p| p.limits = Some(Limits { max_total_duration: Some(lasting("89m")), ..Limits::default() }));
    assert!(running.told().starts_with("Revoked DurationNoLongerAllowed: from 2026-11-02T09:30:00Z"), "{}", running.told());
}

#[test]
fn f35_whatever_ends_one_before_its_time_ends_the_whole_chain_in_the_same_state() {
    let running = || prolonging().granted();
    assert_eq!(running().state(), State::Active);
    let with = |change: &dyn Fn(&mut Base)| {
        running().change(|c| {
            if let Some(Lookup::Found(base)) = &mut c.snapshot.base {
                change(base);
            }
        })
    };
    for state in [State::Deactivated, State::Revoked] {
        let broken = with(&|base| base.request.record.state = Some(state));
        // In the same state: an activation that its requester deactivated was not revoked.
        assert_eq!(broken.told(), format!("{state} ExtendedRequestEnded: 'inc-4710', which it extends, ended early"));
    }
    assert_eq!(with(&|base| base.request.record.state = Some(State::Expired)).now(901).state(), State::Active, "its time was up");
    let removed = |seconds| running().change(|c| c.snapshot.base = Some(Lookup::Absent)).now(seconds).state();
    assert_eq!((removed(899), removed(900)), (State::Revoked, State::Active));
    // Its deactivation ends its base too.
    let back = running().says(Verb::Deactivate, &dev(), 50).now(51).decide();
    assert_eq!((back.state, back.links), (State::Deactivated, vec![format!("jit-{BASE_UID}")]));
    let expired = running().now(3_600).decide();
    assert_eq!((expired.state, expired.links), (State::Expired, Vec::new()));

    // The reverse direction: the base and its extension.
    let longer = |state| {
        let mut longer = peer("inc-4711", REQUEST_UID, at(0), dev(), Some(state));
        longer.object.spec.extends = Some(Extends { name: "inc-4710".to_owned() });
        let base = base();
        case().change(|c| (c.snapshot.request, c.snapshot.binding, c.snapshot.peers) = (base.request, base.binding, vec![longer]))
    };
    assert_eq!(longer(State::Active).state(), State::Active);
    for state in [State::Deactivated, State::Revoked] {
        assert_eq!(longer(state).told(), format!("{state} ExtendedRequestEnded: 'inc-4711', which extends it, ended early"));
    }
    assert_eq!(longer(State::Denied).state(), State::Active, "it never extended it");
    let back = longer(State::Active).says(Verb::Deactivate, &dev(), 50).now(51).decide();
    assert_eq!((back.state, back.links), (State::Deactivated, vec![BINDING.to_owned()]));
}

#[test]
fn a_request_that_took_the_name_of_its_base_is_no_link_of_the_chain() {
    let running = |change: &dyn Fn(&mut RequestFacts)| {
        prolonging().granted().change(|c| {
            let mut base = base();
            change(&mut base.request);
            c.snapshot.base = Some(Lookup::Found(Box::new(base)));
        })
    };
    let others: [&dyn Fn(&mut RequestFacts); 3] =
        [&|other| other.object.created = at(1), &|other| other.object.spec.requester = Some(lead(1)), &|other| {
            other.object.spec.eligibility_ref.name = "other".to_owned();
        }];
    for another in others {
        // The other request is not part of the chain. Its end has no effect after the base's term, and it never ends with this request.
        let ended = running(&|other| {
            another(other);
            other.record.state = Some(State::Deactivated);
        });
        assert_eq!((ended.clone().now(899).state(), ended.now(900).state()), (State::Revoked, State::Active));
        let back = running(another).says(Verb::Deactivate, &dev(), 50).now(51).decide();
        assert_eq!((back.state, back.links), (State::Deactivated, Vec::new()));
    }
    let longer = |who: Stamp| {
        let mut longer = peer("inc-4711", REQUEST_UID, at(0), who, Some(State::Deactivated));
        longer.object.spec.extends = Some(Extends { name: "inc-4710".to_owned() });
        let base = base();
        case().change(|c| (c.snapshot.request, c.snapshot.binding, c.snapshot.peers) = (base.request, base.binding, vec![longer]))
    };
    assert_eq!((longer(dev()).state(), longer(lead(1)).state()), (State::Deactivated, State::Active), "another user's has no effect");
}

#[test]
fn t54_the_groups_of_an_extension_must_be_fresh_at_the_end_of_its_base() {
    let aged = |age: &str| prolonging().policy(|p| p.limits = Some(Limits { max_identity_age: Some(lasting(age)), ..Limits::default() }));
    assert_eq!(aged("15m").state(), State::Active);
    let too_old = "IdentityTooOld: 'dev' is eligible by a group membership observed at 2026-11-02T10:00:00Z";
    assert!(aged("14m59s").refusal().starts_with(too_old));
}

#[test]
fn one_extension_at_a_time_beside_its_base() {
    let base = peer("inc-4710", "a", at(-1_800), dev(), Some(State::Active));
    assert_eq!(prolonging().change(|c| c.snapshot.peers.push(base.clone())).state(), State::Active);
    let mut another = peer("inc-4709", "b", at(-10), dev(), Some(State::AwaitingApproval));
    another.object.spec.extends = Some(Extends { name: "inc-4710".to_owned() });
    assert!(prolonging().change(|c| c.snapshot.peers.push(another.clone())).refusal().starts_with("AlreadyRequested: "));
    assert_eq!(case().change(|c| c.snapshot.peers.push(another.clone())).state(), State::Active, "an open one is nothing yet");
    another.record.state = Some(State::Active);
    assert_eq!(case().change(|c| c.snapshot.peers.push(another)).state(), State::Denied, "a running one is the activation that there is");
}
