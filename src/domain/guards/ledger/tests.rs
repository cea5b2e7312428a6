//! Tests of spans and quarantine over time.

use jiff::{SignedDuration, Timestamp};

use super::{Kind, Known, Ledger, Pair, Proven, Stored};
use crate::Span;

/// The instant so many seconds after noon.
fn at(seconds: i64) -> Timestamp {
    "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn pair(uid: &str, generation: i64) -> Pair {
    Pair { uid: uid.to_owned(), generation }
}

/// A proof at `seconds` of two guards, the first with the generation `generation`, when the last write had the resource version `version`.
fn proof(seconds: i64, generation: i64, version: u64) -> Proven {
    Proven {
        guards: [("one".to_owned(), pair("g1", generation)), ("two".to_owned(), pair("g2", 1))].into(),
        at: at(seconds),
        versions: [(Kind::RoleEligibility, version), (Kind::ApprovalPolicy, version)].into(),
    }
}

fn eligibility(uid: &str, generation: i64, version: u64) -> Stored {
    Stored { kind: Kind::RoleEligibility, name: format!("e-{uid}"), pair: pair(uid, generation), version }
}

/// Proven since second 1, last at second 100, when the last write had the resource version 50.
fn proven() -> Ledger {
    let mut ledger = Ledger::first();
    ledger.begin(proof(0, 1, 10), &[eligibility("a", 1, 5)], &Known::new()).unwrap();
    assert!(ledger.go_on(&proof(100, 1, 50)));
    ledger
}

fn covers(ledger: &Ledger, seconds: i64) -> bool {
    ledger.spans().iter().any(|span| span.covers(at(seconds)))
}

fn uids(ledger: &Ledger) -> Vec<&str> {
    ledger.quarantined().iter().map(|q| q.pair.uid.as_str()).collect()
}

/// The ledger after a write and a read by another process.
fn again(ledger: &Ledger) -> Ledger {
    Ledger::read(Some(&ledger.write())).unwrap()
}

#[test]
fn the_first_proof_takes_what_exists_and_time_begins_with_the_next_second() {
    let ledger = proven();
    assert!(uids(&ledger).is_empty() && !ledger.is_first());
    assert_eq!(ledger.spans(), [Span { from: at(1), until: None }]);
    assert!(!covers(&ledger, 0) && covers(&ledger, 1));
    assert!(again(&Ledger::first()).is_first(), "a restart before the first proof changes nothing");
}

#[test]
fn t41_downtime_without_a_gap_is_no_gap() {
    let mut ledger = again(&proven());
    assert!(ledger.go_on(&proof(9_000, 1, 900)));
    assert!(covers(&ledger, 5_000), "what was created while nobody looked was guarded");
    assert!(uids(&ledger).is_empty());
}

#[test]
fn t42_downtime_with_a_gap_ends_the_span_before_the_last_proof() {
    // An edit and its reversal raise the generation by two. The contents are the same.
    let mut ledger = again(&proven());
    let back = proof(9_000, 3, 900);
    assert!(!ledger.go_on(&back));
    let exists = [eligibility("a", 1, 50), eligibility("b", 1, 51), eligibility("c", 2, 700)];
    ledger.begin(back, &exists, &Known::new()).unwrap();
    for (seconds, covered) in [(99, true), (100, false), (5_000, false), (9_000, false), (9_001, true)] {
        assert_eq!(covers(&ledger, seconds), covered, "{seconds}");
    }
    assert_eq!(uids(&ledger), ["b", "c"], "what was written after the last proof");
    assert!(ledger.is_quarantined(Kind::RoleEligibility, "c", 2) && !ledger.is_quarantined(Kind::RoleEligibility, "c", 3));
    assert!(!ledger.is_quarantined(Kind::ApprovalPolicy, "c", 2), "another kind");
}

#[test]
fn t55_a_gap_while_running_quarantines_what_this_replica_had_not_seen() {
    let mut ledger = proven();
    ledger.end();
    assert!(!ledger.lasts() && !covers(&ledger, 100) && covers(&ledger, 99));
    assert!(!ledger.go_on(&proof(110, 1, 60)), "equal guards after one did not refuse are a gap too");
    // Meanwhile the status of `a` was written, `b` was edited and restored, `c` was created, and `d` was deleted and created again under
    // its name.
    let known: Known = [("a".to_owned(), 1), ("b".to_owned(), 1), ("d".to_owned(), 1)].into();
    let exists = [eligibility("a", 1, 70), eligibility("b", 3, 71), eligibility("c", 1, 72), eligibility("d2", 1, 73)];
    ledger.begin(proof(120, 1, 80), &exists, &known).unwrap();
    assert_eq!(uids(&ledger), ["b", "c", "d2"]);
}

#[test]
fn t42_a_quarantine_outlives_restarts_and_further_gaps_until_it_is_written_again() {
    let mut ledger = again(&proven());
    ledger.begin(proof(200, 2, 90), &[eligibility("b", 1, 60)], &Known::new()).unwrap();
    let mut ledger = again(&ledger);
    assert!(ledger.go_on(&proof(300, 2, 100)));
    assert!(ledger.is_quarantined(Kind::RoleEligibility, "b", 1));
    ledger.begin(proof(400, 3, 120), &[eligibility("b", 1, 60)], &Known::new()).unwrap();
    assert_eq!(uids(&ledger), ["b"]);
    // Written in proven time: a new generation, which the next proof has observed.
    assert!(ledger.go_on(&proof(500, 3, 130)));
    ledger.begin(proof(600, 4, 140), &[eligibility("b", 2, 125)], &Known::new()).unwrap();
    assert!(uids(&ledger).is_empty(), "{:?}", ledger.quarantined());
}

