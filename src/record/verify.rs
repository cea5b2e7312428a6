//! The verification of a whole log: everything is computed from the entries, and whatever differs from what was signed is named.
//!
//! It reads each file once, in order, and holds a few bundles in memory, whatever the size of the log.

use futures::StreamExt;
use tlog_tiles::{Hash, record_hash, stored_hash_index};

use crate::{
    Error, Finding,
    checkpoint::{Checkpoint, TreeHead},
    key::Trusted,
    reader::Reader,
    store::Store,
    tile::{self, CHECKPOINT, Kind, Tile, WIDTH},
    tree::{self, Edge},
};

mod compare;

use compare::Compare;

/// How many bundles are fetched ahead.
const AHEAD: usize = 8;
/// After so many findings it stops looking for more.
const MAX_FINDINGS: usize = 1000;

/// What is known of the log from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Tree heads that were remembered, such as in the annotation of the Lease: the log must continue each of them.
    pub remembered: Vec<TreeHead>,
    /// Checkpoints of this log that someone else has, as signed notes: the log must continue each of them too.
    pub checkpoints: Vec<Checkpoint>,
}

/// How far the verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The entries that were verified or skipped because they were pruned.
    pub done: u64,
    /// The entries of the log.
    pub total: u64,
}

/// What the verification found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The checkpoint that the log was compared with. `None`: it has no valid one, and a finding says why.
    pub checkpoint: Option<Checkpoint>,
    /// The index of the first entry that was verified. It is 0 unless the log was pruned.
    pub first: u64,
    /// The sizes of known tree heads that cannot be compared any more, since the entries before them were pruned.
    pub unknown: Vec<u64>,
    /// What is wrong, in the order of the entries. Empty: the log is exactly what was signed, and continues all that is known.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Reports whether nothing is wrong.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies a log from its first to its last entry, and calls `progress` after every bundle of 256 entries.
