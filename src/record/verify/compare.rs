//! What an attacker did to entries, from the hashes of what is there and of what was signed.

use tlog_tiles::Hash;

use crate::{Finding, tile::WIDTH};

/// How many edited entries are remembered, to find out whether they were only reordered.
const MAX_EDITED: usize = 4096;

/// An entry whose hash is not the signed one.
struct Edited {
    index: u64,
    found: Hash,
    signed: Hash,
}

/// Collects the differences of all bundles.
#[derive(Default)]
pub(super) struct Compare {
    edited: Vec<Edited>,
    /// By how many indices the entries have moved up, since so many were removed before them. Negative: moved down, since some were inserted.
    shift: i64,
}

impl Compare {
    /// Reports whether a bundle may have more entries than it needs: a full one instead of a partial one.
    pub(super) const fn may_be_longer(&self) -> bool {
        self.shift == 0
    }

    /// Compares a bundle that differs.
    pub(super) fn bundle(&mut self, first: u64, found: &[Hash], signed: &[Hash], findings: &mut Vec<Finding>) {
        if self.shift != 0 && continues(found, signed, self.shift) {
            return;
        }
        let start = found.iter().zip(signed).take_while(|(found, signed)| found == signed).count();
        // Entries at the end of the bundle before may have been moved there already.
        let pending = self.edited.iter().rev().zip(1..).take_while(|(edited, back)| edited.index + back == first).count();
        let (rest, expected) = (found.get(start..).unwrap_or_default(), signed.get(start..).unwrap_or_default());
        let limit = i64::try_from(expected.len().max(rest.len()).min(255)).unwrap_or(0);
        let by = (1..=limit).flat_map(|by| [by, -by]).find(|by| moved(rest, expected, *by));
        let Some(by) = by else {
            if found.len() < signed.len() && rest.is_empty() {
                findings.push(Finding::Removed { index: first + start as u64, count: (signed.len() - found.len()) as u64 });
                return;
            }
            let differing = rest.iter().zip(expected).zip(first + start as u64..).filter(|((found, signed), _)| found != signed);
            for ((found, signed), index) in differing {
                if self.edited.len() < MAX_EDITED {
                    self.edited.push(Edited { index, found: *found, signed: *signed });
                } else {
                    findings.push(Finding::Edited { index });
                }
            }
            if rest.len() < expected.len() {
                findings.push(Finding::Removed { index: first + found.len() as u64, count: (expected.len() - rest.len()) as u64 });
            }
            return;
        };
        // What looked edited at the end of the bundle before was the beginning of this.
        let count = by.unsigned_abs();
        let moved_before = if start == 0 { count.min(pending as u64) } else { 0 };
        self.edited.truncate(self.edited.len() - usize::try_from(moved_before).unwrap_or(0));
        let index = first + start as u64 - moved_before;
        findings.push(if by > 0 { Finding::Removed { index, count } } else { Finding::Inserted { index, count } });
        self.shift = if found.len() as u64 == WIDTH || found.len() == signed.len() { by } else { 0 };
    }

    /// Decides what the entries are that differ one by one.
    pub(super) fn end(&mut self, findings: &mut Vec<Finding>) {
        let edited = std::mem::take(&mut self.edited);
        let sorted = |hash: fn(&Edited) -> Hash| {
            let mut hashes: Vec<[u8; 32]> = edited.iter().map(|edited| hash(edited).0).collect();
            hashes.sort_unstable();
            hashes
        };
        match (edited.first(), edited.last()) {
            (Some(first), Some(last)) if sorted(|edited| edited.found) == sorted(|edited| edited.signed) => {
                findings.push(Finding::Reordered { index: first.index, last: last.index });
            }
            _ => findings.extend(edited.iter().map(|edited| Finding::Edited { index: edited.index })),
        }
    }
}

/// Reports whether the found entries are the signed ones, `by` indices earlier, as far as both are in this bundle.
fn moved(found: &[Hash], signed: &[Hash], by: i64) -> bool {
    let places = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    let (found, signed) =
        if by > 0 { (found, signed.get(places..).unwrap_or_default()) } else { (found.get(places..).unwrap_or_default(), signed) };
    let common = found.len().min(signed.len());
    common > 0 && found.get(..common) == signed.get(..common)
}

/// As [`moved`], for a bundle after the one in which entries were removed or inserted.
fn continues(found: &[Hash], signed: &[Hash], by: i64) -> bool {
    let places = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    moved(found, signed, by) || (by > 0 && found.is_empty() && signed.len() <= places)
}
