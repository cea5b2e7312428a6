use super::*;
use crate::watches::Watches;

const SOME: Duration = Duration::from_mins(1);

fn meta(version: &str) -> ObjectMeta {
    ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() }
}

#[tokio::test(start_paused = true)]
async fn f41_a_watch_ahead_of_the_store_or_far_behind_it_is_begun_anew() {
    let place = Watches::default().place("requests");
    let mut progress = Progress { goal: None, compare_at: Instant::now(), compared_at: None };
    let mut compared = |asked, store, now, patience| progress.compared((asked, Ok(store)), now, patience, SOME, &place);
    // The store is at the watch's version or ahead of it, and the watch is not behind for long.
    assert_eq!(compared(10, Some(10), Some(10), PATIENCE), None);
    assert_eq!(compared(10, Some(15), Some(15), PATIENCE), None, "it came there meanwhile");
    assert_eq!(compared(10, None, Some(10), PATIENCE), None, "what is no number tells nothing");
    assert_eq!(compared(10, Some(9), Some(10), PATIENCE), Some(Relist::Ahead { version: 10, store: 9 }));
    assert_eq!(compared(10, Some(12), Some(10), PATIENCE), None);
    tokio::time::advance(PATIENCE / 2).await;
    assert_eq!(compared(11, Some(20), Some(11), PATIENCE), None);
    tokio::time::advance(PATIENCE / 2).await;
    assert_eq!(compared(11, Some(30), Some(11), PATIENCE), Some(Relist::Silent { version: 11, goal: 12 }));
    assert_eq!(compared(11, Some(30), Some(11), 2 * PATIENCE), None, "an earlier restart had no effect");
    // An event or a bookmark shows that the watch works.
    progress.moved(Some(12), SOME);
    assert!(progress.goal.is_none() && progress.compare_at == Instant::now() + SOME);
    let failed = Err(kube::Error::Service("no answer".into()));
    assert_eq!(progress.compared((12, failed), Some(12), PATIENCE, SOME, &place), None);
    assert_eq!(progress.compare_at, Instant::now() + COMPARED_AGAIN);
    // Frequent interruptions do not cause frequent comparisons.
    progress.compare_soon();
    assert_eq!(progress.compare_at, Instant::now() + COMPARED_AGAIN);
    tokio::time::advance(SOME).await;
    progress.compare_soon();
    assert_eq!(progress.compare_at, Instant::now());
}

#[test]
fn f41_only_what_a_silent_watch_should_have_brought_was_missed() {
    let why = Relist::Silent { version: 10, goal: 20 };
    let missed = ["9", "10", "11", "20", "21", "x"].map(|version| was_missed(why, &meta(version)));
    assert_eq!(missed, [false, false, true, true, false, false]);
    assert!(!was_missed(Relist::Expired, &meta("11")) && !was_missed(why, &ObjectMeta::default()));
}

#[test]
fn a_delay_grows_by_a_quarter_at_most() {
    let second = Duration::from_secs(1);
    assert!((second..second.mul_f64(1.25)).contains(&jittered(second)));
}
