//! Constants and types that the measurements share.

use std::error::Error;

use jiff::{SignedDuration, Timestamp};

use crate::figures::ms;

/// Why a measurement could not be made.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The prefix of the names of the product's two accounts.
pub const OURS: &str = "system:serviceaccount:jit-system:";

/// Grants with one deadline.
pub struct AtOnce {
    /// From the first observed deletion to the last, in milliseconds.
    pub first_to_last: f64,
    /// From the deadline to the last observed deletion.
    pub to_last: f64,
}

impl AtOnce {
    /// Computes it from pairs of deadline and end.
    pub fn new(gone: &[(Timestamp, Timestamp)]) -> Self {
        let of = |value: Option<SignedDuration>| value.map_or(f64::NAN, ms);
        let (first, last) = (gone.iter().map(|(_, gone)| *gone).min(), gone.iter().map(|(_, gone)| *gone).max());
        let deadline = gone.iter().map(|(deadline, _)| *deadline).min();
        Self {
            first_to_last: of(last.zip(first).map(|(last, first)| last.duration_since(first))),
            to_last: of(last.zip(deadline).map(|(last, due)| last.duration_since(due))),
        }
    }
}
