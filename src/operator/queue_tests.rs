use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::*;
use crate::observe::queues::QueuesMetrics;
use process::metrics::Metrics;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// Runs a queue whose work on a key returns the next of its `outcomes`. Returns when each key was processed, in milliseconds.
async fn record(adds: &[(&'static str, u64)], outcomes: &[Next], until: u64) -> Vec<(&'static str, u128)> {
    let (queue, worker) = queue(Clock::system(), BACKOFF, QueueMetrics::unregistered());
    let start = Instant::now();
    let seen = Mutex::new(Vec::new());
    let outcomes = Arc::new(Mutex::new(outcomes.iter().copied().collect::<VecDeque<_>>()));
    for (key, pause) in adds {
        queue.add_in(*key, Duration::from_millis(*pause));
    }
    let stop = CancellationToken::new();
    let work = |key| {
        seen.lock().push((key, start.elapsed().as_millis()));
        let next = outcomes.lock().pop_front().unwrap_or(Next::Done);
        async move { next }
    };
    let _ = tokio::time::timeout(Duration::from_millis(until), worker.run(4, stop, work)).await;
    std::mem::take(&mut *seen.lock())
}

#[tokio::test(start_paused = true)]
async fn the_earliest_time_of_a_key_wins() {
    assert_eq!(record(&[("a", 500), ("a", 200), ("a", 900)], &[], 5_000).await, [("a", 200)]);
    assert_eq!(record(&[("a", 0), ("a", 0), ("b", 0)], &[], 5_000).await, [("a", 0), ("b", 0)]);
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_and_longer_up_to_the_longest_pause() {
    let seen = record(&[("a", 0)], &[Next::Retry; 6], 60_000).await;
    let pauses: Vec<u128> = seen.windows(2).map(|w| w[1].1 - w[0].1).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
}

#[tokio::test(start_paused = true)]
async fn t35_a_time_of_day_is_held_against_the_clock_before_it_counts() {
    // The clock of this test follows tokio's, and is set back by ten seconds after five.
    let (start, day) = (Instant::now(), Timestamp::UNIX_EPOCH);
    let clock = Clock::from(move || {
        let passed = i64::try_from(start.elapsed().as_millis()).unwrap();
        day + jiff::SignedDuration::from_millis(if passed < 5_000 { passed } else { passed - 10_000 })
    });
    let (queue, worker) = queue(clock, BACKOFF, QueueMetrics::unregistered());
    queue.add_at("a", day + jiff::SignedDuration::from_secs(20));
    let seen = Mutex::new(None);
    let work = |_| {
        *seen.lock() = Some(start.elapsed().as_secs());
        async { Next::Done }
    };
    let _ = tokio::time::timeout(Duration::from_secs(90), worker.run(1, CancellationToken::new(), work)).await;
    assert_eq!(*seen.lock(), Some(30));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_times_of_day_share_one_timer_and_the_earliest_of_a_key_wins() {
    let (start, day) = (Instant::now(), Timestamp::UNIX_EPOCH);
    let reads = Arc::new(Mutex::new(0_usize));
    let counted = reads.clone();
    let clock = Clock::from(move || {
        *counted.lock() += 1;
        day + jiff::SignedDuration::from_millis(i64::try_from(start.elapsed().as_millis()).unwrap())
    });
    let (queue, worker) = queue(clock, BACKOFF, QueueMetrics::unregistered());
    let at = |seconds: i64| day + jiff::SignedDuration::from_secs(seconds);
    (1..=1_000).for_each(|key| queue.add_at(key, at(3_600 + key)));
    // Earlier by the clock, earlier by a delay, and later, which changes nothing.
    queue.add_at(7, at(100));
    queue.add_in(8, Duration::from_secs(200));
    queue.add_at(9, at(90_000));
    let seen = Mutex::new(Vec::new());
    let work = |key| {
        seen.lock().push((key, start.elapsed().as_secs()));
        async { Next::Done }
    };
    let _ = tokio::time::timeout(Duration::from_millis(3_603_500), worker.run(1, CancellationToken::new(), work)).await;
    assert_eq!(*seen.lock(), [(7, 100), (8, 200), (1, 3_601), (2, 3_602), (3, 3_603)]);
    let reads = *reads.lock();
    assert!(reads < 2_000, "the clock was read {reads} times in an hour for a thousand keys");
}

#[tokio::test(start_paused = true)]
async fn inv_01_what_is_due_is_not_kept_waiting_by_work_that_never_rests() {
    // Each read of this clock advances it by a millisecond. The timers of the runtime are paused and cannot help.
    let looks = Mutex::new(0_i64);
    let day = Timestamp::UNIX_EPOCH;
    let clock = Clock::from(move || {
        let mut looks = looks.lock();
        *looks += 1;
        day + jiff::SignedDuration::from_millis(*looks)
    });
    let (queue, worker) = queue(clock, BACKOFF, QueueMetrics::unregistered());
    let stop = CancellationToken::new();
    queue.add("restless");
    queue.add_at("due", day + jiff::SignedDuration::from_millis(100));
    let (ended, turns) = (Mutex::new(false), Mutex::new(0));
    let work = |key: &'static str| {
        *turns.lock() += 1;
        *ended.lock() |= key == "due";
        if *ended.lock() || *turns.lock() > 10_000 {
            stop.cancel();
        }
        async { Next::In(Duration::ZERO) }
    };
    worker.run(4, stop.clone(), work).await;
    assert!(*ended.lock(), "it was still waiting after {} runs of other work", turns.lock());
}

#[tokio::test(start_paused = true)]
async fn f16_work_that_hangs_in_one_lane_never_holds_up_the_other() {
    let (queue, worker) = queue(Clock::system(), BACKOFF, QueueMetrics::unregistered());
    let start = Instant::now();
    let (granted, seen) = (Mutex::new(false), Mutex::new(Vec::new()));
    for key in ["hangs-1", "hangs-2", "hangs-3", "becomes-urgent", "revoked"] {
        queue.add(key);
    }
    let lane = |key: &&str| match *key {
        "revoked" => Lane::Urgent,
        "becomes-urgent" if *granted.lock() => Lane::Urgent,
        _ => Lane::Ordinary,
    };
    let work = |key: &'static str| {
        seen.lock().push((key, start.elapsed().as_secs()));
        if key == "revoked" {
            *granted.lock() = true;
            queue.add("becomes-urgent");
        }
        async move {
            if key.starts_with("hangs") {
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            Next::Done
        }
    };
    let limits = Limits { ordinary: 2, urgent: 1 };
    let _ = tokio::time::timeout(Duration::from_secs(61), worker.run_in_lanes(limits, CancellationToken::new(), lane, work)).await;
    let seen = std::mem::take(&mut *seen.lock());
    assert_eq!(seen, [("revoked", 0), ("hangs-1", 0), ("hangs-2", 0), ("becomes-urgent", 0), ("hangs-3", 60)]);
}

#[tokio::test(start_paused = true)]
async fn what_asks_to_be_looked_at_again_is() {
    assert_eq!(record(&[("a", 0)], &[Next::In(Duration::from_millis(250))], 5_000).await, [("a", 0), ("a", 250)]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_added_while_it_is_worked_on_is_worked_on_again_and_never_twice_at_once() {
    let (queue, worker) = queue(Clock::system(), BACKOFF, QueueMetrics::unregistered());
    let (running, most, runs) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let stop = CancellationToken::new();
    queue.add("a");
    let again = queue.clone();
    let work = |key: &'static str| {
        let (running, most, runs, again) = (running.clone(), most.clone(), runs.clone(), again.clone());
        async move {
            *running.lock() += 1;
            let now = *running.lock();
            let before = *most.lock();
            *most.lock() = now.max(before);
            *runs.lock() += 1;
            if *runs.lock() == 1 {
                again.add(key);
                again.add(key);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            *running.lock() -= 1;
            Next::Done
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), worker.run(4, stop, work)).await;
    assert_eq!((*runs.lock(), *most.lock()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_scrape_shows_what_waits_what_runs_and_how_it_ended() {
    let metrics = Metrics::of("controller");
    let (queue, worker) = queue(Clock::system(), BACKOFF, QueuesMetrics::registered(&metrics).of("requests"));
    for key in ["fails", "waits", "later"] {
        queue.add(key);
    }
    let work = |key| async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        match key {
            "fails" => Next::RetryIn(Duration::from_mins(1)),
            "later" => Next::In(Duration::from_mins(1)),
            _ => Next::Done,
        }
    };
    let shows = |lines: &[&str]| {
        let text = metrics.text();
        for line in lines {
            assert!(text.lines().any(|printed| printed.strip_prefix("jitrbac_") == Some(line)), "{line} is not in\n{text}");
        }
    };
    let looking = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        shows(&[
            "queue_adds_total{queue=\"requests\"} 3",
            "queue_depth{queue=\"requests\"} 2",
            "queue_oldest_wait_seconds{queue=\"requests\"} 4.0",
            "reconcile_active{controller=\"requests\"} 1",
            "reconcile_longest_running_seconds{controller=\"requests\"} 4.0",
            "reconcile_errors_total{controller=\"requests\"} 0",
        ]);
        tokio::time::sleep(Duration::from_secs(30)).await;
        shows(&[
            "queue_depth{queue=\"requests\"} 0",
            "queue_oldest_wait_seconds{queue=\"requests\"} 0.0",
            "queue_retries_total{queue=\"requests\"} 1",
            "queue_duration_seconds_sum{queue=\"requests\"} 30.0",
            "reconcile_active{controller=\"requests\"} 0",
            "reconcile_errors_total{controller=\"requests\"} 1",
            "reconcile_total{controller=\"requests\",result=\"success\"} 1",
            "reconcile_total{controller=\"requests\",result=\"requeue_after\"} 1",
            "reconcile_total{controller=\"requests\",result=\"error\"} 1",
            "reconcile_duration_seconds_sum{controller=\"requests\"} 30.0",
        ]);
    };
    tokio::select! {
        () = worker.run(1, CancellationToken::new(), work) => {}
        () = looking => {}
    }
}
