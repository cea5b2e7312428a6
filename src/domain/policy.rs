//! Whether a policy is valid as written.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{emergency, evidence, facts::Object, instant::stamp, pattern, refusal::Refusal, settings::Settings, windows};
use api::{
    ApprovalPolicySpec, Duration, People, Reason, RoleEligibilitySpec,
    identity::SERVICE_ACCOUNT_PREFIX,
    policy::{EligibilityRules, MAX_REQUIRED, MAX_STAGES, Stage},
};

/// Time for a decision if a policy does not set it.
const DEFAULT_TIMEOUT: Duration = Duration::from_hours(24);

/// Returns the time that approvers have for a decision.
#[must_use]
pub fn timeout(policy: Option<&ApprovalPolicySpec>) -> Duration {
    policy.and_then(|p| p.approval.timeout).unwrap_or(DEFAULT_TIMEOUT)
}

/// Returns the number of different people that a stage requires.
#[must_use]
pub fn required(stage: &Stage) -> usize {
    usize::try_from(stage.required.unwrap_or(1)).unwrap_or(1).max(1)
}

/// Returns true if a request needs no approval.
#[must_use]
pub fn is_automatic(policy: &ApprovalPolicySpec) -> bool {
    policy.approval.automatic.is_some() && policy.approval.stages.is_empty()
}

/// Refuses a policy that is not valid as written. The schema validates most of it too. Stored objects are checked again, because a schema
/// can change under them (T49) and an empty list must never mean that no approval is required (T6).
pub fn check(spec: &ApprovalPolicySpec, settings: &Settings) -> Result<(), Refusal> {
    let approval = &spec.approval;
    if approval.automatic.is_some() != approval.stages.is_empty() {
        return Err(Refusal::new(
            Reason::InvalidField,
            "spec.approval must have exactly one of `automatic: {}` and `stages`: automatic approval must be explicit",
        ));
    }
    // The status of a request has room for this many approvals. A grant that needs more could not be recorded.
    if approval.stages.len() > MAX_STAGES {
        return Err(Refusal::new(
            Reason::InvalidField,
            format!("spec.approval.stages has {} stages, at most {MAX_STAGES} are allowed; remove some", approval.stages.len()),
        ));
    }
    let mut names = BTreeSet::new();
    for stage in &approval.stages {
        check_stage(stage)?;
        if !names.insert(stage.name.as_str()) {
            return Err(Refusal::new(
                Reason::InvalidField,
                format!("two stages are named '{}'; give each stage a unique name", stage.name),
            ));
        }
    }
    if let Some(revokers) = &spec.revokers {
        check_people(revokers, "spec.revokers")?;
    }
    if let Some(pattern) = spec.requirements.as_ref().and_then(|r| r.justification.as_ref()).and_then(|j| j.pattern.as_ref()) {
        pattern::anchored(pattern::JUSTIFICATION, pattern.as_str())?;
    }
    evidence::check_rules(spec)?;
    windows::check(&spec.windows)?;
    check_emergency(spec, settings)?;
    let limits = spec.limits.clone().unwrap_or_default();
    if let Some(longest) = limits.max_duration {
        below_max_grant(longest, "spec.limits.maxDuration", settings)?;
    }
    if let Some(longest) = limits.max_total_duration {
        below_max_grant(longest, "spec.limits.maxTotalDuration", settings)?;
    }
    if let (Some(shortest), Some(longest)) = (limits.min_duration, limits.max_duration)
        && shortest > longest
    {
        return Err(Refusal::new(
            Reason::InvalidField,
            format!("spec.limits.minDuration {shortest} is longer than spec.limits.maxDuration {longest}; nothing could be activated"),
        ));
    }
    if let Some(shortest) = limits.min_duration {
        below_max_grant(shortest, "spec.limits.minDuration", settings)?;
    }
    Ok(())
}

/// An emergency without reviewers would only bypass approval.
fn check_emergency(spec: &ApprovalPolicySpec, settings: &Settings) -> Result<(), Refusal> {
    if let Some(reviewers) = emergency::reviewers(spec) {
        check_people(reviewers, "spec.emergency.reviewers")?;
    }
    let Some(allowed) = emergency::allowed(spec) else { return Ok(()) };
    if emergency::reviewers(spec).is_none_or(People::is_empty) {
        return Err(Refusal::new(
            Reason::InvalidField,
            "spec.emergency.allowed is true and spec.emergency.reviewers is empty; an emergency is reviewed afterwards: list at least one \
             user or group",
        ));
    }
    allowed.max_duration.map_or(Ok(()), |longest| below_max_grant(longest, "spec.emergency.maxDuration", settings))
}

/// Refuses a duration above the chart's `maxGrant`.
pub fn below_max_grant(asked: Duration, field: &str, settings: &Settings) -> Result<(), Refusal> {
    if asked <= settings.max_grant {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::AboveMaxGrant,
        format!(
            "{field} is {asked}, at most {} is allowed by the chart's value maxGrant; lower the field or raise the value",
            settings.max_grant
        ),
    ))
}

