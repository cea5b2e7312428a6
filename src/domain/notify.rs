//! Which event is sent to whom.
//!
//! Rules and events go in, deliveries come out. The notify process sends them, and `kubectl jit notify preview` prints them.

pub mod addresses;
pub mod assignment;
pub mod default_rules;
pub mod occasion;
pub mod plan;
pub mod position;
pub mod rule;
pub mod text;

pub use plan::{Delivery, Plan, is_critical, plan};
pub use rule::{Matter, Rule};
