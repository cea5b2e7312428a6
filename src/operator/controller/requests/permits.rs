//! Permits for what must not be decided concurrently. A request whose permit is in use holds no worker while it waits. It is requeued when
//! the permit is free.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

use parking_lot::Mutex;

use crate::queue::Queue;
use kube_io::cache::Key;

/// How long a waiting request waits at most before it tries again, because the request that was notified may be gone.
pub const AT_LEAST: Duration = Duration::from_secs(1);
/// The most free permits that are kept. A request that waits for a dropped one tries again by itself.
const MOST_FREE: usize = 1_024;

/// The permits, each named by a `T`. A person with several names, such as a user name and a UID, needs all their permits at once.
pub struct RequesterPermits<T> {
    all: Mutex<HashMap<T, Line>>,
    queue: Queue<Key>,
}

/// The state of a permit and the requests that wait for it.
#[derive(Default)]
struct Line {
    taken: bool,
    waiting: VecDeque<Key>,
}

/// The permits that a request holds, released on drop.
pub struct HeldPermits<'t, T: Eq + Hash> {
    permits: &'t RequesterPermits<T>,
    names: Vec<T>,
}

impl<T: Clone + Eq + Hash> RequesterPermits<T> {
    /// Returns the permits, all free. A request whose permit becomes free is added to `queue`.
    pub fn new(queue: Queue<Key>) -> Self {
        Self { all: Mutex::default(), queue }
    }

    /// Takes the permits `names` for the request `key`, all or none. Returns none where another request holds one of them. Without a name
    /// there is nothing to wait for.
    pub fn take(&self, names: Vec<T>, key: &Key) -> Option<HeldPermits<'_, T>> {
        let mut all = self.all.lock();
        if must_wait(&mut all, &names, key) {
            return None;
        }
        for name in &names {
            let line = all.entry(name.clone()).or_default();
            line.taken = true;
            line.waiting.retain(|other| other != key);
        }
        Some(HeldPermits { permits: self, names })
    }

    /// Returns true where another request holds one of the permits. Then `key` waits for it.
    pub fn must_wait(&self, names: &[T], key: &Key) -> bool {
        must_wait(&mut self.all.lock(), names, key)
    }
}

fn must_wait<T: Eq + Hash>(all: &mut HashMap<T, Line>, names: &[T], key: &Key) -> bool {
    for name in names {
        if let Some(line) = all.get_mut(name).filter(|line| line.taken) {
            if !line.waiting.contains(key) {
                line.waiting.push_back(key.clone());
            }
            return true;
        }
    }
    false
}

impl<T: Eq + Hash> HeldPermits<'_, T> {
    /// Returns false for a permit without a name, which any number of requests may hold.
    pub const fn has_name(&self) -> bool {
        !self.names.is_empty()
    }
}

impl<T: Eq + Hash> Drop for HeldPermits<'_, T> {
    fn drop(&mut self) {
        let mut all = self.permits.all.lock();
        for name in &self.names {
            let Some(line) = all.get_mut(name) else { continue };
            line.taken = false;
            match line.waiting.pop_front() {
                Some(next) => self.permits.queue.add(next),
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
    use crate::{
        observe::queues::QueueMetrics,
        queue::{Next, queue},
    };
    use kube_io::{backoff::Backoff, clock::Clock};

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

    #[tokio::test(start_paused = true)]
    async fn f16_who_waits_for_a_turn_holds_no_worker() {
        let (queue, worker) = queue(Clock::system(), BACKOFF, QueueMetrics::unregistered());
        let permits = RequesterPermits::new(queue.clone());
        let key = |name: &str| Key::new("payments", name);
        // Two workers: four requests of one person take ten seconds each, and one request of another person is behind them.
        for name in ["greedy-1", "greedy-2", "greedy-3", "greedy-4", "other"] {
            queue.add(key(name));
        }
        let (start, done) = (tokio::time::Instant::now(), Seen::new(Vec::new()));
        let work = |key: Key| {
            let (permits, done) = (&permits, &done);
            async move {
                let person = key.name.split('-').next().map(str::to_owned).into_iter().collect();
                let Some(_turn) = permits.take(person, &key) else { return Next::In(AT_LEAST) };
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
        assert_eq!(done.last().map(|(_, at)| *at), Some(40), "each runs as soon as its permit is free: {done:?}");
        assert!(permits.all.lock().is_empty(), "unused permits are dropped");
    }

    #[tokio::test]
    async fn f13_who_shares_one_of_two_names_waits_and_nobody_holds_half_of_them() {
        let (queue, _worker) = queue(Clock::system(), BACKOFF, QueueMetrics::unregistered());
        let permits = RequesterPermits::new(queue);
        let key = |name: &str| Key::new("payments", name);
        let names = |names: &[&'static str]| names.to_vec();
        let anna = permits.take(names(&["name:anna", "uid:1"]), &key("anna")).unwrap();
        assert!(permits.take(names(&["name:anna.schmidt", "uid:1"]), &key("renamed")).is_none(), "the same UID under another name");
        assert!(permits.take(names(&["name:anna", "uid:2"]), &key("again")).is_none(), "the same name under another UID");
        let other = permits.take(names(&["name:anna.schmidt", "uid:2"]), &key("other"));
        assert!(other.is_some(), "a refused permit was not half acquired");
        drop((anna, other));
        assert!(permits.take(names(&["name:anna.schmidt", "uid:1"]), &key("renamed")).is_some());
    }
}
