use std::path::{Path, PathBuf};
use std::time::Duration;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The errors of the control plane. Every message is one line; only the end of a log follows on further lines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A required program is missing.
    #[error("`{tool}` is not installed: {install}")]
    Missing {
        /// The program.
        tool: String,
        /// What the user can do about it.
        install: &'static str,
    },
    /// An operation on a file or a process failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A command failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command as a user would type it.
        command: String,
        /// Its output, or its exit status.
        output: String,
    },
    /// A process ended that should run.
    #[error("{name} has ended, its log {log} closes with:\n{tail}")]
    Ended {
        /// The process.
        name: String,
        /// The path of its log, which may be deleted already.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A condition was not met in time.
    #[error("waited {limit:?} for {what}{last}")]
    Timeout {
        /// The condition.
        what: String,
        /// The time limit.
        limit: Duration,
        /// The last obstacle, where one is known.
        last: String,
    },
    /// The control plane has no such user.
    #[error("the control plane has no user `{name}`; it has {known}")]
    UnknownUser {
        /// The requested name.
        name: String,
        /// The existing names.
        known: String,
    },
    /// The state file of a running control plane is missing, or exists unexpectedly.
    #[error("{0}")]
    State(String),
    /// A certificate could not be created.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The API server returned an error or did not answer.
    #[error("API server: {}", brief(.0))]
    Kube(#[from] Box<kube::Error>),
    /// A generated kubeconfig could not be read.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// A text is not valid JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

impl Error {
    /// Adds the operation on a file or process to an error, for use in `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The same for one path.
    pub fn path(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("{what} {}", path.display()))
    }
}

/// Returns the API server's message, without the rest of its `Status` object.
pub(crate) fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}
