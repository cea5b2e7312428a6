//! The duration of an activation (api rules 2 and 3).

use super::*;
use domain::duration;

fn limits(case: TestCase, shortest: Option<&str>, longest: Option<&str>) -> TestCase {
    case.policy(|p| {
        let limits = p.limits.get_or_insert_default();
        limits.min_duration = shortest.map(lasting);
        limits.max_duration = longest.map(lasting);
    })
}

fn asks(duration: &str) -> TestCase {
    case().request(|r| r.duration = Some(lasting(duration)))
}

#[test]
fn a_duration_is_granted_or_refused_with_both_numbers() {
    for (case, answer) in [
        (asks("4h"), Ok("4h")),
        (
            asks("4h1s"),
            Err(
                "DurationTooLong: duration 4h1s was requested, at most 4h is allowed by eligibility 'payments-oncall' (spec.maxDuration); \
                 request 4h or less",
            ),
        ),
        (limits(asks("1h"), None, Some("1h")), Ok("1h")),
        (
            limits(asks("1h1s"), None, Some("1h")),
            Err("DurationTooLong: duration 1h1s was requested, at most 1h is allowed by policy 'two-eyes' (spec.limits.maxDuration); \
                 request 1h or less"),
        ),
        (limits(asks("5m"), Some("5m"), None), Ok("5m")),
        (
            limits(asks("4m59s"), Some("5m"), None),
            Err("DurationTooShort: duration 4m59s is too short, at least 5m is required by policy 'two-eyes' (spec.limits.minDuration)"),
        ),
        (asks("1s"), Ok("1s")),
        (asks("0s"), Err("DurationTooShort: duration 0s was requested, at least 1s is required")),
        (
            asks("99999h"),
            Err("DurationTooLong: duration 99999h was requested, at most 4h is allowed by eligibility 'payments-oncall' \
                 (spec.maxDuration); request 4h or less"),
        ),
    ] {
        match answer {
            Ok(granted) => {
                let grant = case.now(0).grant();
                assert_eq!((grant.start, grant.deadline), (at(0), at(lasting(granted).as_secs().into())));
            }
            Err(message) => {
                assert_eq!(case.refusal(), message);
                assert_eq!(case.state(), State::Denied);
            }
        }
    }
}

#[test]
fn the_chart_bounds_what_was_written_before_it_did() {
    let mut case = asks("45m");
    case.settings.max_grant = lasting("30m");
    assert_eq!(
        case.refusal(),
        "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: AboveMaxGrant: spec.maxDuration is 4h, at most 30m is allowed by the \
         chart's value maxGrant; lower the field or raise the value"
    );
    let (Some(eligibility), Some(policy)) = (case.snapshot.eligibility.found(), case.snapshot.policy.found()) else { panic!() };
    let refusal = duration::check(&case.snapshot.request.object.spec, eligibility, policy, &case.settings).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "DurationTooLong: duration 45m was requested, at most 30m is allowed by the chart's value maxGrant; request 30m or less"
    );
}

#[test]
fn the_default_holds_where_nothing_is_asked() {
    let silent = || case().request(|r| r.duration = None);
    assert_eq!(silent().decide().asked, Some(lasting("4h")));
    assert_eq!(silent().eligibility(|e| e.default_duration = Some(lasting("1h"))).decide().asked, Some(lasting("1h")));
    assert_eq!(asks("2h").eligibility(|e| e.default_duration = Some(lasting("1h"))).decide().asked, Some(lasting("2h")));
}

#[test]
fn f28_a_request_without_a_duration_never_asks_for_more_than_is_allowed() {
    let silent = || case().request(|r| r.duration = None);
    assert_eq!(limits(silent(), None, Some("1h")).decide().asked, Some(lasting("1h")));
    let default = |default: &str| silent().eligibility(|e| e.default_duration = Some(lasting(default)));
    assert_eq!(limits(default("2h"), None, Some("1h")).decide().asked, Some(lasting("1h")));
    assert_eq!(limits(default("30m"), None, Some("1h")).decide().asked, Some(lasting("30m")));
    assert_eq!(silent().change(|c| c.settings.max_grant = lasting("24h")).decide().asked, Some(lasting("4h")));
    let emergency = || {
        silent().request(|r| r.emergency = true).policy(|p| {
            p.emergency = Some(api::policy::Emergency {
                allowed: true,
                max_duration: Some(lasting("20m")),
                reviewers: Some(people(&["group security"])),
                ..api::policy::Emergency::default()
            });
        })
    };
    assert_eq!((emergency().state(), emergency().decide().asked), (State::Active, Some(lasting("20m"))));
    // A requested duration is refused and not cut.
    assert!(limits(asks("2h"), None, Some("1h")).refusal().starts_with("DurationTooLong: duration 2h was requested, at most 1h"));
    assert!(limits(default("1m"), Some("5m"), None).refusal().starts_with("DurationTooShort: "), "nor is it made longer");
}

