//! The answer of admission to `kubectl apply` of a decision: accepted, accepted with a warning, or refused.

use super::*;

fn refused(case: &TestCase, decision: &Object<ActivationDecisionSpec>, message: &str) {
    assert_eq!(case.admits(decision), Err(message.to_owned()));
}

fn taken(case: &TestCase, verb: Verb, who: &Stamp, seconds: i64) {
    assert_eq!(case.admits(&case.decision(verb, who, seconds)), Ok(()), "{verb} by {}", who.username);
}

fn with_revokers() -> TestCase {
    two_eyes().policy(|p| p.revokers = Some(people(&["group security"])))
}

fn security() -> Stamp {
    person("sec-1", &["security"])
}

#[test]
fn decisions_of_the_right_people_are_taken() {
    let case = with_revokers();
    taken(&case, Verb::Approve, &lead(1), 5);
    taken(&case, Verb::Deny, &lead(1), 5);
    taken(&case, Verb::Revoke, &lead(1), 5);
    taken(&case, Verb::Revoke, &security(), 5);
    taken(&case, Verb::Deactivate, &dev(), 5);
    let running = case.approves(&lead(1), 10).now(10).granted();
    for (verb, who) in [(Verb::Deny, lead(2)), (Verb::Revoke, lead(2)), (Verb::Revoke, security()), (Verb::Deactivate, dev())] {
        taken(&running, verb, &who, 20);
    }
}

#[test]
fn t04_own_requests() {
    let both = person("dev", &["devs", "leads"]);
    let case = two_eyes().requester(both.clone());
    for who in [both, person("DEV", &["leads"])] {
        let name = &who.username;
        refused(
            &case,
            &case.decision(Verb::Approve, &who, 5),
            &format!("SelfApprovalNotAllowed: '{name}' created request 'inc-4711' and cannot approve it; another approver must"),
        );
        for verb in [Verb::Deny, Verb::Revoke] {
            refused(
                &case,
                &case.decision(verb, &who, 5),
                "SelfApprovalNotAllowed: request 'inc-4711' is your own: use the decision Deactivate instead",
            );
        }
    }
    refused(
        &case,
        &case.decision(Verb::Deactivate, &lead(1), 5),
        "NotTheRequester: only 'dev' can deactivate request 'inc-4711'; approvers and revokers use Revoke",
    );
}

#[test]
fn t05_approving_twice() {
    let case = case().stages(vec![stage("lead", 2, &["group leads"])]).approves(&lead(1), 5).now(6);
    for who in [lead(1), person("LEAD-1", &["leads"])] {
        let message = format!(
            "AlreadyApproved: '{}' approved request 'inc-4711' at 2026-11-02T10:00:05Z; another approver must approve too",
            lead(1).username
        );
        refused(&case, &case.decision(Verb::Approve, &who, 10), &message);
    }
    taken(&case, Verb::Approve, &lead(2), 10);
    let edited = case.policy(|p| p.approval.timeout = Some(lasting("2h")));
    taken(&edited, Verb::Approve, &lead(1), 10);
}

