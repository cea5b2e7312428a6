//! Random numbers from a seed, and the times at which a process ran that could end a grant.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// Numbers that nobody chose, from a seed that can be told.
pub struct Random(u64);

impl Random {
    /// A seed that nobody chose either.
    pub fn seed() -> u64 {
        u64::try_from(Utc::now().timestamp_micros()).unwrap_or(1)
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

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let number = self.below(u64::try_from(all.len()).unwrap_or(1));
        all[usize::try_from(number).unwrap_or_default()]
    }
}

/// When processes started, and when they were killed, or could do nothing for some other reason.
#[derive(Default)]
pub struct Lives {
    running: BTreeMap<usize, DateTime<Utc>>,
    ended: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Lives {
    /// This one is about to die.
    pub fn killed(&mut self, number: usize) {
        self.ended.extend(self.running.remove(&number).map(|from| (from, Utc::now())));
    }

    /// This one was started.
    pub fn started(&mut self, number: usize) {
        self.running.entry(number).or_insert_with(Utc::now);
    }

    /// How many have ended.
    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Until when somebody had had the time that he `needs` for what was due at `due`.
    pub fn latest_end(&self, due: DateTime<Utc>, needs: TimeDelta) -> DateTime<Utc> {
        let had_time = |(from, to): (DateTime<Utc>, Option<DateTime<Utc>>)| {
            let by = from.max(due) + needs;
            to.is_none_or(|to| by <= to).then_some(by)
        };
        let ended = self.ended.iter().map(|(from, to)| (*from, Some(*to)));
        let running = self.running.values().map(|from| (*from, None));
        ended.chain(running).filter_map(had_time).min().unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}
