//! Emergencies and their reviews (api rule 14).

use super::*;
use api::{
    policy::{Debtor, Emergency, Limits, MAX_REVIEWS_OWED, OwedReview, Window},
    request::{ReviewState, ReviewStatus},
};
use domain::{
    Debt, Owed,
    emergency::{self, Standing},
    policy,
};

/// An emergency under a policy with a stage that allows it for half an hour.
fn urgent() -> TestCase {
    let allowed = Emergency {
        allowed: true,
        max_duration: Some(lasting("30m")),
        reviewers: Some(people(&["group security"])),
        review_within: Some(lasting("8h")),
    };
    two_eyes().policy(|p| p.emergency = Some(allowed)).request(|r| (r.emergency, r.duration) = (true, Some(lasting("30m"))))
}

fn security() -> Stamp {
    person("sec-1", &["security"])
}

#[test]
fn it_skips_stages_hours_and_pause_and_nothing_else() {
    let window = Window { from: "11:00".to_owned(), to: "12:00".to_owned(), time_zone: line("UTC"), ends_grant: true, ..Window::default() };
    let mut ended = peer("inc-4710", "a", at(-60), dev(), Some(State::Expired));
    (ended.record.granted_at, ended.record.ended_at) = (Some(at(-60)), Some(at(-1)));
    let closed = urgent()
        .policy(|p| (p.windows, p.limits) = (vec![window], Some(Limits { cooldown: Some(lasting("1h")), ..Limits::default() })))
        .change(|c| c.snapshot.peers.push(ended));
    let grant = closed.grant();
    assert_eq!((grant.start, grant.deadline), (at(0), at(1_800)));
    assert_eq!(closed.request(|r| r.emergency = false).state(), State::AwaitingApproval);
    assert_eq!(
        urgent().policy(|p| p.emergency = None).refusal(),
        "EmergencyNotAllowed: policy 'two-eyes' does not allow emergencies (spec.emergency.allowed); request without spec.emergency"
    );
    assert!(urgent().policy(|p| p.emergency.as_mut().unwrap().allowed = false).refusal().starts_with("EmergencyNotAllowed: "));
    assert_eq!(
        urgent().request(|r| r.duration = Some(lasting("31m"))).refusal(),
        "DurationTooLong: duration 31m was requested, at most 30m is allowed in an emergency by policy 'two-eyes' \
         (spec.emergency.maxDuration); request 30m or less"
    );
    for text in [None, Some(line("   "))] {
        assert!(urgent().request(|r| r.justification = text).refusal().starts_with("JustificationMissing: an emergency requires"));
    }
    assert!(urgent().requester(person("outsider", &[])).refusal().starts_with("NotEligible: "));
    assert!(urgent().eligibility(|e| e.max_duration = lasting("10m")).refusal().starts_with("DurationTooLong: "));
    let robot = urgent().requester(person("system:serviceaccount:ci:bot", &[])).eligibility(|e| {
        e.allow_service_accounts = true;
        e.subjects.push(subject(SubjectKind::ServiceAccount, "bot"));
    });
    assert!(robot.refusal().starts_with("ServiceAccountNotAllowed: "), "{}", robot.refusal());
}

