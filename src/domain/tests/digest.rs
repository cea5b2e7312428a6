//! The digest: it contains everything that would be granted, in one stable form (T2, T3, T16, T17, T37).

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;
use api::{
    eligibility::{Operator, Requirement, RiskClass, Selector},
    policy::{
        AuthenticationRule, Claim, Day, EligibilityRules, Emergency, JustificationRule, Limits, MaxAge, OnRoleChange, Party, Requirements,
        TicketRule, Window,
    },
    request::{Extends, Ticket},
};
use domain::canonical::{canonical, hex};

/// The scenario's digest input, written by hand.
const CANONICAL: &str = concat!(
    r#"{"eligibility":{"spec":{"endTime":"2026-12-02T10:00:00Z","maxDuration":"4h","namespaces":{"names":["payments"]},"policyRef":{"name":"two-eyes"},"#,
    r#""roleRef":{"kind":"ClusterRole","name":"edit"},"subjects":[{"kind":"Group","name":"devs"}]},"uid":"eligibility-uid"},"#,
    r#""namespace":{"name":"payments","uid":"namespace-uid"},"#,
    r#""policy":{"spec":{"approval":{"automatic":{}}},"uid":"policy-uid"},"#,
    r#""request":{"spec":{"duration":"45m","eligibilityRef":{"name":"payments-oncall"},"justification":"INC-4711 checkout is slow","#,
    r#""requester":{"groups":["devs"],"username":"dev"}},"uid":"0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d"},"#,
    r#""role":{"kind":"ClusterRole","name":"edit","rules":"sha256:RULES","uid":"role-uid"}}"#,
);
const RULES: &str = concat!(
    r#"[{"api_groups":["apps"],"non_resource_urls":[],"resource_names":[],"resources":["deployments"],"verbs":["get","patch"]},"#,
    r#"{"api_groups":["apps"],"non_resource_urls":[],"resource_names":[],"resources":["statefulsets"],"verbs":["get"]}]"#,
);

