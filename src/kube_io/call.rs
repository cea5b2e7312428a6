//! Calls to the API server with a time limit, and their errors.

use std::{future::Future, time::Duration};

use crate::errors::one_line;

/// Time limit of one call to the API server. It includes the retries that the client makes by itself.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API server answered with an error, or could not be reached.
    #[error("{}", one_line(.0.as_ref()))]
    Error(#[source] Box<kube::Error>),
    /// The API server did not answer within the time limit.
    #[error("no answer within {CALL_LIMIT:?}")]
    Slow,
}

impl Failure {
    fn answer(&self) -> Option<&kube::core::Status> {
        let Self::Error(error) = self else { return None };
        let kube::Error::Api(status) = error.as_ref() else { return None };
        Some(status)
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self::Error(Box::new(error))
    }
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    Ok(tokio::time::timeout(CALL_LIMIT, call).await.map_err(|_| Failure::Slow)??)
}

/// Why a read failed. A failed read neither grants nor revokes anything: the caller tries again.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}: {source}")]
pub struct ReadError {
    /// What was read.
    pub what: String,
    /// The cause.
    pub source: Failure,
}

impl ReadError {
    /// Returns the HTTP status of the API server's answer, if there was one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.source.answer().map(|status| status.code)
    }
}

/// Awaits a read of `what` within the time limit.
pub async fn read<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, ReadError> {
    in_time(call).await.map_err(|source| ReadError { what: what(), source })
}

/// Why a write failed, as far as is known. After a time-out it may have succeeded.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct WriteError {
    /// The intended write.
    pub what: String,
    /// The cause.
    pub source: Failure,
}

impl WriteError {
    /// Returns the API server's answer, if there was one.
    #[must_use]
    pub fn answer(&self) -> Option<&kube::core::Status> {
        self.source.answer()
    }
}

/// Awaits a write, described by `what`, within the time limit.
pub async fn write<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    in_time(call).await.map_err(|source| WriteError { what: what(), source })
}

/// Returns success for a write to an object that does not exist any more.
pub fn unless_gone<T>(written: Result<T, WriteError>) -> Result<(), WriteError> {
    match written {
        Err(error) if !error.answer().is_some_and(kube::core::Status::is_not_found) => Err(error),
        _ => Ok(()),
    }
}

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