#[test]
fn a_review_is_owed_until_a_reviewer_who_is_somebody_else_has_looked() {
    let review = |case: &TestCase| case.decide().review.unwrap();
    let granted = urgent().granted();
    let owed = review(&granted);
    assert_eq!((owed.state, owed.deadline, owed.reviewers), (ReviewState::Owed, at(8 * 3_600), people(&["group security"])));
    assert_eq!(granted.decide().look_again, Some(at(1_800)));
    assert_eq!(two_eyes().approves(&lead(1), 5).now(6).granted().decide().review, None, "only an emergency owes one");
    for (who, state) in [
        (dev(), ReviewState::Owed),
        (lead(1), ReviewState::Owed),
        (person("DEV", &["security"]), ReviewState::Owed),
        (security(), ReviewState::Done),
    ] {
        let said = granted.clone().says(Verb::Review, &who, 100).now(200);
        assert_eq!(review(&said).state, state, "{who:?}");
        assert_eq!(said.state(), State::Active, "a review ends nothing");
    }
    let done =
        review(&granted.clone().says(Verb::Review, &security(), 100).says(Verb::Review, &person("sec-2", &["security"]), 90).now(200));
    assert_eq!((done.reviewed_by.unwrap().as_str(), done.reviewed_at), ("sec-2", Some(at(90))), "the first one");
    let after = |case: &TestCase, now: i64| {
        let Snapshot { request, policy, decisions, .. } = &case.snapshot;
        emergency::review(request, Some(at(0)), policy.found().map(|p| &p.spec), decisions, &case.settings.identities, at(now)).unwrap()
    };
    assert_eq!((after(&granted, 28_799).state, after(&granted, 28_800).state), (ReviewState::Owed, ReviewState::Overdue));
    // A late review lifts the refusal. A completed review stays completed. Removing the policy removes no owed review.
    assert_eq!(after(&granted.clone().says(Verb::Review, &security(), 90_000), 90_001).state, ReviewState::Done);
    let recorded = granted.record(|r| {
        r.review = Some(ReviewStatus {
            state: ReviewState::Owed,
            deadline: at(60),
            reviewers: people(&["sec-9"]),
            reviewed_by: None,
            reviewed_at: None,
            comment: None,
        });
    });
    assert_eq!((after(&recorded, 59).deadline, after(&recorded, 60).state), (at(60), ReviewState::Overdue), "it never moves later");
    let mut later = recorded.clone().record(|r| r.review.as_mut().unwrap().deadline = at(200_000));
    later.snapshot.policy = Lookup::Absent;
    assert_eq!(after(&later, 90_000).deadline, at(200_000), "nor earlier, because the policy is away for a moment");
    let without = recorded.change(|c| c.snapshot.policy = Lookup::Absent);
    assert_eq!(after(&without, 60).state, ReviewState::Overdue);
    assert_eq!(after(&without.says(Verb::Review, &person("sec-9", &[]), 70), 71).state, ReviewState::Done);
}

#[test]
fn who_reviews_is_told_what_is_wrong() {
    let granted = urgent().granted().now(100);
    let door = |who: &Stamp| granted.admits(&granted.decision(Verb::Review, who, 100));
    assert_eq!(door(&security()), Ok(()));
    assert_eq!(
        door(&dev()),
        Err("SelfApprovalNotAllowed: 'dev' created request 'inc-4711' and cannot review it; another reviewer must".to_owned())
    );
    assert_eq!(
        door(&lead(1)),
        Err("NotAReviewer: 'lead-1' may not review request 'inc-4711': reviewers are group security (spec.emergency.reviewers of the policy); the sign-in has none of the groups 'security' ('kubectl auth whoami' lists those that it has)".to_owned())
    );
    let ended = granted.clone().now(1_801);
    assert_eq!(ended.admits(&ended.decision(Verb::Review, &security(), 1_801)), Ok(()), "mostly it comes afterwards");
}

#[test]
fn an_overdue_review_refuses_the_next_emergency() {
    let before = |state: ReviewState, deadline: i64, who: Stamp| {
        let mut peer = peer("inc-4000", "a", at(-90_000), who, Some(State::Expired));
        peer.namespace = "shop".to_owned();
        peer.record.granted_at = Some(at(-90_000));
        peer.record.review = Some(ReviewStatus {
            state,
            deadline: at(deadline),
            reviewers: people(&["sec-1"]),
            reviewed_by: None,
            reviewed_at: None,
            comment: None,
        });
        urgent().change(|c| c.snapshot.peers.push(peer))
    };
    assert_eq!(
        before(ReviewState::Owed, 0, dev()).refusal(),
        "ReviewOverdue: emergency 'shop/inc-4000' of 'dev' was not reviewed in time, and no other one is granted until it is reviewed; ask \
         a reviewer (sec-1) for a decision Review, or request without spec.emergency"
    );
    assert_eq!(before(ReviewState::Overdue, -5, dev()).state(), State::Denied);
    assert_eq!(before(ReviewState::Owed, 1, dev()).state(), State::Active, "it is not due yet");
    assert_eq!(before(ReviewState::Done, -5, dev()).state(), State::Active);
    assert_eq!(before(ReviewState::Overdue, -5, lead(1)).state(), State::Active, "another user's");
    assert_eq!(before(ReviewState::Overdue, -5, dev()).request(|r| r.emergency = false).state(), State::AwaitingApproval);
    let never_granted = before(ReviewState::Overdue, -5, dev()).change(|c| c.snapshot.peers[0].record.granted_at = None);
    assert_eq!(never_granted.state(), State::Active, "nobody could review it");
}

