//! The election: a Lease that one replica at a time writes, by compare-and-swap on its `resourceVersion`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{record::LeaseRecord, restored_store::RestoredStore, uninstallation};
use kube_io::{
    call::{ReadError, WriteError, read, write},
    watches::StoreRestored,
};

/// How long the Lease must be unchanged before another replica takes it over.
const LEASE_DURATION: Duration = Duration::from_secs(6);
/// How often the leader renews the Lease.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// How often the other replicas read the Lease.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long the leader relies on its last renewal. It is less than the lease duration, so that the leader stops before another replica
/// starts.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(5);

/// Whether this replica may grant. It is checked for each grant against the monotonic clock, so a leader that could not renew stops by
/// itself.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: watch::Receiver<Option<Instant>>,
    terms: Arc<AtomicU64>,
}

impl Leadership {
    /// Returns true while this replica is certain to hold the Lease.
    #[must_use]
    pub fn held(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Returns the number of this replica's term while it is certain to hold the Lease. The number changes whenever another replica could
    /// have held the Lease in between.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        self.held().then(|| self.terms.load(Ordering::Acquire))
    }
}

/// The elector of one replica. It does not interpret the record on the Lease.
pub struct Elector<R> {
    identity: String,
    name: String,
    record: Arc<R>,
    until: watch::Sender<Option<Instant>>,
    leading: watch::Sender<bool>,
    terms: Arc<AtomicU64>,
}

/// The Lease as this replica observes it.
#[derive(Debug, Default)]
struct Observed {
    version: Option<String>,
    /// Since when it has not changed.
    since: Option<Instant>,
    /// Its record when it was last read.
    record: String,
    /// It was renewed while this replica observed it, so its holder is alive.
    renewed: bool,
    /// The version that was verified to belong to an uninstallation, or not.
    verified: Option<(Option<String>, bool)>,
}

impl Observed {
    fn note(&mut self, lease: &Lease, annotation: &str) {
        self.record = annotation_of(lease, annotation).unwrap_or_default();
        if self.version != lease.metadata.resource_version || self.since.is_none() {
            self.renewed |= self.since.is_some();
            (self.version, self.since) = (lease.metadata.resource_version.clone(), Some(Instant::now()));
        }
    }
}

impl Observed {
    /// Returns whether the Lease is held to uninstall this installation. The answer is kept while the Lease does not change.
    async fn is_uninstalled(&mut self, api: &Api<Lease>, found: &Lease) -> Result<bool, ReadError> {
        if let Some((version, verified)) = &self.verified
            && *version == found.metadata.resource_version
        {
            return Ok(*verified);
        }
        let verified = uninstallation::is_ours(&api.clone().into_client(), found).await?;
        if verified {
            warn!(at_most = ?uninstallation::HOLD, "jit-rbac is being uninstalled: nothing is granted while its Lease is held for that");
        }
        self.verified = Some((found.metadata.resource_version.clone(), verified));
        Ok(verified)
    }
}

fn annotation_of(lease: &Lease, annotation: &str) -> Option<String> {
    lease.metadata.annotations.as_ref().and_then(|all| all.get(annotation)).cloned()
}

/// The next step for a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Write the Lease, because no other replica holds it.
    Take,
    /// Wait, because another replica holds it.
    Wait,
}

/// Returns the next step. It depends on how long this replica has observed the Lease unchanged, never on the clock of another machine.
fn next_step(holder: Option<&str>, me: &str, still: Duration, patience: Duration) -> Step {
    match holder {
        Some(holder) if !holder.is_empty() && holder != me && still < patience => Step::Wait,
        _ => Step::Take,
    }
}

impl<R: LeaseRecord> Elector<R> {
    /// Returns an elector for the Lease `name`, the leadership that is certain, and a hint whether this replica leads.
    #[must_use]
    pub fn new(identity: String, name: String, record: Arc<R>) -> (Self, Leadership, watch::Receiver<bool>) {
        let (until, seen) = watch::channel(None);
        let (leading, hint) = watch::channel(false);
        let terms = Arc::<AtomicU64>::default();
        (Self { identity, name, record, until, leading, terms: terms.clone() }, Leadership { until: seen, terms }, hint)
    }

