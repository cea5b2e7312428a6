//! Pruning: the removal of old entries by the rules of C2SP tlog-tiles.
//!
//! A log has a minimum index. A full tile or bundle whose last entry is before it may be missing; all others are kept, so that later entries and
//! their proofs can still be verified, and earlier proofs stay valid. C2SP leaves open how a reader learns the minimum index. Here it is in the
//! file `minimum-index`, signed by the log: without it, whoever can delete files could claim that entries were pruned.

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    Error, Finding,
    checkpoint::{Checkpoint, verified},
    key::{Signers, Trusted},
    store::Store,
    tile::{MAX_SIZE, MINIMUM, Tile},
    writer::Writer,
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

/// Signs the statement.
fn statement(signers: &Signers, minimum: u64, now: Timestamp) -> Result<Bytes, Error> {
    let text = format!("{HEADER}\n{}\n{minimum}\n", signers.origin());
    let signatures = signers.sign(&text, now.as_second().max(0).unsigned_abs())?;
    Ok(format!("{text}\n{signatures}").into())
}

impl Writer {
    /// Removes the entries before `minimum`, by bundles of 256, and the hash tiles that only they need. Returns the number of files removed.
    ///
    /// First it stores the signed statement that this is the minimum index, so an interruption leaves nothing unexplained: call it again. The
    /// minimum index never becomes smaller. To have the removal itself in the log, append a leaf about it before.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if the published log has fewer entries; those of [`Writer::publish`].
    pub async fn prune(&mut self, minimum: u64, now: Timestamp) -> Result<u64, Error> {
        let size = self.published().map_or(0, Checkpoint::size);
        if minimum > size {
            return Err(Error::OutOfRange { index: minimum, size });
        }
        // Another writer may have taken over: then nothing may be deleted.
        self.refresh(now).await?;
        let storage = self.store.storage();
        let before = self::minimum(&self.store, self.signers.trusted()).await?;
        let minimum = minimum.max(before);
        if minimum > before {
            let bytes = statement(&self.signers, minimum, now)?;
            let replaced = match storage.get(MINIMUM).await? {
                Some(object) => storage.replace(MINIMUM, bytes, &object.version).await?,
                None => storage.create(MINIMUM, bytes).await?,
            };
            if replaced.is_none() {
                return Err(Error::LostFence(format!("'{MINIMUM}' was replaced at the same time")));
            }
            storage.sync().await?;
        }
        let mut removed = 0;
        for path in storage.list("tile/", usize::MAX).await? {
            if Tile::parse(&path).is_some_and(|tile| tile.end() <= minimum) {
                storage.delete(&path).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