fn owed_by(who: &Stamp, uid: &str, deadline: i64) -> OwedReview {
    OwedReview { requester: Debtor::of(who), request: "shop/inc-4000".to_owned(), request_uid: uid.to_owned(), deadline: at(deadline) }
}

#[test]
fn f55_an_overdue_review_outlives_its_request() {
    let owes = |who: &Stamp, deadline: i64| {
        let debt = Debt { policy: "other".to_owned(), review: owed_by(who, "a", deadline) };
        urgent().change(|c| c.snapshot.debts.push(debt))
    };
    assert_eq!(
        owes(&dev(), 0).refusal(),
        "ReviewOverdue: emergency 'shop/inc-4000' of 'dev' was not reviewed in time and its request no longer exists, so it can no longer \
         be reviewed; ask an admin of policy 'other' to add 'a' to its annotation 'jitrbac.dev/settled-reviews', or request without \
         spec.emergency"
    );
    assert_eq!(owes(&dev(), 1).state(), State::Active, "it is not due yet");
    assert_eq!(owes(&person("DEV", &[]), -5).state(), State::Denied, "another spelling");
    let known = uid(dev(), "u-1");
    assert_eq!(owes(&uid(person("renamed", &[]), "u-1"), -5).requester(known).state(), State::Denied, "another name of the same UID");
    assert_eq!(owes(&lead(1), -5).state(), State::Active, "another user's");
    assert_eq!(owes(&dev(), -5).request(|r| r.emergency = false).state(), State::AwaitingApproval);
    let own = owes(&dev(), -5).change(|c| REQUEST_UID.clone_into(&mut c.snapshot.debts[0].review.request_uid));
    assert_eq!(own.state(), State::Active, "it was recorded for this request before a crash");
    // If the request exists, its own status decides.
    let reviewed = owes(&dev(), -5).change(|c| {
        let mut peer = peer("inc-4000", "a", at(-90_000), dev(), Some(State::Expired));
        peer.record.granted_at = Some(at(-90_000));
        peer.record.review = Some(ReviewStatus {
            state: ReviewState::Done,
            deadline: at(-5),
            reviewers: people(&["sec-1"]),
            reviewed_by: None,
            reviewed_at: None,
            comment: None,
        });
        c.snapshot.peers.push(peer);
    });
    assert_eq!(reviewed.state(), State::Active, "the policy's status is behind");
}

#[test]
fn f55_a_policy_without_a_place_for_the_review_grants_no_emergency() {
    let full = |count: usize, own: bool| {
        let mut reviews: Vec<_> = (0..count).map(|n| owed_by(&lead(1), &format!("uid-{n}"), 500)).collect();
        if own {
            REQUEST_UID.clone_into(&mut reviews[0].request_uid);
        }
        let owed = Some(Arc::new(Owed { reviews, settled: None }));
        urgent().change(|c| {
            if let Lookup::Found(policy) = &mut c.snapshot.policy {
                Arc::make_mut(policy).owed = owed;
            }
        })
    };
    assert_eq!(full(MAX_REVIEWS_OWED - 1, false).state(), State::Active);
    assert_eq!(full(MAX_REVIEWS_OWED, true).state(), State::Active, "it is recorded already");
    assert_eq!(
        full(MAX_REVIEWS_OWED, false).refusal(),
        "EmergencyNotAllowed: policy 'two-eyes' has 64 of at most 64 outstanding reviews of emergencies (status.reviewsOwed); ask its \
         reviewers to review the earlier ones, or request without spec.emergency"
    );
    assert_eq!(full(MAX_REVIEWS_OWED, false).request(|r| r.emergency = false).state(), State::AwaitingApproval);
}

