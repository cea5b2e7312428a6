//! The timeline of a request, entry by entry.

use super::*;
use api::{Reason, RoleActivationRequestStatus};
use domain::{
    activity::Kind,
    timeline::{self, Written},
};

/// Reports what each of `cases` leads to, one after the other, and returns the timeline in short.
fn reported(cases: &[TestCase]) -> Vec<String> {
    let mut status = RoleActivationRequestStatus::default();
    for case in cases {
        let verdict = case.decide();
        status.timeline = timeline::of_verdict(&status, &case.snapshot, &verdict, case.now);
        status.digest = verdict.digest.as_ref().map(ToString::to_string).or(status.digest);
    }
    let second = |time: Timestamp| time.duration_since(at(0)).as_secs();
    status.timeline.iter().map(|entry| format!("{} {} {}: {}", second(entry.time), entry.actor, entry.event, entry.message)).collect()
}

fn two_stages() -> TestCase {
    case().stages(vec![stage("lead", 1, &["group leads"]), stage("security", 2, &["group security"])])
}

#[test]
fn each_stage_asks_its_approvers_once() {
    let asked = two_stages();
    let first = asked.clone().approves(&lead(1), 10);
    let security = |number: usize| person(&format!("sec-{number}"), &["security"]);
    let second = first.clone().approves(&security(1), 20);
    let granted = second.clone().approves(&security(2), 30).now(31);
    let timeline =
        reported(&[asked.clone(), asked.now(5), first.clone().now(11), first.now(12), second.now(21), granted.clone(), granted.now(32)]);
    assert_eq!(
        timeline,
        [
            "0 dev Requested: requested eligibility 'payments-oncall' for 45m: INC-4711 checkout is slow",
            "1 jit-rbac WaitingForApproval: waits for 1 approval in stage 'lead' until 2026-11-03T10:00:00Z",
            "10 lead-1 Approved: approved in stage 'lead'",
            "11 jit-rbac WaitingForApproval: waits for 2 approvals in stage 'security' until 2026-11-03T10:00:00Z",
            "20 sec-1 Approved: approved in stage 'security'",
            "30 sec-2 Approved: approved in stage 'security'",
            "31 jit-rbac Granted: granted ClusterRole 'edit' until 2026-11-02T10:45:30Z",
        ]
    );
}

/// The guards are not verified for a moment: the approvers are not asked a second time. The role changes: they are.
#[test]
fn approvers_are_asked_again_only_if_something_else_would_be_granted() {
    let asked = two_eyes();
    let held = asked.clone().change(|c| {
        c.snapshot.guards = domain::Guards::Watched(domain::GuardFacts {
            hold: Some(domain::Refusal::new(Reason::GuardsNotVerified, "a guard is not verified")),
            ..domain::GuardFacts::default()
        });
    });
    let wider = asked.clone().eligibility(|e| e.max_duration = lasting("3h"));
    let timeline = reported(&[asked.clone(), held.now(2), asked.now(3), wider.clone().now(4), wider.now(5)]);
    let waits: Vec<&String> = timeline.iter().filter(|entry| entry.contains(Kind::WaitingForApproval.as_str())).collect();
    assert_eq!(waits.len(), 2, "{timeline:#?}");
    assert!(waits[1].starts_with("4 "), "{timeline:#?}");
}

#[test]
fn a_suspension_is_reported_once_and_its_end_too() {
    let written = |observed: Option<i64>, generation: i64, suspended: bool| Written {
        created: at(0),
        observed_generation: observed,
        generation,
        author: Some("ann"),
        suspended,
        ended_at: None,
        message: "group 'team' can activate ClusterRole 'edit'",
    };
    let mut entries = Vec::new();
    for (second, step) in
        [(1, written(None, 1, false)), (10, written(Some(1), 2, true)), (11, written(Some(2), 2, true)), (20, written(Some(2), 3, false))]
    {
        entries = timeline::of_written(&entries, step, at(second));
    }
    let events: Vec<&str> = entries.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(events, ["Created", "Changed", "Suspended", "Changed", "Resumed"]);
}
