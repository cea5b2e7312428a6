//! Exit codes and errors of commands.

use std::process::ExitCode;

use kube::core::Status;

use api::{Reason, State, names::GROUP, text::printable};
use domain::Refusal;
use kube_io::errors::one_line;

/// The exit codes, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done,
    /// A failure that is not a denial.
    Failed,
    /// An invalid command line, or a required value is missing.
    Usage,
    /// Denied by an approver, or revoked.
    Denied,
    /// The expected state was not reached in time.
    TimedOut,
    /// Not eligible, or denied by a rule.
    Refused,
    /// Expired, withdrawn or timed out before it could be used.
    Over,
    /// The exit code of the command of `run`.
    Of(u8),
}

impl Exit {
    /// All exit codes with their meaning, in the order of the documentation.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Done, "done"),
        (Self::Failed, "an error: the cluster cannot be reached, or an unexpected failure"),
        (Self::Usage, "invalid command line, or a required value is missing"),
        (Self::Denied, "denied by an approver, or revoked"),
        (Self::TimedOut, "the expected state was not reached within --timeout"),
        (Self::Refused, "not eligible, or denied by a rule"),
        (Self::Over, "the request expired, was withdrawn or timed out before it could be used"),
    ];

    /// The exit code of the process.
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

    /// Combines the codes of a command about several objects: the first failure wins.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }

    /// The exit code for a requester who wants to use a request in this state.
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

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The command line is incomplete or contradictory.
    #[error("{0}")]
    Usage(String),
    /// Denied by a rule. There is no reason if another admission policy denied it.
    #[error("{}", refused(*.reason, .message))]
    Refused {
        /// The reason.
        reason: Option<Reason>,
        /// The message.
        message: String,
    },
    /// Denied by RBAC.
    #[error("{0}")]
    Forbidden(String),
    /// The object does not exist.
    #[error("{0}")]
    Absent(String),
    /// There is no usable kubeconfig.
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(String),
    /// The credential plugin returned no credential.
    #[error("cannot sign in: {0}")]
    SignIn(String),
    /// The API server cannot be reached, or it returned an error.
    #[error("{0}")]
    Api(String),
    /// A failure of a local file or process.
    #[error("{what}: {source}")]
    Here {
        /// The failed operation.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The timeout was reached.
    #[error("{0}")]
    TimedOut(String),
    /// The user cancelled the command.
    #[error("cancelled")]
    Cancelled,
}

fn refused(reason: Option<Reason>, message: &str) -> String {
    reason.map_or_else(|| message.to_owned(), |reason| format!("{reason}: {message}"))
}

impl Problem {
    /// The exit code of the error.
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
            | Self::Cancelled => Exit::Failed,
        }
    }

    /// The reason of a denial.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => *reason,
            _ => None,
        }
    }

    /// Converts an error of the API server. `what` is the attempted operation, for example `list requests`.
    #[must_use]
    pub fn of(what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(what, status),
            other => Self::Api(format!("cannot {what}: {}", one_line(other))),
        }
    }

    fn of_status(what: &str, status: &Status) -> Self {
        let message = printable(&status.message);
        // The message of a webhook or an admission policy follows these words.
        let said = message.split_once(" denied the request: ").or_else(|| message.split_once(" denied request: ")).map(|(_, said)| said);
        match (said, status.code) {
            (Some(said), code) if code != 503 => match Refusal::parse(said) {
                Some(Refusal { reason, message }) => Self::Refused { reason: Some(reason), message },
                None => Self::Refused { reason: None, message: said.to_owned() },
            },
            // Go's HTTP server returns this for a plain HTTP request to a TLS port.
            (None, 400) if message.contains("HTTP request to an HTTPS server") => {
                Self::Api(format!("cannot {what}: the server requires TLS, but its address has the scheme http or none: use https://"))
            }
            // The API server's message is about a webhook that users do not know.
            _ if message.contains("failed calling webhook") && message.contains(GROUP) => Self::Api(format!(
                "cannot {what}: jit-rbac's webhook does not answer, and nothing can be decided until it does; 'kubectl jit check' shows what is broken ({message})"
            )),
            (_, 401) => Self::Api(format!("cannot {what}: the API server rejected your credentials (401): sign in again")),
            (None, 403) if message.contains("jitrbac.dev") => {
                Self::Forbidden(format!("cannot {what}: {message}; 'kubectl jit check' shows which permissions are missing"))
            }
            (None, 403) => Self::Forbidden(format!("cannot {what}: {message}")),
            (None, 404) => Self::Absent(format!("cannot {what}: {message}")),
            // The schema error has the field.
            (None, 422) => Self::Refused { reason: None, message: field_errors(status).unwrap_or(message) },
            _ => Self::Api(format!("cannot {what}: {message} ({})", status.code)),
        }
    }
}

/// The schema errors of the fields, without the name of the object.
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
            answer(403, "admission webhook \"activations.jitrbac.dev\" denied the request: DurationTooLong: duration 2h was requested");
        assert_eq!(said.reason(), Some(Reason::DurationTooLong));
        assert_eq!(said.to_string(), "DurationTooLong: duration 2h was requested");
        assert_eq!(said.exit(), Exit::Refused);
        let said = answer(
            422,
            "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: you cannot approve your own request",
        );
        assert_eq!((said.to_string().as_str(), said.exit()), ("you cannot approve your own request", Exit::Refused));
        let down = answer(500, "Internal error occurred: failed calling webhook \"activations.jitrbac.dev\": context deadline exceeded");
        assert!(
            down.to_string()
                .contains("jit-rbac's webhook does not answer, and nothing can be decided until it does; 'kubectl jit check' shows"),
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
