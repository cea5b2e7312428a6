//! Scheduled starts, windows, and the age of an identity (api rules 2, 3, T54).

use super::*;
use api::policy::{Limits, Window};

/// A request that starts so many seconds after its creation.
fn starting(seconds: i64) -> TestCase {
    case().request(|r| r.start_time = Some(at(seconds)))
}

fn limited(case: TestCase, change: impl FnOnce(&mut Limits)) -> TestCase {
    case.policy(|p| {
        let mut limits = p.limits.clone().unwrap_or_default();
        change(&mut limits);
        p.limits = Some(limits);
    })
}

fn window(from: &str, to: &str, ends_grant: bool) -> Window {
    Window { days: Vec::new(), from: from.to_owned(), to: to.to_owned(), time_zone: line("UTC"), ends_grant }
}

#[test]
fn a_start_ahead_is_scheduled_and_granted_at_its_time() {
    let ahead = starting(600);
    assert_eq!(
        ahead.told(),
        "Scheduled StartScheduled: ClusterRole 'edit' in namespace 'payments' from 2026-11-02T10:10:00Z until 2026-11-02T10:55:00Z"
    );
    let verdict = ahead.decide();
    assert_eq!((verdict.binding, verdict.grant, verdict.look_again), (BindingAction::Keep, None, Some(at(600))));
    assert_eq!(ahead.clone().now(599).state(), State::Scheduled);
    let grant = ahead.now(600).grant();
    assert_eq!((grant.start, grant.deadline), (at(600), at(600 + 2_700)));
    // A start in the past is ignored, and fractions of a second never start earlier than requested.
    assert_eq!(starting(-600).grant().start, at(0));
    let part = case().request(|r| r.start_time = Some(at(600) + SignedDuration::from_millis(1)));
    assert_eq!((part.clone().now(600).state(), part.now(601).grant().start), (State::Scheduled, at(601)));
    // A later approval is the start.
    let late = two_eyes().request(|r| r.start_time = Some(at(600))).approves(&lead(1), 700).now(701);
    assert_eq!(late.grant().start, at(700));
    let early = two_eyes().request(|r| r.start_time = Some(at(600))).approves(&lead(1), 10).now(11);
    assert_eq!((early.state(), early.now(600).grant().start), (State::Scheduled, at(600)));
}

#[test]
fn a_scheduled_one_is_checked_again_at_its_start() {
    let scheduled = || {
        let case = two_eyes().request(|r| r.start_time = Some(at(600))).approves(&lead(1), 10).now(11);
        let verdict = case.decide();
        assert_eq!(verdict.state, State::Scheduled);
        case.apply(&verdict)
    };
    assert_eq!(scheduled().now(600).state(), State::Active);
    assert_eq!(scheduled().says(Verb::Deactivate, &dev(), 20).told(), "Withdrawn WithdrawnByRequester: withdrawn by dev");
    for verb in [Verb::Deny, Verb::Revoke] {
        assert_eq!(scheduled().says(verb, &lead(2), 20).told(), "Revoked RevokedByUser: revoked by lead-2");
    }
    let gone = scheduled().change(|c| c.snapshot.eligibility = Lookup::Absent);
    assert_eq!(gone.told(), "Revoked EligibilityRemoved: eligibility 'payments-oncall' was removed");
    let suspended = scheduled().eligibility(|e| e.suspended = true);
    assert_eq!(suspended.state(), State::Revoked);
    // A change of the policy requires a new approval.
    let edited = scheduled().policy(|p| p.approval.require_comment = true);
    assert_eq!(edited.state(), State::AwaitingApproval);
    let removed = scheduled().eligibility(|e| e.subjects = vec![subject(SubjectKind::User, "somebody")]).now(600);
    assert_eq!((removed.state(), removed.decide().binding), (State::Revoked, BindingAction::Remove));
}

#[test]
fn the_eligibility_must_hold_at_the_start() {
    let from_to = |from: Option<i64>, to: i64| starting(600).eligibility(|e| (e.start_time, e.end_time) = (from.map(at), Some(at(to))));
    assert_eq!(from_to(Some(600), 9_000).state(), State::Scheduled, "it has not begun now, but then");
    assert_eq!(
        from_to(Some(601), 9_000).refusal(),
        "EligibilityNotStarted: eligibility 'payments-oncall' has not started at 2026-11-02T10:10:00Z: it starts at 2026-11-02T10:10:01Z (spec.startTime)"
    );
    assert_eq!(
        from_to(None, 600).refusal(),
        "EligibilityExpired: eligibility 'payments-oncall' is not valid at 2026-11-02T10:10:00Z: it ends at 2026-11-02T10:10:00Z \
         (spec.endTime)"
    );
    assert_eq!(from_to(None, 700).now(600).grant().deadline, at(700));
}

#[test]
fn how_far_ahead() {
    let within = |seconds: i64| limited(starting(seconds), |l| l.max_schedule_ahead = Some(lasting("1h")));
    assert_eq!(within(3_600).state(), State::Scheduled);
    assert_eq!(
        within(3_601).refusal(),
        "StartTooFarAhead: a start at 2026-11-02T11:00:01Z was requested; policy 'two-eyes' allows one at most 1h ahead, which is \
         2026-11-02T11:00:00Z now (spec.limits.maxScheduleAhead)"
    );
    assert_eq!(within(-1).state(), State::Active);
    let month = |case: TestCase| limited(case, |l| l.max_schedule_ahead = Some(lasting("720h")));
    assert_eq!(
        month(starting(20 * 86_400))
            .request(|r| r.requester = Some(dev()))
            .eligibility(|e| e.subjects.push(subject(SubjectKind::User, "dev")))
            .state(),
        State::Scheduled
    );
}

