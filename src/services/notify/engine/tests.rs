//! Tests of the queue and of the state of a receiver.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::{
    queue::{Item, MOST_WAITING, Queue},
    state::{MOST_A_MINUTE, Next, State},
};
use crate::notify::{Address, Outcome, Reason};
use api::NotificationReceiver;
use domain::{
    activity::{Event, Kind, Severity, Subject, Topic},
    notify::{
        occasion::Occasion,
        text::{State as Meaning, Text},
    },
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn item(number: i64, thread: &str) -> Item {
    let subject =
        Subject { kind: "RoleActivationRequest", namespace: Some("shop".to_owned()), name: thread.to_owned(), uid: thread.to_owned() };
    let event = Event {
        id: format!("{number:032}").chars().rev().collect(),
        kind: Kind::Granted,
        topic: Topic::Activation,
        subject,
        at: at(number),
        actor: String::new(),
        message: String::new(),
    };
    let text = Text {
        title: number.to_string(),
        facts: Vec::new(),
        command: None,
        state: Meaning::Open,
        until: None,
        thread: thread.to_owned(),
        thread_severity: Severity::Info,
        severity: Severity::Info,
        data: json!({}),
    };
    Item { occasion: Arc::new(Occasion::of(event)), text: Arc::new(text), recipients: Vec::new(), is_critical: false }
}

fn title(item: &Item) -> &str {
    &item.text.title
}

#[allow(clippy::needless_pass_by_value, reason = "for `json!`")]
fn state(kind: &str, more: serde_json::Value) -> State {
    let mut spec = json!({"type": kind});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let stored: NotificationReceiver = serde_json::from_value(json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "NotificationReceiver",
        "metadata": {"name": "x", "uid": "u", "creationTimestamp": domain::instant::stamp(at(0))}, "spec": spec,
    }))
    .unwrap();
    State::new(&stored, Path::new("/secrets"), Instant::now())
}

fn delivered() -> Outcome {
    Outcome::Delivered { reference: None, notes: Vec::new() }
}

fn retry(after: Option<Duration>) -> Outcome {
    Outcome::Retry { after, why: "busy".to_owned(), left: Vec::new() }
}

fn refused(reason: Reason) -> Outcome {
    Outcome::Refused { reason, why: "no".to_owned() }
}

