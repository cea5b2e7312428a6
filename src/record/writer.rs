//! The writer of a log. There may be one; the store is the fence.
//!
//! [`Writer::append`] only collects. [`Writer::publish`] stores, in this order:
//!
//! 1. Once in the life of a writer, and only when it has something to write: it signs the published checkpoint again and replaces it by
//!    compare-and-swap. From then on the compare-and-swap of every other writer fails.
//! 2. The bundles of entries and the hash tiles that are new, and syncs them.
//! 3. The checkpoint that covers them, by compare-and-swap.
//! 4. It removes partial tiles whose full tile is published.
//!
//! Tiles are created, never overwritten, with one exception: what a writer that was killed left beyond the published checkpoint. No checkpoint
//! covers it and nobody but its writer knew of it, so this writer replaces it, also by compare-and-swap. It is not adopted: anyone
//! who can write to the store could otherwise have their entries signed.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use tlog_tiles::{Hash, record_hash};

use crate::{
    Error, Finding, MAX_LEAF,
    checkpoint::{Checkpoint, TreeHead},
    key::{self, Signers},
    reader::Reader,
    store::{Storage, Store, Version},
    tile::{self, CHECKPOINT, Kind, Tile, WIDTH},
    tree::{self, Edge},
    witness::Witness,
};

/// How many tiles are written at the same time.
const CONCURRENT: usize = 8;
/// How many checkpoints are remembered whose fate is unknown.
const MAX_ATTEMPTS: usize = 16;

/// The writer of a log. See the module for the order of its writes.
#[derive(Debug)]
pub struct Writer {
    pub(crate) store: Store,
    pub(crate) signers: Signers,
    /// What makes the checkpoints of this writer its own.
    line: String,
    storage: Arc<dyn Storage>,
    edge: Edge,
    /// The encoded entries of the incomplete bundle.
    bundle: Vec<u8>,
    /// Full tiles that are not stored yet.
    complete: Vec<(Tile, Bytes)>,
    /// `None`: there is no checkpoint yet.
    published: Option<(Checkpoint, Version)>,
    /// Checkpoints that were sent, and nothing is known of them.
    attempts: Vec<Checkpoint>,
    /// This writer has replaced the checkpoint at least once.
    claimed: bool,
    lost: Option<String>,
    /// The positions with partial tiles, as full tiles.
    partials: BTreeSet<Tile>,
    witnesses: Vec<Witness>,
    unwitnessed: Vec<String>,
}

impl Writer {
    /// Opens the log for writing, or begins one where there is nothing. It reads the checkpoint and the right edge of the tree, and verifies both.
    /// It writes nothing but the lock of a folder.
    ///
    /// `remembered` is a tree head that is stored elsewhere, such as in an annotation of the Lease: a log that does not continue it is an error.
    ///
    /// # Errors
    ///
    /// [`Error::LostFence`] if another process writes to the folder, [`Error::Corrupt`] if the log is not what was signed or is remembered.
    pub async fn open(store: Store, signers: Signers, remembered: Option<TreeHead>) -> Result<Self, Error> {
        let line = key::writer_line(signers.origin())?;
        let storage = store.storage();
        storage.lock().await?;
        let (mut edge, mut bundle, mut published, mut partials) = (Edge::default(), Vec::new(), None, BTreeSet::new());
        if let Some(object) = storage.get(CHECKPOINT).await? {
            let checkpoint = Checkpoint::parse(&object.bytes, signers.trusted())?;
            let reader = Reader::at(store.clone(), signers.trusted().clone(), checkpoint.clone());
            if let Some(remembered) = remembered {
                reader.check_continues(remembered).await?;
            }
            (edge, bundle) = right_edge(&reader).await?;
            partials.extend(partial_tiles(checkpoint.size()).map(Tile::full));
            published = Some((checkpoint, object.version));
        } else {
            let known = remembered.map_or(0, |head| head.size);
            // The first checkpoint is there before the first tile.
            if known > 0 || !storage.list("tile/", 1).await?.is_empty() {
                return Err(Finding::MissingCheckpoint { known }.into());
            }
        }
        Ok(Self {
            store,
            signers,
            line,
            storage,
            edge,
            bundle,
            complete: Vec::new(),
            published,
            attempts: Vec::new(),
            claimed: false,
            lost: None,
            partials,
            witnesses: Vec::new(),
            unwitnessed: Vec::new(),
        })
    }

    /// Appends leaves and returns their indices. They are in memory only until [`Writer::publish`] returns.
    ///
    /// # Errors
    ///
    /// [`Error::LeafTooLong`]: none of the leaves is appended.
    pub fn append(&mut self, leaves: Vec<Bytes>) -> Result<Range<u64>, Error> {
        if let Some(leaf) = leaves.iter().find(|leaf| leaf.len() > MAX_LEAF) {
            return Err(Error::LeafTooLong(leaf.len()));
        }
        let first = self.edge.size();
        for leaf in leaves {
            tile::push_leaf(&mut self.bundle, &leaf)?;
            let complete = &mut self.complete;
            self.edge.push(record_hash(&leaf), |tile, hashes| complete.push((tile, tile::encode(hashes))));
            if self.edge.size().is_multiple_of(WIDTH) {
                let index = self.edge.size() / WIDTH - 1;
                self.complete.push((Tile::new(Kind::Entries, index, WIDTH), std::mem::take(&mut self.bundle).into()));
            }
        }
        Ok(first..self.edge.size())
    }

