//! Freshness of this process's watches, in its metrics and its readiness.

use super::{health::Health, metrics::Metrics};
use kube_io::watches::Watches;

/// The name in readiness of the condition that no watch is stale.
pub const NEED: &str = "watches";

/// Registers the numbers in `metrics`.
pub fn show(watches: &Watches, metrics: &Metrics) {
    let ages = watches.clone();
    metrics.each_at_scrape(
        ("watch_age_seconds", "watch"),
        "Time since the watch was last known to be current, by an event or by a list",
        move || ages.ages(),
    );
    let restarts = watches.clone();
    metrics.counts_at_scrape(
        ("watch_restarts", "watch"),
        "Watches that were restarted because they delivered nothing any more",
        move || restarts.restarts(),
    );
}

/// Reports to readiness, for ever, whether a watch is stale.
pub async fn tell(watches: &Watches, health: &Health) {
    watches.tell(|stale| health.set(NEED, !stale)).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn f41_a_stale_watch_is_seen_in_metrics_and_readiness_until_it_is_current() {
        let (watches, metrics, health) = (Watches::default(), Metrics::of("controller"), Health::needing(&[NEED]));
        show(&watches, &metrics);
        let (requests, one, other) = (watches.place("requests"), watches.place("guards"), watches.place("guards"));
        assert!(watches.ages().is_empty(), "nothing was current yet");
        for place in [&requests, &one, &other] {
            place.current();
        }
        let telling = {
            let (watches, health) = (watches.clone(), health.clone());
            tokio::spawn(async move { tell(&watches, &health).await })
        };
        tokio::time::advance(Duration::from_secs(7)).await;
        requests.current();
        one.current();
        let text = metrics.text();
        assert!(
            text.contains("watch_age_seconds{watch=\"guards\"} 7") && text.contains("watch_age_seconds{watch=\"requests\"} 0"),
            "{text}"
        );
        tokio::task::yield_now().await;
        assert!(health.missing().is_empty());
        requests.stale(false);
        tokio::task::yield_now().await;
        assert_eq!((health.missing(), watches.stale()), (vec![NEED], vec!["requests"]));
        assert!(
            metrics.text().contains("watch_restarts_total{watch=\"requests\"} 1")
                && metrics.text().contains("watch_restarts_total{watch=\"guards\"} 0")
        );
        requests.current();
        tokio::task::yield_now().await;
        assert!(health.missing().is_empty());
        telling.abort();
    }
}
