//! The reasons of conditions, Events and refusals, each one word in CamelCase.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reasons::{self, Explanation};

macro_rules! reasons {
    ($($group:literal in $module:ident { $(#[doc = $summary:literal] $name:ident,)* })*) => {
        /// The `reason` of a condition, an Event or a refusal. Reasons are stable: scripts and alerts may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason { $($(#[doc = $summary] $name,)*)* }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];

            /// The groups of reasons, with their titles in the index.
            pub const GROUPS: &'static [(&'static str, &'static [Self])] = &[$(($group, &[$(Self::$name,)*]),)*];

            /// Returns the stored and printed value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }

            /// Returns the meaning in one line of Markdown without a full stop.
            #[must_use]
            pub fn summary(self) -> &'static str {
                let text = match self { $($(Self::$name => $summary,)*)* };
                text.trim().trim_end_matches('.')
            }

            /// Returns the parts of the page.
            pub(crate) const fn explanation(self) -> Explanation {
                match self { $($(Self::$name => reasons::$module::$name,)*)* }
            }
        }
    };
}

// The comment of a reason is also its line in the index of `docs/refusals`. The other parts of its page are in `reasons`, in the module that
// is named after the title of the group.
reasons! {
    "The state of a request" in state {
        /// The request waits for approvers.
        WaitingForApproval,
        /// The request is approved and starts later.
        StartScheduled,
        /// The RoleBinding exists.
        Granted,
        /// The grant reached its end.
        Expired,
        /// The requester deactivated the grant.
        DeactivatedByRequester,
        /// The requester withdrew the request before it was granted.
        WithdrawnByRequester,
        /// An approver or revoker denied the request.
        DeniedByApprover,
        /// An approver or revoker ended an active or scheduled grant.
        RevokedByUser,
        /// Too few approvers approved in time.
        ApprovalTimedOut,
        /// The end of the grant passed before it was created.
        DeadlineExceeded,
    }

    "The requester" in requester {
        /// The object does not record who wrote it.
        UserInfoMissing,
        /// The user belongs to Kubernetes itself, or is anonymous.
        SystemUserNotAllowed,
        /// The eligibility is for people, or a ServiceAccount would need no approver.
        ServiceAccountNotAllowed,
        /// The eligibility does not name the requester.
        NotEligible,
    }

    "The eligibility, the namespace and the role" in eligibility {
        /// The eligibility does not exist.
        EligibilityNotFound,
        /// The eligibility cannot be used as it is written.
        EligibilityNotReady,
        /// The eligibility starts later.
        EligibilityNotStarted,
        /// The eligibility has ended.
        EligibilityExpired,
        /// An admin has suspended the eligibility.
        EligibilitySuspended,
        /// The eligibility does not cover the namespace.
        NamespaceNotCovered,
        /// No role can be activated in the namespace: it is the operator's or the cluster's own.
        NamespaceProtected,
        /// The namespace is being deleted, or was recreated.
        NamespaceTerminating,
        /// The policy of the eligibility does not exist.
        PolicyNotFound,
        /// The policy cannot be used as it is written.
        PolicyNotReady,
        /// The role does not exist.
        RoleNotFound,
        /// The operator may not grant the role: the chart's `bindableRoles` does not list it.
        RoleNotBindable,
        /// The rules of the role are longer than the operator reads.
        RoleTooLarge,
        /// An object could not be read or parsed.
        Unreadable,
    }

    "The fields of a request" in fields {
        /// The duration is longer than allowed.
        DurationTooLong,
        /// The duration is shorter than allowed.
        DurationTooShort,
        /// The policy requires a justification, and the request has none.
        JustificationMissing,
        /// The justification is shorter than the policy requires.
        JustificationTooShort,
        /// The justification does not match the policy's pattern.
        JustificationMismatch,
        /// The requester has another active or pending request for the same eligibility and namespace.
        AlreadyRequested,
        /// The value of a field cannot be used.
        InvalidField,
        /// The object has too many labels, annotations or bytes.
        ObjectTooLarge,
    }

    "Evidence, tickets, hours and risks" in evidence {
        /// The policy requires a ticket, and the request names none.
        TicketMissing,
        /// The ticket does not have the system or the form that the policy requires.
        TicketMismatch,
        /// The sign-in does not show what the policy requires.
        EvidenceMissing,
        /// The sign-in shows something other than the policy requires.
        EvidenceMismatch,
        /// The time of the sign-in cannot be read.
        EvidenceUnreadable,
        /// The sign-in is older than the policy allows.
        EvidenceTooOld,
        /// The start lies outside the policy's hours.
        OutsideWindow,
        /// The role has a risk that the eligibility does not accept.
        RiskNotAccepted,
    }

    "Limits, starts, extensions, emergencies" in limits {
        /// The requester has as many activations as the policy allows.
        TooManyActive,
        /// The requester has as many pending requests as the policy allows.
        TooManyPending,
        /// The cooldown after the previous grant has not passed.
        CooldownActive,
        /// The start is further ahead than the policy allows.
        StartTooFarAhead,
        /// At the start, the recorded groups are older than the policy allows.
        IdentityTooOld,
        /// The request to extend is not active, or belongs to another user.
        ExtendedRequestNotActive,
        /// With its extensions, the activation would last longer than the policy allows.
        MaxTotalDurationExceeded,
        /// The policy allows no emergency.
        EmergencyNotAllowed,
        /// An earlier emergency of the requester was not reviewed in time.
        ReviewOverdue,
    }

    "Admission guards" in guards {
        /// New grants are paused: an admission guard could not be verified.
        GuardsNotVerified,
        /// All admission guards are verified again.
        GuardsVerified,
        /// New grants are paused: the clocks of the operator and the API server differ.
        ClockSkewed,
        /// New grants are paused: the audit log does not keep up.
        RecordUnavailable,
        /// The object was written while an admission guard was not verified.
        WrittenUnguarded,
    }

    "Decisions" in decisions {
        /// The request does not exist.
        RequestNotFound,
        /// A newer request has the name that the decision refers to.
        RequestMismatch,
        /// The requester cannot decide on their own request.
        SelfApprovalNotAllowed,
        /// The user is not among the approvers.
        NotAnApprover,
        /// The user is neither an approver nor a revoker.
        NotARevoker,
        /// Only the requester can deactivate.
        NotTheRequester,
        /// The approver has already approved the request.
        AlreadyApproved,
        /// The stage of the approver is not open.
        StageNotOpen,
        /// The request is decided, or the decision would have no effect.
        RequestCompleted,
        /// The request has as many decisions as are allowed.
        TooManyDecisions,
        /// The request cannot be approved as it stands.
        RequestNotReady,
        /// The request is no longer what the approver saw.
        DigestStale,
        /// The policy requires a comment.
        CommentMissing,
        /// The user is not among the reviewers.
        NotAReviewer,
        /// There is no emergency to review.
        NoReviewPending,
    }

    "What ends a grant early" in endings {
        /// The eligibility was deleted.
        EligibilityRemoved,
        /// The policy was deleted.
        PolicyRemoved,
        /// The role was deleted.
        RoleRemoved,
        /// The eligibility is for another role now.
        RoleNotCovered,
        /// The eligibility or the policy no longer allows a grant that long.
        DurationNoLongerAllowed,
        /// The rules of the role changed during the grant.
        RoleChanged,
        /// The request that it extends, or its extension, ended early.
        ExtendedRequestEnded,
        /// The RoleBinding was deleted, but not by the operator.
        BindingRemoved,
        /// The RoleBinding was changed, but not by the operator.
        BindingModified,
        /// jit-rbac was uninstalled.
        Uninstalled,
    }

    "Failures" in failures {
        /// Another RoleBinding has the name of the grant.
        BindingConflict,
        /// The API server refused the RoleBinding.
        BindingRefused,
    }

    "Eligibilities and policies" in configuration {
        /// The object can be used.
        Valid,
        /// The policy requires an `endTime`.
        EndRequired,
        /// The eligibility lasts longer than the policy allows.
        EligibilityTooLong,
        /// The value is above the chart's `maxGrant`.
        AboveMaxGrant,
        /// The name belongs to Kubernetes itself.
        SystemNameNotAllowed,
        /// A stage requires more approvers than it lists.
        QuorumImpossible,
        /// The policy requires a justification of the eligibility.
        ReasonRequired,
        /// The author may not bind the role.
        AuthorLacksBind,
        /// Requests have carried every key of evidence that the policy requires.
        EvidenceObserved,
        /// No request has carried a key of evidence that the policy requires.
        EvidenceNotObserved,
    }
}

impl Reason {
    /// Returns its page in `docs/refusals` as Markdown: meaning, occurrence, examples, and what to do.
    #[must_use]
    pub fn page(self) -> String {
        reasons::page(self.as_str(), self.explanation())
    }

    /// Returns the index of all pages, `README.md` in `docs/refusals`.
    #[must_use]
    pub fn index() -> String {
        let lines = |reasons: &'static [Self]| reasons.iter().map(|reason| (reason.as_str(), reason.summary()));
        reasons::index(Self::GROUPS.iter().map(|(title, reasons)| (*title, lines(reasons))))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Explanation, Reason};

    #[test]
    fn every_part_of_every_page_says_something() {
        for reason in Reason::ALL {
            let Explanation { meaning, when, examples, requester, admin } = reason.explanation();
            for text in [reason.summary(), meaning, when, requester, admin] {
                assert!(!text.trim().is_empty() && text.trim() == text, "{reason}: {text:?}");
            }
            assert!(!examples.is_empty(), "{reason}");
        }
    }

    #[test]
    fn the_word_is_what_is_stored() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
