//! Turns: what must not be decided twice at a time. Who finds one taken holds no worker while it waits: it is worked on again when the
//! turn is free.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{gather::cache::Key, queue::Queue};

/// When a request looks again whose turn has not come, if nobody tells it earlier: the one that was told may be gone.
pub const AT_LEAST: Duration = Duration::from_secs(1);
/// Most turns that are remembered though nobody has them. Whoever waits for one that is forgotten looks again by itself.
const MOST_FREE: usize = 1_024;

/// Turns, each named by a `T`.
pub struct Turns<T> {
    all: Mutex<HashMap<T, Line>>,
    queue: Queue<Key>,
}

/// Who has a turn, and who waits for it.
#[derive(Default)]
struct Line {
    taken: bool,
    waiting: VecDeque<Key>,
}

/// A turn that is taken, until this is dropped.
pub struct Turn<'t, T: Eq + Hash> {
    turns: &'t Turns<T>,
    name: Option<T>,
}

impl<T: Clone + Eq + Hash> Turns<T> {
    /// All free. Those whose turn comes are added to `queue`.
    pub fn new(queue: Queue<Key>) -> Self {
        Self { all: Mutex::default(), queue }
    }

    /// Takes the turn `name` for the request `key`; none where another request has it. Without a name there is nothing to wait for.
    pub fn take(&self, name: Option<T>, key: &Key) -> Option<Turn<'_, T>> {
        if let Some(name) = &name {
            let mut all = self.lock();
            let line = all.entry(name.clone()).or_default();
            if line.taken {
                line.wait(key);
                return None;
            }
            line.taken = true;
            line.waiting.retain(|other| other != key);
        }
        Some(Turn { turns: self, name })
    }

    /// True where another request has the turn; then `key` waits for it.
    pub fn must_wait(&self, name: Option<&T>, key: &Key) -> bool {
        let mut all = self.lock();
        let Some(line) = name.and_then(|name| all.get_mut(name)).filter(|line| line.taken) else { return false };
        line.wait(key);
        true
    }
}

impl<T: Eq + Hash> Turns<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<T, Line>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn wait(&mut self, key: &Key) {
        if !self.waiting.contains(key) {
            self.waiting.push_back(key.clone());
        }
    }
}

impl<T: Eq + Hash> Turn<'_, T> {
    /// False for the turn of nobody, which everybody has.
    pub const fn has_name(&self) -> bool {
        self.name.is_some()
    }
}

impl<T: Eq + Hash> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let mut all = self.turns.lock();
        let Some(line) = all.get_mut(name) else { return };
        line.taken = false;
        match line.waiting.pop_front() {
            Some(next) => self.turns.queue.add(next),
            None => drop(all.remove(name)),
        }
        if all.len() > MOST_FREE {
            all.retain(|_, line| line.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Seen;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        clock::Clock,
        queue::{Next, Pauses, queue},
    };

    const PAUSES: Pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(1) };

    #[tokio::test(start_paused = true)]
    async fn f16_who_waits_for_a_turn_holds_no_worker() {
        let (queue, worker) = queue(Clock::system(), PAUSES);
        let turns = Turns::new(queue.clone());
        let key = |name: &str| Key::new("payments", name);
        // One person's, of which each takes ten seconds, and one of somebody else behind them all; there are two workers.
        for name in ["greedy-1", "greedy-2", "greedy-3", "greedy-4", "other"] {
            queue.add(key(name));
        }
        let (start, done) = (tokio::time::Instant::now(), Seen::new(Vec::new()));
        let work = |key: Key| {
            let (turns, done) = (&turns, &done);
            async move {
                let person = key.name.split('-').next().map(str::to_owned);
                let Some(_turn) = turns.take(person, &key) else { return Next::In(AT_LEAST) };
                if key.name.starts_with("greedy") {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                }
                done.lock().unwrap().push((key.name, start.elapsed().as_secs()));
                Next::Done
            }
        };
        let _ = tokio::time::timeout(Duration::from_mins(2), worker.run(2, CancellationToken::new(), work)).await;
        let done = std::mem::take(&mut *done.lock().unwrap());
        assert_eq!(done.first(), Some(&("other".to_owned(), 0)), "{done:?}");
        assert_eq!(done.len(), 5, "{done:?}");
        assert_eq!(done.last().map(|(_, at)| *at), Some(40), "each is worked on as soon as its turn is free: {done:?}");
        assert!(turns.lock().is_empty(), "what nobody has is forgotten");
    }
}
