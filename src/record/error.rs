//! What can go wrong, by what the caller can do.

use crate::Finding;

/// The largest number of bytes in a leaf: its length is stored in 16 bits.
pub const MAX_LEAF: usize = u16::MAX as usize;

/// An error of the log. The variants are the classes that callers treat differently.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, answers with 5xx, or its disk is full. Nothing is lost: call again later.
    #[error("{operation} failed and can be repeated: {reason}")]
    Retry {
        /// What was tried, with the path.
        operation: String,
        /// The answer of the store.
        reason: String,
    },
    /// Another writer has written to the log, or holds its lock. This writer writes nothing more: open it again, or stop.
    #[error("another writer writes to this log: {0}")]
    LostFence(String),
    /// What is stored is not the log that was signed. It needs a person.
    #[error("the log is damaged: {0}")]
    Corrupt(#[from] Box<Finding>),
    /// The credentials do not suffice for the store.
    #[error("{operation} is denied: {reason}")]
    Denied {
        /// What was tried, with the path.
        operation: String,
        /// The answer of the store.
        reason: String,
    },
    /// A URL, a key, a proof or a tree head that cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// There is no checkpoint: nothing was ever published here.
    #[error("there is no log at {0}: it has no checkpoint")]
    NoLog(String),
    /// A leaf that cannot be stored.
    #[error("the leaf cannot be written as canonical JSON: {0}")]
    Leaf(String),
    /// A leaf with too many bytes.
    #[error("a leaf of {0} bytes is longer than {MAX_LEAF} bytes")]
    LeafTooLong(usize),
    /// An index at or after the end of the log.
    #[error("there is no entry {index}: the log has {size} entries")]
    OutOfRange {
        /// The requested index.
        index: u64,
        /// The number of entries.
        size: u64,
    },
    /// An entry that was removed when the log was pruned.
    #[error("entry {index} was pruned: the log has the entries from {minimum}")]
    Pruned {
        /// The requested index.
        index: u64,
        /// The index of the first entry that is kept.
        minimum: u64,
    },
}

impl Error {
    /// Reports whether the same call may succeed later without anybody's help.
    #[must_use]
    pub const fn is_retry(&self) -> bool {
        matches!(self, Self::Retry { .. })
    }

    /// Returns what is wrong with the log, if that is the error.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Corrupt(finding) => Some(finding),
            _ => None,
        }
    }
}

impl From<Finding> for Error {
    fn from(finding: Finding) -> Self {
        Self::Corrupt(Box::new(finding))
    }
}
