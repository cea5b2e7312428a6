//! The hold on the Lease, which keeps all replicas from granting.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::election::{lease::RENEW_DEADLINE, uninstallation::HOLD};
use api::names::{GUARDS, UNINSTALLING};
use domain::guards::ledger::Ledger;
use kube_io::{
    access::our_uid,
    backoff::Backoff,
    call::{CALL_LIMIT, CallError, ReadError, read, write},
};

/// The most attempts to replace the Lease: its holder renews it meanwhile, every two seconds.
const ATTEMPTS: u32 = 20;
/// The backoff after a conflict or a failure.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// Why the Lease is not held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// It could not be read or written.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Other writers always replaced it first.
    #[error("Lease '{0}' changes too often to be replaced; retry")]
    Contended(String),
    /// A replica has it.
    #[error("Lease '{name}' is held by '{holder}' again")]
    Lost {
        /// Its name.
        name: String,
        /// The holder; empty if there is none.
        holder: String,
    },
}

impl From<ReadError> for HoldError {
    fn from(error: ReadError) -> Self {
        Self::Call(error.into())
    }
}

/// The Lease, held by this process.
pub struct Held {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// When an earlier leader cannot rely on its last renewal any more.
    lost: Instant,
    /// When its last call has ended as well.
    settled: Instant,
}

impl Held {
    /// Replaces the Lease, also that of another holder. The record of the guards on it stays.
    pub async fn take(client: &Client, namespace: &str, name: &str, identity: &str) -> Result<Self, HoldError> {
        let uid = our_uid(client).await?.unwrap_or_default();
        let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let mut backoff = BACKOFF;
        for _ in 0..ATTEMPTS {
            let found = read(|| format!("Lease '{name}'"), api.get_opt(name)).await?;
            // Without a Lease, no replica has ever held it, and none can take it from now on.
            let is_new = found.is_none();
            let mut lease = found.unwrap_or_default();
            lease.metadata.name = Some(name.to_owned());
            let annotations = lease.metadata.annotations.get_or_insert_default();
            annotations.insert(UNINSTALLING.to_owned(), uid.clone());
            if is_new {
                annotations.insert(GUARDS.to_owned(), Ledger::first().write());
            }
            let before = lease.spec.take().unwrap_or_default();
            let leader = before.holder_identity.clone().filter(|holder| !holder.is_empty() && holder != identity);
            let now = MicroTime(Timestamp::now());
            lease.spec = Some(LeaseSpec {
                holder_identity: Some(identity.to_owned()),
                lease_duration_seconds: i32::try_from(HOLD.as_secs()).ok(),
                renew_time: Some(now.clone()),
                acquire_time: Some(now),
                lease_transitions: Some(before.lease_transitions.unwrap_or(0).saturating_add(1)),
                ..before
            });
            let params = PostParams::default();
            let written = if is_new {
                write(|| format!("create Lease '{name}'"), api.create(&params, &lease)).await
            } else {
                write(|| format!("replace Lease '{name}'"), api.replace(name, &params, &lease)).await
            };
            match written {
                Ok(_) => {
                    info!(lease = name, before = leader.as_deref().unwrap_or("nobody"), "no replica grants any more");
                    let now = Instant::now();
                    let (lost, settled) = leader.map_or((now, now), |_| (now + RENEW_DEADLINE, now + RENEW_DEADLINE + CALL_LIMIT));
                    return Ok(Self { api, name: name.to_owned(), identity: identity.to_owned(), lost, settled });
                }
                Err(error) if error.answer().is_some_and(|s| s.is_conflict() || s.is_already_exists() || s.is_not_found()) => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(HoldError::Call(error.into())),
            }
        }
        Err(HoldError::Contended(name.to_owned()))
    }

    /// Waits until no earlier leader begins a grant or records an end any more. A call may still be in flight.
    pub async fn lost_by_others(&self) {
        tokio::time::sleep_until(self.lost).await;
    }

    /// Waits until no call of an earlier leader can be in flight any more, and verifies that the Lease is still held.
    pub async fn settled(&self) -> Result<(), HoldError> {
        tokio::time::sleep_until(self.settled).await;
        let found = read(|| format!("Lease '{}'", self.name), self.api.get_opt(&self.name)).await?;
        let holder = found.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity).unwrap_or_default();
        if holder == self.identity { Ok(()) } else { Err(HoldError::Lost { name: self.name.clone(), holder }) }
    }

    /// Gives the Lease up, so that the replicas grant again.
    pub async fn release(self) {
        let released = async {
            let Some(mut lease) = read(|| format!("Lease '{}'", self.name), self.api.get_opt(&self.name)).await? else { return Ok(()) };
            let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(self.identity.as_str())) else {
                return Ok(());
            };
            spec.holder_identity = None;
            lease.metadata.annotations.as_mut().map(|annotations| annotations.remove(UNINSTALLING));
            write(|| format!("release Lease '{}'", self.name), self.api.replace(&self.name, &PostParams::default(), &lease)).await?;
            Ok::<_, CallError>(())
        };
        match released.await {
            Ok(()) => info!(lease = self.name, "released: the replicas grant again"),
            Err(error) => warn!(%error, at_most = ?HOLD, "cannot release the Lease: the replicas grant again when it expires"),
        }
    }
}
