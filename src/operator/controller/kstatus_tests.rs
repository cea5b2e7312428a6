//! The status that tools which follow kstatus (Helm, Flux, kpt) compute from the conditions: a copy of the generic part of its `Compute`,
//! applied to each kind. The end-to-end tests use the real library, which is in Helm 4.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ready, requests::report::condition_sets};
use api::{
    Reason, RoleActivationRequestStatus, RoleEligibilitySpec, State,
    conditions::{Set, merge},
};
use domain::{Object, Refusal, Verdict, eligibility::standing};

/// `Compute` of sigs.k8s.io/cli-utils/pkg/kstatus/status for an unknown kind: deletion, generation, Reconciling and Stalled in the order of
/// the conditions, and then Ready.
fn kstatus(object: &Value) -> (&'static str, String) {
    let said = |text: &str| text.to_owned();
    if object["metadata"]["deletionTimestamp"].is_string() {
        return ("Terminating", said("Resource scheduled for deletion"));
    }
    let (generation, observed) = (&object["metadata"]["generation"], &object["status"]["observedGeneration"]);
    if generation.is_i64() && observed.is_i64() && generation != observed {
        return ("InProgress", format!("generation is {generation}, but latest observed generation is {observed}"));
    }
    let conditions: Vec<&Value> = object["status"]["conditions"].as_array().into_iter().flatten().collect();
    let message = |condition: &Value| condition["message"].as_str().unwrap_or_default().to_owned();
    for condition in &conditions {
        match (condition["type"].as_str(), condition["status"].as_str()) {
            (Some("Reconciling"), Some("True")) => return ("InProgress", message(condition)),
            (Some("Stalled"), Some("True")) => return ("Failed", message(condition)),
            _ => {}
        }
    }
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    match ready.and_then(|condition| condition["status"].as_str()) {
        None | Some("True") => ("Current", said("Resource is current")),
        Some(_) => ("InProgress", ready.map_or_else(String::new, |condition| message(condition))),
    }
}

/// Returns the kstatus result for an object of generation 3 with these conditions.
fn of(sets: &[Set]) -> (&'static str, String) {
    let conditions = merge(&[], sets, Some(3), Timestamp::UNIX_EPOCH);
    kstatus(&json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 3, "conditions": conditions}}))
}

fn word(sets: &[Set], kind: &str) -> String {
    let set = sets.iter().find(|set| set.kind == kind);
    set.map_or_else(|| "absent".to_owned(), |set| format!("{} {}", if set.status == Some(true) { "True" } else { "False" }, set.reason))
}

#[test]
fn f26_what_kstatus_computes() {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "message": "why"});
    let object =
        |conditions: &[Value]| json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "conditions": conditions}});
    for (object, expected) in [
        (json!({"metadata": {"generation": 2}}), "Current"),
        (object(&[]), "Current"),
        (object(&[condition("Ready", "True")]), "Current"),
        (object(&[condition("Ready", "False")]), "InProgress"),
        (object(&[condition("Ready", "Unknown")]), "InProgress"),
        (object(&[condition("Ready", "False"), condition("Stalled", "True")]), "Failed"),
        (object(&[condition("Stalled", "True"), condition("Reconciling", "True")]), "Failed"),
        (object(&[condition("Reconciling", "True"), condition("Stalled", "True")]), "InProgress"),
        (object(&[condition("Reconciling", "False"), condition("Stalled", "False"), condition("Ready", "True")]), "Current"),
        (json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}), "InProgress"),
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": 2}}), "Terminating"),
    ] {
        assert_eq!(kstatus(&object).0, expected, "{object}");
    }
}

#[test]
fn f26_requests_are_current_at_every_end_that_is_no_failure() {
    for state in State::ALL {
        let expected = match state {
            State::Pending | State::AwaitingApproval | State::Scheduled => "InProgress",
            State::Denied | State::TimedOut | State::Failed => "Failed",
            State::Active | State::Expired | State::Deactivated | State::Revoked | State::Withdrawn => "Current",
        };
        let sets = condition_sets(&RoleActivationRequestStatus::default(), &Verdict::new(state, Reason::Expired, "why it is so"));
        let (is, message) = of(&sets);
        assert_eq!(is, expected, "{state}");
        assert!(is == "Current" || message == "why it is so", "{state}: {message}");
        // A client that waits for access never mistakes an end for access. The reason is also in the condition that is always present.
        assert_eq!(word(&sets, "Ready").starts_with("True"), state == State::Active, "{state}");
        assert_eq!(sets.first().map(|set| (set.kind, set.message.as_str())), Some(("Active", "why it is so")), "{state}");
    }
}

