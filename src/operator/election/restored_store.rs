//! Detection of an older copy of the API server's store.

use kube_io::watches::StoreRestored;

/// The highest version of one object that a consistent (quorum) read has returned.
#[derive(Debug, Default)]
pub struct RestoredStore {
    highest: u64,
}

impl RestoredStore {
    /// Records a version that the API server stores now. Returns an error if it is lower than the one before, which happens only when an
    /// older copy of the store was restored.
    pub fn check(&mut self, version: Option<&str>) -> Result<(), StoreRestored> {
        // A version that is not a number cannot be compared.
        let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) else { return Ok(()) };
        let before = std::mem::replace(&mut self.highest, version);
        if version < before { Err(StoreRestored) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t36_a_version_that_goes_back_is_an_old_copy() {
        let mut store = RestoredStore::default();
        for (version, goes_on) in
            [(None, true), (Some("7"), true), (Some("7"), true), (Some("9"), true), (Some("8"), false), (Some("8"), true)]
        {
            assert_eq!(store.check(version).is_ok(), goes_on, "{version:?}");
        }
        assert!(store.check(Some("opaque")).is_ok(), "what is no number tells nothing");
    }
}
