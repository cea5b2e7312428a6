//! Calls of the API server within a limit, and what went wrong with them.

use std::{future::Future, time::Duration};

use crate::errors::one_line;

/// Longest that one call to the API server may take. Where the client asks again by itself, this bounds it all.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Why something could not be read. Nothing is granted, and nothing revoked, because of it: who gathers tries again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server did not answer as hoped.
    #[error("cannot read {what}: {}", one_line(.source.as_ref()))]
    Read {
        /// What was asked for.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The API server took too long.
    #[error("cannot read {what}: no answer within {CALL_LIMIT:?}")]
    Slow {
        /// What was asked for.
        what: String,
    },
}

impl ReadError {
    /// The HTTP status of the API server's answer, if it gave one.
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

/// Awaits a read of `what` within the limit.
pub async fn read<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, ReadError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ReadError::Read { what: what(), source: Box::new(source) }),
        Err(_) => Err(ReadError::Slow { what: what() }),
    }
}

/// Why a write did not happen, as far as is known: after a time-out it may have.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server said no.
    #[error("cannot {what}: {}", one_line(.source.as_ref()))]
    Refused {
        /// What was to be done.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The API server took too long.
    #[error("cannot {what}: no answer within {CALL_LIMIT:?}")]
    Slow {
        /// What was to be done.
        what: String,
    },
}

impl WriteError {
    /// The API server's answer, if it gave one.
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

/// Awaits a write, to do `what`, within the limit.
pub async fn write<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(WriteError::Refused { what: what(), source: Box::new(source) }),
        Err(_) => Err(WriteError::Slow { what: what() }),
    }
}
