//! Pruning: the removal of old entries by the rules of C2SP tlog-tiles.
//!
//! A log has a minimum index. A full tile or bundle whose last entry is before it may be missing; all others are kept, so that later entries and
//! their proofs can still be verified, and earlier proofs stay valid. C2SP leaves open how a reader learns the minimum index. Here it is in the
//! file `minimum-index`, signed by the log: without it, whoever can delete files could claim that entries were pruned.

use crate::{
    Error, Finding,
    checkpoint::verified,
    key::Trusted,
    store::Store,
    tile::{MAX_SIZE, MINIMUM},
};

/// The first line of the statement. No checkpoint begins with it.
const HEADER: &str = "jit-rbac-record/minimum-index/v1";

/// The minimum index, from the signed statement. Without one it is 0.
pub(crate) async fn minimum(store: &Store, trusted: &Trusted) -> Result<u64, Error> {
    let Some(object) = store.get(MINIMUM).await? else { return Ok(0) };
    let bad = |reason: &str| Error::from(Finding::BadMinimum { reason: reason.to_owned() });
    let (text, _) = verified(&object.bytes, trusted).map_err(|error| bad(&error.to_string()))?;
    text.strip_prefix(&format!("{HEADER}\n{}\n", trusted.origin()))
        .and_then(|number| number.trim_end().parse().ok())
        .filter(|minimum| *minimum <= MAX_SIZE)
        .ok_or_else(|| bad("it has no index, or is of another log"))
}
