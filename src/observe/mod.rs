//! What the operator tells about itself: health, metrics, logs.

pub mod health;
pub mod logs;
pub mod metrics;
