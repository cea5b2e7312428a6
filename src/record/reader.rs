//! The reader of a log: entries and proofs, each verified against the signed checkpoint. It needs read access and public keys only.

use std::{
    cell::RefCell,
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use tlog_tiles::{EMPTY_HASH, Hash, HashReader, record_hash, split_stored_hash_index};
use tokio::sync::OnceCell;

use crate::{
    Error, Finding,
    checkpoint::{Checkpoint, TreeHead},
    key::Trusted,
    minimum, proof,
    store::Store,
    tile::{self, CHECKPOINT, HEIGHT, Kind, Tile, WIDTH},
    tree::{self, Edge, perfect},
};

/// How many bundles are fetched ahead.
const AHEAD: usize = 4;
/// How many hash tiles are kept: 4 MiB.
const MAX_CACHED: usize = 512;

/// Verified hash tiles by level and index.
type Cache = HashMap<(u8, u64), Arc<Vec<Hash>>>;

/// An entry and its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The index in the log, from 0.
    pub index: u64,
    /// The bytes that were appended.
    pub leaf: Bytes,
}

/// A log as of one checkpoint. To see what was published later, open it again.
#[derive(Debug)]
pub struct Reader {
    pub(crate) store: Store,
    trusted: Trusted,
    checkpoint: Checkpoint,
    minimum: u64,
    /// Full hash tiles that were verified.
    cache: Mutex<Cache>,
    edge: OnceCell<Vec<Arc<Vec<Hash>>>>,
}

impl Reader {
    /// Opens a log: reads its checkpoint and verifies the signature.
    ///
    /// # Errors
    ///
    /// [`Error::NoLog`] without a checkpoint; [`Error::Corrupt`] if it is not signed by a trusted key.
    pub async fn open(store: Store, trusted: Trusted) -> Result<Self, Error> {
        let object = store.get(CHECKPOINT).await?.ok_or_else(|| Error::NoLog(store.to_string()))?;
        let checkpoint = Checkpoint::parse(&object.bytes, &trusted)?;
        let mut reader = Self::at(store, trusted, checkpoint);
        reader.minimum = minimum::read(&reader.store, &reader.trusted).await?;
        Ok(reader)
    }

    /// A reader of the log as of a checkpoint that was read before.
    pub(crate) fn at(store: Store, trusted: Trusted, checkpoint: Checkpoint) -> Self {
        Self { store, trusted, checkpoint, minimum: 0, cache: Mutex::default(), edge: OnceCell::new() }
    }

