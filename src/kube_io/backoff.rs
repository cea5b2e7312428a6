//! Exponential backoff: the delays between attempts that fail.

use std::time::Duration;

/// A delay that doubles with each failure, from the first delay to the longest. It reads no clock and does not sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Returns a backoff without failures.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Returns the delay after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next.min(self.longest);
        self.next = delay.saturating_mul(2);
        delay
    }

    /// Starts again with the first delay, after a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(backoff: &mut Backoff, many: usize) -> Vec<u128> {
        std::iter::repeat_with(|| backoff.next_delay().as_millis()).take(many).collect()
    }

    #[test]
    fn the_delay_doubles_up_to_the_longest_and_starts_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
        assert_eq!(delays(&mut backoff, 5), [200, 400, 800, 1_000, 1_000]);
        backoff.reset();
        assert_eq!(delays(&mut backoff, 2), [200, 400]);
    }

    #[test]
    fn no_delay_is_longer_than_the_longest_however_many_failures_there_are() {
        assert_eq!(Backoff::new(Duration::from_secs(5), Duration::from_secs(1)).next_delay(), Duration::from_secs(1));
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        assert_eq!(std::iter::repeat_with(|| backoff.next_delay()).nth(1_000), Some(Duration::MAX));
    }
}
