//! How long the record of a completed request is kept, with the decisions on it (`retention` of its policy, api rule 15).
//!
//! A missing or unclear value keeps the record, since a removal cannot be undone.

use jiff::{SignedDuration, Timestamp};

use super::duration::limits;
use api::{ApprovalPolicySpec, Duration, State};

/// The facts of a request that retention depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts, each of which keeps the record")]
pub struct Past {
    /// Reported state.
    pub state: Option<State>,
    /// Reported end.
    pub ended_at: Option<Timestamp>,
    /// True if it was ever granted.
    pub granted: bool,
    /// True while the review of an emergency is owed on it: an overdue review denies its requester the next emergency.
    pub review_owed: bool,
    /// True while an active or pending request extends it, over any number of steps. The extension depends on its base, and an auditor of
    /// the extension finds the whole chain.
    pub prolonged: bool,
    /// True while its transitions are not in the audit log, where there is one: the log is then what auditors read.
    pub unrecorded: bool,
}

/// How long a record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Until this instant, from which on it may be removed.
    Until(Timestamp),
    /// Until something else ends.
    Meanwhile,
    /// Until it is in the audit log.
    UntilRecorded,
    /// Without limit at present: no policy sets one.
    ForEver,
}

/// Returns how long the record of a request is kept under `policy`. Without eligibility or policy there is no limit.
#[must_use]
pub fn kept(past: Past, policy: Option<&ApprovalPolicySpec>) -> Kept {
    let (Some(ended), true) = (past.ended_at, past.state.is_some_and(State::is_terminal)) else { return Kept::Meanwhile };
    if past.review_owed || past.prolonged {
        return Kept::Meanwhile;
    }
    if past.unrecorded {
        return Kept::UntilRecorded;
    }
    let Some((policy, retention)) = policy.and_then(|policy| Some((policy, retention(policy)?))) else { return Kept::ForEver };
    // The cooldown of the same person's next request begins at the end of this one.
    let cooldown = if past.granted { limits(policy).cooldown.unwrap_or_default() } else { Duration::default() };
    let seconds = retention.as_secs().max(cooldown.as_secs());
    ended.checked_add(SignedDuration::from_secs(i64::from(seconds))).map_or(Kept::ForEver, Kept::Until)
}

/// Returns the policy's retention, if it has one.
#[must_use]
pub fn retention(policy: &ApprovalPolicySpec) -> Option<Duration> {
    policy.retention.filter(|retention| !retention.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::policy::Limits;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn policy(retention: Option<u32>, cooldown: u32) -> ApprovalPolicySpec {
        ApprovalPolicySpec {
            retention: retention.map(Duration::from_secs),
            limits: Some(Limits { cooldown: Some(Duration::from_secs(cooldown)), ..Limits::default() }),
            ..ApprovalPolicySpec::default()
        }
    }

    fn past(state: State) -> Past {
        Past { state: Some(state), ended_at: Some(at(0)), granted: true, review_owed: false, prolonged: false, unrecorded: false }
    }

    #[test]
    fn a_record_is_kept_so_long_after_its_end_and_no_longer() {
        let expired = past(State::Expired);
        for (retention, cooldown, granted, expected) in [
            (Some(1), 0, true, Kept::Until(at(1))),
            (Some(60), 59, true, Kept::Until(at(60))),
            (Some(60), 61, true, Kept::Until(at(61))),
            (Some(60), 61, false, Kept::Until(at(60))),
            (Some(u32::MAX), 0, true, Kept::Until(at(i64::from(api::duration::LONGEST.as_secs())))),
            (Some(0), 60, true, Kept::ForEver),
            (None, 60, true, Kept::ForEver),
        ] {
            let found = kept(Past { granted, ..expired }, Some(&policy(retention, cooldown)));
            assert_eq!(found, expected, "{retention:?} {cooldown} {granted}");
        }
        let without_limits = ApprovalPolicySpec { retention: Some(Duration::from_secs(60)), ..ApprovalPolicySpec::default() };
        assert_eq!(kept(expired, Some(&without_limits)), Kept::Until(at(60)));
        assert_eq!(kept(Past { ended_at: Some(Timestamp::MAX), ..expired }, Some(&policy(Some(1), 0))), Kept::ForEver);
    }

    #[test]
    fn nobody_says_how_long_without_a_policy() {
        assert_eq!(kept(past(State::Expired), None), Kept::ForEver);
    }

    #[test]
    fn every_state_that_is_an_end_may_go_and_no_other() {
        for state in State::ALL.iter().copied() {
            let expected = if state.is_terminal() { Kept::Until(at(60)) } else { Kept::Meanwhile };
            assert_eq!(kept(past(state), Some(&policy(Some(60), 0))), expected, "{state}");
        }
        for unclear in [Past { state: None, ..past(State::Expired) }, Past { ended_at: None, ..past(State::Expired) }] {
            assert_eq!(kept(unclear, Some(&policy(Some(60), 0))), Kept::Meanwhile);
        }
    }

    #[test]
    fn t91_what_is_not_in_the_audit_log_stays_whatever_its_retention() {
        for policy in [Some(policy(Some(1), 0)), Some(policy(None, 0)), None] {
            assert_eq!(kept(Past { unrecorded: true, ..past(State::Expired) }, policy.as_ref()), Kept::UntilRecorded);
        }
        assert_eq!(kept(Past { unrecorded: true, ..past(State::Active) }, None), Kept::Meanwhile);
    }

    #[test]
    fn what_others_rest_on_stays() {
        for needed in [Past { review_owed: true, ..past(State::Expired) }, Past { prolonged: true, ..past(State::Revoked) }] {
            assert_eq!(kept(needed, Some(&policy(Some(1), 0))), Kept::Meanwhile);
            assert_eq!(kept(needed, None), Kept::Meanwhile);
        }
    }
}
