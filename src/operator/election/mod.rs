//! The election of the replica that grants. Revocation does not depend on it.
//!
//! [`lease`] elects. [`record`] is what the leader keeps on the Lease, and the admission guards implement it. [`restored_store`] detects that
//! an older copy of the API server's store was restored. [`uninstallation`] is about a Lease that no replica may take.

pub mod lease;
pub mod record;
pub mod restored_store;
pub mod uninstallation;

pub use lease::{Elector, Leadership};
pub use record::LeaseRecord;
