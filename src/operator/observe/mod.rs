//! What the operator tells about itself and what it does: health, metrics, logs, Events.

pub mod events;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod watches;
