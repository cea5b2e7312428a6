//! The kinds of events, with their names.

use api::State;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A user requested an activation.
    Requested,
    /// A stage of the approval opened: its approvers are asked.
    WaitingForApproval,
    /// An approver approved.
    Approved,
    /// The request is approved, and its start is in the future.
    Scheduled,
    /// The RoleBinding was created.
    Granted,
    /// The role of an active grant allows something else than before.
    RoleChanged,
    /// The grant reached its end.
    Expired,
    /// The requester gave the grant back.
    Deactivated,
    /// The grant was ended early.
    Revoked,
    /// The request was denied.
    Denied,
    /// The request was not approved in time.
    TimedOut,
    /// The requester withdrew the request.
    Withdrawn,
    /// The request ended by an error.
    Failed,
    /// An emergency activation was not reviewed in time.
    ReviewOverdue,
    /// An emergency activation was reviewed.
    Reviewed,
    /// An eligibility or a policy was created.
    Created,
    /// The spec of an eligibility or a policy was changed.
    Changed,
    /// An eligibility was suspended.
    Suspended,
    /// An eligibility is no longer suspended.
    Resumed,
    /// The time of an eligibility ended.
    Ended,
    /// The guards are verified again, and new grants are possible.
    GuardsVerified,
    /// A guard is not verified: nothing is granted.
    GuardsLost,
}

/// The names of a kind: in timelines and in the type of the `CloudEvent`.
const NAMES: [(Kind, &str, &str); 22] = [
    (Kind::Requested, "Requested", "requested"),
    (Kind::WaitingForApproval, "WaitingForApproval", "waiting"),
    (Kind::Approved, "Approved", "approved"),
    (Kind::Scheduled, "Scheduled", "scheduled"),
    (Kind::Granted, "Granted", "granted"),
    (Kind::RoleChanged, "RoleChanged", "rolechanged"),
    (Kind::Expired, "Expired", "expired"),
    (Kind::Deactivated, "Deactivated", "deactivated"),
    (Kind::Revoked, "Revoked", "revoked"),
    (Kind::Denied, "Denied", "denied"),
    (Kind::TimedOut, "TimedOut", "timedout"),
    (Kind::Withdrawn, "Withdrawn", "withdrawn"),
    (Kind::Failed, "Failed", "failed"),
    (Kind::ReviewOverdue, "ReviewOverdue", "overdue"),
    (Kind::Reviewed, "Reviewed", "reviewed"),
    (Kind::Created, "Created", "created"),
    (Kind::Changed, "Changed", "changed"),
    (Kind::Suspended, "Suspended", "suspended"),
    (Kind::Resumed, "Resumed", "resumed"),
    (Kind::Ended, "Ended", "ended"),
    (Kind::GuardsVerified, "GuardsVerified", "verified"),
    (Kind::GuardsLost, "GuardsLost", "lost"),
];

impl Kind {
    /// Returns every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(kind, ..)| *kind)
    }

    fn names(self) -> (&'static str, &'static str) {
        NAMES.iter().find(|(kind, ..)| *kind == self).map_or(("", ""), |(_, word, verb)| (word, verb))
    }

    /// Returns the word in timelines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.names().0
    }

    /// Returns the verb in the type of the `CloudEvent`.
    #[must_use]
    pub fn verb(self) -> &'static str {
        self.names().1
    }

    /// Returns the kind with this word in timelines.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known, _)| *known == word).map(|(kind, ..)| *kind)
    }

    /// Returns the kind of a final state. None for a state that is not final.
    #[must_use]
    pub const fn of_end(state: State) -> Option<Self> {
        match state {
            State::Expired => Some(Self::Expired),
            State::Deactivated => Some(Self::Deactivated),
            State::Revoked => Some(Self::Revoked),
            State::Denied => Some(Self::Denied),
            State::TimedOut => Some(Self::TimedOut),
            State::Withdrawn => Some(Self::Withdrawn),
            State::Failed => Some(Self::Failed),
            State::Pending | State::AwaitingApproval | State::Scheduled | State::Active => None,
        }
    }

    /// Returns true for what ends a request.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Expired | Self::Deactivated | Self::Revoked | Self::Denied | Self::TimedOut | Self::Withdrawn | Self::Failed)
    }
}
