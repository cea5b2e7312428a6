//! Minimum resource version: how recent a list from the API server must be.
//!
//! A consistent (quorum) read waits until the API server's cache has caught up with the store. Since Kubernetes 1.31 (KEP-2340) that takes
//! up to a tenth of a second. A list that is at least as new as an observed version of the same kind returns at once.

use kube::{
    ResourceExt,
    api::{ListParams, VersionMatch},
};
use parking_lot::{Mutex, MutexGuard};

/// How recent a list must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// A consistent (quorum) read: it includes all writes before it.
    Now,
    /// At least as new as this `resourceVersion` of the same kind. 0: any version from the API server's cache.
    AtLeast(u64),
}

impl AsOf {
    /// Any version from the API server's cache.
    pub const AT_HAND: Self = Self::AtLeast(0);

    /// Returns the parameters of a list with these selectors and this consistency.
    #[must_use]
    pub fn list(self, fields: &str) -> ListParams {
        let list = ListParams::default().fields(fields);
        match self {
            Self::Now => list,
            Self::AtLeast(version) => list.at(&version.to_string()).matching(VersionMatch::NotOlderThan),
        }
    }
}

/// The newest `resourceVersion` of one kind that this process has observed or written.
#[derive(Debug, Default)]
pub struct Horizon(Mutex<Newest>);

#[derive(Debug, Default)]
struct Newest {
    version: u64,
    /// The noted versions may be of another store, so only a consistent read is recent enough.
    distrusted: bool,
}

/// A version that is not a number. Then only a consistent read is recent enough.
const UNKNOWN: u64 = u64::MAX;

impl Horizon {
    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.0.lock()
    }

    /// Notes the version of an object.
    pub fn note<K: ResourceExt>(&self, object: &K) {
        self.note_version(object.meta().resource_version.as_deref());
    }

    /// Notes a version.
    pub fn note_version(&self, version: Option<&str>) {
        let version = version.map_or(0, |version| version.parse().unwrap_or(UNKNOWN));
        let mut newest = self.lock();
        newest.version = newest.version.max(version);
    }

    /// Records that the noted versions may be of another store.
    pub fn distrust(&self) {
        *self.lock() = Newest { version: 0, distrusted: true };
    }

    /// Records the version of a complete list that was made after [`Horizon::distrust`]. Versions noted in between count too.
    pub fn trust(&self, version: Option<u64>) {
        let mut newest = self.lock();
        if newest.distrusted {
            *newest = Newest { version: newest.version.max(version.unwrap_or(UNKNOWN)), distrusted: false };
        }
    }

    /// Returns a consistency at least as new as every noted version.
    #[must_use]
    pub fn as_of(&self) -> AsOf {
        match *self.lock() {
            Newest { version: UNKNOWN, .. } | Newest { distrusted: true, .. } => AsOf::Now,
            Newest { version, .. } => AsOf::AtLeast(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;

    fn object(version: &str) -> ConfigMap {
        let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn a_list_is_as_new_as_the_newest_that_was_seen() {
        let horizon = Horizon::default();
        assert_eq!(horizon.as_of(), AsOf::AT_HAND);
        for version in ["7", "12", "9"] {
            horizon.note(&object(version));
        }
        let list = horizon.as_of().list("a=b");
        assert_eq!((list.resource_version.as_deref(), list.version_match), (Some("12"), Some(VersionMatch::NotOlderThan)));
        horizon.note(&object("twelve"));
        assert_eq!(horizon.as_of(), AsOf::Now, "nothing is known of what it stands for");
        assert_eq!(AsOf::Now.list("a=b").resource_version, None);
    }

    #[test]
    fn f41_versions_of_another_store_are_forgotten() {
        let horizon = Horizon::default();
        horizon.note(&object("1000000"));
        horizon.distrust();
        assert_eq!(horizon.as_of(), AsOf::Now);
        horizon.note(&object("9"));
        horizon.trust(Some(8));
        assert_eq!(horizon.as_of(), AsOf::AtLeast(9));
        horizon.trust(Some(70));
        assert_eq!(horizon.as_of(), AsOf::AtLeast(9), "nobody distrusts it");
    }
}