    /// Takes part in the election until `stop`. Returns an error if an older copy of the store was restored: the caller must end the
    /// process.
    ///
    /// The Lease is still held when this returns. [`Self::release`] gives it up.
    pub async fn run(&self, client: &Client, namespace: &str, stop: &CancellationToken) -> Result<(), StoreRestored> {
        let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let (mut observed, mut store) = (Observed::default(), RestoredStore::default());
        loop {
            let started = Instant::now();
            // A renewal that hangs must not outlast the term that it renews.
            let round = tokio::time::timeout(RENEW_DEADLINE, self.round(&api, &mut observed, &mut store)).await;
            let mut restored = None;
            match round {
                Ok(Ok(true)) => self.hold(started),
                Ok(Ok(false)) => {
                    self.lose("another replica holds the Lease");
                    if observed.renewed {
                        self.record.held_by_another();
                    }
                }
                Ok(Err(LeaseError::Restored(store_restored))) => {
                    error!(why = %store_restored, "exiting: the store was restored");
                    restored = Some(store_restored);
                }
                Ok(Err(error)) => warn!(%error, "cannot renew the Lease"),
                Err(_) => warn!("cannot renew the Lease: timed out"),
            }
            let still_held = self.until.borrow().is_some_and(|until| Instant::now() < until);
            if !still_held {
                self.lose("the Lease could not be renewed in time");
            }
            if let Some(store_restored) = restored {
                return Err(store_restored);
            }
            let pause = if still_held { RENEW_INTERVAL } else { POLL_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep_until(started + pause) => {}
                // A changed record must be stored at once, so that it outlives this process.
                () = self.record.changed(), if still_held => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Gives up the Lease, if this replica holds it, so that another replica does not wait for the lease duration.
    pub async fn release(&self, client: &Client, namespace: &str) {
        if !*self.leading.borrow() {
            return;
        }
        self.lose("this replica stops");
        if let Err(error) = self.give_back(&Api::namespaced(client.clone(), namespace)).await {
            warn!(%error, "cannot release the Lease");
        }
    }

    fn hold(&self, since: Instant) {
        // Events between the deadline and the renewal were ignored. The followers must handle this as a new term.
        let lapsed = self.until.borrow().is_none_or(|until| until <= Instant::now());
        if lapsed {
            self.terms.fetch_add(1, Ordering::AcqRel);
        }
        self.until.send_replace(Some(since + RENEW_DEADLINE));
        let was_leading = *self.leading.borrow();
        if lapsed || !was_leading {
            self.leading.send_replace(true);
        }
        if !was_leading {
            info!(identity = self.identity, "this replica is the leader now");
        }
    }

    fn lose(&self, why: &str) {
        self.until.send_replace(None);
        self.record.release();
        if self.leading.send_replace(false) {
            info!(identity = self.identity, why, "this replica is no longer the leader");
        }
    }

    /// Reads the Lease and, where it is free or held by this replica, writes it once. The write fails if another replica was faster.
    /// Returns true when this replica holds the Lease.
    async fn round(&self, api: &Api<Lease>, observed: &mut Observed, store: &mut RestoredStore) -> Result<bool, LeaseError> {
        let Some(found) = read(|| format!("Lease '{}'", self.name), api.get_opt(&self.name)).await? else {
            return self.create(api, observed).await;
        };
        store.check(found.metadata.resource_version.as_deref())?;
        observed.note(&found, R::ANNOTATION);
        let still = observed.since.map(|since| since.elapsed()).unwrap_or_default();
        let holder = found.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        let is_uninstalled = observed.is_uninstalled(api, &found).await?;
        let patience = if is_uninstalled { uninstallation::HOLD } else { LEASE_DURATION };
        match next_step(holder, &self.identity, still, patience) {
            Step::Wait => Ok(false),
            Step::Take => self.replace(api, found).await,
        }
    }

    async fn create(&self, api: &Api<Lease>, observed: &Observed) -> Result<bool, LeaseError> {
        // A deleted Lease was not the first one. A replica that has read it still knows its record.
        let record = self.record.for_new_lease(observed.version.is_some().then_some(observed.record.as_str()));
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            annotations: Some([(R::ANNOTATION.to_owned(), record.clone())].into()),
            ..ObjectMeta::default()
        };
        let new = self.renewed(Lease { metadata, spec: None });
        let created = won(write(|| format!("create Lease '{}'", self.name), api.create(&PostParams::default(), &new)).await)?;
        if created && self.record.save().is_none() {
            self.record.load(Some(&record));
        }
        Ok(created)
    }

    /// Replaces the Lease. The write carries the `resourceVersion` that was read: of two concurrent writers, one gets a conflict.
    async fn replace(&self, api: &Api<Lease>, found: Lease) -> Result<bool, LeaseError> {
        let mine = found.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(self.identity.as_str());
        // The record of another holder is loaded before the Lease is overwritten.
        let record = self.record.save().filter(|_| mine);
        let (renews, stored) = (record.is_some(), annotation_of(&found, R::ANNOTATION));
        let mut lease = self.renewed(found);
        if let Some(record) = record {
            lease.metadata.annotations.get_or_insert_default().insert(R::ANNOTATION.to_owned(), record);
        }
        let taken = won(write(|| format!("renew Lease '{}'", self.name), api.replace(&self.name, &PostParams::default(), &lease)).await)?;
        if taken && !renews {
            self.record.load(stored.as_deref());
        }
        Ok(taken)
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        let mine = before.holder_identity.as_deref() == Some(self.identity.as_str());
        // An uninstallation that did not end, or that of an earlier installation.
        lease.metadata.annotations.as_mut().map(|annotations| annotations.remove(api::names::UNINSTALLING));
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: if mine { before.acquire_time } else { Some(now) },
            lease_transitions: if mine { before.lease_transitions } else { Some(before.lease_transitions.unwrap_or(0).saturating_add(1)) },
            ..before
        });
        lease
    }

