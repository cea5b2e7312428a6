//! What the operator tells about itself: health and logs.

pub mod health;
pub mod logs;