fn check_stage(stage: &Stage) -> Result<(), Refusal> {
    let field = format!("the approvers of stage '{}'", stage.name);
    if stage.approvers.is_empty() {
        return Err(Refusal::new(Reason::InvalidField, format!("{field} are empty; list at least one user or group")));
    }
    check_people(&stage.approvers, &field)?;
    if required(stage) > MAX_REQUIRED {
        return Err(Refusal::new(
            Reason::InvalidField,
            format!("stage '{}' requires {} approvers, at most {MAX_REQUIRED} are allowed; lower `required`", stage.name, required(stage)),
        ));
    }
    let mut users: Vec<_> = stage.approvers.users.iter().collect();
    users.sort_unstable();
    users.dedup();
    if stage.approvers.groups.is_empty() && required(stage) > users.len() {
        return Err(Refusal::new(
            Reason::QuorumImpossible,
            format!(
                "stage '{}' requires {} approvers and lists {}; list more users or a group, or lower `required`",
                stage.name,
                required(stage),
                users.len()
            ),
        ));
    }
    Ok(())
}

/// System groups contain every user, or machines. They may not approve (T11).
fn check_people(people: &People, field: &str) -> Result<(), Refusal> {
    let system_user = people.users.iter().find(|u| u.as_str().starts_with("system:") && !u.as_str().starts_with(SERVICE_ACCOUNT_PREFIX));
    let system_group = people.groups.iter().find(|g| g.as_str().starts_with("system:"));
    match system_user.or(system_group) {
        Some(name) => Err(Refusal::new(
            Reason::SystemNameNotAllowed,
            format!(
                "{field} list '{name}', which is reserved for Kubernetes; list users, your own groups, or a ServiceAccount by its full \
                 user name"
            ),
        )),
        None => Ok(()),
    }
}

/// Refuses an eligibility that lacks what its policy requires of it.
pub fn check_eligibility(eligibility: &Object<RoleEligibilitySpec>, policy: &Object<ApprovalPolicySpec>) -> Result<(), Refusal> {
    let EligibilityRules { require_end, max_duration, .. } = policy.spec.eligibility.clone().unwrap_or_default();
    let spec = &eligibility.spec;
    if require_end.unwrap_or(true) && spec.end_time.is_none() {
        return Err(Refusal::new(
            Reason::EndRequired,
            format!(
                "spec.endTime is missing and policy '{}' requires it (spec.eligibility.requireEnd); set it, or set requireEnd to false",
                policy.name
            ),
        ));
    }
    if let (Some(longest), end) = (max_duration, spec.end_time) {
        let from: Timestamp = spec.start_time.unwrap_or(eligibility.created);
        let latest = from.checked_add(SignedDuration::from(longest)).unwrap_or(Timestamp::MAX);
        if end.is_none_or(|end| end > latest) {
            return Err(Refusal::new(
                Reason::EligibilityTooLong,
                format!(
                    "the eligibility {}; policy '{}' allows {longest} (spec.eligibility.maxDuration): spec.endTime may be {} at the latest",
                    end.map_or("has no end".to_owned(), |end| format!("ends at {}", stamp(end))),
                    policy.name,
                    stamp(latest),
                ),
            ));
        }
    }
    if policy.spec.eligibility.as_ref().is_some_and(|rules| rules.require_justification)
        && spec.justification.as_ref().is_none_or(api::text::Line::is_blank)
    {
        return Err(Refusal::new(
            Reason::ReasonRequired,
            format!(
                "spec.justification is missing and policy '{}' requires it (spec.eligibility.requireJustification); set it to why these \
                 users are eligible",
                policy.name
            ),
        ));
    }
    if spec.allow_service_accounts && policy.spec.requirements.as_ref().is_some_and(|rules| rules.authentication.is_some()) {
        return Err(Refusal::new(
            Reason::ServiceAccountNotAllowed,
            format!(
                "spec.allowServiceAccounts is true and policy '{}' requires evidence of how a person signed in \
                 (spec.requirements.authentication), which a ServiceAccount never has",
                policy.name
            ),
        ));
    }
    if spec.allow_service_accounts && is_automatic(&policy.spec) {
        return Err(Refusal::new(
            Reason::ServiceAccountNotAllowed,
            format!(
                "spec.allowServiceAccounts is true and policy '{}' approves automatically: a ServiceAccount needs an approver",
                policy.name
            ),
        ));
    }
    match policy.spec.limits.as_ref().and_then(|l| l.min_duration) {
        Some(shortest) if shortest > spec.max_duration => Err(Refusal::new(
            Reason::InvalidField,
            format!(
                "spec.maxDuration {} is shorter than the minimum of policy '{}' (spec.limits.minDuration {shortest})",
                spec.max_duration, policy.name
            ),
        )),
        _ => Ok(()),
    }
}