#[test]
fn t54_at_a_start_long_after_the_stamp_groups_no_longer_count() {
    let aged = |seconds: i64| limited(starting(seconds), |l| l.max_identity_age = Some(lasting("1h")));
    assert_eq!(aged(3_600).state(), State::Scheduled);
    assert_eq!(
        aged(3_601).refusal(),
        "IdentityTooOld: 'dev' is eligible by a group membership observed at 2026-11-02T10:00:00Z, and a start at 2026-11-02T11:00:01Z or \
         later is more than 1h after that, the maximum of policy 'two-eyes' (spec.limits.maxIdentityAge); request again closer to the start"
    );
    let by_name = aged(3_601).eligibility(|e| e.subjects.push(subject(SubjectKind::User, "dev")));
    assert_eq!((by_name.state(), by_name.now(3_601).state()), (State::Scheduled, State::Active));
    // Without a setting of the policy it is a day.
    assert_eq!((starting(86_400).state(), starting(86_401).state()), (State::Scheduled, State::Denied));
    // An approval that takes as long does not change that.
    let slow = limited(two_eyes(), |l| l.max_identity_age = Some(lasting("1h")));
    assert_eq!(slow.clone().now(3_600).state(), State::AwaitingApproval);
    assert!(slow.clone().now(3_601).refusal().starts_with("IdentityTooOld: "));
    assert_eq!(slow.clone().approves(&lead(1), 3_600).now(3_700).grant().start, at(3_600), "whenever it is looked at");
    assert!(slow.approves(&lead(1), 3_601).now(3_700).refusal().starts_with("IdentityTooOld: "));
}

#[test]
fn t54_while_it_waits_it_is_looked_at_when_the_stamp_becomes_too_old() {
    let slow = limited(two_eyes(), |l| l.max_identity_age = Some(lasting("1h")));
    assert_eq!(slow.decide().look_again, Some(at(3_601)));
    let by_name = slow.eligibility(|e| e.subjects.push(subject(SubjectKind::User, "dev")));
    assert_eq!(by_name.decide().look_again, Some(at(86_400)), "that of a name does not");
}

#[test]
fn hours_are_asked_at_the_start() {
    let hours = |from: &str, to: &str, ends: bool| case().policy(|p| p.windows = vec![window(from, to, ends)]);
    assert_eq!(hours("09:00", "12:00", false).state(), State::Active);
    assert_eq!(
        hours("11:00", "12:00", false).refusal(),
        "OutsideWindow: a start at 2026-11-02T10:00:00Z is outside the windows of policy 'two-eyes' (spec.windows), every day 11:00 to \
         12:00 UTC; the next one starts at 2026-11-02T11:00:00Z: request then, or request now with that time in spec.startTime"
    );
    let then = hours("11:00", "12:00", false).request(|r| r.start_time = Some(at(3_600)));
    assert_eq!((then.state(), then.now(3_600).state()), (State::Scheduled, State::Active));
    assert_eq!(hours("09:00", "10:30", true).grant().deadline, at(1_800), "they end it");
    assert_eq!(hours("09:00", "10:30", false).grant().deadline, at(2_700), "they do not");
    let short =
        hours("09:00", "10:30", true).policy(|p| p.limits = Some(Limits { min_duration: Some(lasting("40m")), ..Limits::default() }));
    assert_eq!(
        short.refusal(),
        "DurationTooShort: duration 30m is too short, at least 40m is required by policy 'two-eyes' (spec.limits.minDuration); the windows \
         of policy 'two-eyes' end before that (spec.windows)"
    );
    // The request may await approval outside of them. The approval must not come there.
    let waits = || two_eyes().policy(|p| p.windows = vec![window("11:00", "12:00", false)]);
    assert_eq!(waits().state(), State::AwaitingApproval);
    let approve = waits().decision(Verb::Approve, &lead(1), 10);
    let refusal = waits().admits(&approve).unwrap_err();
    assert!(
        refusal.starts_with("OutsideWindow: with this approval, request 'inc-4711' would be Denied: a start at 2026-11-02T10:00:10Z"),
        "{refusal}"
    );
    let inside = waits().decision(Verb::Approve, &lead(1), 3_600);
    assert_eq!(waits().now(3_600).admits(&inside), Ok(()));
    assert_eq!(waits().request(|r| r.start_time = Some(at(60))).state(), State::Denied, "a start that is named can be judged now");
}

#[test]
fn f81_without_a_limit_a_start_lies_a_week_ahead_at_most() {
    let by_name = |seconds: i64| starting(seconds).eligibility(|e| e.subjects.push(subject(SubjectKind::User, "dev")));
    assert_eq!(by_name(7 * 86_400).state(), State::Scheduled);
    let message = "StartTooFarAhead: a start at 2026-11-09T10:00:01Z was requested; policy 'two-eyes' allows one at most 168h ahead, which \
                   is 2026-11-09T10:00:00Z now (spec.limits.maxScheduleAhead, which it does not set)";
    assert_eq!(by_name(7 * 86_400 + 1).refusal(), message);
    let far = by_name(0).request(|r| r.start_time = domain::instant::parse("9999-12-31T00:00:00Z")).eligibility(|e| e.end_time = None);
    let far = far.policy(|p| p.eligibility = Some(api::policy::EligibilityRules { require_end: Some(false), ..Default::default() }));
    assert!(far.refusal().starts_with("StartTooFarAhead: "), "{}", far.refusal());
}
