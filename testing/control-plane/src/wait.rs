use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// The poll interval of a condition.
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls a condition until it yields a value, at most for `limit`. The error names what was waited for.
///
/// The condition may borrow and change its environment, so its future is not `Send`: join several of them rather than spawn them.
pub async fn wait_for<T>(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    wait_for_ok(what, limit, async || condition().await.ok_or("")).await
}

/// Like [`wait_for`], for conditions that report their obstacle: the last obstacle is part of the error.
pub async fn wait_for_ok<T, E: Display>(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> Result<T, E>) -> Result<T> {
    let start = Instant::now();
    loop {
        // A poll that hangs must not exceed the limit by much.
        let left = limit.saturating_sub(start.elapsed()).max(INTERVAL);
        let last = match tokio::time::timeout(left, condition()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(obstacle)) => obstacle.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if start.elapsed() >= limit {
            let last = if last.is_empty() { last } else { format!(", but still: {last}") };
            return Err(Error::Timeout { what: what.to_owned(), limit, last });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_what_the_condition_finds() {
        let mut looks = 0;
        let found = wait_for("the third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        })
        .await
        .unwrap();
        assert_eq!(found, 3);
    }

    #[tokio::test]
    async fn the_error_says_what_was_waited_for_and_what_stood_in_the_way() {
        let limit = Duration::from_millis(50);
        let error = wait_for("rain", limit, async || None::<()>).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 50ms for rain");
        let error = wait_for_ok("rain", limit, async || Err::<(), _>("sun")).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 50ms for rain, but still: sun");
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_cut_off() {
        let error =
            wait_for("an answer", Duration::from_millis(50), async || std::future::pending::<Option<()>>().await).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 50ms for an answer, but still: no answer");
    }
}
