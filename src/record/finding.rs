//! What the verification of a log can find, one name for each.

use tlog_tiles::Hash;

/// One thing that is wrong with a log. `Display` is one sentence for a person; [`Finding::name`] is for programs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Finding {
    /// The bytes of an entry are not those that were signed.
    #[error("entry {index} was edited: its hash is not the one in the signed tree")]
    Edited {
        /// The entry.
        index: u64,
    },
    /// Entries are missing, and later ones have moved up.
    #[error("{count} of the entries from {index} were removed: the signed tree has their hashes, the bundle does not have them")]
    Removed {
        /// The first entry that is missing.
        index: u64,
        /// How many are missing.
        count: u64,
    },
    /// There are more entries than were signed.
    #[error("{count} entries were inserted at {index}: the signed tree does not have them")]
    Inserted {
        /// The index of the first of them.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// The same entries, in another order.
    #[error("the entries from {index} to {last} were reordered: the signed tree has the same hashes in another order")]
    Reordered {
        /// The first entry at a wrong index.
        index: u64,
        /// The last entry at a wrong index.
        last: u64,
    },
    /// The entries and the hashes above them were changed together.
    #[error("the entries from {index} to {last} were changed together with their hash tiles: their hash is not the one in the signed tree")]
    Changed {
        /// The first entry of the part that differs.
        index: u64,
        /// The last entry of the part that differs.
        last: u64,
    },
    /// The whole content differs from the signed root.
    #[error("the log was changed: its {size} entries give the root {computed}, but the checkpoint has {signed}")]
    RootMismatch {
        /// The size of the signed tree.
        size: u64,
        /// The root of the entries.
        computed: Hash,
        /// The root in the checkpoint.
        signed: Hash,
    },
    /// A file of the log does not exist.
    #[error("the tile '{path}' is missing: it has the entries from {index}")]
    MissingTile {
        /// The path in the log.
        path: String,
        /// The first entry below the tile.
        index: u64,
    },
    /// A file of the log is not what it must be.
    #[error("the tile '{path}' is damaged, from entry {index}: {reason}")]
    DamagedTile {
        /// The path in the log.
        path: String,
        /// The first entry that it concerns.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The log ends before what is known of it.
    #[error("the log was cut off at entry {index}: an earlier checkpoint has {known} entries")]
    Truncated {
        /// The size of the log now.
        index: u64,
        /// The size that is known.
        known: u64,
    },
    /// The log is not a continuation of what is remembered.
    #[error("the log was rewritten or restarted below entry {index}: the remembered root of this size is {known}, the log has {computed}")]
    Rewritten {
        /// The size of the remembered tree.
        index: u64,
        /// The remembered root.
        known: Hash,
        /// The root of the log at this size.
        computed: Hash,
    },
    /// Two checkpoints with valid signatures contradict each other.
    #[error("the log has two versions: a checkpoint with {index} entries has the root {other}, this log has {computed} for as many")]
    SplitView {
        /// The size of the other checkpoint.
        index: u64,
        /// The root of the other checkpoint.
        other: Hash,
        /// The root of this log at this size.
        computed: Hash,
    },
    /// The checkpoint has no signature of a trusted key.
    #[error("the checkpoint is signed by {signers}, and none of these keys is trusted")]
    WrongKey {
        /// The names and ids of the keys in the note.
        signers: String,
    },
    /// A signature of a trusted key is wrong.
    #[error("the signature of key {key} on the checkpoint is wrong: the checkpoint was changed")]
    BadSignature {
        /// The name and id of the key.
        key: String,
    },
    /// The checkpoint is not one.
    #[error("the checkpoint cannot be read: {reason}")]
    BadCheckpoint {
        /// What is wrong with it.
        reason: String,
    },
    /// There are entries, but no checkpoint.
    #[error("the checkpoint was removed: the log has entries or is known to have had {known}")]
    MissingCheckpoint {
        /// The size that is known.
        known: u64,
    },
    /// The statement about pruned entries is not the log's.
    #[error("the file 'minimum-index' is not a statement of this log: {reason}")]
    BadMinimum {
        /// What is wrong with it.
        reason: String,
    },
}

impl Finding {
    /// Returns the name of the kind of finding, in `CamelCase`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Edited { .. } => "Edited",
            Self::Removed { .. } => "Removed",
            Self::Inserted { .. } => "Inserted",
            Self::Reordered { .. } => "Reordered",
            Self::Changed { .. } => "Changed",
            Self::RootMismatch { .. } => "RootMismatch",
            Self::MissingTile { .. } => "MissingTile",
            Self::DamagedTile { .. } => "DamagedTile",
            Self::Truncated { .. } => "Truncated",
            Self::Rewritten { .. } => "Rewritten",
            Self::SplitView { .. } => "SplitView",
            Self::WrongKey { .. } => "WrongKey",
            Self::BadSignature { .. } => "BadSignature",
            Self::BadCheckpoint { .. } => "BadCheckpoint",
            Self::MissingCheckpoint { .. } => "MissingCheckpoint",
            Self::BadMinimum { .. } => "BadMinimum",
        }
    }

    /// Returns the index of the first entry that the finding concerns, where it has one.
    #[must_use]
    pub const fn index(&self) -> Option<u64> {
        match self {
            Self::Edited { index }
            | Self::Removed { index, .. }
            | Self::Inserted { index, .. }
            | Self::Reordered { index, .. }
            | Self::Changed { index, .. }
            | Self::MissingTile { index, .. }
            | Self::DamagedTile { index, .. }
            | Self::Truncated { index, .. }
            | Self::Rewritten { index, .. }
            | Self::SplitView { index, .. } => Some(*index),
            _ => None,
        }
    }
}
