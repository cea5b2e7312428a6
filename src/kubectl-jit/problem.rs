//! How a command ends: exit codes, and what is said when something goes wrong.

use std::process::ExitCode;

use kube::core::Status;

use api::{Reason, State, names::GROUP, text::printable};
use domain::Refusal;
use kube_io::errors::one_line;

/// What a script can tell from how the plugin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done,
    /// Something failed that is nobody's "no".
    Failed,
    /// The command line cannot be understood, or lacks something.
    Usage,
    /// Somebody said no, or took it away.
    Denied,
    /// What was waited for did not happen in time.
    TimedOut,
    /// Not eligible, or a rule refuses it.
    Refused,
    /// It ended, was taken back or expired before it could be used.
    Over,
    /// How the command of `run` ended.
    Of(u8),
}

impl Exit {
    /// The number of each, in the order in which documentation lists them.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Done, "done"),
        (Self::Failed, "an error: the cluster cannot be reached, or something unexpected"),
        (Self::Usage, "the command line cannot be understood, or lacks something"),
        (Self::Denied, "denied by an approver, or revoked"),
        (Self::TimedOut, "what was waited for did not happen within --timeout"),
        (Self::Refused, "not eligible, or a rule refuses it"),
        (Self::Over, "it ended, was taken back, or nobody decided in time, before it could be used"),
    ];

    /// The code that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::TimedOut => 4,
            Self::Refused => 5,
            Self::Over => 6,
            Self::Of(code) => code,
        }
    }

    /// The worse of two, for commands about several things: what a script must look at first wins.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }

    /// What it means for somebody who wants to use a request that this is where it stands.
    #[must_use]
    pub const fn of_state(state: State, reason: Option<Reason>) -> Self {
        match (state, reason) {
            (State::Active | State::Scheduled | State::Pending | State::AwaitingApproval, _) => Self::Done,
            (State::Revoked, _) | (State::Denied, Some(Reason::DeniedByApprover)) => Self::Denied,
            (State::Denied, _) => Self::Refused,
            (State::Expired | State::Deactivated | State::Withdrawn | State::TimedOut, _) => Self::Over,
            (State::Failed, _) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The command line lacks something, or says two things at once.
    #[error("{0}")]
    Usage(String),
    /// A rule says no; the reason is none where another admission policy said so.
    #[error("{}", refused(*.reason, .message))]
    Refused {
        /// The rule.
        reason: Option<Reason>,
        /// The sentence.
        message: String,
    },
    /// RBAC says no: the person may not even ask.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    Absent(String),
    /// No kubeconfig that can be used.
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(String),
    /// The credential plugin gave no credential.
    #[error("cannot sign in: {0}")]
    SignIn(String),
    /// The API server cannot be reached, or answers with an error.
    #[error("{0}")]
    Api(String),
    /// A file or a process of this machine.
    #[error("{what}: {source}")]
    Here {
        /// What was done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Nothing happened within the time that was given.
    #[error("{0}")]
    TimedOut(String),
    /// The person broke off.
    #[error("broken off")]
    BrokenOff,
}

fn refused(reason: Option<Reason>, message: &str) -> String {
    reason.map_or_else(|| message.to_owned(), |reason| format!("{reason}: {message}"))
}

impl Problem {
    /// How the process ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused { .. } => Exit::Refused,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Forbidden(_)
            | Self::Absent(_)
            | Self::Kubeconfig(_)
            | Self::SignIn(_)
            | Self::Api(_)
            | Self::Here { .. }
            | Self::BrokenOff => Exit::Failed,
        }
    }

    /// The rule that says no, if one does.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => *reason,
            _ => None,
        }
    }

    /// What an answer of the API server comes to; `what` was tried, such as `list requests`.
    #[must_use]
    pub fn of(what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(what, status),
            other => Self::Api(format!("cannot {what}: {}", one_line(other))),
        }
    }

    fn of_status(what: &str, status: &Status) -> Self {
        let message = printable(&status.message);
        // A webhook's sentence stands behind this, and so does an admission policy's.
        let said = message.split_once(" denied the request: ").or_else(|| message.split_once(" denied request: ")).map(|(_, said)| said);
        match (said, status.code) {
            (Some(said), code) if code != 503 => match Refusal::parse(said) {
                Some(Refusal { reason, message }) => Self::Refused { reason: Some(reason), message },
                None => Self::Refused { reason: None, message: said.to_owned() },
            },
            // An API server that speaks TLS, as Go's HTTP server says it.
            (None, 400) if message.contains("HTTP request to an HTTPS server") => Self::Api(format!(
                "cannot {what}: the server speaks TLS, and its address says http, or no scheme at all: write it with https://"
            )),
            // The API server's own words are about a webhook that nobody has heard of.
            _ if message.contains("failed calling webhook") && message.contains(GROUP) => Self::Api(format!(
                "cannot {what}: jit-rbac does not answer, and nothing is decided until it does; 'kubectl jit check' shows what is broken ({message})"
            )),
            (_, 401) => Self::Api(format!("cannot {what}: the API server does not know you (401): sign in again")),
            (None, 403) if message.contains("jitrbac.dev") => {
                Self::Forbidden(format!("cannot {what}: {message}; 'kubectl jit check' says which rights are missing"))
            }
            (None, 403) => Self::Forbidden(format!("cannot {what}: {message}")),
            (None, 404) => Self::Absent(format!("cannot {what}: {message}")),
            // The schema says which field it is.
            (None, 422) => Self::Refused { reason: None, message: field_errors(status).unwrap_or(message) },
            _ => Self::Api(format!("cannot {what}: {message} ({})", status.code)),
        }
    }
}

