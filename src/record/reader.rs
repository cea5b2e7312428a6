//! The reader of a log: entries and proofs, each verified against the signed checkpoint. It needs read access and public keys only.

use std::{
    cell::RefCell,
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tlog_tiles::{EMPTY_HASH, HASH_SIZE, Hash, TileHashReader, TileReader, record_hash, stored_hash_index};

use crate::{
    Error, Finding,
    checkpoint::{Checkpoint, TreeHead},
    key::Trusted,
    proof, prune,
    store::Store,
    tile::{self, CHECKPOINT, HEIGHT, Kind, Tile, WIDTH},
};

/// How many bundles are fetched ahead.
const AHEAD: usize = 4;
/// How many hash tiles are kept: 4 MiB.
const MAX_CACHED: usize = 512;

/// An entry and its place.
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
    cache: Mutex<HashMap<tlog_tiles::Tile, Bytes>>,
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
        reader.minimum = prune::minimum(&reader.store, &reader.trusted).await?;
        Ok(reader)
    }

    /// A reader of the log as of a checkpoint that was read before.
    pub(crate) fn at(store: Store, trusted: Trusted, checkpoint: Checkpoint) -> Self {
        Self { store, trusted, checkpoint, minimum: 0, cache: Mutex::default() }
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
        let hashes = self.authenticated(self.checkpoint.head(), |reader| tlog_tiles::prove_record(size, index, reader)).await?;
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
        self.authenticated(self.checkpoint.head(), |reader| tlog_tiles::tree_hash(size, reader)).await
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
        self.authenticated(self.checkpoint.head(), |reader| tlog_tiles::prove_tree(self.size(), size, reader)).await
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
        let first = index * WIDTH;
        self.stored_hashes((first..first + self.width(index)).map(|leaf| stored_hash_index(0, leaf)).collect()).await
    }

    /// Hashes by their index in the tree, verified against the checkpoint.
    pub(crate) async fn stored_hashes(&self, indexes: Vec<u64>) -> Result<Vec<Hash>, Error> {
        use tlog_tiles::HashReader;
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        self.authenticated(self.checkpoint.head(), |reader| reader.read_hashes(&indexes)).await
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

    /// Runs a computation on hashes of the tree. It is repeated with more tiles until it has all; `tlog_tiles` verifies each against the root.
    async fn authenticated<T>(
        &self,
        head: TreeHead,
        compute: impl Fn(&TileHashReader<'_>) -> Result<T, tlog_tiles::Error>,
    ) -> Result<T, Error> {
        let mut tiles = HashMap::new();
        loop {
            let missing = {
                let source = Tiles { have: &tiles, cache: &self.cache, missing: RefCell::default() };
                match compute(&TileHashReader::new(head.size, head.root, &source)) {
                    Ok(value) => return Ok(value),
                    Err(error) if source.missing.borrow().is_empty() => {
                        let reason = format!("the hash tiles do not give the root in the checkpoint ({error})");
                        let first = tiles.keys().map(Tile::of).min_by_key(|tile| tile.first_entry());
                        let tile = first.unwrap_or(Tile::new(Kind::Hashes(0), 0, WIDTH));
                        return Err(Finding::DamagedTile { path: tile.path(), index: tile.first_entry(), reason }.into());
                    }
                    Err(_) => source.missing.into_inner(),
                }
            };
            let fetched = futures::future::try_join_all(missing.iter().map(|tile| self.hash_tile(Tile::of(tile)))).await?;
            tiles.extend(missing.into_iter().zip(fetched.iter().map(|hashes| tile::encode(hashes))));
        }
    }
}

/// The tiles that were fetched so far.
struct Tiles<'a> {
    have: &'a HashMap<tlog_tiles::Tile, Bytes>,
    cache: &'a Mutex<HashMap<tlog_tiles::Tile, Bytes>>,
    missing: RefCell<Vec<tlog_tiles::Tile>>,
}

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::with_capacity(tiles.len());
        for tile in tiles {
            match self.have.get(tile).or_else(|| cache.get(tile)) {
                Some(bytes) if bytes.len() == tile.width() as usize * HASH_SIZE => found.push(bytes.to_vec()),
                _ => self.missing.borrow_mut().push(*tile),
            }
        }
        if self.missing.borrow().is_empty() { Ok(found) } else { Err(tlog_tiles::Error::BadMath) }
    }

    fn save_tiles(&self, tiles: &[tlog_tiles::Tile], data: &[Vec<u8>]) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for (tile, data) in tiles.iter().zip(data) {
            if cache.len() >= MAX_CACHED {
                cache.clear();
            }
            if !cache.contains_key(tile) {
                cache.insert(*tile, Bytes::copy_from_slice(data));
            }
        }
    }
}
