//! How much the caches must know before a grant may rest on them.
//!
//! The replica that granted before this one may have recorded grants that this one's watches have not delivered yet. What was stored
//! before the first decision of a term has a `resourceVersion` up to which the caches must have got; from then on nobody else grants.

use kube::{Api, Client, api::ListParams};
use parking_lot::{Mutex, MutexGuard};

use crate::election::Leadership;
use api::RoleActivationRequest;
use kube_io::call::{ReadError, read};

/// The version up to which the caches must have got, with the term that it is for.
#[derive(Debug, Default)]
pub struct Known(Mutex<Option<Since>>);

#[derive(Clone, Copy, Debug)]
struct Since {
    term: u64,
    version: u64,
}

impl Known {
    /// The version up to which the caches must know all requests. None while this replica does not hold the Lease, and where versions
    /// are not numbers: then no cache is new enough.
    pub async fn since(&self, client: &Client, leadership: &Leadership) -> Result<Option<u64>, ReadError> {
        let Some(term) = leadership.term() else { return Ok(None) };
        if let Some(since) = self.lock().filter(|since| since.term == term) {
            return Ok(Some(since.version));
        }
        // One object at most: the version is that of the list, and of the whole store.
        let api: Api<RoleActivationRequest> = Api::all(client.clone());
        let list = read(|| "the newest version of requests".to_owned(), api.list_metadata(&ListParams::default().limit(1))).await?;
        let version = list.metadata.resource_version.and_then(|version| version.parse().ok());
        if let Some(version) = version {
            *self.lock() = Some(Since { term, version });
        }
        Ok(version)
    }

    /// A write of this replica may have been stored, and nobody knows at which version: what the caches must know is asked again.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Since>> {
        self.0.lock()
    }
}
