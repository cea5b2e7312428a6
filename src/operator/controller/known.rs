//! The version up to which the caches must be current before a grant may rest on them.
//!
//! The previous leader may have recorded grants that the watches of this replica have not delivered yet. The caches must be as current as
//! the store before the first decision of the term. From then on no other replica grants.

use kube::{Api, Client, api::ListParams};
use parking_lot::Mutex;

use crate::election::Leadership;
use api::RoleActivationRequest;
use kube_io::call::{ReadError, read};

/// The version up to which the caches must be current, and its term.
#[derive(Debug, Default)]
pub struct Known(Mutex<Option<Since>>);

#[derive(Clone, Copy, Debug)]
struct Since {
    term: u64,
    version: u64,
}

impl Known {
    /// Returns the version up to which the caches must contain all requests. None while this replica does not hold the Lease, and where
    /// versions are not numbers: then no cache is current enough.
    pub async fn since(&self, client: &Client, leadership: &Leadership) -> Result<Option<u64>, ReadError> {
        let Some(term) = leadership.term() else { return Ok(None) };
        if let Some(since) = self.0.lock().filter(|since| since.term == term) {
            return Ok(Some(since.version));
        }
        // A limit of one object is enough: the version is that of the list, and so of the whole store.
        let api: Api<RoleActivationRequest> = Api::all(client.clone());
        let list = read(|| "the newest version of requests".to_owned(), api.list_metadata(&ListParams::default().limit(1))).await?;
        let version = list.metadata.resource_version.and_then(|version| version.parse().ok());
        if let Some(version) = version {
            *self.0.lock() = Some(Since { term, version });
        }
        Ok(version)
    }

    /// Forgets the version after a write whose outcome is unknown, so that the next decision reads it again.
    pub fn forget(&self) {
        *self.0.lock() = None;
    }
}