#[test]
fn f28_durations_that_the_policy_does_not_allow_are_told() {
    let told = |case: TestCase| {
        let (Some(eligibility), Some(policy)) = (case.snapshot.eligibility.found(), case.snapshot.policy.found()) else { panic!() };
        duration::warning(eligibility, policy)
    };
    let default = |default: &str| case().eligibility(|e| e.default_duration = Some(lasting(default)));
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(
        told(limits(case(), None, Some("2h"))),
        said(
            "spec.maxDuration 4h is above policy 'two-eyes' (spec.limits.maxDuration 2h): at most 2h is granted, even if a request sets no \
             duration"
        )
    );
    assert_eq!(
        told(limits(default("3h"), None, Some("2h"))),
        said(
            "spec.maxDuration 4h, spec.defaultDuration 3h are above policy 'two-eyes' (spec.limits.maxDuration 2h): at most 2h is granted, \
             even if a request sets no duration"
        )
    );
    assert_eq!(
        told(limits(default("1m"), Some("5m"), None)),
        said("spec.defaultDuration 1m is below policy 'two-eyes' (spec.limits.minDuration 5m): a request that sets no duration is refused")
    );
    for case in [case(), default("3h"), limits(case(), Some("5m"), Some("4h")), limits(default("5m"), Some("5m"), Some("8h"))] {
        assert_eq!(told(case), None);
    }
}

#[test]
fn t35_the_end_of_the_eligibility_cuts() {
    let ends = |seconds: i64| case().eligibility(|e| e.end_time = Some(at(seconds)));
    assert_eq!(ends(45 * 60).grant().deadline, at(45 * 60));
    assert_eq!(ends(45 * 60 - 1).grant().deadline, at(45 * 60 - 1));
    let end = at(100) + SignedDuration::from_millis(700);
    assert_eq!(case().eligibility(|e| e.end_time = Some(end)).grant().deadline, at(100), "a binding says whole seconds");
    let short = |seconds: i64| limits(ends(seconds), Some("5m"), None);
    assert_eq!(short(300).grant().deadline, at(300));
    assert_eq!(
        short(299).told(),
        "Denied DurationTooShort: duration 4m59s is too short, at least 5m is required by policy 'two-eyes' (spec.limits.minDuration); \
         eligibility 'payments-oncall' ends before that"
    );
    // The approval is so late that less than a second is left, by the API server's clock.
    let late = two_eyes().eligibility(|e| e.end_time = Some(at(60))).approves(&lead(1), 60).now(59);
    assert_eq!(
        late.told(),
        "Denied DurationTooShort: duration 0s is too short, at least 1s is required by policy 'two-eyes' (spec.limits.minDuration); \
         eligibility 'payments-oncall' ends before that"
    );
}

#[test]
fn t35_the_clock_of_the_operator_moves_neither_start_nor_end() {
    let approved = two_eyes().approves(&lead(1), 600);
    for now in [0, 600, 601, 3_299] {
        let grant = approved.clone().now(now).grant();
        assert_eq!((grant.start, grant.deadline), (at(600), at(600 + 2_700)), "now is {now}");
    }
    assert_eq!(
        approved.clone().now(3_300).told(),
        "TimedOut DeadlineExceeded: a grant from 2026-11-02T10:10:00Z would already have ended at 2026-11-02T10:55:00Z; request it again"
    );
    // An approval that another API server stamped before the request does not start the grant before the request.
    assert_eq!(two_eyes().approves(&lead(1), -5).now(1).grant().start, at(0));
    assert_eq!(approved.now(601).decide().look_again, Some(at(3_300)));
    let waits = two_eyes().eligibility(|e| e.end_time = Some(at(3_000)));
    assert_eq!(waits.decide().look_again, Some(at(3_000)), "the eligibility ends before the time to decide does");
}
