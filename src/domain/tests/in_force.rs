//! What is set and not acted upon is refused, and nothing else is.

use serde_json::{Value, json};

use super::*;
use crate::domain::{in_force, refusal::Refusal};

fn told(result: Result<(), Refusal>) -> String {
    result.err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

fn not_yet(field: &str) -> String {
    format!("FieldNotInForce: {field} is set, and this version of jit-rbac does not act upon it yet; leave it out")
}

/// `base` with the members of `more`.
fn with<T: serde::Serialize + serde::de::DeserializeOwned>(base: &T, more: &Value) -> T {
    fn merge(into: &mut Value, more: &Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (name, value) in more {
                    merge(into.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
            (into, more) => *into = more.clone(),
        }
    }
    let mut value = serde_json::to_value(base).unwrap();
    merge(&mut value, more);
    serde_json::from_value(value).unwrap()
}

#[test]
fn fields_of_a_policy() {
    let world = world();
    let policy = &world.snapshot.policy.found().unwrap().spec;
    for (set, unset, field) in [
        (json!({"requirements": {"ticket": {"required": true}}}), json!({"requirements": {"ticket": {}}}), "spec.requirements.ticket"),
        (
            json!({"requirements": {"ticket": {"pattern": "x"}}}),
            json!({"requirements": {"ticket": {"pattern": ""}}}),
            "spec.requirements.ticket",
        ),
        (
            json!({"requirements": {"authentication": {"claims": [{"key": "k", "anyOf": ["v"]}]}}}),
            json!({"requirements": {"authentication": {"claims": []}}}),
            "spec.requirements.authentication",
        ),
        (json!({"limits": {"maxTotalDuration": "1h"}}), json!({"limits": {"maxTotalDuration": null}}), "spec.limits.maxTotalDuration"),
        (json!({"limits": {"maxScheduleAhead": "1h"}}), json!({"limits": {}}), "spec.limits.maxScheduleAhead"),
        (json!({"limits": {"maxIdentityAge": "1h"}}), json!({"limits": {}}), "spec.limits.maxIdentityAge"),
        (json!({"limits": {"maxActivePerUser": 1}}), json!({"limits": {"maxActivePerUser": 0}}), "spec.limits.maxActivePerUser"),
        (json!({"limits": {"maxPendingPerUser": 1}}), json!({"limits": {"maxPendingPerUser": 0}}), "spec.limits.maxPendingPerUser"),
        (json!({"limits": {"cooldown": "1s"}}), json!({"limits": {"cooldown": "0s"}}), "spec.limits.cooldown"),
        (json!({"windows": [{"from": "08:00", "to": "18:00", "timeZone": "UTC"}]}), json!({"windows": []}), "spec.windows"),
        (json!({"emergency": {"allowed": true}}), json!({"emergency": {"allowed": false}}), "spec.emergency"),
        (json!({"emergency": {"maxDuration": "1h"}}), json!({"emergency": {"reviewers": {"users": []}}}), "spec.emergency"),
        (
            json!({"eligibility": {"requireJustification": true}}),
            json!({"eligibility": {"requireJustification": false}}),
            "spec.eligibility.requireJustification",
        ),
        (json!({"onRoleChange": "Report"}), json!({"onRoleChange": null}), "spec.onRoleChange"),
        (json!({"retention": "1h"}), json!({}), "spec.retention"),
    ] {
        let spec: ApprovalPolicySpec = with(policy, &set);
        assert_eq!(told(in_force::policy(&spec)), not_yet(field), "{set}");
        assert_eq!(told(in_force::policy(&with(policy, &unset))), "", "{unset}");
        let asked = world.clone().policy(|p| *p = spec);
        assert_eq!(asked.refusal(), format!("PolicyNotReady: policy 'two-eyes' cannot be used: {}", not_yet(field)));
    }
    let used = json!({
        "approval": {"timeout": "1h", "requireComment": true},
        "revokers": {"groups": ["security"]},
        "requirements": {"justification": {"minLength": 1, "pattern": ".*"}},
        "limits": {"minDuration": "1m", "maxDuration": "8h"},
        "eligibility": {"requireEnd": false, "maxDuration": "9000h"},
    });
    assert_eq!(told(in_force::policy(&with(policy, &used))), "");
}

#[test]
fn fields_of_a_request() {
    let world = world();
    let request = &world.snapshot.request.object.spec;
    for (set, unset, field) in [
        (json!({"startTime": "2026-11-02T12:00:00Z"}), json!({"startTime": null}), "spec.startTime"),
        (json!({"extends": {"name": "inc-4710"}}), json!({"extends": {"name": ""}}), "spec.extends"),
        (json!({"emergency": true}), json!({"emergency": false}), "spec.emergency"),
        (json!({"ticket": {"number": "1"}}), json!({"ticket": {"number": "", "system": null}}), "spec.ticket"),
    ] {
        let spec: RoleActivationRequestSpec = with(request, &set);
        assert_eq!(told(in_force::request(&spec)), not_yet(field), "{set}");
        assert_eq!(told(in_force::request(&with(request, &unset))), "", "{unset}");
        let asked = world.clone().request(|r| *r = spec);
        assert_eq!((asked.state(), asked.refusal()), (State::Denied, not_yet(field)));
    }
}

#[test]
fn the_rest() {
    let world = world();
    let eligibility = &world.snapshot.eligibility.found().unwrap().spec;
    assert_eq!(told(in_force::eligibility(&with(eligibility, &json!({"acceptRisks": ["Wildcard"]})))), not_yet("spec.acceptRisks"));
    assert_eq!(told(in_force::eligibility(&with(eligibility, &json!({"acceptRisks": [], "justification": "y", "description": "z"})))), "");
    for verb in [Verb::Approve, Verb::Deny, Verb::Revoke, Verb::Review, Verb::Deactivate] {
        let told = told(in_force::decision(&world.decision(verb, &lead(1), 1).spec));
        assert_eq!(told.starts_with("FieldNotInForce: the decision Review is not acted upon"), verb == Verb::Review, "{verb}: {told}");
    }
}
