//! How current the watches of this process are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch as channel},
    time::{Instant, timeout},
};

/// Longest wait of a list for a page of another list: a page that hangs delays other watches no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// An older copy of the API server's store was restored. Watches that ran before wait for versions that do not exist yet, and miss all
/// changes: everything must be listed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server's store was restored to an older state: this process must restart to list all objects again")]
pub struct StoreRestored;

/// All watches of a process. Clones share the same state.
#[derive(Clone, Debug)]
pub struct Watches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: Mutex<All>,
    /// Counts changes of what readiness reports.
    news: channel::Sender<u64>,
    went_back: channel::Sender<bool>,
    /// Permits one page of a list at a time: see [`Place::page_permit`].
    pages: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct All {
    next: u64,
    watches: BTreeMap<u64, State>,
    restarts: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct State {
    what: &'static str,
    current: Option<Instant>,
    stale: bool,
}

/// The entry of one watch. It counts until it is dropped.
#[derive(Debug)]
pub struct Place {
    watches: Watches,
    number: u64,
    what: &'static str,
}

impl Default for Watches {
    fn default() -> Self {
        Self(Arc::new(Shared {
            all: Mutex::default(),
            news: channel::Sender::new(0),
            went_back: channel::Sender::new(false),
            pages: Arc::new(Semaphore::new(1)),
        }))
    }
}

impl Watches {
    /// Registers a watch of `what`, such as `roles`. Several watches may have the same name.
    #[must_use]
    pub fn place(&self, what: &'static str) -> Place {
        let mut all = self.0.all.lock();
        let number = all.next;
        all.next += 1;
        all.watches.insert(number, State { what, current: None, stale: false });
        all.restarts.entry(what).or_default();
        Place { watches: self.clone(), number, what }
    }

    /// Returns the names of which at least one watch is stale.
    #[must_use]
    pub fn stale(&self) -> Vec<&'static str> {
        let mut stale: Vec<_> = self.0.all.lock().watches.values().filter(|state| state.stale).map(|state| state.what).collect();
        stale.dedup();
        stale
    }

    /// Returns for each name the seconds since its watch was last current, the maximum of several. Watches that were never current are
    /// omitted.
    #[must_use]
    pub fn ages(&self) -> Vec<(String, i64)> {
        let mut ages: BTreeMap<&'static str, i64> = BTreeMap::new();
        for state in self.0.all.lock().watches.values() {
            let Some(current) = state.current else { continue };
            let age = i64::try_from(current.elapsed().as_secs()).unwrap_or(i64::MAX);
            let oldest = ages.entry(state.what).or_default();
            *oldest = age.max(*oldest);
        }
        ages.into_iter().map(|(what, age)| (what.to_owned(), age)).collect()
    }

    /// Returns for each name, present or past, how often a stale watch was restarted.
    #[must_use]
    pub fn restarts(&self) -> Vec<(String, u64)> {
        self.0.all.lock().restarts.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
    }

    /// Calls `told` now and after each change, forever: whether a watch is stale.
    pub async fn tell(&self, told: impl Fn(bool)) {
        let mut news = self.0.news.subscribe();
        loop {
            told(!self.stale().is_empty());
            if news.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Returns when a watch of a kind that only the API server itself serves was ahead of the store: an older copy was restored.
    pub async fn went_back(&self) {
        // The sender lives in `self`, so the channel cannot close while a caller waits here.
        let _ = self.0.went_back.subscribe().wait_for(|went_back| *went_back).await;
    }
}

impl Place {
    /// Permits one page of a list. A starting process may have to list tens of thousands of objects, and the API server must serve other
    /// calls meanwhile, above all revocations. Returns `None` after a second; the page is then listed without a permit.
    pub async fn page_permit(&self) -> Option<OwnedSemaphorePermit> {
        timeout(LONGEST_WAIT, self.watches.0.pages.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Returns the name of what is watched.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
    }

    /// Marks the watch as current: it delivered an event, or a list showed that there was none to deliver.
    pub fn current(&self) {
        let changed = self.watches.0.all.lock().watches.get_mut(&self.number).is_some_and(|state| {
            state.current = Some(Instant::now());
            std::mem::take(&mut state.stale)
        });
        if changed {
            self.watches.0.news.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Marks the watch as stale. `went_back` is true where the API server's whole store was restored.
    pub fn stale(&self, went_back: bool) {
        let mut all = self.watches.0.all.lock();
        if let Some(state) = all.watches.get_mut(&self.number) {
            state.stale = true;
        }
        *all.restarts.entry(self.what).or_default() += 1;
        drop(all);
        self.watches.0.news.send_modify(|count| *count = count.wrapping_add(1));
        if went_back {
            self.watches.0.went_back.send_replace(true);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.watches.0.all.lock().watches.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lists_take_turns_and_a_page_that_hangs_delays_the_next_by_a_second() {
        let watches = Watches::default();
        let (requests, roles) = (watches.place("requests"), watches.place("roles"));
        let hangs = requests.page_permit().await;
        assert!(hangs.is_some());
        let start = Instant::now();
        assert!(roles.page_permit().await.is_none(), "the page of another watch is under way");
        assert_eq!(start.elapsed(), LONGEST_WAIT);
        drop(hangs);
        assert!(roles.page_permit().await.is_some() && start.elapsed() == LONGEST_WAIT, "a free permit does not wait");
    }

    #[tokio::test]
    async fn f18_that_the_store_went_back_is_told_once_a_watch_of_the_api_server_shows_it() {
        let watches = Watches::default();
        let (ours, theirs) = (watches.place("requests"), watches.place("namespaces"));
        ours.stale(false);
        assert!(tokio::time::timeout(Duration::from_millis(20), watches.went_back()).await.is_err());
        theirs.stale(true);
        watches.went_back().await;
    }
}
