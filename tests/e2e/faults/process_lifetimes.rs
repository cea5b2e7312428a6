//! Random numbers from a seed, and the times at which a process ran that could end a grant.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// Random numbers from a seed that can be printed.
pub struct Random(u64);

impl Random {
    /// A random seed.
    pub fn seed() -> u64 {
        u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1)
    }

    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Returns one of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let number = self.below(u64::try_from(all.len()).unwrap_or(1));
        all[usize::try_from(number).unwrap_or_default()]
    }
}

/// When processes started, and when they were killed, or were disturbed otherwise.
#[derive(Default)]
pub struct Lifetimes {
    running: BTreeMap<usize, Timestamp>,
    ended: Vec<(Timestamp, Timestamp)>,
}

impl Lifetimes {
    /// Records that a process is about to die.
    pub fn killed(&mut self, number: usize) {
        self.ended.extend(self.running.remove(&number).map(|from| (from, Timestamp::now())));
    }

    /// Records that a process was started.
    pub fn started(&mut self, number: usize) {
        self.running.entry(number).or_insert_with(Timestamp::now);
    }

    /// Returns how many have ended.
    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Returns until when a process had had the time that it `needs` for work that was due at `due`.
    pub fn latest_end(&self, due: Timestamp, needs: SignedDuration) -> Timestamp {
        let had_time = |(from, to): (Timestamp, Option<Timestamp>)| {
            let by = from.max(due) + needs;
            to.is_none_or(|to| by <= to).then_some(by)
        };
        let ended = self.ended.iter().map(|(from, to)| (*from, Some(*to)));
        let running = self.running.values().map(|from| (*from, None));
        ended.chain(running).filter_map(had_time).min().unwrap_or(Timestamp::MAX)
    }
}