#[test]
fn t06_no_approver() {
    let case = with_revokers();
    let message = |verb: &str| {
        format!(
            "NotAnApprover: 'sec-1' may not {verb} under policy 'two-eyes': approvers are group leads (stage 'lead'); the sign-in has none of the groups 'leads' ('kubectl auth whoami' lists those that it has)"
        )
    };
    refused(&case, &case.decision(Verb::Approve, &security(), 5), &message("approve"));
    refused(&case, &case.decision(Verb::Deny, &security(), 5), &message("deny"));
    let mallory = person("mallory", &[]);
    refused(
        &case,
        &case.decision(Verb::Revoke, &mallory, 5),
        "NotARevoker: 'mallory' may not revoke under policy 'two-eyes': approvers are group leads (stage 'lead'), revokers group security; the sign-in has none of the groups 'leads', 'security' ('kubectl auth whoami' lists those that it has)",
    );
    refused(
        &two_eyes(),
        &two_eyes().decision(Verb::Revoke, &mallory, 5),
        "NotARevoker: 'mallory' may not revoke under policy 'two-eyes': approvers are group leads (stage 'lead'), revokers none; the sign-in has none of the groups 'leads' ('kubectl auth whoami' lists those that it has)",
    );
    let automatic = super::case();
    refused(
        &automatic,
        &automatic.decision(Verb::Deny, &lead(1), 5),
        "NotAnApprover: 'lead-1' may not deny under policy 'two-eyes': approvers are none, since it approves automatically",
    );
    refused(
        &case,
        &case.decision(Verb::Approve, &person("system:admin", &["leads"]), 5),
        "SystemUserNotAllowed: 'system:admin' is reserved for Kubernetes and cannot request or decide; sign in with your own user",
    );
    let bot = person("system:serviceaccount:ci:bot", &["leads"]);
    assert!(case.admits(&case.decision(Verb::Approve, &bot, 5)).unwrap_err().starts_with("NotAnApprover: "));
}

#[test]
fn a_request_that_is_settled() {
    let approved = two_eyes().approves(&lead(1), 10).now(10);
    let settled = |state: &str| format!("RequestCompleted: request 'inc-4711' is already {state}: there is nothing left to approve");
    refused(&approved, &approved.decision(Verb::Approve, &lead(2), 20), &settled("Active"));
    let running = approved.granted();
    refused(&running, &running.decision(Verb::Approve, &lead(2), 20), &settled("Active"));
    let denied = two_eyes().says(Verb::Deny, &lead(1), 10);
    refused(&denied, &denied.decision(Verb::Approve, &lead(2), 20), &settled("Denied"));
    let ended = denied.clone().apply(&denied.decide());
    refused(&ended, &ended.decision(Verb::Approve, &lead(2), 20), &settled("Denied"));
    let late = two_eyes();
    taken(&late, Verb::Approve, &lead(1), 86_399);
    refused(&late, &late.decision(Verb::Approve, &lead(1), 86_400), &settled("TimedOut"));
}

#[test]
fn t02_another_digest() {
    let case = two_eyes();
    let mut decision = case.decision(Verb::Approve, &lead(1), 5);
    for shown in [Some("sha256:00000000000000000000"), Some("0000"), None] {
        decision.spec.digest = shown.map(ToOwned::to_owned);
        let message = format!(
            "DigestStale: the digest '{}' does not match what would be granted now, {}; check request 'inc-4711' and decide again",
            shown.unwrap_or_default(),
            case.digest(),
        );
        refused(&case, &decision, &message);
    }
    decision.spec.digest = Some(case.digest().as_str()[7..].to_owned());
    assert_eq!(case.admits(&decision), Ok(()), "the prefix may be left out");
    decision.spec.digest = Some(case.digest().as_str()[7..70].to_owned());
    assert!(case.admits(&decision).unwrap_err().starts_with("DigestStale: "), "one digit is missing");
}

#[test]
fn t03_another_request_of_the_same_name() {
    let case = two_eyes();
    for verb in [Verb::Approve, Verb::Deny, Verb::Revoke, Verb::Deactivate] {
        let mut decision = case.decision(verb, &lead(1), 5);
        decision.spec.request_ref.uid = Some("earlier-uid".to_owned());
        let message = format!(
            "RequestMismatch: the decision is for request 'inc-4711' with UID earlier-uid, but the current request has UID {REQUEST_UID}; \
             check it and decide again"
        );
        refused(&case, &decision, &message);
        decision.spec.request_ref.uid = None;
        assert!(case.admits(&decision).unwrap_err().contains("with UID none"));
    }
}

