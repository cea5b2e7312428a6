//! What the operator tells about itself: health, metrics, logs, errors.

pub mod errors;
pub mod health;
pub mod logs;
pub mod metrics;
