//! The start and the end of a grant (api rules 2, 3 and 13). They follow from stored times only, so that every replica computes the same.

use jiff::{SignedDuration, Timestamp};

use super::{
    duration::{limits, too_short},
    extension,
    facts::{Object, RequestFacts},
    instant::{stamp, whole_seconds},
    person::{self, Account},
    refusal::Refusal,
    settings::Settings,
    windows,
};
use api::{ApprovalPolicySpec, Duration, Reason, RoleEligibilitySpec, Stamp, SubjectKind};

/// Maximum age of a stamp's groups at the start, if a policy does not set it.
const DEFAULT_IDENTITY_AGE: Duration = Duration::from_hours(24);

/// The term of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its start. For an extension, the end of the activation that it extends.
    pub start: Timestamp,
    /// Its end.
    pub deadline: Timestamp,
    /// The start of the first activation of the chain. Equal to `start` if this is not an extension.
    pub began: Timestamp,
}

/// Returns the earliest start of a request in whole seconds: its creation, or the start that it requests.
#[must_use]
pub fn planned(request: &RequestFacts) -> Timestamp {
    let asked = request.object.spec.start_time.map(|at| {
        let whole = whole_seconds(at);
        if whole < at { whole.checked_add(SignedDuration::from_secs(1)).unwrap_or(whole) } else { whole }
    });
    request.object.created.max(asked.unwrap_or(request.object.created))
}

/// Returns the term of a request whose approval was complete at `complete_at`. `base` is the end and the chain's start of what it extends.
///
/// The end is cut at the eligibility's end and, except in an emergency, where the windows of the policy end a grant. A term below the
/// policy's minimum is refused.
pub fn term(
    request: &RequestFacts,
    complete_at: Timestamp,
    wanted: Duration,
    base: Option<extension::Prolonged>,
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
) -> Result<Term, Refusal> {
    let made = planned(request).max(complete_at);
    let (start, began) = base.map_or((made, made), |(end, began)| (end, began));
    let whole = start.checked_add(SignedDuration::from(wanted)).unwrap_or(start);
    let open = if request.object.spec.emergency {
        whole
    } else {
        windows::start(policy, made)?;
        windows::ends_at(&policy.spec.windows, made, whole)
    };
    // The binding has whole seconds. Only an eligibility's end can have fractions.
    let deadline = whole_seconds(eligibility.spec.end_time.map_or(open, |end| open.min(end)));
    let left = deadline.duration_since(start);
    let shortest = limits(&policy.spec).min_duration.unwrap_or(Duration::from_secs(1));
    if left < SignedDuration::from(shortest) {
        let seconds = u32::try_from(left.as_secs().max(0)).unwrap_or(0);
        let Refusal { reason, message } = too_short(Duration::from_secs(seconds), shortest, &policy.name);
        let why = if deadline < whole_seconds(open) {
            format!("eligibility '{}' ends before that", eligibility.name)
        } else {
            format!("the windows of policy '{}' end before that (spec.windows)", policy.name)
        };
        return Err(Refusal::new(reason, format!("{message}; {why}")));
    }
    Ok(Term { start, deadline, began })
}

/// Refuses an activation that lasts too long with its whole chain. Without a limit of the policy the chart's limit applies, so that
/// extensions do not bypass it.
pub fn total(term: &Term, policy: &ApprovalPolicySpec, policy_name: &str, settings: &Settings) -> Result<(), Refusal> {
    let (longest, by) = match limits(policy).max_total_duration {
        Some(longest) if longest <= settings.max_grant => (longest, format!("policy '{policy_name}' (spec.limits.maxTotalDuration)")),
        _ => (settings.max_grant, "the chart's value maxGrant".to_owned()),
    };
    let all = term.deadline.duration_since(term.began);
    if all <= SignedDuration::from(longest) {
        return Ok(());
    }
    let latest = term.began.checked_add(SignedDuration::from(longest)).unwrap_or(term.began);
    Err(Refusal::new(
        Reason::MaxTotalDurationExceeded,
        format!(
            "from {} to {} the activation would last {} with its extensions, at most {longest} is allowed by {by}: it may end at {} at the latest",
            stamp(term.began),
            stamp(term.deadline),
            whole(all),
            stamp(latest),
        ),
    ))
}

fn whole(length: SignedDuration) -> Duration {
    Duration::from_secs(u32::try_from(length.as_secs().max(0)).unwrap_or(u32::MAX))
}

/// Returns the instant from which on the stamp's groups are too old for a start. `None` if they do not matter.
#[must_use]
pub fn identity_lasts(
    requester: &Stamp,
    account: &Account,
    made: Timestamp,
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
) -> Option<Timestamp> {
    let oldest = limits(&policy.spec).max_identity_age.unwrap_or(DEFAULT_IDENTITY_AGE);
    let by_name: Vec<_> = eligibility.spec.subjects.iter().filter(|subject| subject.kind != SubjectKind::Group).cloned().collect();
    if person::is_subject(requester, account, &by_name) {
        return None;
    }
    made.checked_add(SignedDuration::from(oldest) + SignedDuration::from_secs(1)).ok()
}

/// Refuses if the stamp's groups are too old at the start and nothing else makes the requester eligible (T54). A user who has left the
/// group since could otherwise still start by it.
pub fn identity(
    requester: &Stamp,
    account: &Account,
    made: Timestamp,
    start: Timestamp,
    eligibility: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
) -> Result<(), Refusal> {
    let oldest = limits(&policy.spec).max_identity_age.unwrap_or(DEFAULT_IDENTITY_AGE);
    if start.duration_since(made) <= SignedDuration::from(oldest)
        || identity_lasts(requester, account, made, eligibility, policy).is_none_or(|until| start < until)
    {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::IdentityTooOld,
        format!(
            "'{}' is eligible by a group membership observed at {}, and a start at {} or later is more than {oldest} after that, the \
             maximum of policy '{}' (spec.limits.maxIdentityAge); request again closer to the start",
            requester.username,
            stamp(made),
            stamp(start),
            policy.name
        ),
    ))
}
