//! The signed statement about the minimum index of a pruned log.

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    Error, Finding,
    checkpoint::verified,
    key::{Signers, Trusted},
    store::Store,
    tile::{MAX_SIZE, MINIMUM},
};

/// The first line of the statement. No checkpoint begins with it.
const HEADER: &str = "jit-rbac-record/minimum-index/v1";

/// The minimum index, from the signed statement. Without one it is 0.
pub(crate) async fn read(store: &Store, trusted: &Trusted) -> Result<u64, Error> {
    let Some(object) = store.get(MINIMUM).await? else { return Ok(0) };
    let bad = |reason: &str| Error::from(Finding::BadMinimum { reason: reason.to_owned() });
    let (text, _) = verified(&object.bytes, trusted).map_err(|error| bad(&error.to_string()))?;
    text.strip_prefix(&format!("{HEADER}\n{}\n", trusted.origin()))
        .and_then(|number| number.trim_end().parse().ok())
        .filter(|minimum| *minimum <= MAX_SIZE)
        .ok_or_else(|| bad("it has no index, or is of another log"))
}

/// Signs the statement.
pub(crate) fn statement(signers: &Signers, minimum: u64, now: Timestamp) -> Result<Bytes, Error> {
    let text = format!("{HEADER}\n{}\n{minimum}\n", signers.origin());
    let signatures = signers.sign(&text, now.as_second().max(0).unsigned_abs())?;
    Ok(format!("{text}\n{signatures}").into())
}
