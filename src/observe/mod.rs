//! What the operator tells about itself: health, logs, errors.

pub mod errors;
pub mod health;
pub mod logs;
