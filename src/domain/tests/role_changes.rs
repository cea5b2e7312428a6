//! Roles that change, and roles with risks (T17, T18).

use super::*;
use api::{eligibility::RiskClass, policy::OnRoleChange};

/// The role gains a rule.
fn widened(case: TestCase, more: Rule) -> TestCase {
    case.change(|c| {
        if let Lookup::Found(role) = &mut c.snapshot.role {
            role.rules = Arc::new(Rules::new(role.rules.rules().iter().cloned().chain([more])));
        }
    })
}

fn harmless() -> Rule {
    rule(&["delete"], &["deployments"])
}

fn tokens() -> Rule {
    Rule {
        api_groups: vec![String::new()],
        resources: vec!["serviceaccounts/token".to_owned()],
        verbs: vec!["create".to_owned()],
        ..Rule::default()
    }
}

#[test]
fn t17_while_it_is_active_the_policy_says_what_becomes_of_it() {
    let running = |word: Option<OnRoleChange>| widened(case().policy(|p| p.on_role_change = word).granted(), harmless());
    for word in [None, Some(OnRoleChange::Report)] {
        assert_eq!(
            running(word).told(),
            "Active RoleChanged: ClusterRole 'edit' in namespace 'payments' until 2026-11-02T10:45:00Z; the role's rules have changed since it was granted"
        );
    }
    assert_eq!(
        running(Some(OnRoleChange::Revoke)).told(),
        "Revoked RoleChanged: the rules of the ClusterRole 'edit' changed, and policy 'two-eyes' sets Revoke for this case \
         (spec.onRoleChange)"
    );
    let same = case().policy(|p| p.on_role_change = Some(OnRoleChange::Revoke)).granted();
    assert_eq!(same.state(), State::Active);
    // Removing the record gains nothing.
    assert_eq!(same.clone().record(|r| (r.rules_hash, r.access_hash) = (None, None)).state(), State::Revoked);
    // Another order of rules, and a role that is created again with the same rules, are no change.
    let recreated = same.change(|c| {
        if let Lookup::Found(role) = &mut c.snapshot.role {
            role.uid = "another".to_owned();
            role.rules = Arc::new(Rules::new(role.rules.rules().iter().rev().cloned()));
        }
    });
    assert_eq!(recreated.state(), State::Active);
}

#[test]
fn t17_between_approval_and_grant_it_waits_again() {
    let approved = two_eyes().approves(&lead(1), 5).now(6);
    assert_eq!(approved.state(), State::Active);
    let stale = widened(approved, harmless());
    assert_eq!(
        stale.told(),
        "AwaitingApproval WaitingForApproval: waiting for approval in stage 'lead': 0 of 1 (approvers: group leads), expires at \
         2026-11-03T10:00:00Z; an earlier approval no longer counts because what it approved has changed"
    );
}

#[test]
fn t18_a_role_that_gains_a_risk_is_granted_no_more_until_its_author_accepts_it() {
    let risky = widened(case(), tokens());
    assert_eq!(
        risky.refusal(),
        "RiskNotAccepted: eligibility 'payments-oncall' cannot be used: ClusterRole 'edit' can create serviceaccounts/token (class \
         ServiceAccountTokens): access gained this way can outlive a grant; use a role without it, or add ServiceAccountTokens to \
         spec.acceptRisks"
    );
    assert_eq!(risky.state(), State::Pending, "it waits for the author");
    assert_eq!(risky.clone().eligibility(|e| e.accept_risks = vec![RiskClass::ServiceAccountTokens]).state(), State::Active);
    assert_eq!(risky.eligibility(|e| e.accept_risks = vec![RiskClass::Impersonation]).state(), State::Pending);
    let reported = case().policy(|p| p.on_role_change = Some(OnRoleChange::Report)).granted();
    assert_eq!(widened(reported, tokens()).state(), State::Active, "what runs is the policy's affair, where it says so");
    let status = widened(case(), tokens()).snapshot.role.found().unwrap().rules.status(RoleKind::ClusterRole, "edit", true);
    assert_eq!(
        (status.risks, status.risk_summary.as_str()),
        (vec!["ServiceAccountTokens".to_owned(), "WorkloadCreate".to_owned()], "ServiceAccountTokens,WorkloadCreate")
    );
}

#[test]
fn f57_what_runs_ends_when_its_role_gains_what_outlives_a_grant_and_nobody_accepted_it() {
    assert_eq!(
        widened(case().granted(), tokens()).told(),
        "Revoked RoleChanged: the rules of the ClusterRole 'edit' changed while it was active, and eligibility 'payments-oncall' does not \
         accept them: ClusterRole 'edit' can create serviceaccounts/token (class ServiceAccountTokens): access gained this way can outlive \
         a grant; use a role without it, or add ServiceAccountTokens to spec.acceptRisks (policy 'two-eyes' can override this in \
         spec.onRoleChange)"
    );
    let accepted = case().eligibility(|e| e.accept_risks = vec![RiskClass::ServiceAccountTokens]);
    assert_eq!(widened(accepted.clone().granted(), tokens()).state(), State::Active);
    // A strong class that does not outlive the grant is only reported.
    assert_eq!(widened(case().granted(), harmless()).state(), State::Active);
    let exec = Rule {
        api_groups: vec![String::new()],
        resources: vec!["pods/exec".to_owned()],
        verbs: vec!["create".to_owned()],
        ..Rule::default()
    };
    assert_eq!(widened(case().granted(), exec).state(), State::Active);
    // A class that the author no longer accepts ends nothing by itself, but does once the role changes.
    let no_longer = widened(accepted, tokens()).granted().eligibility(|e| e.accept_risks.clear());
    assert_eq!(no_longer.state(), State::Active);
    assert_eq!(widened(no_longer, harmless()).state(), State::Revoked);
}

#[test]
fn f65_a_rule_that_adds_nothing_ends_nothing() {
    let revoke = case().policy(|p| p.on_role_change = Some(OnRoleChange::Revoke)).granted();
    for (more, state) in [
        (rule(&["get"], &["deployments"]), State::Active),
        (rule(&["patch"], &["deployments"]), State::Active),
        (Rule { resource_names: vec!["web".to_owned()], ..rule(&["get"], &["statefulsets"]) }, State::Active),
        (rule(&["get"], &["daemonsets"]), State::Revoked),
        (rule(&["patch"], &["statefulsets"]), State::Revoked),
    ] {
        let changed = widened(revoke.clone(), more.clone());
        assert_eq!(changed.state(), state, "{more:?}");
        // A grant that an older version recorded is compared with the rules as written.
        assert_eq!(widened(revoke.clone().record(|r| r.access_hash = None), more).state(), State::Revoked);
    }
    let upgraded = revoke.record(|r| r.access_hash = None);
    assert_eq!(upgraded.state(), State::Active, "an upgrade ends nothing");
}
