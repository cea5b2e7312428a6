//! The duration of an activation (api rule 2).

use jiff::SignedDuration;

use super::{emergency, facts::Object, refusal::Refusal, settings::Settings};
use api::{ApprovalPolicySpec, Duration, Reason, RoleActivationRequestSpec, RoleEligibilitySpec, policy::Limits};

/// Returns the limits of a policy. An absent limit does not apply.
#[must_use]
pub fn limits(policy: &ApprovalPolicySpec) -> Limits {
    policy.limits.clone().unwrap_or_default()
}

/// Returns the longest activation that eligibility, policy and chart allow together; for an emergency also the policy's limit for
/// emergencies.
#[must_use]
pub fn longest(eligibility: &RoleEligibilitySpec, policy: &ApprovalPolicySpec, settings: &Settings, emergency: bool) -> Duration {
    let in_emergency = if emergency { emergency::allowed(policy).and_then(|allowed| allowed.max_duration) } else { None };
    let bounds = [limits(policy).max_duration, Some(settings.max_grant), in_emergency];
    bounds.into_iter().flatten().fold(eligibility.max_duration, Duration::min)
}

/// Returns the requested duration: the request's own, or the eligibility's default, or its maximum. A duration that the request does not
/// set is cut to what is allowed, so that it never causes a refusal.
#[must_use]
pub fn asked(
    request: &RoleActivationRequestSpec,
    eligibility: &RoleEligibilitySpec,
    policy: &ApprovalPolicySpec,
    settings: &Settings,
) -> Duration {
    let longest = longest(eligibility, policy, settings, request.emergency);
    request.duration.unwrap_or_else(|| eligibility.default_duration.unwrap_or(longest).min(longest))
}

/// Returns warnings for the author of an eligibility or a policy: durations of the eligibility that the policy does not allow.
#[must_use]
pub fn warning(eligibility: &Object<RoleEligibilitySpec>, policy: &Object<ApprovalPolicySpec>) -> Option<String> {
    let (spec, limits) = (&eligibility.spec, limits(&policy.spec));
    if let Some(longest) = limits.max_duration.filter(|longest| spec.max_duration > *longest) {
        let default = spec.default_duration.filter(|default| *default > longest).map(|default| format!(", spec.defaultDuration {default}"));
        return Some(format!(
            "spec.maxDuration {}{} above policy '{}' (spec.limits.maxDuration {longest}): at most {longest} is granted, even if a request sets no duration",
            spec.max_duration,
            default.map_or_else(|| " is".to_owned(), |default| format!("{default} are")),
            policy.name
        ));
    }
    let default = spec.default_duration?;
    limits.min_duration.filter(|shortest| default < *shortest).map(|shortest| {
        format!(
            "spec.defaultDuration {default} is below policy '{}' (spec.limits.minDuration {shortest}): a request that sets no duration is \
             refused",
            policy.name
        )
    })
}

/// Returns the requested duration if eligibility, policy and chart allow it. It is never cut silently.
pub fn check(
    request: &RoleActivationRequestSpec,
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
    settings: &Settings,
) -> Result<Duration, Refusal> {
    let asked = asked(request, &eligibility.spec, &policy.spec, settings);
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
        return Err(Refusal::new(Reason::DurationTooShort, "duration 0s was requested, at least 1s is required"));
    }
    Ok(asked)
}

fn too_long(asked: Duration, allowed: Duration, by: &str) -> Refusal {
    Refusal::new(
        Reason::DurationTooLong,
        format!("duration {asked} was requested, at most {allowed} is allowed by {by}; request {allowed} or less"),
    )
}

/// The refusal of a duration below the policy's minimum.
#[must_use]
pub fn too_short(asked: Duration, shortest: Duration, policy: &str) -> Refusal {
    Refusal::new(
        Reason::DurationTooShort,
        format!("duration {asked} is too short, at least {shortest} is required by policy '{policy}' (spec.limits.minDuration)"),
    )
}

/// Refuses if eligibility or policy no longer allow a grant of this length (api rule 11).
pub fn still_allowed(
    granted: SignedDuration,
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
) -> Result<(), Refusal> {
    let over = |longest: Duration| granted > SignedDuration::from(longest);
    let refusal = |longest: Duration, by: String| {
        let granted = Duration::from_secs(u32::try_from(granted.as_secs().max(0)).unwrap_or(u32::MAX));
        Refusal::new(Reason::DurationNoLongerAllowed, format!("it was granted for {granted}, but at most {longest} is now allowed by {by}"))
    };
    if over(eligibility.spec.max_duration) {
        return Err(refusal(eligibility.spec.max_duration, format!("eligibility '{}' (spec.maxDuration)", eligibility.name)));
    }
    match limits(&policy.spec).max_duration {
        Some(longest) if over(longest) => Err(refusal(longest, format!("policy '{}' (spec.limits.maxDuration)", policy.name))),
        _ => Ok(()),
    }
}
