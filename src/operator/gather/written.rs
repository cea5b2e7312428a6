//! The recent writes of this process to requests, until its watch has delivered them.
//!
//! The watch of a replica lags behind the replica's own writes. A decision by the cache alone would miss a grant that was recorded a moment
//! ago, and a second grant could be made (T51).

use std::collections::BTreeMap;

use parking_lot::Mutex;

use domain::RequestFacts;

/// The most writes that are kept. A watch that lags further behind is not relied on.
const MOST: usize = 4_096;

/// The requests as this process wrote them.
#[derive(Debug, Default)]
pub struct Written(Mutex<Writes>);

#[derive(Debug, Default)]
struct Writes {
    /// By the `resourceVersion` of the write.
    newest: BTreeMap<u64, RequestFacts>,
    /// The `resourceVersion` up to which not all writes are known.
    unknown_until: u64,
}

impl Written {
    /// Records a write that was stored with this `resourceVersion`.
    pub fn note(&self, version: u64, request: RequestFacts) {
        let mut writes = self.0.lock();
        if writes.newest.len() < MOST {
            writes.newest.insert(version, request);
        } else {
            writes.unknown_until = version;
        }
    }

    /// Returns the requests as they were written after `observed`, the version that the watch has delivered, oldest first. None where too
    /// many writes were made to know all of them.
    #[must_use]
    pub fn after(&self, observed: u64) -> Option<Vec<RequestFacts>> {
        let mut writes = self.0.lock();
        let next = observed.checked_add(1)?;
        writes.newest = writes.newest.split_off(&next);
        (writes.unknown_until <= observed).then(|| writes.newest.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::RoleActivationRequest;
    use domain::convert;

    fn request(uid: &str) -> RequestFacts {
        let mut stored = RoleActivationRequest::new(uid, api::RoleActivationRequestSpec::default());
        stored.metadata.uid = Some(uid.to_owned());
        convert::request(&stored)
    }

    fn uids(written: &Written, observed: u64) -> Option<Vec<String>> {
        Some(written.after(observed)?.into_iter().map(|request| request.object.uid).collect())
    }

    #[test]
    fn t51_a_write_counts_until_the_watch_has_delivered_it() {
        let written = Written::default();
        written.note(7, request("a"));
        written.note(9, request("b"));
        assert_eq!(uids(&written, 6), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(uids(&written, 7), Some(vec!["b".to_owned()]));
        assert_eq!(uids(&written, 9), Some(Vec::new()));
    }

    #[test]
    fn f02_a_watch_that_is_far_behind_is_not_relied_upon() {
        let written = Written::default();
        for version in 1..=u64::try_from(MOST).unwrap() + 10 {
            written.note(version, request("a"));
        }
        assert_eq!(uids(&written, 0), None);
        assert_eq!(uids(&written, 20_000), Some(Vec::new()));
    }
}
