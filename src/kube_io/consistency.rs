//! Minimum resource version: how recent a list from the API server must be.
//!
//! A consistent (quorum) read waits until the API server's cache has caught up with the store. Since Kubernetes 1.31 (KEP-2340) that takes
//! up to a tenth of a second. A list that is at least as new as an observed version of the same kind returns at once.

use kube::{
    ResourceExt,
    api::{ListParams, VersionMatch},
};
use parking_lot::Mutex;

/// How recent a list must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// A consistent (quorum) read: it includes all writes before it.
    Latest,
    /// At least as new as this `resourceVersion` of the same kind. 0: any version from the API server's cache.
    NotOlderThan(u64),
}

impl Consistency {
    /// Any version from the API server's cache.
    pub const ANY: Self = Self::NotOlderThan(0);

    /// Returns the parameters of a list with these selectors and this consistency.
    #[must_use]
    pub fn list(self, fields: &str) -> ListParams {
        let list = ListParams::default().fields(fields);
        match self {
            Self::Latest => list,
            Self::NotOlderThan(version) => list.at(&version.to_string()).matching(VersionMatch::NotOlderThan),
        }
    }
}

/// The newest `resourceVersion` of one kind that this process has observed or written.
#[derive(Debug, Default)]
pub struct NewestVersion(Mutex<Newest>);

#[derive(Debug, Default)]
struct Newest {
    version: u64,
    /// The noted versions may be of another store, so only a consistent read is recent enough.
    distrusted: bool,
}

/// A version that is not a number. Then only a consistent read is recent enough.
const UNKNOWN: u64 = u64::MAX;

impl NewestVersion {
    /// Notes the version of an object.
    pub fn note<K: ResourceExt>(&self, object: &K) {
        self.note_version(object.meta().resource_version.as_deref());
    }

    /// Notes a version.
    pub fn note_version(&self, version: Option<&str>) {
        let version = version.map_or(0, |version| version.parse().unwrap_or(UNKNOWN));
        let mut newest = self.0.lock();
        newest.version = newest.version.max(version);
    }

    /// Records that the noted versions may be of another store.
    pub fn distrust(&self) {
        *self.0.lock() = Newest { version: 0, distrusted: true };
    }

    /// Records the version of a complete list that was made after [`NewestVersion::distrust`]. Versions noted in between count too.
    pub fn trust(&self, version: Option<u64>) {
        let mut newest = self.0.lock();
        if newest.distrusted {
            *newest = Newest { version: newest.version.max(version.unwrap_or(UNKNOWN)), distrusted: false };
        }
    }

    /// Returns a consistency at least as new as every noted version.
    #[must_use]
    pub fn consistency(&self) -> Consistency {
        match *self.0.lock() {
            Newest { version: UNKNOWN, .. } | Newest { distrusted: true, .. } => Consistency::Latest,
            Newest { version, .. } => Consistency::NotOlderThan(version),
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
        let newest_version = NewestVersion::default();
        assert_eq!(newest_version.consistency(), Consistency::ANY);
        for version in ["7", "12", "9"] {
            newest_version.note(&object(version));
        }
        let list = newest_version.consistency().list("a=b");
        assert_eq!((list.resource_version.as_deref(), list.version_match), (Some("12"), Some(VersionMatch::NotOlderThan)));
        newest_version.note(&object("twelve"));
        assert_eq!(newest_version.consistency(), Consistency::Latest, "nothing is known of what it stands for");
        assert_eq!(Consistency::Latest.list("a=b").resource_version, None);
    }

    #[test]
    fn f41_versions_of_another_store_are_forgotten() {
        let newest_version = NewestVersion::default();
        newest_version.note(&object("1000000"));
        newest_version.distrust();
        assert_eq!(newest_version.consistency(), Consistency::Latest);
        newest_version.note(&object("9"));
        newest_version.trust(Some(8));
        assert_eq!(newest_version.consistency(), Consistency::NotOlderThan(9));
        newest_version.trust(Some(70));
        assert_eq!(newest_version.consistency(), Consistency::NotOlderThan(9), "nobody distrusts it");
    }
}
