//! The events of an object: the list only grows at its end, and ids stay.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use api::{
    ApprovalPolicy, Line, RoleActivationRequest, RoleActivationRequestStatus, RoleEligibility, RoleEligibilityStatus,
    request::{ReviewState, ReviewStatus},
    timeline::MAX_TIMELINE,
};
use domain::{
    activity::{self, Event},
    timeline::{self, Written},
};

/// What the operator reports next.
#[derive(Clone, Debug)]
enum Report {
    Verdict(Box<TestCase>),
    Review(bool, i64),
    Uninstalled(i64),
    /// The process restarts: everything but the stored object is forgotten.
    Restart,
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        6 => cases().prop_map(|case| Report::Verdict(Box::new(case))),
        1 => (any::<bool>(), 0..9_000_i64).prop_map(|(done, second)| Report::Review(done, second)),
        1 => (0..9_000_i64).prop_map(Report::Uninstalled),
        1 => Just(Report::Restart),
    ]
}

fn stored(case: &TestCase, status: RoleActivationRequestStatus) -> RoleActivationRequest {
    let facts = &case.snapshot.request;
    let mut request = RoleActivationRequest::new(&facts.object.name, facts.object.spec.clone());
    request.metadata.namespace = Some(facts.namespace.clone());
    request.metadata.uid = Some(facts.object.uid.clone());
    request.metadata.creation_timestamp = Some(api::conditions::to_time(facts.object.created));
    request.status = Some(status);
    request
}

fn grows(before: &[Event], after: &[Event]) -> Result<(), TestCaseError> {
    prop_assert!(after.len() >= before.len(), "{} events became {}", before.len(), after.len());
    for (old, new) in before.iter().zip(after) {
        prop_assert_eq!(&old.id, &new.id);
        prop_assert_eq!((old.kind, old.at, &old.actor), (new.kind, new.at, &new.actor));
    }
    let ids: HashSet<&str> = after.iter().map(|event| event.id.as_str()).collect();
    prop_assert_eq!(ids.len(), after.len(), "an id is there twice");
    prop_assert!(after.iter().all(|event| event.id.len() == 32 && event.cloud_event_type().starts_with("dev.jitrbac.")));
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn inv_32_the_events_of_a_request_only_grow_at_their_end(first in cases(), reports in prop::collection::vec(report(), 1..24)) {
        let mut status = RoleActivationRequestStatus::default();
        let mut events = activity::of_request(&stored(&first, status.clone()));
        prop_assert_eq!(events.len(), 1);
        for report in reports {
            status.timeline = match &report {
                Report::Verdict(case) => {
                    // The identity of the object stays, whatever else is stored by then.
                    let mut case = case.clone();
                    case.snapshot.request.object = first.snapshot.request.object.clone();
                    let verdict = case.decide();
                    let timeline = timeline::of_verdict(&status, &case.snapshot, &verdict, case.now);
                    status.digest = verdict.digest.as_ref().map(ToString::to_string).or(status.digest);
                    timeline
                }
                Report::Review(done, second) => {
                    let state = if *done { ReviewState::Done } else { ReviewState::Overdue };
                    let reviewed_by = Some(Line::try_from("rita".to_owned()).unwrap());
                    let review = ReviewStatus { state, deadline: at(9_000), reviewers: api::People::default(), reviewed_by, reviewed_at: Some(at(*second)), comment: None };
                    timeline::of_review(&status, &review, at(*second))
                }
                Report::Uninstalled(second) => timeline::of_end(&status, State::Revoked, "uninstalled", at(*second)),
                Report::Restart => status.timeline.clone(),
            };
            prop_assert!(status.timeline.len() <= MAX_TIMELINE);
            let after = activity::of_request(&stored(&first, status.clone()));
            grows(&events, &after)?;
            events = after;
        }
    }

    #[test]
    fn inv_32_the_events_of_an_eligibility_grow_at_their_end(writes in prop::collection::vec((any::<bool>(), any::<bool>(), 0..50_i64), 1..300)) {
        let (mut status, mut generation, mut now) = (RoleEligibilityStatus::default(), 1, 100);
        let mut before: Vec<Event> = Vec::new();
        for (changed, suspended, later) in writes {
            generation += i64::from(changed);
            now += later;
            let written = Written {
                created: at(1),
                observed_generation: status.observed_generation,
                generation,
                author: Some("ann"),
                suspended,
                ended_at: (later > 45).then(|| at(now)),
                message: "group 'team' can activate ClusterRole 'edit'",
            };
            status.timeline = timeline::of_written(&status.timeline, written, at(now));
            status.observed_generation = Some(generation);
            prop_assert!(status.timeline.len() <= MAX_TIMELINE);
            let mut eligibility = RoleEligibility::new("team-edit", case().snapshot.eligibility.found().unwrap().spec.clone());
            eligibility.metadata.uid = Some("uid".to_owned());
            eligibility.status = Some(status.clone());
            let after = activity::of_eligibility(&eligibility);
            // The oldest are forgotten, and the rest is as it was.
            let forgotten = before.iter().take_while(|old| !after.iter().any(|new| new.id == old.id)).count();
            prop_assert!(forgotten == 0 || after.len() == MAX_TIMELINE);
            grows(&before[forgotten..], &after)?;
            before = after;
        }
    }
}

#[test]
fn a_policy_without_a_report_has_no_events() {
    let policy = ApprovalPolicy::new("two-eyes", api::ApprovalPolicySpec::default());
    assert_eq!(activity::of_policy(&policy), []);
}
