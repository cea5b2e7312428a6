//! Turns: what must not be decided twice at a time. Who finds one taken holds no worker while it waits: it is worked on again when the
//! turn is free.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use crate::queue::Queue;
use kube_io::cache::Key;

/// When a request looks again whose turn has not come, if nobody tells it earlier: the one that was told may be gone.
pub const AT_LEAST: Duration = Duration::from_secs(1);
/// Most turns that are remembered though nobody has them. Whoever waits for one that is forgotten looks again by itself.
const MOST_FREE: usize = 1_024;

/// Turns, each named by a `T`. What has several names, such as a person with a user name and a UID, takes the turns of all of them at once.
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

/// Turns that are taken, until this is dropped.
pub struct Turn<'t, T: Eq + Hash> {
    turns: &'t Turns<T>,
    names: Vec<T>,
}

impl<T: Clone + Eq + Hash> Turns<T> {
    /// All free. Those whose turn comes are added to `queue`.
    pub fn new(queue: Queue<Key>) -> Self {
        Self { all: Mutex::default(), queue }
    }

    /// Takes the turns `names` for the request `key`, all or none: none where another request has one of them. Without a name there is
    /// nothing to wait for.
    pub fn take(&self, names: Vec<T>, key: &Key) -> Option<Turn<'_, T>> {
        let mut all = self.lock();
        if must_wait(&mut all, &names, key) {
            return None;
        }
        for name in &names {
            let line = all.entry(name.clone()).or_default();
            line.taken = true;
            line.waiting.retain(|other| other != key);
        }
        Some(Turn { turns: self, names })
    }

    /// True where another request has one of the turns; then `key` waits for it.
    pub fn must_wait(&self, names: &[T], key: &Key) -> bool {
        must_wait(&mut self.lock(), names, key)
    }
}

fn must_wait<T: Eq + Hash>(all: &mut HashMap<T, Line>, names: &[T], key: &Key) -> bool {
    for name in names {
        if let Some(line) = all.get_mut(name).filter(|line| line.taken) {
            line.wait(key);
            return true;
        }
    }
    false
}

impl<T: Eq + Hash> Turns<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<T, Line>> {
        self.all.lock()
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
        !self.names.is_empty()
    }
}

impl<T: Eq + Hash> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut all = self.turns.lock();
        for name in &self.names {
            let Some(line) = all.get_mut(name) else { continue };
            line.taken = false;
            match line.waiting.pop_front() {
                Some(next) => self.turns.queue.add(next),
                None => drop(all.remove(name)),
            }
        }
        if all.len() > MOST_FREE {
            all.retain(|_, line| line.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex as Seen;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::queue::{Next, queue};
    use kube_io::{backoff::Backoff, clock::Clock};

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

    #[tokio::test(start_paused = true)]
    async fn f16_who_waits_for_a_turn_holds_no_worker() {
        let (queue, worker) = queue(Clock::system(), BACKOFF);
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
                let person = key.name.split('-').next().map(str::to_owned).into_iter().collect();
                let Some(_turn) = turns.take(person, &key) else { return Next::In(AT_LEAST) };
                if key.name.starts_with("greedy") {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                }
                done.lock().push((key.name, start.elapsed().as_secs()));
                Next::Done
            }
        };
        let _ = tokio::time::timeout(Duration::from_mins(2), worker.run(2, CancellationToken::new(), work)).await;
        let done = std::mem::take(&mut *done.lock());
        assert_eq!(done.first(), Some(&("other".to_owned(), 0)), "{done:?}");
        assert_eq!(done.len(), 5, "{done:?}");
        assert_eq!(done.last().map(|(_, at)| *at), Some(40), "each is worked on as soon as its turn is free: {done:?}");
        assert!(turns.lock().is_empty(), "what nobody has is forgotten");
    }

    #[tokio::test]
    async fn f13_who_shares_one_of_two_names_waits_and_nobody_holds_half_of_them() {
        let (queue, _worker) = queue(Clock::system(), BACKOFF);
        let turns = Turns::new(queue);
        let key = |name: &str| Key::new("payments", name);
        let names = |names: &[&'static str]| names.to_vec();
        let anna = turns.take(names(&["name:anna", "uid:1"]), &key("anna")).unwrap();
        assert!(turns.take(names(&["name:anna.schmidt", "uid:1"]), &key("renamed")).is_none(), "the same UID under another name");
        assert!(turns.take(names(&["name:anna", "uid:2"]), &key("again")).is_none(), "the same name under another UID");
        let other = turns.take(names(&["name:anna.schmidt", "uid:2"]), &key("other"));
        assert!(other.is_some(), "a turn that was refused was not half taken");
        drop((anna, other));
        assert!(turns.take(names(&["name:anna.schmidt", "uid:1"]), &key("renamed")).is_some());
    }
}
