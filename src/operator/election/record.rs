//! The record that the leader keeps on the Lease.

/// A record in an annotation of the Lease. The elector writes it with each renewal and does not interpret it.
pub trait LeaseRecord: Send + Sync + 'static {
    /// The annotation's key.
    const ANNOTATION: &'static str;

    /// Loads the stored record, because this replica has become the leader.
    fn load(&self, stored: Option<&str>);

    /// Returns the record to store, or none while this replica has not loaded it.
    fn save(&self) -> Option<String>;

    /// Returns the record of a Lease that is about to be created. `last_read` is the record of a Lease that this replica has read and that
    /// no longer exists.
    fn for_new_lease(&self, last_read: Option<&str>) -> String;

    /// Completes when the record should be stored before the next renewal.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// Records that another replica, which renews the Lease, holds it.
    fn held_by_another(&self);

    /// Records that this replica no longer holds the Lease.
    fn release(&self);
}
