//! Calls to the API server with a time limit, and their errors.

use std::{future::Future, time::Duration};

use crate::errors::one_line;

/// Time limit of one call to the API server. It includes the retries that the client makes by itself.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Why a read failed. A failed read neither grants nor revokes anything: the caller tries again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server answered with an error, or could not be reached.
    #[error("cannot read {what}: {}", one_line(.source.as_ref()))]
    Read {
        /// What was read.
        what: String,
        /// The error.
        source: Box<kube::Error>,
    },
    /// The API server did not answer within the time limit.
    #[error("cannot read {what}: no answer within {CALL_LIMIT:?}")]
    Slow {
        /// What was read.
        what: String,
    },
}

impl ReadError {
    /// Returns the HTTP status of the API server's answer, if there was one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Read { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Slow { .. } => None,
        }
    }
}

/// Awaits a read of `what` within the time limit.
pub async fn read<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, ReadError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ReadError::Read { what: what(), source: Box::new(source) }),
        Err(_) => Err(ReadError::Slow { what: what() }),
    }
}

/// Why a write failed, as far as is known. After a time-out it may have succeeded.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server rejected the write.
    #[error("cannot {what}: {}", one_line(.source.as_ref()))]
    Refused {
        /// The intended write.
        what: String,
        /// The error.
        source: Box<kube::Error>,
    },
    /// The API server did not answer within the time limit.
    #[error("cannot {what}: no answer within {CALL_LIMIT:?}")]
    Slow {
        /// The intended write.
        what: String,
    },
}

impl WriteError {
    /// Returns the API server's answer, if there was one.
    #[must_use]
    pub fn answer(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Slow { .. } => None,
        }
    }
}

/// Awaits a write, described by `what`, within the time limit.
pub async fn write<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(WriteError::Refused { what: what(), source: Box::new(source) }),
        Err(_) => Err(WriteError::Slow { what: what() }),
    }
}