fn sha(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[test]
fn the_form_that_is_hashed_does_not_move() {
    let rules = sha(&format!("jitrbac.dev/rules/v1\n{RULES}"));
    let digest = sha(&format!("jitrbac.dev/digest/v1\n{}", CANONICAL.replace("RULES", &rules)));
    assert_eq!(case().digest().as_str(), format!("sha256:{digest}"));
    assert_eq!(
        case().digest().to_string(),
        "sha256:f66c12ff53b085b6a9efc44f447d2ea8a73f89b63a93ef0737115013f7b241d7",
        "an upgrade would make every approval stale"
    );
}

#[test]
fn one_value_has_one_form() {
    let one = |value: &Value| String::from_utf8(canonical(value)).unwrap();
    assert_eq!(one(&json!({"b": 1, "a": {"d": null, "c": [true, null, "x"]}, "e": null})), r#"{"a":{"c":[true,null,"x"]},"b":1}"#);
    assert_eq!(one(&json!({"a\"b": "\n\u{1F44D}é\\", "": ""})), r#"{"":"","a\"b":"\n👍é\\"}"#);
    assert_ne!(one(&json!(["a", "b"])), one(&json!(["a,b"])));
    assert_ne!(one(&json!({"a": "1"})), one(&json!({"a": 1})));
    assert_ne!(one(&json!({"a": {}})), one(&json!({})));
}

#[test]
fn t17_rules_in_any_order_are_the_same_rules() {
    let rules = [rule(&["get", "patch"], &["deployments", "statefulsets"]), rule(&["list"], &["pods"]), rule(&["get"], &["pods"])];
    let hash = Rules::new(rules.clone()).hash().to_owned();
    let known = Arc::new(Rules::new(rules.clone()));
    assert!(Arc::ptr_eq(&known, &Rules::known_or_new(rules.iter().rev().cloned(), Some(&known))), "they are known in any order");
    assert!(*Rules::known_or_new(rules.iter().skip(1).cloned(), Some(&known)) == Rules::new(rules.iter().skip(1).cloned()));
    let shuffled =
        [rule(&["get"], &["pods"]), rule(&["patch", "get", "get"], &["statefulsets", "deployments"]), rule(&["list"], &["pods"])];
    assert_eq!(Rules::new(shuffled).hash(), hash);
    assert_eq!(Rules::new(rules.iter().cloned().chain(rules.clone())).hash(), hash, "repeated entries count once");
    let changes: [fn(&mut Rule); 5] = [
        |r| r.api_groups.push("batch".to_owned()),
        |r| r.resources.push("secrets".to_owned()),
        |r| r.resource_names.push("web".to_owned()),
        |r| r.non_resource_urls.push("/metrics".to_owned()),
        |r| r.verbs.push("delete".to_owned()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut rules = rules.clone();
        change(&mut rules[1]);
        assert_ne!(Rules::new(rules).hash(), hash, "change {number}");
    }
    assert_ne!(Rules::new(rules.into_iter().take(2)).hash(), hash);
}

#[test]
fn t03_t17_t37_other_objects_are_another_digest() {
    type Change = (&'static str, fn(&mut TestCase));
    let changes: [Change; 10] = [
        ("request UID", |c| c.snapshot.request.object.uid.push('0')),
        ("namespace", |c| c.snapshot.request.namespace.push('0')),
        ("namespace UID", |c| found(&mut c.snapshot.namespace).uid.push('0')),
        ("eligibility UID", |c| Arc::make_mut(found(&mut c.snapshot.eligibility)).uid.push('0')),
        ("policy UID", |c| Arc::make_mut(found(&mut c.snapshot.policy)).uid.push('0')),
        ("role kind", |c| found(&mut c.snapshot.role).kind = RoleKind::Role),
        ("role name", |c| found(&mut c.snapshot.role).name.push('0')),
        ("role UID", |c| found(&mut c.snapshot.role).uid.push('0')),
        ("one rule more", |c| {
            let role = found(&mut c.snapshot.role);
            role.rules = Arc::new(Rules::new(role.rules.rules().iter().cloned().chain([rule(&["get"], &["secrets"])])));
        }),
        ("one rule less", |c| {
            let role = found(&mut c.snapshot.role);
            role.rules = Arc::new(Rules::new(role.rules.rules().iter().skip(1).cloned()));
        }),
    ];
    let digest = case().digest();
    for (what, change) in changes {
        assert_ne!(case().change(change).digest(), digest, "{what}");
    }
    // Values that are not granted do not change it: labels, names with a UID, the status.
    let same = case().namespace(|n| n.labels.clear()).record(|r| r.digest = Some("x".to_owned())).now(99).says(Verb::Deny, &lead(1), 5);
    assert_eq!(same.digest(), digest);
}

#[test]
fn f67_rbacs_api_group_is_accepted_and_means_nothing() {
    let spec = |group: &str| {
        let spec = serde_json::to_value(&case().snapshot.eligibility.found().unwrap().spec).unwrap();
        let mut spec = spec;
        spec["roleRef"]["apiGroup"] = group.into();
        spec["subjects"][0]["apiGroup"] = group.into();
        serde_json::from_value::<RoleEligibilitySpec>(spec).unwrap()
    };
    for group in ["", "rbac.authorization.k8s.io"] {
        let with = case().eligibility(|e| *e = spec(group));
        assert_eq!(with.digest(), case().digest());
        assert_eq!(case().granted().eligibility(|e| *e = spec(group)).state(), State::Active, "what runs goes on");
    }
}

fn found<T>(lookup: &mut Lookup<T>) -> &mut T {
    match lookup {
        Lookup::Found(object) => object,
        Lookup::Absent | Lookup::Deleting(_) | Lookup::Unreadable(_) => panic!("it is not there"),
    }
}

/// Returns `value` with one leaf or member changed or removed, in every possible way, and its path.
fn edits(value: &Value) -> Vec<(String, Value)> {
    let put = |at: &str, parts: Vec<(String, Value)>| parts.into_iter().map(|(path, v)| (format!("{at}{path}"), v)).collect::<Vec<_>>();
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| {
                let mut without = members.clone();
                without.remove(name);
                let inside = edits(member).into_iter().map(|(path, changed)| {
                    let mut with = members.clone();
                    with.insert(name.clone(), changed);
                    (path, Value::Object(with))
                });
                put(&format!(".{name}"), [(String::new(), Value::Object(without))].into_iter().chain(inside).collect())
            })
            .collect(),
        Value::Array(items) => (0..items.len())
            .flat_map(|i| {
                let mut without = items.clone();
                without.remove(i);
                let inside = edits(&items[i]).into_iter().map(|(path, changed)| {
                    let mut with = items.clone();
                    with[i] = changed;
                    (path, Value::Array(with))
                });
                put(&format!("[{i}]"), [(String::new(), Value::Array(without))].into_iter().chain(inside).collect())
            })
            .collect(),
        Value::Bool(yes) => vec![(String::new(), json!(!yes))],
        Value::Number(n) => vec![(String::new(), json!(n.as_i64().unwrap() + 1))],
        // One of these is a different value, whatever type the text has.
        Value::String(text) => {
            [format!("{text}x"), "7h7m".to_owned(), "2030-01-01T00:00:00Z".to_owned(), "Role".to_owned(), "ServiceAccount".to_owned()]
                .into_iter()
                .chain(["Wildcard", "Sun", "Report", "Approver", "NotIn", "User", "Group"].map(ToOwned::to_owned))
                .filter(|other| other != text)
                .map(|other| (String::new(), json!(other)))
                .collect()
        }
        Value::Null => Vec::new(),
    }
}

/// Every path in `spec` can be changed, and every change gives another digest.
fn walk<T>(spec: &T, digest: impl Fn(T) -> Digest)
where
    T: serde::Serialize + serde::de::DeserializeOwned + Clone + PartialEq,
{
    let before = digest(spec.clone());
    let value = serde_json::to_value(spec).unwrap();
    let mut paths: std::collections::BTreeMap<String, bool> = std::collections::BTreeMap::new();
    for (path, changed) in edits(&value) {
        let moved = paths.entry(path.clone()).or_default();
        let Ok(changed) = serde_json::from_value::<T>(changed.clone()) else { continue };
        if changed != *spec {
            *moved = true;
            assert_ne!(digest(changed), before, "{path}");
        }
    }
    // A required member can only be changed inside.
    let moved_inside = |path: &str| paths.iter().any(|(inner, moved)| *moved && inner.starts_with(path));
    let still: Vec<&String> = paths.keys().filter(|path| !moved_inside(path)).collect();
    assert!(still.is_empty(), "nothing changed at {still:?}");
    assert!(paths.len() > 10);
}

#[test]
fn t02_every_field_of_a_request() {
    let spec = RoleActivationRequestSpec {
        eligibility_ref: NameRef { name: "payments-oncall".to_owned() },
        duration: Some(lasting("45m")),
        start_time: Some(at(60)),
        extends: Some(Extends { name: "before".to_owned() }),
        emergency: true,
        justification: Some(line("because")),
        ticket: Some(Ticket { system: Some(line("jira")), number: Some(line("INC-1")) }),
        requester: Some(Stamp { extra: [("k".to_owned(), vec!["v".to_owned(), "w".to_owned()])].into(), ..uid(dev(), "u1") }),
    };
    walk(&spec, |changed| case().request(|r| *r = changed).digest());
}

#[test]
fn t16_every_field_of_an_eligibility() {
    let selector = Selector {
        match_labels: [("team".to_owned(), "payments".to_owned())].into(),
        match_expressions: vec![Requirement { key: "k".to_owned(), operator: Operator::In, values: vec!["v".to_owned()] }],
    };
    let spec = RoleEligibilitySpec {
        subjects: vec![Subject { uid: Some(line("u1")), ..subject(SubjectKind::ServiceAccount, "bot") }, subject(SubjectKind::User, "dev")],
        role_ref: RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() },
        namespaces: Namespaces { names: vec!["payments".to_owned(), "shop".to_owned()], selector: Some(selector) },
        policy_ref: NameRef { name: "two-eyes".to_owned() },
        default_duration: Some(lasting("1h")),
        max_duration: lasting("4h"),
        start_time: Some(at(0)),
        end_time: Some(at(60)),
        suspended: true,
        allow_service_accounts: true,
        accept_risks: vec![RiskClass::Escalation, RiskClass::Admission],
        justification: Some(line("on call")),
        description: Some(line("for incidents")),
    };
    walk(&spec, |changed| case().eligibility(|e| *e = changed).digest());
}

#[test]
fn t16_every_field_of_a_policy() {
    let hour = || Some(lasting("1h"));
    let both = || people(&["lead-1", "group leads"]);
    let spec = ApprovalPolicySpec {
        approval: Approval {
            automatic: Some(Automatic {}),
            stages: vec![Stage { name: line("lead"), approvers: both(), required: Some(2) }, stage("last", 1, &["group security"])],
            timeout: hour(),
            require_comment: true,
        },
        revokers: Some(both()),
        requirements: Some(Requirements {
            justification: Some(JustificationRule { min_length: Some(1), pattern: Some(line("x")) }),
            ticket: Some(TicketRule { required: true, system: Some(line("jira")), pattern: Some(line("x")) }),
            authentication: Some(AuthenticationRule {
                claims: vec![Claim { key: line("amr"), any_of: vec![line("mfa")] }],
                max_age: Some(MaxAge { key: line("auth-time"), duration: lasting("15m") }),
                applies_to: vec![Party::Requester],
            }),
        }),
        limits: Some(Limits {
            min_duration: hour(),
            max_duration: hour(),
            max_total_duration: hour(),
            max_schedule_ahead: hour(),
            max_identity_age: hour(),
            max_active_per_user: Some(1),
            max_pending_per_user: Some(1),
            cooldown: hour(),
        }),
        windows: vec![Window {
            days: vec![Day::Mon],
            from: "08:00".to_owned(),
            to: "18:00".to_owned(),
            time_zone: line("UTC"),
            ends_grant: true,
        }],
        emergency: Some(Emergency { allowed: true, max_duration: hour(), reviewers: Some(both()), review_within: hour() }),
        eligibility: Some(EligibilityRules { require_end: Some(true), max_duration: hour(), require_justification: true }),
        on_role_change: Some(OnRoleChange::Revoke),
        retention: hour(),
    };
    walk(&spec, |changed| case().policy(|p| *p = changed).digest());
}
