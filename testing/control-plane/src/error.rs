use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong around the plane. Every message stands alone on one line,
/// but for the end of a log, which follows on lines of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that is needed is not there.
    #[error("`{tool}` is not installed: {install}")]
    Missing {
        /// The program.
        tool: String,
        /// What the person can do about it.
        install: &'static str,
    },
    /// A file or a process could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A command said no.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command as a person would type it.
        command: String,
        /// What it printed, or how it ended.
        output: String,
    },
    /// A process that should run has ended.
    #[error("{name} has ended, its log {log} closes with:\n{tail}")]
    Ended {
        /// The process.
        name: String,
        /// Where its log is, or was.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A condition did not come true in time.
    #[error("waited {limit:?} for {what}{last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: Duration,
        /// The last obstacle, where one is known.
        last: String,
    },
    /// No such user on this plane.
    #[error("the plane has no user `{name}`; it has {known}")]
    UnknownUser {
        /// The name that was asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// The state of a running plane is absent or in the way.
    #[error("{0}")]
    State(String),
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The API server refused or did not answer.
    #[error("API server: {}", brief(.0))]
    Kube(#[from] Box<kube::Error>),
    /// A kubeconfig of our own making was not understood.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Something that should be JSON is not.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

impl Error {
    /// Says what was tried with a file or process, for use in `map_err`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The same for one path.
    pub(crate) fn path(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("{what} {}", path.display()))
    }
}

/// What the API server said, without the whole object that it said it with.
pub(crate) fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}
