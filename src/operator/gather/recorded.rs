//! What the audit log has, as the Lease of the record says.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use crate::config::Config;
use api::names::RECORDED_VERSION;
use kube_io::call::{ReadError, read};

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The `resourceVersion` up to which every transition of a request is in a published checkpoint. 0: none.
    pub version: u64,
    /// When everything that was observed was recorded, by the clock of the record.
    pub time: Option<Timestamp>,
}

/// Reads what is recorded. None if this installation has no record.
pub async fn mark(client: &Client, config: &Config) -> Result<Option<Mark>, ReadError> {
    let Some(record) = &config.record else { return Ok(None) };
    let leases: Api<Lease> = Api::namespaced(client.clone(), &config.operator_namespace);
    let lease = read(|| format!("Lease '{}'", record.lease), leases.get_opt(&record.lease)).await?;
    // Without the Lease nothing is known to be recorded.
    Ok(Some(lease.map(|lease| of(&lease)).unwrap_or_default()))
}

fn of(lease: &Lease) -> Mark {
    let version = lease.metadata.annotations.as_ref().and_then(|all| all.get(RECORDED_VERSION)?.parse().ok()).unwrap_or_default();
    let time = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    Mark { version, time }
}
