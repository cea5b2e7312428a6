//! Whether a policy is valid, alone and for an eligibility.

use super::*;
use api::policy::{EligibilityRules, JustificationRule, Limits, Requirements};
use domain::{policy, refusal::Refusal};

fn told(result: Result<(), Refusal>) -> String {
    result.map_or_else(|refusal| refusal.to_string(), |()| "usable".to_owned())
}

fn check(change: impl FnOnce(&mut ApprovalPolicySpec)) -> String {
    let case = two_eyes().policy(change);
    told(policy::check(&case.snapshot.policy.found().unwrap().spec, &case.settings))
}

#[test]
fn t06_nobody_needed_is_said_on_purpose() {
    let one_of = "InvalidField: spec.approval must have exactly one of `automatic: {}` and `stages`: automatic approval must be explicit";
    assert_eq!(check(|_| ()), "usable");
    assert_eq!(check(|p| p.approval = Approval { automatic: Some(Automatic {}), ..Approval::default() }), "usable");
    assert_eq!(check(|p| p.approval = Approval::default()), one_of);
    assert_eq!(check(|p| p.approval.automatic = Some(Automatic {})), one_of);
    assert_eq!(
        check(|p| p.approval.stages.push(stage("last", 1, &[]))),
        "InvalidField: the approvers of stage 'last' are empty; list at least one user or group"
    );
    for case in [
        two_eyes().policy(|p| p.approval = Approval::default()),
        two_eyes().policy(|p| p.approval.automatic = Some(Automatic {})),
        two_eyes().stages(vec![stage("lead", 1, &["group leads"]), stage("last", 1, &[])]).approves(&lead(1), 1),
    ] {
        assert_eq!(case.state(), State::Pending, "{:?}", case.decide());
        assert!(case.refusal().starts_with("PolicyNotReady: policy 'two-eyes' cannot be used: InvalidField: "), "{}", case.refusal());
    }
}

#[test]
fn f10_no_more_approvals_are_asked_for_than_a_status_holds() {
    let stages = |number: usize, required: i32| {
        move |p: &mut ApprovalPolicySpec| {
            p.approval.stages = (0..number).map(|n| stage(&format!("s-{n}"), required, &["group leads"])).collect();
        }
    };
    assert_eq!(check(stages(5, 16)), "usable");
    assert_eq!(check(stages(6, 1)), "InvalidField: spec.approval.stages has 6 stages, at most 5 are allowed; remove some");
    assert_eq!(check(stages(1, 17)), "InvalidField: stage 's-0' requires 17 approvers, at most 16 are allowed; lower `required`");
}

#[test]
fn a_quorum_can_be_reached() {
    let impossible = "QuorumImpossible: stage 'lead' requires 3 approvers and lists 2; list more users or a group, or lower `required`";
    assert_eq!(check(|p| p.approval.stages = vec![stage("lead", 3, &["lead-1", "lead-2"])]), impossible);
    assert_eq!(
        check(|p| p.approval.stages = vec![stage("lead", 3, &["lead-1", "lead-2", "lead-1"])]),
        impossible,
        "a name said twice is one"
    );
    assert_eq!(check(|p| p.approval.stages = vec![stage("lead", 2, &["lead-1", "lead-2"])]), "usable");
    assert_eq!(check(|p| p.approval.stages = vec![stage("lead", 9, &["lead-1", "group leads"])]), "usable");
    for (required, people) in [(None, 1), (Some(-1), 1), (Some(0), 1), (Some(1), 1), (Some(2), 2), (Some(i32::MAX), 2_147_483_647)] {
        assert_eq!(policy::required(&Stage { required, ..Stage::default() }), people, "{required:?}");
    }
    assert_eq!(
        check(|p| p.approval.stages = vec![stage("lead", 1, &["lead-1"]), stage("lead", 1, &["lead-2"])]),
        "InvalidField: two stages are named 'lead'; give each stage a unique name"
    );
}

#[test]
fn t11_names_of_kubernetes_itself_approve_and_revoke_nothing() {
    for name in
        ["group system:authenticated", "group system:masters", "group system:serviceaccounts:ci", "system:admin", "system:anonymous"]
    {
        let name_alone = name.strip_prefix("group ").unwrap_or(name);
        for (field, message) in [
            ("the approvers of stage 'lead'", check(|p| p.approval.stages = vec![stage("lead", 1, &["lead-1", name])])),
            ("spec.revokers", check(|p| p.revokers = Some(people(&["lead-1", name])))),
        ] {
            assert_eq!(
                message,
                format!(
                    "SystemNameNotAllowed: {field} list '{name_alone}', which is reserved for Kubernetes; list users, your own groups, or \
                     a ServiceAccount by its full user name"
                )
            );
        }
    }
    assert_eq!(check(|p| p.approval.stages = vec![stage("lead", 1, &["system:serviceaccount:ci:bot"])]), "usable");
}