    /// Returns the checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// Returns the index of the first entry that was not pruned.
    #[must_use]
    pub const fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Returns the public keys that are trusted.
    #[must_use]
    pub const fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Returns an entry, verified against the checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Pruned`], or [`Error::Corrupt`].
    pub async fn entry(&self, index: u64) -> Result<Bytes, Error> {
        self.check_index(index)?;
        let leaves = self.verified_bundle(index / WIDTH).await?;
        leaves.into_iter().nth(usize::try_from(index % WIDTH).unwrap_or_default()).ok_or(Error::OutOfRange { index, size: self.size() })
    }

    /// Streams entries, verified against the checkpoint. It holds a few bundles in memory, however long the range is. The range is cut to what the
    /// log has. After an error the stream ends.
    pub fn entries(&self, range: Range<u64>) -> impl Stream<Item = Result<Entry, Error>> + Send + '_ {
        let range = range.start.max(self.minimum)..range.end.min(self.size());
        let bundles = if range.is_empty() { 0..0 } else { range.start / WIDTH..range.end.div_ceil(WIDTH) };
        let bundles =
            futures::stream::iter(bundles).map(move |index| async move { (index, self.verified_bundle(index).await) }).buffered(AHEAD);
        let mut failed = false;
        bundles
            .flat_map(move |(bundle, leaves)| {
                let entries: Vec<Result<Entry, Error>> = match leaves {
                    Ok(leaves) => {
                        let entries = leaves.into_iter().zip(bundle * WIDTH..).map(|(leaf, index)| Entry { index, leaf });
                        entries.filter(|entry| range.contains(&entry.index)).map(Ok).collect()
                    }
                    Err(error) => vec![Err(error)],
                };
                futures::stream::iter(entries)
            })
            .take_while(move |entry| {
                let before = failed;
                failed |= entry.is_err();
                futures::future::ready(!before)
            })
    }

    /// Returns an inclusion proof of an entry as text, in the format of C2SP tlog-proof. [`proof::check`] verifies it without the log.
    ///
    /// # Errors
    ///
    /// As [`Reader::entry`].
    pub async fn proof(&self, index: u64) -> Result<String, Error> {
        self.check_index(index)?;
        let size = self.size();
        let hashes = self.with_hashes(|reader| tlog_tiles::prove_record(size, index, reader)).await?;
        Ok(proof::text(index, &hashes, self.checkpoint.text()))
    }

    /// Returns the root that the log had when it had `size` entries.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if the log has fewer entries, [`Error::Corrupt`].
    pub async fn root_at(&self, size: u64) -> Result<Hash, Error> {
        if size > self.size() {
            return Err(Error::OutOfRange { index: size, size: self.size() });
        }
        if size == 0 {
            return Ok(EMPTY_HASH);
        }
        if size == self.size() {
            return Ok(self.checkpoint.head().root);
        }
        self.with_hashes(|reader| tlog_tiles::tree_hash(size, reader)).await
    }

    /// Returns the proof, by RFC 6962, that the log continues the tree that it was when it had `size` entries.
    ///
    /// # Errors
    ///
    /// As [`Reader::root_at`].
    pub async fn consistency(&self, size: u64) -> Result<Vec<Hash>, Error> {
        if size == 0 || size == self.size() {
            return Ok(Vec::new());
        }
        self.root_at(size).await?;
        self.with_hashes(|reader| tlog_tiles::prove_tree(self.size(), size, reader)).await
    }

    /// Verifies that the log continues a tree head that was remembered elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] with [`Finding::Truncated`] or [`Finding::Rewritten`].
    pub async fn check_continues(&self, remembered: TreeHead) -> Result<(), Error> {
        if remembered.size > self.size() {
            return Err(Finding::Truncated { index: self.size(), known: remembered.size }.into());
        }
        let computed = self.root_at(remembered.size).await?;
        if computed == remembered.root {
            Ok(())
        } else {
            Err(Finding::Rewritten { index: remembered.size, known: remembered.root, computed }.into())
        }
    }

    fn check_index(&self, index: u64) -> Result<(), Error> {
        if index >= self.size() {
            return Err(Error::OutOfRange { index, size: self.size() });
        }
        if index < self.minimum {
            return Err(Error::Pruned { index, minimum: self.minimum });
        }
        Ok(())
    }

    /// The width of the tile of level 0 at this index.
    pub(crate) fn width(&self, index: u64) -> u64 {
        (self.size() - index * WIDTH).min(WIDTH)
    }

    /// The entries of a bundle, each with the hash that the signed tree has.
    async fn verified_bundle(&self, index: u64) -> Result<Vec<Bytes>, Error> {
        let tile = Tile::new(Kind::Entries, index, self.width(index));
        let (leaves, hashes) = futures::future::try_join(self.bundle(tile), self.leaf_hashes(index)).await?;
        match leaves.iter().zip(&hashes).position(|(leaf, hash)| record_hash(leaf) != *hash) {
            Some(place) => Err(Finding::Edited { index: tile.first_entry() + place as u64 }.into()),
            None => Ok(leaves),
        }
    }

    /// The hashes of the entries of a bundle, verified against the checkpoint.
    pub(crate) async fn leaf_hashes(&self, index: u64) -> Result<Vec<Hash>, Error> {
        Ok(self.verified_tile(0, index).await?.to_vec())
    }

    /// Hashes by their index in the tree, verified against the checkpoint.
    pub(crate) async fn stored_hashes(&self, indexes: Vec<u64>) -> Result<Vec<Hash>, Error> {
        let mut hashes = Vec::with_capacity(indexes.len());
        for index in indexes {
            let (level, number) = split_stored_hash_index(index);
            // The hashes of a tile that are below this one.
            let (height, count) = (level % HEIGHT, 1_u64 << (level % HEIGHT));
            let first = number << height;
            let tile = self.verified_tile(level / HEIGHT, first / WIDTH).await?;
            let slot = usize::try_from(first % WIDTH).unwrap_or(usize::MAX);
            let below =
                tile.get(slot..slot + usize::try_from(count).unwrap_or(0)).ok_or(Error::OutOfRange { index: first, size: self.size() })?;
            hashes.push(perfect(below));
        }
        Ok(hashes)
    }

    /// The entries of a bundle, of exactly this width, as they are stored.
    pub(crate) async fn bundle(&self, tile: Tile) -> Result<Vec<Bytes>, Error> {
        let bytes = self.tile(tile).await?;
        let damaged = |reason| Finding::DamagedTile { path: tile.path(), index: tile.first_entry(), reason };
        let mut leaves = tile::leaves(&bytes).map_err(damaged)?;
        let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
        if leaves.len() < width {
            return Err(damaged(format!("it has {} of {width} entries", leaves.len())).into());
        }
        // A full bundle stands for the partial one that it replaced.
        leaves.truncate(width);
        Ok(leaves)
    }

    /// The hashes of a tile, of exactly this width, as they are stored.
    pub(crate) async fn hash_tile(&self, tile: Tile) -> Result<Vec<Hash>, Error> {
        let bytes = self.tile(tile).await?;
        let damaged = |reason| Finding::DamagedTile { path: tile.path(), index: tile.first_entry(), reason };
        let mut hashes = tile::hashes(&bytes).map_err(damaged)?;
        let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
        if hashes.len() < width {
            return Err(damaged(format!("it has {} of {width} hashes", hashes.len())).into());
        }
        hashes.truncate(width);
        Ok(hashes)
    }

    /// A file of the log, or the full one that replaced it.
    pub(crate) async fn tile(&self, tile: Tile) -> Result<Bytes, Error> {
        if let Some(object) = self.store.get(&tile.path()).await? {
            return Ok(object.bytes);
        }
        let full = if tile.is_full() { None } else { self.store.get(&tile.full().path()).await? };
        match full {
            Some(object) => Ok(object.bytes),
            None => Err(Finding::MissingTile { path: tile.path(), index: tile.first_entry() }.into()),
        }
    }

    /// Runs a computation on hashes of the tree. It is repeated with more hashes until it has all.
    async fn with_hashes<T>(&self, compute: impl Fn(&Hashes) -> Result<T, tlog_tiles::Error>) -> Result<T, Error> {
        let mut hashes = Hashes::default();
        loop {
            let error = match compute(&hashes) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let missing = hashes.missing.take();
            if missing.is_empty() {
                return Err(Error::Invalid(format!("the proof cannot be computed: {error}")));
            }
            let found = self.stored_hashes(missing.clone()).await?;
            hashes.known.extend(missing.into_iter().zip(found));
        }
    }

    /// A hash tile, verified against the checkpoint: a full one against its hash in the tile above, those at the end of the tree against the root.
    ///
    /// `tlog_tiles` has a `TileHashReader` for that, but version 0.2.0 skips tiles: the test `an_entry_that_was_edited_with_its_hash_tile_is_refused` shows it.
    pub(crate) fn verified_tile(&self, level: u8, index: u64) -> BoxFuture<'_, Result<Arc<Vec<Hash>>, Error>> {
        async move {
            let edge = self.edge().await?;
            let width = (self.size() >> (8 * u32::from(level))).saturating_sub(index * WIDTH).min(WIDTH);
            if width < WIDTH {
                return Ok(edge.get(usize::from(level)).cloned().unwrap_or_default());
            }
            if let Some(known) = self.cache().get(&(level, index)) {
                return Ok(Arc::clone(known));
            }
            let tile = Tile::new(Kind::Hashes(level), index, WIDTH);
            let (hashes, above) = futures::future::try_join(self.hash_tile(tile), self.verified_tile(level + 1, index / WIDTH)).await?;
            let signed = usize::try_from(index % WIDTH).ok().and_then(|slot| above.get(slot));
            if signed != Some(&perfect(&hashes)) {
                let reason = "its hashes do not give its hash in the signed tree".to_owned();
                return Err(Finding::DamagedTile { path: tile.path(), index: tile.first_entry(), reason }.into());
            }
            let hashes = Arc::new(hashes);
            let mut cache = self.cache();
            if cache.len() >= MAX_CACHED {
                cache.clear();
            }
            cache.insert((level, index), Arc::clone(&hashes));
            Ok(hashes)
        }
        .boxed()
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The incomplete hash tiles at the end of the tree, level 0 first, verified against the root in the checkpoint.
    pub(crate) async fn edge(&self) -> Result<&[Arc<Vec<Hash>>], Error> {
        let edge = self.edge.get_or_try_init(|| async {
            let size = self.size();
            let mut levels = vec![Vec::new(); tree::levels(size)];
            for tile in tree::edge_tiles(size) {
                let hashes = self.hash_tile(tile).await?;
                if let Some(level) = levels.get_mut(usize::from(tile.level())) {
                    *level = hashes;
                }
            }
            let computed = Edge::from_levels(levels.clone(), size).root();
            let signed = self.checkpoint.head().root;
            if computed != signed {
                let tile = tree::edge_tiles(size).next().unwrap_or(Tile::new(Kind::Hashes(0), 0, WIDTH));
                let reason =
                    format!("with the other tiles at the end of the tree it gives the root {computed}, but the checkpoint has {signed}");
                return Err(Error::from(Finding::DamagedTile { path: tile.path(), index: tile.first_entry(), reason }));
            }
            Ok(levels.into_iter().map(Arc::new).collect())
        });
        edge.await.map(Vec::as_slice)
    }
}

/// The hashes that were read so far, by their index in the tree.
#[derive(Default)]
struct Hashes {
    known: HashMap<u64, Hash>,
    missing: RefCell<Vec<u64>>,
}

impl HashReader for Hashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let found: Vec<Hash> = indexes.iter().filter_map(|index| self.known.get(index).copied()).collect();
        if found.len() == indexes.len() {
            return Ok(found);
        }
        self.missing.borrow_mut().extend(indexes.iter().filter(|index| !self.known.contains_key(index)));
        Err(tlog_tiles::Error::IndexesNotInTree)
    }
}