    async fn give_back(&self, api: &Api<Lease>) -> Result<(), LeaseError> {
        let found = read(|| format!("Lease '{}'", self.name), api.get_opt(&self.name)).await?;
        let Some(mut lease) = found else { return Ok(()) };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(self.identity.as_str())) else {
            return Ok(());
        };
        spec.holder_identity = None;
        won(write(|| format!("release Lease '{}'", self.name), api.replace(&self.name, &PostParams::default(), &lease)).await)?;
        Ok(())
    }
}

/// Why the Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Restored(#[from] StoreRestored),
}

/// Returns false for a conflict, which is no error: another replica was faster.
fn won<T>(written: Result<T, WriteError>) -> Result<bool, LeaseError> {
    match written {
        Ok(_) => Ok(true),
        Err(error) if error.answer().is_some_and(|s| s.is_conflict() || s.is_already_exists() || s.is_not_found()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f68_a_holder_lives_that_renews_the_lease() {
        let lease = |version: &str| Lease {
            metadata: ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() },
            spec: None,
        };
        let mut observed = Observed::default();
        for (version, renewed) in [("7", false), ("7", false), ("8", true), ("8", true)] {
            observed.note(&lease(version), "record");
            assert_eq!(observed.renewed, renewed, "{version}");
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_nobody_else_keeps_it_alive() {
        let (short, long) = (Duration::from_millis(5_999), LEASE_DURATION);
        for (holder, still, patience, step) in [
            (None, Duration::ZERO, LEASE_DURATION, Step::Take),
            // Released.
            (Some(""), Duration::ZERO, LEASE_DURATION, Step::Take),
            (Some("me"), Duration::ZERO, LEASE_DURATION, Step::Take),
            (Some("other"), short, LEASE_DURATION, Step::Wait),
            (Some("other"), long, LEASE_DURATION, Step::Take),
            (Some("other"), long, uninstallation::HOLD, Step::Wait),
            (Some("other"), uninstallation::HOLD, uninstallation::HOLD, Step::Take),
        ] {
            assert_eq!(next_step(holder, "me", still, patience), step, "{holder:?} for {still:?}");
        }
    }
}
