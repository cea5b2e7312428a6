//! The concurrency limit of a standby that removes due bindings. It is low until its own deletes show that no other client removes them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::front::AT_ONCE;

/// The limit while others may be removing the same bindings. It avoids most deletes that would be made twice.
const FEW: usize = 4;
/// How long a permit counts as used. A call that hangs does not delay the end of another binding.
const LONGEST: SignedDuration = SignedDuration::from_millis(250);

/// The permits of a standby.
#[derive(Debug)]
pub(super) struct Helpers(Mutex<Places>);

#[derive(Debug)]
struct Places {
    most: usize,
    next: u64,
    /// The permits in use, each with its start.
    taken: BTreeMap<u64, Timestamp>,
}

/// A permit, which is released on drop.
#[derive(Debug)]
pub(super) struct Helper<'h> {
    helpers: &'h Helpers,
    number: u64,
    /// True while other clients may be removing the same bindings. Then the binding is read from the API server before it is deleted.
    pub(super) asks_first: bool,
}

impl Default for Helpers {
    fn default() -> Self {
        Self(Mutex::new(Places { most: FEW, next: 0, taken: BTreeMap::new() }))
    }
}

impl Helpers {
    /// Returns a permit, where one is free.
    pub(super) fn take(&self, now: Timestamp) -> Option<Helper<'_>> {
        let mut places = self.0.lock();
        let taken = places.taken.values().filter(|since| (-LONGEST..LONGEST).contains(&now.duration_since(**since))).count();
        if taken >= places.most {
            return None;
        }
        let number = places.next;
        places.next = number.wrapping_add(1);
        places.taken.insert(number, now);
        Some(Helper { helpers: self, number, asks_first: places.most == FEW })
    }

    /// Raises the limit by one, because a delete of this replica has removed a binding.
    pub(super) fn alone(&self) {
        let mut places = self.0.lock();
        places.most = (places.most + 1).min(AT_ONCE);
    }

    /// Lowers the limit, because another client has removed a binding.
    pub(super) fn with_others(&self) {
        self.0.lock().most = FEW;
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.helpers.0.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    fn all(helpers: &Helpers, now: i64) -> Vec<Helper<'_>> {
        std::iter::from_fn(|| helpers.take(at(now))).collect()
    }

    #[test]
    fn there_are_few_until_nobody_else_is_at_it_and_few_again_once_somebody_is() {
        let helpers = Helpers::default();
        let few = all(&helpers, 0);
        assert_eq!(few.len(), FEW);
        assert!(few.iter().all(|helper| helper.asks_first));
        drop(few);
        for _ in 0..AT_ONCE {
            helpers.alone();
        }
        let many = all(&helpers, 0);
        assert_eq!(many.len(), AT_ONCE);
        assert!(many.iter().all(|helper| !helper.asks_first));
        helpers.with_others();
        assert!(helpers.take(at(1)).is_none());
        drop(many);
        assert_eq!(all(&helpers, 1).len(), FEW);
    }

    #[test]
    fn what_hangs_takes_no_place() {
        let helpers = Helpers::default();
        let _hanging = all(&helpers, 0);
        assert!(helpers.take(at(249)).is_none());
        assert_eq!(all(&helpers, 250).len(), FEW);
    }
}