/// What the schema says of the fields, without the object around it.
fn field_errors(status: &Status) -> Option<String> {
    let causes = &status.details.as_ref()?.causes;
    let said: Vec<String> = causes.iter().map(|cause| printable(&format!("{}: {}", cause.field, cause.message))).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

impl From<Refusal> for Problem {
    fn from(Refusal { reason, message }: Refusal) -> Self {
        Self::Refused { reason: Some(reason), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, message: &str) -> Problem {
        Problem::of("create the request", &kube::Error::Api(Box::new(Status::failure(message, "x").with_code(code))))
    }

    #[test]
    fn a_refusal_is_told_without_what_stands_around_it() {
        let said =
            answer(403, "admission webhook \"activations.jitrbac.dev\" denied the request: DurationTooLong: duration 2h was asked for");
        assert_eq!(said.reason(), Some(Reason::DurationTooLong));
        assert_eq!(said.to_string(), "DurationTooLong: duration 2h was asked for");
        assert_eq!(said.exit(), Exit::Refused);
        let said =
            answer(422, "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: nobody approves his own request");
        assert_eq!((said.to_string().as_str(), said.exit()), ("nobody approves his own request", Exit::Refused));
        let down = answer(500, "Internal error occurred: failed calling webhook \"activations.jitrbac.dev\": context deadline exceeded");
        assert!(
            down.to_string().contains("jit-rbac does not answer, and nothing is decided until it does; 'kubectl jit check' shows"),
            "{down}"
        );
        assert_eq!(answer(403, "rar is forbidden: User \"x\" cannot create").exit(), Exit::Failed);
        assert_eq!(answer(503, "admission webhook \"x\" denied the request: Unreadable: try again").exit(), Exit::Failed);
    }

    #[test]
    fn every_state_has_an_exit() {
        assert_eq!(Exit::of_state(State::Denied, Some(Reason::DeniedByApprover)), Exit::Denied);
        assert_eq!(Exit::of_state(State::Denied, Some(Reason::NotEligible)), Exit::Refused);
        assert_eq!(Exit::of_state(State::TimedOut, Some(Reason::ApprovalTimedOut)), Exit::Over);
        assert_eq!(Exit::of_state(State::Active, Some(Reason::Granted)), Exit::Done);
        for (position, (exit, _)) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), position);
        }
    }
}
