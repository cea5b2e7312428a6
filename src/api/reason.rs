//! Every reason that an object or a refusal can carry, in one CamelCase word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why something is as it is: the `reason` of conditions, Events and refusals. The words are stable: scripts and alerts may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word as it is stored and printed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The page of `docs/refusals` about it, in Markdown: what it means, when it appears, what to do.
            #[must_use]
            pub const fn page(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/refusals/", stringify!($name), ".md")),)*
                }
            }
        }
    };
}

reasons! {
    // Where a request stands.
    /// Waits for people.
    WaitingForApproval,
    /// Approved; the start lies ahead.
    StartScheduled,
    /// The binding exists.
    Granted,
    /// The deadline has passed.
    Expired,
    /// The requester ended his grant.
    DeactivatedByRequester,
    /// The requester took his request back before it was granted.
    WithdrawnByRequester,
    /// An approver said no.
    DeniedByApprover,
    /// An approver or revoker ended it.
    RevokedByUser,
    /// Nobody decided in time.
    ApprovalTimedOut,
    /// A grant would come after its own deadline.
    DeadlineExceeded,

    // Who asks.
    /// The request has no stamp of its requester that can be trusted.
    UserInfoMissing,
    /// A user of Kubernetes itself, or nobody, asks.
    SystemUserNotAllowed,
    /// The eligibility does not allow `ServiceAccounts`, or not without approval.
    ServiceAccountNotAllowed,
    /// The requester is none of the eligibility's subjects.
    NotEligible,

    // What is asked for.
    /// There is no such eligibility.
    EligibilityNotFound,
    /// The eligibility cannot be used as it is written.
    EligibilityNotReady,
    /// The eligibility's `startTime` lies ahead.
    EligibilityNotStarted,
    /// The eligibility's `endTime` has passed.
    EligibilityExpired,
    /// The eligibility is suspended.
    EligibilitySuspended,
    /// The eligibility does not cover the namespace.
    NamespaceNotCovered,
    /// The namespace is the operator's own or the cluster's.
    NamespaceProtected,
    /// The namespace is going, gone or another one than before.
    NamespaceTerminating,
    /// The eligibility's policy does not exist.
    PolicyNotFound,
    /// The policy cannot be used as it is written.
    PolicyNotReady,
    /// The role does not exist.
    RoleNotFound,
    /// The chart's `bindableRoles` does not list the role.
    RoleNotBindable,
    /// The role's rules are too long to be read.
    RoleTooLarge,
    /// An object could not be read as what it should be.
    Unreadable,

    // What a request must bring.
    /// Longer than the eligibility or the policy allows.
    DurationTooLong,
    /// Shorter than the policy allows.
    DurationTooShort,
    /// No justification, though the policy asks for one.
    JustificationMissing,
    /// The justification is shorter than the policy asks for.
    JustificationTooShort,
    /// The justification does not match the policy's pattern.
    JustificationMismatch,
    /// The same person has another live request for the same eligibility and namespace.
    AlreadyRequested,
    /// A field's value cannot be used.
    InvalidField,
    /// The object has more labels, annotations or bytes than are of use.
    ObjectTooLarge,

    // Evidence and hours.
    /// No ticket, though the policy asks for one.
    TicketMissing,
    /// The ticket is not of the system or of the form that the policy asks for.
    TicketMismatch,
    /// The sign-in shows nothing of what the policy asks for.
    EvidenceMissing,
    /// The sign-in shows something else than the policy asks for.
    EvidenceMismatch,
    /// The time of the sign-in cannot be told.
    EvidenceUnreadable,
    /// The sign-in is older than the policy allows.
    EvidenceTooOld,
    /// The start lies outside the policy's hours.
    OutsideWindow,
    /// The role has a risk that the eligibility's author has not accepted.
    RiskNotAccepted,

    // Limits, starts, extensions, emergencies.
    /// The person has as many activations under the policy as it allows.
    TooManyActive,
    /// The person has as many undecided requests under the policy as it allows.
    TooManyPending,
    /// The pause after an earlier grant is not over.
    CooldownActive,
    /// The start lies further ahead than the policy allows.
    StartTooFarAhead,
    /// The groups in the stamp are older at the start than the policy allows.
    IdentityTooOld,
    /// What is to be prolonged does not run, or is somebody else's.
    ExtendedRequestNotActive,
    /// An activation would last too long with its extensions.
    MaxTotalDurationExceeded,
    /// The policy allows no emergency.
    EmergencyNotAllowed,
    /// An earlier emergency was not reviewed in time.
    ReviewOverdue,

    // Guards.
    /// A guard is not proven to be in force: nothing is granted meanwhile.
    GuardsNotVerified,
    /// All guards are proven to be in force again.
    GuardsVerified,
    /// The operator's clock differs from the API server's: nothing is granted meanwhile.
    ClockSkewed,
    /// It was written while the guards were not proven to be in force.
    WrittenUnguarded,

    // What a decision must be.
    /// There is no such request.
    RequestNotFound,
    /// The decision names another request than the one that has this name now.
    RequestMismatch,
    /// Nobody decides on his own request.
    SelfApprovalNotAllowed,
    /// The decider is no approver.
    NotAnApprover,
    /// The decider is neither approver nor revoker.
    NotARevoker,
    /// Only the requester can give access back.
    NotTheRequester,
    /// He has approved already.
    AlreadyApproved,
    /// An earlier stage is not complete.
    StageNotOpen,
    /// The request is decided, or the decision would change nothing.
    RequestCompleted,
    /// The request has more decisions than can be of use.
    TooManyDecisions,
    /// The request cannot be approved as it stands.
    RequestNotReady,
    /// The request is not what the approver saw.
    DigestStale,
    /// The policy asks for a comment.
    CommentMissing,
    /// The decider is no reviewer.
    NotAReviewer,
    /// There is no emergency to be reviewed.
    NoReviewPending,

    // What ends a grant.
    /// The eligibility was removed.
    EligibilityRemoved,
    /// The policy was removed.
    PolicyRemoved,
    /// The role was removed.
    RoleRemoved,
    /// The eligibility names another role now.
    RoleNotCovered,
    /// Eligibility or policy no longer allow a grant that long.
    DurationNoLongerAllowed,
    /// The rules of the role changed while it was active.
    RoleChanged,
    /// The activation that it prolongs, or is prolonged by, ended before its time.
    ExtendedRequestEnded,
    /// Somebody removed the binding.
    BindingRemoved,
    /// Somebody changed the binding.
    BindingModified,

    // What fails.
    /// A binding of that name exists already and is another one.
    BindingConflict,
    /// The API server refused the binding.
    BindingRefused,

    // Eligibilities and policies.
    /// It can be used.
    Valid,
    /// The policy asks for an `endTime`.
    EndRequired,
    /// It lasts longer than the policy allows.
    EligibilityTooLong,
    /// Longer than the chart's `maxGrant`.
    AboveMaxGrant,
    /// A name that belongs to Kubernetes itself.
    SystemNameNotAllowed,
    /// A stage asks for more people than it lists.
    QuorumImpossible,
    /// The policy asks why these people are eligible.
    ReasonRequired,
    /// The author may not bind the role himself.
    AuthorLacksBind,
    /// Every key in which the policy looks for evidence has been seen.
    EvidenceObserved,
    /// A key in which the policy looks for evidence was never seen on any request.
    EvidenceNotObserved,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn the_word_is_what_is_stored() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
