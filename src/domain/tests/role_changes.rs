//! Roles that change, and roles with risks (T17, T18).

use super::*;
use crate::api::{eligibility::RiskClass, policy::OnRoleChange};

/// The role gains a rule.
fn widened(world: World, more: Rule) -> World {
    world.change(|w| {
        if let Lookup::Found(role) = &mut w.snapshot.role {
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
    let running = |word: Option<OnRoleChange>| widened(world().policy(|p| p.on_role_change = word).granted(), harmless());
    for word in [None, Some(OnRoleChange::Report)] {
        assert_eq!(
            running(word).told(),
            "Active RoleChanged: ClusterRole 'edit' in namespace 'payments' until 2026-11-02T10:45:00Z; the role's rules have changed since it was granted"
        );
    }
    assert_eq!(
        running(Some(OnRoleChange::Revoke)).told(),
        "Revoked RoleChanged: the rules of the ClusterRole 'edit' changed, and policy 'two-eyes' says Revoke then (spec.onRoleChange)"
    );
    let same = world().policy(|p| p.on_role_change = Some(OnRoleChange::Revoke)).granted();
    assert_eq!(same.state(), State::Active);
    // Who takes the record away gains nothing.
    assert_eq!(same.clone().record(|r| r.rules_hash = None).state(), State::Revoked);
    // The order of rules, and a role made anew with the same, are no change.
    let anew = same.change(|w| {
        if let Lookup::Found(role) = &mut w.snapshot.role {
            role.uid = "another".to_owned();
            role.rules = Arc::new(Rules::new(role.rules.rules().iter().rev().cloned()));
        }
    });
    assert_eq!(anew.state(), State::Active);
}

#[test]
fn t17_between_approval_and_grant_it_waits_again() {
    let approved = two_eyes().approves(&lead(1), 5).now(6);
    assert_eq!(approved.state(), State::Active);
    let stale = widened(approved, harmless());
    assert_eq!(
        stale.told(),
        "AwaitingApproval WaitingForApproval: stage 'lead' has 0 of 1 approvals by group leads, until 2026-11-03T10:00:00Z; an earlier approval was \
         for what has changed since and no longer counts"
    );
}

#[test]
fn t18_a_role_that_gains_a_risk_is_granted_no_more_until_its_author_accepts_it() {
    let risky = widened(world(), tokens());
    assert_eq!(
        risky.refusal(),
        "RiskNotAccepted: eligibility 'payments-oncall' cannot be used: ClusterRole 'edit' can create serviceaccounts/token (class \
         ServiceAccountTokens): what is gained by that outlives a grant; choose a role without it, or add ServiceAccountTokens to spec.acceptRisks"
    );
    assert_eq!(risky.state(), State::Pending, "it waits for the author");
    assert_eq!(risky.clone().eligibility(|e| e.accept_risks = vec![RiskClass::ServiceAccountTokens]).state(), State::Active);
    assert_eq!(risky.eligibility(|e| e.accept_risks = vec![RiskClass::Impersonation]).state(), State::Pending);
    assert_eq!(widened(world().granted(), tokens()).state(), State::Active, "what runs is the policy's affair");
    let status = widened(world(), tokens()).snapshot.role.found().unwrap().rules.status(RoleKind::ClusterRole, "edit", true);
    assert_eq!(
        (status.risks, status.risk_summary.as_str()),
        (vec!["ServiceAccountTokens".to_owned(), "WorkloadCreate".to_owned()], "ServiceAccountTokens,WorkloadCreate")
    );
}