///
/// # Errors
///
/// Only what kept it from reading: [`Error::Retry`], [`Error::Denied`], [`Error::NoLog`] for a store without a log of which nothing is known.
/// Everything that is wrong with the log is in the report.
pub async fn verify(store: Store, trusted: Trusted, known: &Known, mut progress: impl FnMut(Progress)) -> Result<Report, Error> {
    let mut report = Report::default();
    let largest = known.remembered.iter().map(|head| head.size).chain(known.checkpoints.iter().map(Checkpoint::size)).max().unwrap_or(0);
    let mut reader = match Reader::open(store.clone(), trusted.clone()).await {
        Ok(reader) => reader,
        Err(Error::NoLog(_)) if largest > 0 || !store.storage().list("tile/", 1).await?.is_empty() => {
            report.findings.push(Finding::MissingCheckpoint { known: largest });
            return Ok(report);
        }
        Err(Error::Corrupt(finding)) => {
            let bad_minimum = matches!(*finding, Finding::BadMinimum { .. });
            report.findings.push(*finding);
            // Without a statement that can be trusted, nothing was pruned.
            match store.get(CHECKPOINT).await? {
                Some(object) if bad_minimum => Reader::at(store, trusted.clone(), Checkpoint::parse(&object.bytes, &trusted)?),
                _ => return Ok(report),
            }
        }
        Err(error) => return Err(error),
    };
    if reader.minimum() > reader.size() {
        let reason = format!("it says that the entries before {} were pruned, and the log has {}", reader.minimum(), reader.size());
        report.findings.push(Finding::BadMinimum { reason });
        reader = Reader::at(reader.store.clone(), trusted, reader.checkpoint().clone());
    }
    report.checkpoint = Some(reader.checkpoint().clone());
    let mut pass = match Pass::begin(&reader).await {
        Ok(pass) => pass,
        Err(Error::Corrupt(finding)) => {
            report.findings.push(*finding);
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    report.first = pass.edge.size();
    pass.heads = heads(known, &reader, &mut report);
    pass.compare_heads(&mut report.findings);
    let bundles = report.first / WIDTH..reader.size().div_ceil(WIDTH);
    let this = &reader;
    let mut fetched = std::pin::pin!(
        futures::stream::iter(bundles)
            .map(|index| async move {
                let (entries, hashes) =
                    (Tile::new(Kind::Entries, index, this.width(index)), Tile::new(Kind::Hashes(0), index, this.width(index)));
                (index, futures::future::join(this.tile(entries), this.hash_tile(hashes)).await)
            })
            .buffered(AHEAD)
    );
    while let Some((index, (entries, hashes))) = fetched.next().await {
        pass.bundle(index, entries, hashes, &mut report.findings).await?;
        progress(Progress { done: pass.edge.size(), total: reader.size() });
        if report.findings.len() >= MAX_FINDINGS {
            return Ok(report);
        }
    }
    pass.end(&mut report.findings).await?;
    Ok(report)
}

/// A tree head to compare when the computation reaches its size.
struct Head {
    head: TreeHead,
    signed: bool,
}

fn heads(known: &Known, reader: &Reader, report: &mut Report) -> Vec<Head> {
    let remembered = known.remembered.iter().map(|head| Head { head: *head, signed: false });
    let signed = known.checkpoints.iter().map(|checkpoint| Head { head: checkpoint.head(), signed: true });
    let mut heads: Vec<Head> = remembered.chain(signed).collect();
    heads.sort_by_key(|head| head.head.size);
    heads.retain(|known| {
        let size = known.head.size;
        if size > reader.size() {
            report.findings.push(Finding::Truncated { index: reader.size(), known: size });
        } else if size < report.first {
            report.unknown.push(size);
        }
        size <= reader.size() && size >= report.first
    });
    heads.reverse();
    heads
}

/// One pass over the log.
struct Pass<'a> {
    reader: &'a Reader,
    edge: Edge,
    /// The largest first: the next one is at the end.
    heads: Vec<Head>,
    compare: Compare,
    /// Stored hash tiles that differ from the computed ones, and the slots that do.
    suspects: Vec<(Tile, u64, u64)>,
    /// Computed hashes were used for some bundle although the stored hash tile has others.
    uncertain: bool,
}

impl<'a> Pass<'a> {
    /// Begins at the first bundle that was not pruned, with the verified hashes of all before it.
    async fn begin(reader: &'a Reader) -> Result<Self, Error> {
        let start = reader.minimum() / WIDTH * WIDTH;
        let mut levels = Vec::new();
        for level in 0..u8::try_from(tree::levels(start)).unwrap_or(0) {
            let count = start >> (8 * u32::from(level));
            let indexes = (count / WIDTH * WIDTH..count).map(|index| stored_hash_index(8 * level, index)).collect();
            levels.push(reader.stored_hashes(indexes).await?);
        }
        Ok(Self {
            reader,
            edge: Edge::from_levels(levels, start),
            heads: Vec::new(),
            compare: Compare::default(),
            suspects: Vec::new(),
            uncertain: false,
        })
    }

    async fn bundle(
        &mut self,
        index: u64,
        entries: Result<bytes::Bytes, Error>,
        stored: Result<Vec<Hash>, Error>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let tile = Tile::new(Kind::Entries, index, self.reader.width(index));
        let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
        let stored = or_finding(stored, findings)?;
        let mut complete = true;
        let computed: Option<Vec<Hash>> = match or_finding(entries, findings)?.map(|bytes| tile::leaves(&bytes)) {
            Some(Ok(mut leaves)) => {
                complete = leaves.len() == width;
                if self.compare.may_be_longer() {
                    leaves.truncate(width);
                }
                Some(leaves.iter().map(|leaf| record_hash(leaf)).collect())
            }
            Some(Err(reason)) => {
                findings.push(Finding::DamagedTile { path: tile.path(), index: tile.first_entry(), reason });
                None
            }
            None => None,
        };
        let hashes = match (computed, stored) {
            (Some(computed), Some(stored)) if computed == stored => computed,
            (None, None) => {
                // Nothing of it can be read. What follows is computed with the hash of the tile above, if there is one.
                return self.skip(index).await;
            }
            (None, Some(stored)) => stored,
            (Some(computed), None) if complete => computed,
            (computed, _) => {
                let computed = computed.unwrap_or_default();
                match self.reader.leaf_hashes(index).await {
                    Ok(signed) if computed == signed => {
                        self.suspects.push((Tile::new(Kind::Hashes(0), index, tile.width), 0, tile.width - 1));
                        signed
                    }
                    Ok(signed) => {
                        self.compare.bundle(tile.first_entry(), &computed, &signed, findings);
                        signed
                    }
                    Err(Error::Corrupt(_)) => {
                        self.suspects.push((Tile::new(Kind::Hashes(0), index, tile.width), 0, tile.width - 1));
                        self.uncertain = true;
                        let mut computed = computed;
                        computed.resize(width, tlog_tiles::EMPTY_HASH);
                        computed
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        for hash in hashes {
            let mut completed = Vec::new();
            self.edge.push(hash, |tile, hashes| completed.push((tile, hashes.to_vec())));
            self.compare_heads(findings);
            for (tile, hashes) in completed.into_iter().filter(|(tile, _)| tile.level() > 0) {
                self.compare_tile(tile, &hashes, findings).await?;
            }
        }
        Ok(())
    }

    /// Goes over a bundle of which neither the entries nor the hashes can be read.
    async fn skip(&mut self, index: u64) -> Result<(), Error> {
        self.uncertain = true;
        let width = self.reader.width(index);
        for _ in 0..width {
            self.edge.push(tlog_tiles::EMPTY_HASH, |_, _| {});
        }
        if width == WIDTH
            && let Ok(signed) = self.reader.stored_hashes(vec![stored_hash_index(8, index)]).await
        {
            let mut levels: Vec<Vec<Hash>> = (0..7).map(|level| self.edge.level(level).to_vec()).collect();
            if let (Some(slot), Some(signed)) = (levels.get_mut(1).and_then(|level| level.last_mut()), signed.first()) {
                *slot = *signed;
                self.uncertain = false;
            }
            self.edge = Edge::from_levels(levels, self.edge.size());
        }
        Ok(())
    }

    async fn compare_tile(&mut self, tile: Tile, computed: &[Hash], findings: &mut Vec<Finding>) -> Result<(), Error> {
        let Some(stored) = or_finding(self.reader.hash_tile(tile).await, findings)? else { return Ok(()) };
        let differs = |(stored, computed): (&Hash, &Hash)| stored != computed;
        let first = stored.iter().zip(computed).position(differs);
        let last = stored.iter().zip(computed).rposition(differs);
        if let (Some(first), Some(last)) = (first, last) {
            self.suspects.push((tile, first as u64, last as u64));
        }
        Ok(())
    }

    fn compare_heads(&mut self, findings: &mut Vec<Finding>) {
        while let Some(known) = self.heads.pop_if(|known| known.head.size <= self.edge.size()) {
            let (index, computed) = (known.head.size, self.edge.root());
            if computed != known.head.root && index == self.edge.size() {
                findings.push(if known.signed {
                    Finding::SplitView { index, other: known.head.root, computed }
                } else {
                    Finding::Rewritten { index, known: known.head.root, computed }
                });
            }
        }
    }

    /// Compares the incomplete tiles and the root, and decides what the tiles that differ mean.
    async fn end(mut self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        self.compare.end(findings);
        let edge: Vec<(Tile, Vec<Hash>)> =
            self.edge.partials().filter(|(tile, _)| tile.level() > 0).map(|(tile, hashes)| (tile, hashes.to_vec())).collect();
        for (tile, hashes) in edge {
            self.compare_tile(tile, &hashes, findings).await?;
        }
        let head = self.reader.checkpoint().head();
        let computed = self.edge.root();
        let entries_are_signed = computed == head.root;
        let before = findings.len();
        for (tile, first, last) in std::mem::take(&mut self.suspects) {
            let slot = |slot: u64| (tile.index * WIDTH + slot) << (8 * u32::from(tile.level()));
            let (index, last) = (slot(first), slot(last + 1).min(head.size) - 1);
            if !entries_are_signed && tile.level() > 0 && self.is_signed(tile).await? {
                findings.push(Finding::Changed { index, last });
            } else if entries_are_signed {
                let reason = "its hashes are not those of the entries".to_owned();
                findings.push(Finding::DamagedTile { path: tile.path(), index, reason });
            }
        }
        if !entries_are_signed && findings.len() == before && (findings.is_empty() || !self.uncertain) {
            findings.push(Finding::RootMismatch { size: head.size, computed, signed: head.root });
        }
        findings.sort_by_key(|finding| finding.index().unwrap_or(u64::MAX));
        findings.dedup();
        Ok(())
    }

    /// Reports whether the stored hash tile is that of the signed tree.
    async fn is_signed(&self, tile: Tile) -> Result<bool, Error> {
        match self.reader.verified_tile(tile.level(), tile.index).await {
            Ok(_) => Ok(true),
            Err(Error::Corrupt(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Takes what is wrong with the log as a finding, and passes on other errors.
fn or_finding<T>(result: Result<T, Error>, findings: &mut Vec<Finding>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Corrupt(finding)) => {
            findings.push(*finding);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