#[test]
fn limits_fit_each_other_and_the_chart() {
    let limits = |shortest: Option<&str>, longest: Option<&str>| {
        check(|p| p.limits = Some(Limits { min_duration: shortest.map(lasting), max_duration: longest.map(lasting), ..Limits::default() }))
    };
    assert_eq!(limits(Some("1h"), Some("1h")), "usable");
    assert_eq!(limits(None, Some("24h")), "usable");
    assert_eq!(
        limits(Some("1h1s"), Some("1h")),
        "InvalidField: spec.limits.minDuration 1h1s is longer than spec.limits.maxDuration 1h; nothing could be activated"
    );
    for (message, field) in [(limits(None, Some("25h")), "maxDuration"), (limits(Some("25h"), None), "minDuration")] {
        assert_eq!(
            message,
            format!(
                "AboveMaxGrant: spec.limits.{field} is 25h, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value"
            )
        );
    }
}

#[test]
fn t14_a_pattern_compiles() {
    let pattern = |text: &str| {
        let rule = JustificationRule { pattern: Some(line(text)), ..JustificationRule::default() };
        check(|p| p.requirements = Some(Requirements { justification: Some(rule), ..Requirements::default() }))
    };
    assert_eq!(pattern("INC-[0-9]+"), "usable");
    assert_eq!(pattern(""), "usable");
    assert_eq!(pattern("INC-("), "InvalidField: spec.requirements.justification.pattern 'INC-(' cannot be used: unclosed group");
}

#[test]
fn t12_what_a_policy_asks_of_an_eligibility() {
    let asks = |rules: Option<EligibilityRules>, change: &dyn Fn(&mut RoleEligibilitySpec)| {
        let case = two_eyes().policy(|p| p.eligibility = rules).eligibility(change);
        told(policy::check_eligibility(case.snapshot.eligibility.found().unwrap(), case.snapshot.policy.found().unwrap()))
    };
    let end = |require: bool| Some(EligibilityRules { require_end: Some(require), ..EligibilityRules::default() });
    let at_most = |days: u32| {
        Some(EligibilityRules {
            require_end: Some(false),
            max_duration: Some(Duration::from_hours(days * 24)),
            ..EligibilityRules::default()
        })
    };
    let missing = "EndRequired: spec.endTime is missing and policy 'two-eyes' requires it (spec.eligibility.requireEnd); set it, or set requireEnd to false";
    assert_eq!(asks(None, &|e| e.end_time = None), missing, "absent is true");
    assert_eq!(asks(end(true), &|e| e.end_time = None), missing);
    assert_eq!(asks(end(false), &|e| e.end_time = None), "usable");
    assert_eq!(asks(None, &|_| ()), "usable");
    // It was created a day before the request and ends thirty days after it.
    assert_eq!(asks(at_most(31), &|_| ()), "usable");
    assert_eq!(
        asks(at_most(30), &|_| ()),
        "EligibilityTooLong: the eligibility ends at 2026-12-02T10:00:00Z; policy 'two-eyes' allows 720h (spec.eligibility.maxDuration): spec.endTime \
         may be 2026-12-01T10:00:00Z at the latest"
    );
    assert_eq!(asks(at_most(30), &|e| e.start_time = Some(at(0))), "usable", "counted from its own start");
    assert_eq!(
        asks(at_most(30), &|e| e.end_time = None),
        "EligibilityTooLong: the eligibility has no end; policy 'two-eyes' allows 720h (spec.eligibility.maxDuration): spec.endTime may be \
         2026-12-01T10:00:00Z at the latest"
    );
    let case = two_eyes().policy(|p| p.limits = Some(Limits { min_duration: Some(lasting("5h")), ..Limits::default() }));
    assert_eq!(
        case.refusal(),
        "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: InvalidField: spec.maxDuration 4h is shorter than the minimum \
         of policy 'two-eyes' (spec.limits.minDuration 5h)"
    );
}

#[test]
fn an_eligibility_says_why_and_lets_no_service_account_past_evidence() {
    let eligibility = EligibilityRules { require_justification: true, ..EligibilityRules::default() };
    let asking = || two_eyes().policy(|p| p.eligibility = Some(eligibility.clone()));
    assert_eq!(
        asking().refusal(),
        "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: ReasonRequired: spec.justification is missing and policy \
         'two-eyes' requires it (spec.eligibility.requireJustification); set it to why these users are eligible"
    );
    assert!(asking().eligibility(|e| e.justification = Some(line("  "))).refusal().contains("ReasonRequired: "));
    assert_eq!(asking().eligibility(|e| e.justification = Some(line("they are on call"))).state(), State::AwaitingApproval);
    let claims = vec![api::policy::Claim { key: line("amr"), any_of: vec![line("mfa")] }];
    let rule = api::policy::AuthenticationRule { claims, ..Default::default() };
    let requirements = api::policy::Requirements { authentication: Some(rule), ..Default::default() };
    let machines = two_eyes().policy(|p| p.requirements = Some(requirements)).eligibility(|e| e.allow_service_accounts = true);
    assert_eq!(
        machines.refusal(),
        "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: ServiceAccountNotAllowed: spec.allowServiceAccounts is true \
         and policy 'two-eyes' requires evidence of how a person signed in (spec.requirements.authentication), which a ServiceAccount \
         never has"
    );
}