#[test]
fn f55_what_a_policy_is_owed_goes_by_review_or_by_an_admin() {
    let granted = urgent().granted();
    let review = |state| ReviewStatus {
        state,
        deadline: at(60),
        reviewers: people(&["sec-1"]),
        reviewed_by: None,
        reviewed_at: None,
        comment: None,
    };
    let request = |state: Option<State>, granted_at, review| {
        let mut facts = granted.snapshot.request.clone();
        (facts.record.state, facts.record.granted_at, facts.record.review) = (state, granted_at, review);
        facts
    };
    let debt = emergency::debt(&granted.snapshot.request, granted.decide().review.as_ref()).unwrap();
    assert_eq!((debt.request.as_str(), debt.request_uid.as_str(), debt.deadline), ("payments/inc-4711", REQUEST_UID, at(8 * 3_600)));
    assert_eq!(emergency::debt(&granted.snapshot.request, Some(&review(ReviewState::Done))), None);
    let sooner = Standing::Owed(OwedReview { deadline: at(60), ..debt.clone() });
    let stays = Standing::Owed(debt.clone());
    let (settled, other) = (
        format!("x, {REQUEST_UID}"),
        RequestFacts {
            object: Object { uid: "another".to_owned(), ..granted.snapshot.request.object.clone() },
            ..request(None, None, None)
        },
    );
    for (found, annotation, expected) in [
        (Some(request(Some(State::Active), Some(at(0)), Some(review(ReviewState::Owed)))), Some(settled.as_str()), &sooner),
        (Some(request(Some(State::Expired), Some(at(0)), Some(review(ReviewState::Overdue)))), None, &sooner),
        (Some(request(Some(State::Expired), Some(at(0)), Some(review(ReviewState::Done)))), None, &Standing::Done),
        (Some(request(Some(State::Failed), None, None)), None, &Standing::Done),
        (Some(request(Some(State::Active), Some(at(0)), None)), None, &stays),
        (Some(request(None, None, None)), None, &stays),
        (None, None, &stays),
        (None, Some("x,y"), &stays),
        (None, Some(settled.as_str()), &Standing::Settled),
        (Some(other.clone()), None, &stays),
        (Some(other), Some(settled.as_str()), &Standing::Settled),
    ] {
        assert_eq!(emergency::standing(&debt, found.as_ref(), annotation), *expected, "{found:?}, {annotation:?}");
    }
    let settles = |who: &Stamp, newly: &[&str]| {
        emergency::check_settling(who, std::slice::from_ref(&debt), newly, &granted.settings.identities)
            .map_err(|refusal| refusal.to_string())
    };
    assert_eq!(settles(&lead(1), &[REQUEST_UID]), Ok(()));
    assert_eq!(settles(&dev(), &["x"]), Ok(()));
    assert_eq!(
        settles(&person("DEV", &[]), &["x", REQUEST_UID]),
        Err("SelfApprovalNotAllowed: 'DEV' was granted the emergency 'payments/inc-4711' and cannot settle its review; another admin must"
            .to_owned())
    );
}

#[test]
fn t49_an_emergency_that_nobody_could_review_is_none() {
    let check = |change: &dyn Fn(&mut Emergency)| {
        let mut spec = urgent().snapshot.policy.found().unwrap().spec.clone();
        change(spec.emergency.as_mut().unwrap());
        policy::check(&spec, &urgent().settings).map_or_else(|refusal| refusal.to_string(), |()| "usable".to_owned())
    };
    assert_eq!(check(&|_| ()), "usable");
    for nobody in [None, Some(people(&[]))] {
        assert!(
            check(&|e| e.reviewers.clone_from(&nobody))
                .starts_with("InvalidField: spec.emergency.allowed is true and spec.emergency.reviewers is empty")
        );
    }
    assert!(
        check(&|e| e.reviewers = Some(people(&["group system:masters"])))
            .starts_with("SystemNameNotAllowed: spec.emergency.reviewers list 'system:masters'")
    );
    assert!(check(&|e| e.max_duration = Some(lasting("25h"))).starts_with("AboveMaxGrant: spec.emergency.maxDuration is 25h"));
}
