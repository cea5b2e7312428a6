//! What the operator reports about itself and its work: health, metrics, logs, Events.

pub mod api_calls;
pub mod events;
pub mod health;
pub mod logs;
pub mod metrics;
mod process;
pub mod queues;
pub mod watches;