/// The next message, or panics.
fn sends(state: &mut State, now: Instant) -> Item {
    match state.next(now) {
        Next::Send(item) => *item,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_of_a_thread_are_in_order_and_others_do_not_wait() {
    let mut queue = Queue::default();
    for (number, thread) in [(1, "a"), (2, "a"), (3, "b")] {
        assert!(queue.push(item(number, thread)).is_none());
    }
    let first = queue.take(|_| true).unwrap();
    let other = queue.take(|_| true).unwrap();
    assert_eq!((title(&first), title(&other)), ("1", "3"));
    assert!(queue.take(|_| true).is_none(), "the second of the thread waits for the first");
    queue.again(&first, vec![Address { name: None, email: "a@b".to_owned() }]);
    let again = queue.take(|_| true).unwrap();
    assert_eq!((title(&again), again.recipients.len()), ("1", 1));
    queue.done(&again);
    assert_eq!(title(&queue.take(|_| true).unwrap()), "2");
    assert_eq!((queue.count(), queue.oldest()), (2, Some(at(2))));
}

#[test]
fn a_full_queue_drops_the_oldest_that_is_not_on_the_wire() {
    let mut queue = Queue::default();
    for number in 0..i64::try_from(MOST_WAITING).unwrap() {
        queue.push(item(number, &format!("t{number}")));
    }
    let on_the_wire = queue.take(|_| true).unwrap();
    assert_eq!(title(&on_the_wire), "0");
    let dropped = queue.push(item(5_000, "new")).unwrap();
    assert_eq!((title(&dropped), queue.count()), ("1", MOST_WAITING));
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_with_growing_delays_and_retry_after_is_respected() {
    let mut state = state("Webhook", json!({"webhook": {"url": "https://a/x"}}));
    state.offer(item(1, "a"), true);
    state.offer(item(2, "b"), true);
    let mut delays = Vec::new();
    for _ in 0..12 {
        let sent = sends(&mut state, Instant::now());
        assert!(state.answered(&[sent], false, &retry(None), Instant::now(), at(1), 0.0).is_none());
        let Next::Wait(Some(until)) = state.next(Instant::now()) else { panic!("it does not wait") };
        delays.push((until - Instant::now()).as_secs());
        tokio::time::advance(until - Instant::now()).await;
    }
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    let sent = sends(&mut state, Instant::now());
    assert!(matches!(state.next(Instant::now()), Next::Wait(None)), "one message at a time while it fails");
    state.answered(&[sent], false, &retry(Some(Duration::from_secs(1_000))), Instant::now(), at(1), 0.5);
    tokio::time::advance(Duration::from_secs(999)).await;
    assert!(matches!(state.next(Instant::now()), Next::Wait(Some(_))));
    tokio::time::advance(Duration::from_secs(1)).await;
    let sent = sends(&mut state, Instant::now());
    assert_eq!(state.answered(&[sent], false, &delivered(), Instant::now(), at(1), 0.0), Some(true));
    assert_eq!(state.report(at(1)).conditions[0].status, "True");
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_not_sent_again_and_wrong_settings_stop_the_receiver() {
    let mut state = state("Webhook", json!({"webhook": {"url": "https://a/x"}}));
    state.offer(item(1, "a"), true);
    let sent = sends(&mut state, Instant::now());
    assert_eq!(state.answered(&[sent], false, &refused(Reason::Rejected), Instant::now(), at(1), 0.0), Some(false));
    assert_eq!(state.queue.count(), 0);
    let report = state.report(at(1));
    assert_eq!((report.failed, report.conditions[0].reason.as_str()), (1, "Rejected"));
    state.offer(item(1, "a"), false);
    assert_eq!(state.queue.count(), 0, "it was handled");

    state.offer(item(2, "b"), true);
    let sent = sends(&mut state, Instant::now());
    assert!(state.answered(&[sent], false, &refused(Reason::Unauthorized), Instant::now(), at(2), 0.0).is_none());
    tokio::time::advance(Duration::from_hours(100)).await;
    assert!(matches!(state.next(Instant::now()), Next::Wait(None)), "only a change helps");
    state.unblock();
    assert_eq!(title(&sends(&mut state, Instant::now())), "2", "what waited is sent");
}

#[tokio::test(start_paused = true)]
async fn many_messages_in_a_minute_become_one_summary_for_people_only() {
    for (kind, more, is_summed) in
        [("Slack", json!({"slack": {"channel": "#a"}}), true), ("Webhook", json!({"webhook": {"url": "https://a/x"}}), false)]
    {
        let mut state = state(kind, more);
        let many = i64::try_from(MOST_A_MINUTE).unwrap();
        for number in 0..many + 10 {
            state.offer(item(number, &format!("t{number}")), true);
        }
        let mut sent = 0;
        let wait = loop {
            match state.next(Instant::now()) {
                Next::Send(item) => {
                    sent += 1;
                    state.answered(&[*item], false, &delivered(), Instant::now(), at(sent), 0.0);
                }
                Next::Summary(items) => panic!("a summary of {}", items.len()),
                Next::Wait(until) => break until,
            }
        };
        if !is_summed {
            assert_eq!((sent, wait), (many + 10, None));
            continue;
        }
        assert_eq!(sent, many);
        let mut urgent = item(5_000, "urgent");
        urgent.is_critical = true;
        state.offer(urgent, true);
        let urgent = sends(&mut state, Instant::now());
        assert_eq!(title(&urgent), "5000");
        state.answered(&[urgent], false, &delivered(), Instant::now(), at(1), 0.0);
        tokio::time::advance(Duration::from_mins(1)).await;
        let Next::Summary(items) = state.next(Instant::now()) else { panic!("no summary") };
        assert_eq!(items.len(), 10);
        assert_eq!(state.queue.oldest(), Some(at(many)), "they wait until the summary is accepted");
        assert!(state.answered(&items, true, &retry(None), Instant::now(), at(1), 0.0).is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        let Next::Summary(items) = state.next(Instant::now()) else { panic!("no second attempt") };
        assert_eq!(items.len(), 10);
        state.answered(&items, true, &delivered(), Instant::now(), at(1), 0.0);
        assert_eq!((state.queue.count(), state.status.sent), (0, many + 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_delays_and_a_suspended_receiver_waits() {
    let mut state = state("Webhook", json!({"webhook": {"url": "https://a/x"}, "rateLimit": {"perMinute": 60, "burst": 2}}));
    for number in 0..4 {
        state.offer(item(number, &format!("t{number}")), true);
    }
    for _ in 0..2 {
        let sent = sends(&mut state, Instant::now());
        state.answered(&[sent], false, &delivered(), Instant::now(), at(1), 0.0);
    }
    let Next::Wait(Some(until)) = state.next(Instant::now()) else { panic!("no limit") };
    assert!((until - Instant::now()).as_millis() <= 1_100);
    tokio::time::advance(Duration::from_millis(1_100)).await;
    state.is_suspended = true;
    assert!(matches!(state.next(Instant::now()), Next::Wait(None)));
    assert_eq!(state.report(at(1)).conditions[0].reason, "Suspended");
    state.is_suspended = false;
    sends(&mut state, Instant::now());
}

#[test]
fn events_from_before_a_receiver_are_not_sent_and_drops_are_counted() {
    let mut state = state("Webhook", json!({"webhook": {"url": "https://a/x"}}));
    state.offer(item(-5, "a"), true);
    assert_eq!(state.queue.count(), 0);
    for number in 0..i64::try_from(MOST_WAITING).unwrap() + 3 {
        state.offer(item(number, &format!("t{number}")), true);
    }
    assert_eq!((state.queue.count(), state.status.dropped, state.unreported), (MOST_WAITING, 3, 3));
}