    /// Sets the witnesses that are asked for a cosignature before each publication. A publication waits at most some seconds for them, and does not
    /// fail without them: see [`Writer::unwitnessed`].
    pub fn set_witnesses(&mut self, witnesses: Vec<Witness>) {
        self.witnesses = witnesses;
    }

    /// Returns the witnesses that did not cosign the published checkpoint, each with its reason in one sentence.
    #[must_use]
    pub fn unwitnessed(&self) -> &[String] {
        &self.unwitnessed
    }

    /// Returns the number of entries, with those that are not published.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Returns the number of entries that are not published.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.size() - self.published().map_or(0, Checkpoint::size)
    }

    /// Returns the published checkpoint. `None`: nothing was ever published.
    #[must_use]
    pub fn published(&self) -> Option<&Checkpoint> {
        self.published.as_ref().map(|(checkpoint, _)| checkpoint)
    }

    /// Stores what was appended and publishes a checkpoint of it, signed at `now`. Without anything new it writes nothing. When it returns, every
    /// appended leaf survives.
    ///
    /// # Errors
    ///
    /// After [`Error::Retry`] and [`Error::Denied`], call it again: nothing is lost. After [`Error::LostFence`] this writer never writes again.
    pub async fn publish(&mut self, now: Timestamp) -> Result<Checkpoint, Error> {
        match self.published() {
            Some(published) if self.lost.is_none() && published.size() == self.size() => Ok(published.clone()),
            _ => self.refresh(now).await,
        }
    }

    /// Does the same as [`Writer::publish`], and signs a checkpoint with the time `now` also without anything new. So readers see that the log is
    /// alive.
    ///
    /// # Errors
    ///
    /// As [`Writer::publish`].
    pub async fn refresh(&mut self, now: Timestamp) -> Result<Checkpoint, Error> {
        if let Some(reason) = &self.lost {
            return Err(Error::LostFence(reason.clone()));
        }
        let result = self.write(now).await;
        if let Err(Error::LostFence(reason)) = &result {
            self.lost = Some(reason.clone());
        }
        result
    }

    async fn write(&mut self, now: Timestamp) -> Result<Checkpoint, Error> {
        if !self.attempts.is_empty() {
            self.settle().await?;
        }
        let covered = self.published().map_or(0, Checkpoint::size);
        if !self.claimed && self.size() > covered {
            let head = self.published().map_or(TreeHead { size: 0, root: Edge::default().root() }, Checkpoint::head);
            self.swap(head, now).await?;
        }
        self.store_tiles().await?;
        let checkpoint = self.swap(TreeHead { size: self.size(), root: self.edge.root() }, now).await?;
        self.collect_garbage().await;
        Ok(checkpoint)
    }

    async fn store_tiles(&mut self) -> Result<(), Error> {
        let covered = self.published().map_or(0, Checkpoint::size);
        if self.size() == covered {
            return Ok(());
        }
        let mut tiles = self.complete.clone();
        let rest = self.size() % WIDTH;
        if rest > 0 {
            tiles.push((Tile::new(Kind::Entries, self.size() / WIDTH, rest), Bytes::copy_from_slice(&self.bundle)));
        }
        tiles.extend(self.edge.partials().map(|(tile, hashes)| (tile, tile::encode(hashes))));
        let stored: Vec<Tile> = partial_tiles(covered).collect();
        tiles.retain(|(tile, _)| !stored.contains(tile));
        self.partials.extend(tiles.iter().filter(|(tile, _)| !tile.is_full()).map(|(tile, _)| tile.full()));
        let this = &*self;
        futures::stream::iter(tiles)
            .map(|(tile, bytes)| this.store_tile(tile, bytes))
            .buffer_unordered(CONCURRENT)
            .try_collect::<()>()
            .await?;
        self.storage.sync().await?;
        self.complete.clear();
        Ok(())
    }

    async fn store_tile(&self, tile: Tile, bytes: Bytes) -> Result<(), Error> {
        let path = tile.path();
        if self.storage.create(&path, bytes.clone()).await?.is_some() {
            return Ok(());
        }
        let changed = || Error::Retry { operation: format!("writing '{path}'"), reason: "it changed at the same time".to_owned() };
        let found = self.storage.get(&path).await?.ok_or_else(changed)?;
        if found.bytes == bytes {
            return Ok(());
        }
        // Not covered by the checkpoint of this writer. If the checkpoint is still the same one, then by none.
        let current = self.storage.get(CHECKPOINT).await?;
        if current.map(|object| object.bytes).as_deref() != self.published().map(|published| published.text().as_bytes()) {
            return Err(Error::LostFence(format!("'{path}' has other entries, and the checkpoint was replaced")));
        }
        self.storage.replace(&path, bytes, &found.version).await?.map(drop).ok_or_else(changed)
    }

    /// Replaces the checkpoint.
    async fn swap(&mut self, head: TreeHead, now: Timestamp) -> Result<Checkpoint, Error> {
        // Later than the last one, whatever the clock: two checkpoints of one tree then differ, and with them their entity tags.
        let last = self.published().into_iter().chain(&self.attempts).filter_map(Checkpoint::time).max();
        let time = last.and_then(|last| last.checked_add(SignedDuration::from_secs(1)).ok()).map_or(now, |next| now.max(next));
        let checkpoint = self.cosigned(Checkpoint::sign(&self.signers, head, time)?.with_lines(&self.line)).await;
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.push(checkpoint.clone());
        }
        let bytes = Bytes::copy_from_slice(checkpoint.text().as_bytes());
        let swapped = match &self.published {
            Some((_, version)) => self.storage.replace(CHECKPOINT, bytes, version).await?,
            None => self.storage.create(CHECKPOINT, bytes).await?,
        };
        if let Some(version) = swapped {
            self.published = Some((checkpoint.clone(), version));
            self.attempts.clear();
        } else {
            // The store may have repeated the request after an answer that was lost.
            self.settle().await?;
            if self.published() != Some(&checkpoint) {
                return Err(Error::Retry {
                    operation: format!("replacing '{CHECKPOINT}'"),
                    reason: "the store reports a conflict".to_owned(),
                });
            }
        }
        self.claimed = true;
        Ok(checkpoint)
    }

    /// The checkpoint with the cosignatures of the witnesses that answer. Its tiles are stored already.
    async fn cosigned(&mut self, checkpoint: Checkpoint) -> Checkpoint {
        let reader = Reader::at(self.store.clone(), self.signers.trusted().clone(), checkpoint.clone());
        let answers = futures::future::join_all(self.witnesses.iter_mut().map(|witness| witness.cosign(&reader))).await;
        let named = self.witnesses.iter().map(|witness| witness.name().to_owned()).zip(answers);
        let mut lines = String::new();
        self.unwitnessed.clear();
        for (name, answer) in named {
            match answer {
                Ok(cosignature) => lines.push_str(&cosignature),
                Err(reason) => self.unwitnessed.push(format!("the witness '{name}' did not cosign: {reason}")),
            }
        }
        checkpoint.with_lines(&lines)
    }

    /// Reads which of the sent checkpoints the store has.
    async fn settle(&mut self) -> Result<(), Error> {
        let lost = |what: &str| Error::LostFence(format!("the checkpoint in {} {what}", self.store));
        let Some(object) = self.storage.get(CHECKPOINT).await? else {
            return if self.published.is_none() { Ok(()) } else { Err(lost("was removed")) };
        };
        let known = self.published().into_iter().chain(&self.attempts).find(|known| known.text().as_bytes() == object.bytes);
        let Some(known) = known.cloned() else {
            return Err(lost("is by another writer"));
        };
        if self.attempts.contains(&known) {
            self.claimed = true;
            self.attempts.clear();
        }
        self.published = Some((known, object.version));
        Ok(())
    }

    /// Removes the partial tiles that a full one replaces. Readers take the full tile then. What cannot be removed now is so later.
    async fn collect_garbage(&mut self) {
        let size = self.size();
        let replaced: Vec<Tile> = self.partials.iter().copied().filter(|tile| tile.end() <= size).collect();
        for tile in replaced {
            let removed = async {
                for path in self.storage.list(&tile.partials(), usize::MAX).await? {
                    self.storage.delete(&path).await?;
                }
                Ok::<(), Error>(())
            };
            if removed.await.is_ok() {
                self.partials.remove(&tile);
            }
        }
    }
}

/// The incomplete tiles of a log of this size.
fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    let rest = size % WIDTH;
    tree::edge_tiles(size).chain((rest > 0).then(|| Tile::new(Kind::Entries, size / WIDTH, rest)))
}

/// Reads the right edge of the tree and the incomplete bundle, and verifies them against the checkpoint.
async fn right_edge(reader: &Reader) -> Result<(Edge, Vec<u8>), Error> {
    let size = reader.size();
    let edge = Edge::from_levels(reader.edge().await?.iter().map(|hashes| hashes.to_vec()).collect(), size);
    let mut bundle = Vec::new();
    if !size.is_multiple_of(WIDTH) {
        let tile = Tile::new(Kind::Entries, size / WIDTH, size % WIDTH);
        let leaves = reader.bundle(tile).await?;
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| record_hash(leaf)).collect();
        if let Some(place) = hashes.iter().zip(edge.level(0)).position(|(found, signed)| found != signed) {
            return Err(Finding::Edited { index: tile.first_entry() + place as u64 }.into());
        }
        for leaf in leaves {
            tile::push_leaf(&mut bundle, &leaf)?;
        }
    }
    Ok((edge, bundle))
}
