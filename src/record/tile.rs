//! The files of a log: their paths, and the encoding of entries.

use bytes::Bytes;
use tlog_tiles::{HASH_SIZE, Hash};

use crate::Error;

/// The number of entries or hashes in a full tile.
pub(crate) const WIDTH: u64 = 256;
/// The height of a tile.
pub(crate) const HEIGHT: u8 = 8;
/// The path of the checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// The path of the statement about pruned entries.
pub(crate) const MINIMUM: &str = "minimum-index";
/// The largest size of a tree. Above it, arithmetic with indices of hashes could overflow.
pub(crate) const MAX_SIZE: u64 = 1 << 48;

/// What a tile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Entries.
    Entries,
    /// Hashes of a level: those of entries at level 0, and those of full tiles of the level below.
    Hashes(u8),
}

/// A tile by its position in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tile {
    pub(crate) kind: Kind,
    pub(crate) index: u64,
    /// 1 to 256; 256 is a full tile.
    pub(crate) width: u64,
}

impl Tile {
    pub(crate) const fn new(kind: Kind, index: u64, width: u64) -> Self {
        Self { kind, index, width }
    }

    pub(crate) const fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    pub(crate) const fn is_full(self) -> bool {
        self.width == WIDTH
    }

    pub(crate) const fn level(self) -> u8 {
        match self.kind {
            Kind::Entries => 0,
            Kind::Hashes(level) => level,
        }
    }

    /// The index of the first entry below the tile.
    pub(crate) fn first_entry(self) -> u64 {
        self.index << (8 * (u32::from(self.level()) + 1))
    }

    /// The index after the last entry below the full tile. A tile of a high level may end beyond all indices.
    pub(crate) fn end(self) -> u64 {
        (self.index + 1).saturating_mul(1 << (8 * (u32::from(self.level()) + 1)))
    }

    /// The path in the log, with the suffix of partial tiles.
    pub(crate) fn path(self) -> String {
        if self.is_full() { self.stem() } else { format!("{}{}", self.partials(), self.width) }
    }

    /// The folder of the partial tiles at this position.
    pub(crate) fn partials(self) -> String {
        format!("{}.p/", self.stem())
    }

    /// The tile at a path.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = if kind == "entries" { Kind::Entries } else { Kind::Hashes(kind.parse().ok().filter(|level| *level < 7)?) };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let digits = |group: &str| group.trim_start_matches('x').parse::<u64>().ok();
        let index = number
            .split('/')
            .try_fold(0_u64, |index, group| index.checked_mul(1000)?.checked_add(digits(group)?))
            .filter(|index| *index < MAX_SIZE)?;
        Some(Self::new(kind, index, width)).filter(|tile| tile.path() == path)
    }

    fn stem(self) -> String {
        match self.kind {
            Kind::Entries => format!("tile/entries/{}", number(self.index)),
            Kind::Hashes(level) => format!("tile/{level}/{}", number(self.index)),
        }
    }
}

/// Returns the index in groups of three digits, so that no folder has many files.
fn number(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// Appends a leaf to a bundle of entries.
pub(crate) fn push_leaf(bundle: &mut Vec<u8>, leaf: &[u8]) -> Result<(), Error> {
    let length = u16::try_from(leaf.len()).map_err(|_| Error::LeafTooLong(leaf.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Ok(())
}

/// Returns the leaves of a bundle, however many it has.
pub(crate) fn leaves(bundle: &Bytes) -> Result<Vec<Bytes>, String> {
    let mut leaves = Vec::new();
    let mut rest = bundle.clone();
    while !rest.is_empty() {
        let (Some(&high), Some(&low)) = (rest.first(), rest.get(1)) else {
            return Err("it ends within the length of an entry".to_owned());
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut leaf = rest.split_off(2);
        if leaf.len() < length {
            return Err(format!("it ends within its entry {}", leaves.len()));
        }
        rest = leaf.split_off(length);
        leaves.push(leaf);
    }
    Ok(leaves)
}

/// Returns the hashes of a hash tile.
pub(crate) fn hashes(data: &[u8]) -> Result<Vec<Hash>, String> {
    let (hashes, rest) = data.as_chunks::<HASH_SIZE>();
    if rest.is_empty() {
        Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
    } else {
        Err(format!("its {} bytes are no sequence of hashes", data.len()))
    }
}

/// Returns the bytes of a hash tile.
pub(crate) fn encode(hashes: &[Hash]) -> Bytes {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        assert_eq!(Tile::new(Kind::Hashes(0), 1_234_067, WIDTH).path(), "tile/0/x001/x234/067");
        assert_eq!(Tile::new(Kind::Entries, 0, 3).path(), "tile/entries/000.p/3");
        assert_eq!(Tile::new(Kind::Hashes(2), 1000, 255).path(), "tile/2/x001/000.p/255");
        assert_eq!(Tile::new(Kind::Hashes(1), 3, 1).first_entry(), 3 << 16);
        for path in ["tile/0/x001/x234/067", "tile/entries/000.p/3", "tile/2/x001/000.p/255"] {
            assert_eq!(Tile::parse(path).unwrap().path(), path);
        }
        for path in
            ["checkpoint", "tile/0/1", "tile/entries/000.p/0", "tile/entries/000.p/256", "tile/0/x001/x001/x999/x999/x999/x999/x999/999"]
        {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_bundle_that_ends_early_is_refused() {
        let mut bundle = Vec::new();
        push_leaf(&mut bundle, b"").unwrap();
        push_leaf(&mut bundle, &vec![7; crate::MAX_LEAF]).unwrap();
        assert!(matches!(push_leaf(&mut bundle, &vec![7; crate::MAX_LEAF + 1]), Err(Error::LeafTooLong(65_536))));
        let bundle = Bytes::from(bundle);
        assert_eq!(leaves(&bundle).unwrap().len(), 2);
        assert!(leaves(&bundle.slice(..bundle.len() - 1)).is_err());
        assert!(leaves(&bundle.slice(..3)).is_err());
    }
}
