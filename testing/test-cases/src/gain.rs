//! What a decision gains for a request (invariant 10).

use api::{ActivationDecisionSpec, Reason};
use domain::{
    BindingAction, Object,
    approval::{self, Counted},
};
use jiff::{SignedDuration, Timestamp};

use crate::TestCase;

impl TestCase {
    /// Start and duration of the access that would be granted.
    pub fn gain(&self) -> Option<(Timestamp, SignedDuration)> {
        let verdict = self.decide();
        (verdict.binding == BindingAction::Create).then_some(())?;
        verdict.grant.map(|grant| (grant.start, grant.deadline.duration_since(grant.start)))
    }

    /// Describes a new, earlier or longer grant in `after`, which has further decisions. None if there is none.
    ///
    /// One later grant is no gain. Approvals that were complete, for a grant whose time has passed, end the request. A further identity can
    /// join two of the approvers into one person. Then another approver completes the approval, and only later.
    pub fn gained(&self, after: &Self) -> Option<String> {
        let (start, length) = after.gain()?;
        let was = self.gain();
        if was.is_some_and(|(earlier, longer)| earlier <= start && length <= longer) {
            return None;
        }
        let (before, verdict) = (self.decide(), after.decide());
        let last = |counted: &[Counted]| counted.iter().map(|counted| counted.at).max();
        let is_lost =
            |counted: &Counted| !verdict.counted.iter().any(|other| (&other.approver, other.at) == (&counted.approver, counted.at));
        let completes_later = before.reason == Reason::DeadlineExceeded
            && before.counted.iter().any(is_lost)
            && last(&verdict.counted) > last(&before.counted)
            && Some(start) > last(&before.counted);
        (!completes_later).then(|| format!("{start} for {length} instead of {was:?} by {:?}", after.snapshot.decisions.last()))
    }

    /// Returns true if a decision that admission denies for this reason counts once it is stored all the same: in its own stage, for no more
    /// than was requested, or in an earlier stage, because the groups of an approver have changed. Then it replaces their approval.
    pub fn counts_if_stored(&self, decision: &Object<ActivationDecisionSpec>, reason: Reason) -> bool {
        match reason {
            Reason::StageNotOpen | Reason::DurationTooLong => true,
            Reason::AlreadyApproved => {
                let (Some(policy), Some(who)) = (self.snapshot.policy.found(), &decision.spec.decider) else { return false };
                let stage = approval::stage_of(&policy.spec.approval.stages, who);
                let is_later = |counted: &Counted| stage.is_some_and(|stage| stage < counted.stage);
                self.decide().counted.iter().any(|counted| is_later(counted) && self.settings.identities.alike(&counted.approver, who))
            }
            _ => false,
        }
    }
}