fn eligibility(changes: &[(&str, Value)]) -> Object<RoleEligibilitySpec> {
    let mut spec = json!({
        "subjects": [{"kind": "User", "name": "dev"}], "roleRef": {"kind": "ClusterRole", "name": "edit"},
        "namespaces": {"names": ["payments"]}, "policyRef": {"name": "two-eyes"}, "maxDuration": "1h",
    });
    for (field, value) in changes {
        spec[*field] = value.clone();
    }
    let spec = serde_json::from_value(spec).expect("a spec");
    Object {
        name: "oncall".to_owned(),
        uid: "uid".to_owned(),
        created: Timestamp::UNIX_EPOCH,
        deleting: false,
        generation: 3,
        checked: None,
        owed: None,
        spec,
    }
}

#[test]
fn f26_f59_eligibilities_are_settled_wherever_nothing_is_left_to_do() {
    let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
    let (past, ahead) = (json!("2026-05-01T00:00:00Z"), json!("2026-07-01T00:00:00Z"));
    let no = |reason| Err(Refusal::new(reason, "what is wrong"));
    let suspended = || ("suspended", json!(true));
    for (changes, checked, ready, usable, expected) in [
        (vec![], Ok(()), "True Valid", "True Valid", "Current"),
        (vec![("startTime", ahead.clone())], Ok(()), "True Valid", "False EligibilityNotStarted", "Current"),
        (vec![("endTime", past.clone())], Ok(()), "True Valid", "False EligibilityExpired", "Current"),
        (vec![suspended()], Ok(()), "True Valid", "False EligibilitySuspended", "Current"),
        // A withdrawn eligibility is never reported as failed or in progress, whatever else is missing.
        (vec![suspended()], no(Reason::PolicyNotFound), "True Valid", "False EligibilitySuspended", "Current"),
        (vec![suspended()], no(Reason::RiskNotAccepted), "True Valid", "False EligibilitySuspended", "Current"),
        (vec![suspended()], no(Reason::AboveMaxGrant), "True Valid", "False EligibilitySuspended", "Current"),
        (vec![suspended()], no(Reason::WrittenUnguarded), "True Valid", "False EligibilitySuspended", "Current"),
        (vec![("endTime", past)], no(Reason::RoleNotFound), "True Valid", "False EligibilityExpired", "Current"),
        // Another object can resolve these, so they are in progress.
        (vec![], no(Reason::PolicyNotFound), "False PolicyNotFound", "False PolicyNotFound", "InProgress"),
        (vec![], no(Reason::RoleNotFound), "False RoleNotFound", "False RoleNotFound", "InProgress"),
        (vec![], no(Reason::PolicyNotReady), "False PolicyNotReady", "False PolicyNotReady", "InProgress"),
        (vec![("startTime", ahead)], no(Reason::PolicyNotFound), "False PolicyNotFound", "False PolicyNotFound", "InProgress"),
        // Only another spec, or other values of the chart, can resolve these, so they have failed.
        (vec![], no(Reason::RiskNotAccepted), "False RiskNotAccepted", "False RiskNotAccepted", "Failed"),
        (vec![], no(Reason::EndRequired), "False EndRequired", "False EndRequired", "Failed"),
        (vec![], no(Reason::RoleNotBindable), "False RoleNotBindable", "False RoleNotBindable", "Failed"),
        (vec![], no(Reason::WrittenUnguarded), "False WrittenUnguarded", "False WrittenUnguarded", "Failed"),
    ] {
        let case = format!("{changes:?} {checked:?}");
        let broken = checked.is_err();
        let standing = standing(&eligibility(&changes), checked, now);
        let sets = ready::of_eligibility(&standing, None);
        let (is, message) = of(&sets);
        assert_eq!((word(&sets, "Ready").as_str(), word(&sets, "Usable").as_str(), is), (ready, usable, expected), "{case}");
        assert!(is == "Current" || message == "what is wrong", "{case}: {message}");
        let why = standing.usable.err().map(|refusal| refusal.message).unwrap_or_default();
        assert_eq!(why.contains("what is wrong"), broken, "{case}: {why}");
    }
}

#[test]
fn f26_policies_are_current_or_failed() {
    assert_eq!(of(&ready::of_policy(&Ok(()))).0, "Current");
    let refusal = Refusal::new(Reason::AboveMaxGrant, "spec.limits.maxDuration is 25h");
    assert_eq!(of(&ready::of_policy(&Err(refusal))), ("Failed", "spec.limits.maxDuration is 25h".to_owned()));
}
