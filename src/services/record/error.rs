//! What ends a session.

use kube_io::call::{ReadError, WriteError};

/// Why a session ended. The next one begins where the published log ends.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The log.
    #[error(transparent)]
    Log(#[from] record::Error),
    /// The API server.
    #[error("{0}")]
    Api(String),
}

impl From<ReadError> for RecordError {
    fn from(error: ReadError) -> Self {
        Self::Api(error.to_string())
    }
}

impl From<WriteError> for RecordError {
    fn from(error: WriteError) -> Self {
        Self::Api(error.to_string())
    }
}
