//! What the operator costs and what it asks for, as the API server's audit log tells it.

mod inspector;
mod measured;
mod rules;

pub use inspector::{Inspector, conclude};
pub use measured::{Calls, is, measured};

use crate::{env::Journey, journeys};

pub fn journeys() -> Vec<(&'static str, Journey)> {
    journeys![]
}
