//! Permits that are shared by all callers, so that no caller can starve the others (T26).
//!
//! Callers are distinguished by their address, since the webhook does not authenticate callers. A caller with many addresses can take more
//! than one part, but the total limit applies to them too.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use process::http_server::Peer;

/// A number of permits for all callers, of which each address can have a part.
#[derive(Debug)]
pub(super) struct Fair {
    all: Semaphore,
    part: u32,
    peers: Mutex<HashMap<Peer, Weak<Semaphore>>>,
}

/// Acquired permits. They are released on drop.
#[derive(Debug)]
pub(super) struct Permits<'f> {
    _all: Option<SemaphorePermit<'f>>,
    _own: Option<OwnedSemaphorePermit>,
}

impl Fair {
    /// Returns `permits` for all callers, of which each address can have at most `part`.
    pub fn new(permits: u32, part: u32) -> Self {
        Self { all: Semaphore::new(size(permits)), part: part.min(permits), peers: Mutex::default() }
    }

    /// Acquires so many permits, or as many as one address can have. Waiting for the permits of an address delays no other address. Permits
    /// of all are granted in the order of the calls.
    pub async fn acquire(&self, peer: Option<Peer>, permits: u32) -> Permits<'_> {
        let permits = permits.clamp(1, self.part);
        // The semaphores are never closed; if one were, no call would have to wait.
        let own = match peer {
            Some(peer) => self.own(peer).acquire_many_owned(permits).await.ok(),
            None => None,
        };
        Permits { _all: self.all.acquire_many(permits).await.ok(), _own: own }
    }

    fn own(&self, peer: Peer) -> Arc<Semaphore> {
        let mut peers = self.peers.lock();
        if let Some(own) = peers.get(&peer).and_then(Weak::upgrade) {
            return own;
        }
        // At most one entry per connection remains.
        peers.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(size(self.part)));
        peers.insert(peer, Arc::downgrade(&own));
        own
    }
}

fn size(permits: u32) -> usize {
    usize::try_from(permits).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as the callers know an address")]
    fn peer(number: u8) -> Option<Peer> {
        Some(Peer(Ipv4Addr::new(10, 0, 0, number).into()))
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn f09_f51_one_address_keeps_nobody_else_waiting() {
        let fair = Fair::new(8, 4);
        let all_of_one = [fair.acquire(peer(1), 3).await, fair.acquire(peer(1), 1).await];
        assert!(timeout(LONG, fair.acquire(peer(1), 1)).await.is_err(), "it has its part");
        let waiting: Vec<_> = (0..100).map(|_| Box::pin(fair.acquire(peer(1), 4))).collect();
        let mut waiting = futures::future::join_all(waiting);
        assert!(timeout(LONG, &mut waiting).await.is_err());
        let other = timeout(LONG, fair.acquire(peer(2), 4)).await;
        assert!(other.is_ok(), "however many of the first wait");
        assert!(timeout(LONG, fair.acquire(peer(3), 1)).await.is_err(), "there is a bound for all");
        drop(other);
        assert!(timeout(LONG, fair.acquire(peer(3), 4)).await.is_ok());
        drop(all_of_one);
    }

    #[tokio::test(start_paused = true)]
    async fn f09_what_is_asked_for_has_a_cap() {
        let fair = Fair::new(8, 4);
        let most = timeout(LONG, fair.acquire(peer(1), 49)).await;
        assert!(most.is_ok(), "more than its part is its part");
        assert!(timeout(LONG, fair.acquire(None, 4)).await.is_ok(), "and leaves the rest");
        drop(most);
        assert!(timeout(LONG, fair.acquire(peer(1), 4)).await.is_ok(), "they come back");
        fair.acquire(peer(2), 1).await;
        assert_eq!(fair.peers.lock().len(), 1, "who has none is forgotten");
    }
}
