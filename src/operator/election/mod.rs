//! Which replica grants. Revocation never asks for it.
//!
//! Three parts that know nothing of each other: [`lease`] elects, [`record`] is what the holder keeps on the Lease (the admission guards
//! implement it), and [`restored_store`] detects that an older copy of the API server's store was restored.

pub mod lease;
pub mod record;
pub mod restored_store;

pub use lease::{Elector, Leadership};
pub use record::LeaseRecord;
