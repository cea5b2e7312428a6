//! What the operator reports about its work: metrics and Events.

pub mod events;
pub mod metrics;
pub mod queues;