#[test]
fn a_stage_that_is_not_open() {
    let case = case().stages(vec![stage("lead", 2, &["group leads"]), stage("security", 1, &["group security"])]).approves(&lead(1), 5);
    let early = "StageNotOpen: 'sec-1' is an approver of stage 'security', but stage 'lead' is open now (1 of 2)";
    refused(&case, &case.decision(Verb::Approve, &security(), 10), early);
    let open = case.approves(&lead(2), 10);
    taken(&open, Verb::Approve, &security(), 20);
    let over = "StageNotOpen: 'lead-3' is an approver of stage 'lead', but stage 'security' is open now (0 of 1)";
    refused(&open, &open.decision(Verb::Approve, &lead(3), 20), over);
    taken(&open, Verb::Deny, &lead(3), 20);
}

#[test]
fn an_approver_shortens_within_bounds() {
    let case = two_eyes().policy(|p| p.limits.get_or_insert_default().min_duration = Some(lasting("5m")));
    let shorter = |duration: &str| {
        let mut decision = case.decision(Verb::Approve, &lead(1), 5);
        decision.spec.duration = Some(lasting(duration));
        case.admits(&decision)
    };
    assert_eq!(shorter("45m"), Ok(()));
    assert_eq!(shorter("5m"), Ok(()));
    assert_eq!(
        shorter("45m1s"),
        Err("DurationTooLong: duration 45m1s is longer than the requested 45m; an approver can only shorten it".to_owned())
    );
    assert_eq!(
        shorter("4m59s"),
        Err("DurationTooShort: duration 4m59s is too short, at least 5m is required by policy 'two-eyes' (spec.limits.minDuration)"
            .to_owned())
    );
}

#[test]
fn a_comment_where_the_policy_asks_for_one() {
    let case = two_eyes().policy(|p| p.approval.require_comment = true);
    let missing = "CommentMissing: policy 'two-eyes' requires a comment from approvers (spec.approval.requireComment); set spec.comment";
    for verb in [Verb::Approve, Verb::Deny] {
        let mut decision = case.decision(verb, &lead(1), 5);
        refused(&case, &decision, missing);
        decision.spec.comment = Some(line(" "));
        refused(&case, &decision, missing);
        decision.spec.comment = Some(line("because"));
        assert_eq!(case.admits(&decision), Ok(()));
    }
    taken(&case, Verb::Revoke, &lead(1), 5);
    taken(&case, Verb::Deactivate, &dev(), 5);
}

#[test]
fn what_is_not_ready_cannot_be_approved() {
    let decision = two_eyes().decision(Verb::Approve, &lead(1), 5);
    let no_role = two_eyes().change(|c| c.snapshot.role = Lookup::Absent);
    refused(
        &no_role,
        &decision,
        "RequestNotReady: request 'inc-4711' cannot be approved now: eligibility 'payments-oncall' refers to ClusterRole 'edit', which \
         does not exist",
    );
    let no_policy = two_eyes().change(|c| c.snapshot.policy = Lookup::Absent);
    assert!(no_policy.admits(&decision).unwrap_err().starts_with("RequestNotReady: "));
    for verb in [Verb::Deny, Verb::Revoke] {
        refused(
            &no_policy,
            &no_policy.decision(verb, &lead(1), 5),
            "PolicyNotFound: the policy that defines who may decide does not exist or cannot be read; nothing is granted without it",
        );
    }
    assert_eq!(
        no_policy.admits(&Object {
            spec: ActivationDecisionSpec { decider: Some(dev()), ..no_policy.decision(Verb::Deactivate, &lead(1), 5).spec },
            ..decision
        }),
        Ok(())
    );
}

#[test]
fn t01_without_a_stamp_nothing_is_taken() {
    let case = two_eyes();
    let message = "UserInfoMissing: the decision or its request has no stamped author; is the mutating webhook of jit-rbac installed?";
    let mut decision = case.decision(Verb::Approve, &lead(1), 5);
    let unstamped = case.clone().request(|r| r.requester = None);
    refused(&unstamped, &decision, message);
    decision.spec.decider = None;
    refused(&case, &decision, message);
}

#[test]
fn a_review_is_of_an_emergency() {
    let case = two_eyes();
    refused(
        &case,
        &case.decision(Verb::Review, &lead(1), 5),
        "NoReviewPending: request 'inc-4711' has no emergency grant: there is nothing to review",
    );
}
