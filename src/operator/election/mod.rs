//! The election of the replica that grants. Revocation does not depend on it.
//!
//! It has three independent parts: [`lease`] elects. [`record`] is what the leader keeps on the Lease, and the admission guards implement
//! it. [`restored_store`] detects that an older copy of the API server's store was restored.

pub mod lease;
pub mod record;
pub mod restored_store;

pub use lease::{Elector, Leadership};
pub use record::LeaseRecord;
