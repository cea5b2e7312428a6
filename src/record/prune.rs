//! Pruning: the removal of old entries by the rules of C2SP tlog-tiles.
//!
//! A log has a minimum index. A full tile or bundle whose last entry is before it may be missing; all others are kept, so that later entries and
//! their proofs can still be verified, and earlier proofs stay valid. C2SP leaves open how a reader learns the minimum index. Here it is in the
//! file `minimum-index`, signed by the log: without the signature, anyone who can delete files could claim that entries were pruned.

use jiff::Timestamp;

use crate::{
    Error,
    checkpoint::Checkpoint,
    minimum::{self, statement},
    tile::{MINIMUM, Tile},
    writer::Writer,
};

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
        // Another writer may have replaced this one: then nothing may be deleted.
        self.refresh(now).await?;
        let storage = self.store.storage();
        let before = minimum::read(&self.store, self.signers.trusted()).await?;
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
