//! What the operator reports about itself and its work: health, metrics, logs, Events.

pub mod events;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod watches;
