//! The right edge of the tree: all that is needed to append to it.

use tlog_tiles::{EMPTY_HASH, Hash, node_hash};

use crate::tile::{Kind, Tile, WIDTH};

/// The hashes of the incomplete tile of each level. From these follow the root and, with a new leaf, all new tiles. It has at most 255 hashes
/// for each level, whatever the size of the tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    levels: Vec<Vec<Hash>>,
    size: u64,
}

impl Edge {
    /// Returns the edge of a tree from the hashes of its incomplete tiles, level 0 first.
    pub(crate) const fn from_levels(levels: Vec<Vec<Hash>>, size: u64) -> Self {
        Self { levels, size }
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the incomplete tile of a level.
    pub(crate) fn level(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Appends the hash of an entry, and passes on each hash tile that it completes.
    pub(crate) fn push(&mut self, leaf: Hash, mut completed: impl FnMut(Tile, &[Hash])) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0_u8.. {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else { return };
            hashes.push(hash);
            if hashes.len() as u64 != WIDTH {
                return;
            }
            let index = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            completed(Tile::new(Kind::Hashes(level), index, WIDTH), hashes);
            hash = perfect(hashes);
            hashes.clear();
        }
    }

    /// The incomplete hash tiles of the right edge, level 0 first, which are not empty.
    pub(crate) fn partials(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        edge_tiles(self.size).map(|tile| (tile, self.level(tile.level())))
    }

    /// The root by RFC 6962.
    pub(crate) fn root(&self) -> Hash {
        let mut root = None;
        // From the right: the smallest complete subtree first.
        for hashes in &self.levels {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let (left, subtree) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
                let subtree = perfect(subtree);
                root = Some(root.map_or(subtree, |right| node_hash(subtree, right)));
                rest = left;
            }
        }
        root.unwrap_or(EMPTY_HASH)
    }
}

/// The incomplete hash tiles of a tree of this size, level 0 first, which are not empty.
pub(crate) fn edge_tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0_u8..7)
        .map(move |level| (level, size >> (8 * u32::from(level))))
        .filter(|(_, count)| count % WIDTH != 0)
        .map(|(level, count)| Tile::new(Kind::Hashes(level), count / WIDTH, count % WIDTH))
}

/// The number of levels that a tree of this size has.
pub(crate) fn levels(size: u64) -> usize {
    (0_u32..7).filter(|level| size >> (8 * level) > 0).count()
}

/// The hash of a subtree whose number of hashes is a power of two.
pub(crate) fn perfect(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => EMPTY_HASH,
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(perfect(left), perfect(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tlog_tiles::record_hash;

    use super::*;

    /// The definition in RFC 6962, section 2.1.
    fn naive(hashes: &[Hash]) -> Hash {
        match hashes {
            [] => EMPTY_HASH,
            [hash] => *hash,
            _ => {
                let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
                node_hash(naive(left), naive(right))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_root_is_that_of_the_definition(size in prop_oneof![20 => 0_u64..2600, 1 => Just(65_536 + 256 + 1)]) {
            let leaves: Vec<Hash> = (0..size).map(|number| record_hash(&number.to_be_bytes())).collect();
            let mut edge = Edge::default();
            let mut tiles = 0;
            for leaf in &leaves {
                edge.push(*leaf, |_, _| tiles += 1);
            }
            prop_assert_eq!(edge.root(), naive(&leaves));
            prop_assert_eq!(tiles, size / 256 + size / 65_536);
            prop_assert_eq!(edge.partials().map(|(tile, hashes)| { assert_eq!(tile.width, hashes.len() as u64); 1 }).sum::<usize>(), edge_tiles(size).count());
        }
    }
}