#[test]
fn t41_a_record_that_is_stripped_or_strange_is_a_gap_of_unknown_length() {
    for strange in [None, Some(""), Some("{}"), Some("null"), Some(r#"{"version":2,"guards":{},"versions":{}}"#)] {
        assert_eq!(Ledger::read(strange), None, "{strange:?}");
    }
    let mut ledger = Ledger::lost();
    ledger.begin(proof(200, 1, 90), &[eligibility("a", 1, 5)], &Known::new()).unwrap();
    assert_eq!(uids(&ledger), ["a"], "everything that exists");
    assert!(!covers(&ledger, 50) && covers(&ledger, 201));
}

#[test]
fn the_record_stays_small() {
    let mut ledger = proven();
    for number in 1..100 {
        let start = number * 1_000;
        ledger.begin(proof(start, number + 1, 50), &[], &Known::new()).unwrap();
        assert!(ledger.go_on(&proof(start + 100, number + 1, 50)));
    }
    assert_eq!(ledger.spans().len(), 33);
    assert!(covers(&ledger, 99_050) && !covers(&ledger, 50));
    let many: Vec<_> = (0..1_001).map(|n| eligibility(&format!("00000000-0000-0000-0000-{n:012}"), 1, 60)).collect();
    let refused = ledger.begin(proof(200_000, 200, 70), &many, &Known::new()).unwrap_err().to_string();
    assert!(refused.contains("1001 eligibilities and policies"), "{refused}");
    assert!(!ledger.lasts(), "nothing is proven then");
    ledger.begin(proof(200_000, 200, 70), &many[1..], &Known::new()).unwrap();
    // The API server accepts annotations up to 256 KiB in total.
    assert!(ledger.write().len() < 200_000, "{}", ledger.write().len());
}

#[test]
fn t42_what_lasts_is_certain_until_the_last_proof_only() {
    let mut ledger = proven();
    assert_eq!(ledger.certain(), [Span { from: at(1), until: Some(at(99)) }]);
    assert!(ledger.lasts(), "to ask ends nothing");
    ledger.begin(proof(200, 2, 90), &[], &Known::new()).unwrap();
    assert!(ledger.go_on(&proof(300, 2, 100)));
    assert_eq!(ledger.certain(), [Span { from: at(1), until: Some(at(99)) }, Span { from: at(201), until: Some(at(299)) }]);
}

#[test]
fn a_span_shorter_than_a_second_is_none() {
    let mut ledger = Ledger::first();
    ledger.begin(proof(10, 1, 1), &[], &Known::new()).unwrap();
    ledger.end();
    assert!(ledger.spans().is_empty());
}

#[test]
fn f14_a_record_that_the_api_server_would_not_take_lets_nothing_begin() {
    let mut ledger = proven();
    let named = |count: usize| -> Vec<_> {
        let name = |n: usize| format!("{n:04}-{}", "e".repeat(248));
        (0..count).map(|n| Stored { name: name(n), ..eligibility(&format!("00000000-0000-0000-0000-{n:012}"), 1, 60) }).collect()
    };
    let refused = ledger.begin(proof(200, 2, 70), &named(1_000), &Known::new()).unwrap_err().to_string();
    assert!(refused.contains("1000 eligibilities and policies"), "{refused}");
    assert!(!ledger.lasts(), "nothing is proven then, and nothing granted");
    assert!(ledger.write().len() < 200_000);
    // Another replica reads this ledger, and it continues once there are fewer objects.
    let mut ledger = again(&ledger);
    ledger.begin(proof(300, 2, 70), &named(400), &Known::new()).unwrap();
    assert!(ledger.write().len() < 200_000, "{}", ledger.write().len());
    assert!(ledger.is_quarantined(Kind::RoleEligibility, "00000000-0000-0000-0000-000000000399", 1));
}

#[test]
fn f38_a_guard_that_lets_a_probe_through_may_have_done_so_since_the_last_one() {
    let mut ledger = proven();
    assert!(ledger.go_on_unasked(&proof(110, 1, 60)) && ledger.go_on_unasked(&proof(120, 1, 70)));
    // An observed change came after the last proof.
    let mut changed = again(&ledger);
    changed.end();
    assert!(covers(&changed, 119) && !covers(&changed, 120));
    // A guard that refuses nothing may have been so before.
    let mut silent = again(&ledger);
    silent.end_unasked();
    assert!(covers(&silent, 99) && !covers(&silent, 100));
    let exists = [eligibility("a", 1, 50), eligibility("b", 1, 55), eligibility("c", 1, 65)];
    silent.begin(proof(130, 1, 80), &exists, &Known::new()).unwrap();
    assert_eq!(uids(&silent), ["b", "c"], "what was written after the last probe");
    // Everything before a probe that all guards refused is certain.
    assert!(ledger.go_on(&proof(130, 1, 80)));
    ledger.end_unasked();
    assert!(covers(&ledger, 129) && !covers(&ledger, 130));
}
