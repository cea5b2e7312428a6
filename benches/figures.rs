//! Samples and their percentiles.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Samples in milliseconds, sorted.
#[derive(Clone, Debug)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Creates it from unsorted samples.
    pub fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The percentile at this fraction, by the nearest rank.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank among thousands")]
    pub fn at(&self, part: f64) -> f64 {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

/// `p50` for one half.
pub fn name(part: f64) -> String {
    format!("p{}", part * 100.0)
}

/// A duration in milliseconds.
pub fn ms(span: SignedDuration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

/// The elapsed time, in milliseconds.
pub fn since(at: Timestamp) -> f64 {
    ms(Timestamp::now().duration_since(at))
}

/// The minimum interval between two samples. A latency is what a requester waits on an idle system, not behind the pending writes of the
/// previous sample. The throughput is measured as a rate.
pub fn pace() -> Interval {
    let mut pace = interval(Duration::from_millis(60));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
