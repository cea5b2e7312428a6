//! How long an activation lasts (api rule 2).

use chrono::TimeDelta;

use super::{
    facts::{Object, Settings},
    refusal::Refusal,
};
use crate::api::{ApprovalPolicySpec, Duration, Reason, RoleActivationRequestSpec, RoleEligibilitySpec, policy::Limits};

/// The bounds of a policy; what is absent does not bound.
#[must_use]
pub fn limits(policy: &ApprovalPolicySpec) -> Limits {
    policy.limits.clone().unwrap_or_default()
}

/// The duration that a request asks for: its own, or the eligibility's default, or the eligibility's maximum.
#[must_use]
pub fn asked(request: &RoleActivationRequestSpec, eligibility: &RoleEligibilitySpec) -> Duration {
    request.duration.or(eligibility.default_duration).unwrap_or(eligibility.max_duration)
}

/// The asked duration, if eligibility, policy and chart allow it. It is never cut silently.
pub fn check(
    request: &RoleActivationRequestSpec,
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
    settings: &Settings,
) -> Result<Duration, Refusal> {
    let asked = asked(request, &eligibility.spec);
    let limits = limits(&policy.spec);
    if asked > eligibility.spec.max_duration {
        return Err(too_long(asked, eligibility.spec.max_duration, &format!("eligibility '{}' (spec.maxDuration)", eligibility.name)));
    }
    if let Some(longest) = limits.max_duration.filter(|longest| asked > *longest) {
        return Err(too_long(asked, longest, &format!("policy '{}' (spec.limits.maxDuration)", policy.name)));
    }
    if asked > settings.max_grant {
        return Err(too_long(asked, settings.max_grant, "the chart's value maxGrant"));
    }
    if let Some(shortest) = limits.min_duration.filter(|shortest| asked < *shortest) {
        return Err(too_short(asked, shortest, &policy.name));
    }
    if asked.is_zero() {
        return Err(Refusal::new(Reason::DurationTooShort, "duration 0s was asked for, at least 1s is possible"));
    }
    Ok(asked)
}

fn too_long(asked: Duration, allowed: Duration, by: &str) -> Refusal {
    Refusal::new(
        Reason::DurationTooLong,
        format!("duration {asked} was asked for, at most {allowed} is allowed by {by}; ask for {allowed} or less"),
    )
}

/// The refusal of a duration below the policy's minimum.
#[must_use]
pub fn too_short(asked: Duration, shortest: Duration, policy: &str) -> Refusal {
    Refusal::new(
        Reason::DurationTooShort,
        format!("duration {asked} is too short, at least {shortest} is allowed by policy '{policy}' (spec.limits.minDuration)"),
    )
}

/// The refusal, if eligibility or policy no longer allow a grant of this length (api rule 11).
pub fn still_allowed(
    granted: TimeDelta,
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
) -> Result<(), Refusal> {
    let over = |longest: Duration| granted > TimeDelta::from(longest);
    let refusal = |longest: Duration, by: String| {
        let granted = Duration::from_secs(u32::try_from(granted.num_seconds().max(0)).unwrap_or(u32::MAX));
        Refusal::new(Reason::DurationNoLongerAllowed, format!("it was granted for {granted}, now at most {longest} is allowed by {by}"))
    };
    if over(eligibility.spec.max_duration) {
        return Err(refusal(eligibility.spec.max_duration, format!("eligibility '{}' (spec.maxDuration)", eligibility.name)));
    }
    match limits(&policy.spec).max_duration {
        Some(longest) if over(longest) => Err(refusal(longest, format!("policy '{}' (spec.limits.maxDuration)", policy.name))),
        _ => Ok(()),
    }
}
