//! What the holder of the Lease keeps on it.

/// A record in an annotation of the Lease. The elector writes it with each renewal and never reads what it means.
pub trait LeaseRecord: Send + Sync + 'static {
    /// The annotation's key.
    const ANNOTATION: &'static str;

    /// Takes over the stored record: this replica has become the holder of the Lease.
    fn load(&self, stored: Option<&str>);

    /// The record to store, or none while this replica has not loaded it.
    fn save(&self) -> Option<String>;

    /// The record of a Lease that is about to be created. `last_read` is that of a Lease which this replica has read and which no longer
    /// exists.
    fn for_new_lease(&self, last_read: Option<&str>) -> String;

    /// Completes when the record should be stored before the next renewal.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// Notes that another replica, which renews the Lease, holds it.
    fn held_by_another(&self);

    /// Notes that this replica no longer holds the Lease.
    fn release(&self);
}
