//! Fields that the schema has and this version does not act upon. They are refused when set: nothing is silently ignored.

use serde::Serialize;
use serde_json::Value;

use super::refusal::Refusal;
use crate::api::{ActivationDecisionSpec, ApprovalPolicySpec, Reason, RoleActivationRequestSpec, RoleEligibilitySpec, Verb};

/// "Set" is what says something: other than null, false, 0, "" or "0s", and for a list or an object a member that is set.
fn is_set<T: Serialize>(value: &T) -> bool {
    fn says(value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::Bool(yes) => *yes,
            Value::Number(n) => n.as_f64() != Some(0.0),
            Value::String(s) => !s.is_empty() && s != "0s",
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => members.values().any(says),
        }
    }
    serde_json::to_value(value).is_ok_and(|v| says(&v))
}

fn refuse(set: &[(&str, bool)]) -> Result<(), Refusal> {
    match set.iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(Refusal::new(
            Reason::FieldNotInForce,
            format!("{field} is set, and this version of jit-rbac does not act upon it yet; leave it out"),
        )),
        None => Ok(()),
    }
}

/// Refuses what a request sets and nobody would act upon.
pub fn request(spec: &RoleActivationRequestSpec) -> Result<(), Refusal> {
    refuse(&[
        ("spec.startTime", is_set(&spec.start_time)),
        ("spec.extends", is_set(&spec.extends)),
        ("spec.emergency", spec.emergency),
        ("spec.ticket", is_set(&spec.ticket)),
    ])
}

/// Refuses a decision that nobody would act upon.
pub fn decision(spec: &ActivationDecisionSpec) -> Result<(), Refusal> {
    if spec.decision == Verb::Review {
        let message = "the decision Review is not acted upon by this version of jit-rbac yet; use Approve, Deny, Revoke or Deactivate";
        return Err(Refusal::new(Reason::FieldNotInForce, message));
    }
    Ok(())
}

/// Refuses what an eligibility sets and nobody would act upon.
pub fn eligibility(spec: &RoleEligibilitySpec) -> Result<(), Refusal> {
    refuse(&[("spec.acceptRisks", is_set(&spec.accept_risks))])
}

/// Refuses what a policy sets and nobody would act upon.
pub fn policy(spec: &ApprovalPolicySpec) -> Result<(), Refusal> {
    let requirements = spec.requirements.clone().unwrap_or_default();
    let limits = spec.limits.clone().unwrap_or_default();
    let rules = spec.eligibility.clone().unwrap_or_default();
    refuse(&[
        ("spec.requirements.ticket", is_set(&requirements.ticket)),
        ("spec.requirements.authentication", is_set(&requirements.authentication)),
        ("spec.limits.maxTotalDuration", is_set(&limits.max_total_duration)),
        ("spec.limits.maxScheduleAhead", is_set(&limits.max_schedule_ahead)),
        ("spec.limits.maxIdentityAge", is_set(&limits.max_identity_age)),
        ("spec.limits.maxActivePerUser", is_set(&limits.max_active_per_user)),
        ("spec.limits.maxPendingPerUser", is_set(&limits.max_pending_per_user)),
        ("spec.limits.cooldown", is_set(&limits.cooldown)),
        ("spec.windows", is_set(&spec.windows)),
        ("spec.emergency", is_set(&spec.emergency)),
        ("spec.eligibility.requireJustification", rules.require_justification),
        ("spec.onRoleChange", is_set(&spec.on_role_change)),
        ("spec.retention", is_set(&spec.retention)),
    ])
}
