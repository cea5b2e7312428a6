//! Who is notified of what.

use std::collections::BTreeMap;

use api::{ApprovalPolicy, ReceiverType, RoleActivationRequest, RoleEligibility, notification_receiver::MAX_IDS};
use domain::{
    activity::{self, Kind},
    notify::{
        Matter, Plan, Rule,
        addresses::{Addresses, Directory},
        assignment::Assignment,
        default_rules,
        occasion::{self, Occasion, Reminder},
        plan,
        position::{Handled, WINDOW},
        text,
    },
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn stamped(second: i64) -> String {
    domain::instant::stamp(at(second))
}

#[allow(clippy::needless_pass_by_value, reason = "for `json!`")]
fn request(status: Value) -> RoleActivationRequest {
    serde_json::from_value(json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest",
        "metadata": {"name": "inc", "namespace": "shop", "uid": "u-1", "creationTimestamp": stamped(0)},
        "spec": {"eligibilityRef": {"name": "edit"}, "requester": {"username": "ann"}}, "status": status,
    }))
    .unwrap()
}

fn waiting() -> RoleActivationRequest {
    request(json!({
        "state": "AwaitingApproval",
        "awaiting": {"stage": "leads", "have": 0, "required": 1, "deadline": stamped(9_000), "approvers": {"users": ["bob"], "groups": ["leads"]}},
        "timeline": [
            {"time": stamped(0), "actor": "ann", "event": "Requested", "message": "requested"},
            {"time": stamped(1), "actor": "jit-rbac", "event": "WaitingForApproval", "message": "waits"},
        ],
    }))
}

fn active(expires: i64) -> RoleActivationRequest {
    request(json!({
        "state": "Active", "expiresAt": stamped(expires),
        "timeline": [
            {"time": stamped(0), "actor": "ann", "event": "Requested", "message": "requested"},
            {"time": stamped(5), "actor": "jit-rbac", "event": "Granted", "message": "granted"},
        ],
    }))
}

fn eligibility() -> RoleEligibility {
    serde_json::from_value(json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": "edit", "uid": "e-1", "creationTimestamp": stamped(0)},
        "spec": {
            "subjects": [{"kind": "User", "name": "ann"}, {"kind": "Group", "name": "devs"}], "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "namespaces": {"names": ["shop"]}, "policyRef": {"name": "two-eyes"}, "maxDuration": "1h", "endTime": stamped(100_000),
        },
    }))
    .unwrap()
}

fn policy() -> ApprovalPolicy {
    serde_json::from_value(json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": "two-eyes", "labels": {"tier": "gold"}},
        "spec": {"approval": {"stages": [{"name": "leads", "approvers": {"users": ["bob"]}}]}},
    }))
    .unwrap()
}

fn rule(spec: Value) -> Rule {
    Rule { name: "rule".to_owned(), spec: serde_json::from_value(spec).unwrap(), since: at(0) }
}

fn receivers() -> BTreeMap<String, ReceiverType> {
    [("mail", ReceiverType::Smtp), ("chat", ReceiverType::Slack)].map(|(name, kind)| (name.to_owned(), kind)).into()
}

fn directory() -> Directory {
    let addresses: Addresses = serde_json::from_value(json!({
        "users": [{"pattern": "(ann|bob)", "mail": "$1@example.com"}],
        "groups": {"leads": [{"name": "chat"}]}, "admins": [{"name": "mail", "to": ["admins@example.com"]}],
    }))
    .unwrap();
    Directory::new(addresses).unwrap()
}

/// The plan for the event of this kind.
fn planned(request: &RoleActivationRequest, kind: Kind, rules: &[Rule]) -> Plan {
    let (eligibility, policy) = (eligibility(), policy());
    let matter = Matter { request: Some(request), eligibility: Some(&eligibility), policy: Some(&policy) };
    let event = activity::of_request(request).into_iter().find(|event| event.kind == kind).unwrap();
    plan(&Occasion::of(event), matter, rules, &receivers(), &directory())
}

/// `receiver: addresses` of a plan.
fn lines(plan: &Plan) -> Vec<String> {
    plan.deliveries
        .iter()
        .map(|(name, delivery)| format!("{name}: {}", delivery.to.iter().cloned().collect::<Vec<_>>().join(" ")).trim_end().to_owned())
        .collect()
}

#[test]
fn each_recipient_of_a_rule_is_resolved() {
    let all = |recipient: &str, kind| {
        let rules = [rule(json!({"event": "Activation", "recipient": recipient, "defaultRecipients": true}))];
        let request = if kind == Kind::Granted { active(1_000) } else { waiting() };
        lines(&planned(&request, kind, &rules))
    };
    assert_eq!(all("Approver", Kind::WaitingForApproval), ["chat:", "mail: bob@example.com"]);
    assert!(all("Requester", Kind::WaitingForApproval).is_empty(), "the requester is not asked");
    assert_eq!(all("Requester", Kind::Granted), ["mail: ann@example.com"]);
    assert_eq!(all("Admin", Kind::Granted), ["mail: admins@example.com"]);
    assert_eq!(all("Admin", Kind::Requested), ["mail: admins@example.com"]);
}

#[test]
fn rules_select_events_policies_and_levels() {
    for (spec, kind, is_sent) in [
        (json!({"event": "Activation", "recipient": "Approver"}), Kind::WaitingForApproval, true),
        (json!({"event": "Eligibility", "recipient": "Approver"}), Kind::WaitingForApproval, false),
        (json!({"event": "Emergency", "recipient": "Approver"}), Kind::WaitingForApproval, false),
        (json!({"event": "Activation", "recipient": "Approver", "level": "Critical"}), Kind::WaitingForApproval, true),
        (json!({"event": "Activation", "recipient": "Admin", "level": "Critical"}), Kind::Requested, false),
        (json!({"event": "Activation", "recipient": "Admin", "policies": {"names": ["two-eyes"]}}), Kind::Requested, true),
        (json!({"event": "Activation", "recipient": "Admin", "policies": {"names": ["other"]}}), Kind::Requested, false),
        (
            json!({"event": "Activation", "recipient": "Admin", "policies": {"selector": {"matchLabels": {"tier": "gold"}}}}),
            Kind::Requested,
            true,
        ),
        (
            json!({"event": "Activation", "recipient": "Admin", "policies": {"selector": {"matchLabels": {"tier": "iron"}}}}),
            Kind::Requested,
            false,
        ),
        (
            json!({"event": "Activation", "recipient": "Admin", "policies": {"selector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}}}),
            Kind::Requested,
            false,
        ),
    ] {
        let mut spec = spec;
        spec["receivers"] = json!([{"name": "chat"}]);
        let found = lines(&planned(&waiting(), kind, &[rule(spec.clone())]));
        assert_eq!(found == ["chat:"], is_sent, "{spec}");
    }
    let later = Rule { since: at(10), ..rule(json!({"event": "Activation", "recipient": "Approver", "receivers": [{"name": "chat"}]})) };
    assert!(lines(&planned(&waiting(), Kind::WaitingForApproval, &[later])).is_empty(), "a rule sends nothing from before it");
}

#[test]
fn a_receiver_gets_an_event_once_and_mail_needs_an_address() {
    let admin = |receivers| rule(json!({"event": "Activation", "recipient": "Admin", "receivers": receivers}));
    let rules = [
        admin(json!([{"name": "mail", "to": ["a@example.com"]}])),
        Rule { name: "other".to_owned(), ..admin(json!([{"name": "mail", "to": ["b@example.com"]}, {"name": "gone"}])) },
    ];
    let found = planned(&waiting(), Kind::Requested, &rules);
    assert_eq!(lines(&found), ["mail: a@example.com b@example.com"]);
    assert_eq!(found.deliveries["mail"].rules.len(), 2);
    assert!(found.missing.contains("gone"));
    assert!(lines(&planned(&waiting(), Kind::Requested, &[admin(json!([{"name": "mail"}]))])).is_empty());
}

#[test]
fn unknown_people_are_reported_and_never_guessed() {
    let rules = [rule(json!({"event": "Eligibility", "recipient": "Requester", "defaultRecipients": true}))];
    let eligibility: RoleEligibility = {
        let mut value = serde_json::to_value(eligibility()).unwrap();
        value["status"] = json!({"timeline": [{"time": stamped(0), "actor": "admin", "event": "Created", "message": "created"}]});
        serde_json::from_value(value).unwrap()
    };
    let event = activity::of_eligibility(&eligibility).remove(0);
    let matter = Matter { request: None, eligibility: Some(&eligibility), policy: None };
    let found = plan(&Occasion::of(event), matter, &rules, &receivers(), &directory());
    assert_eq!(lines(&found), ["mail: ann@example.com"]);
    assert_eq!(found.unknown.into_iter().collect::<Vec<_>>(), ["group devs"]);
}

#[test]
fn t59_an_address_is_one_plain_address_or_none() {
    let addresses =
        json!({"users": [{"pattern": "oidc:(.*)", "mail": "$1"}, {"pattern": "cn=(?<name>[a-z]+),.*", "mail": "${name}@example.com"}]});
    let directory = Directory::new(serde_json::from_value(addresses).unwrap()).unwrap();
    assert_eq!(directory.mail("oidc:ann@example.com").as_deref(), Some("ann@example.com"));
    assert_eq!(directory.mail("cn=ann,ou=x").as_deref(), Some("ann@example.com"));
    for name in [
        "ann",
        "xoidc:ann@example.com",
        "oidc:ann",
        "oidc:a@b,c@d",
        "oidc:a@b c@d",
        "oidc:a@b\r\nBcc: c@d",
        "oidc:<a@b>",
        "oidc:\"a b\"@c",
        "oidc:@b",
        "oidc:a@",
    ] {
        assert_eq!(directory.mail(name), None, "{name:?}");
    }
    assert!(Directory::new(serde_json::from_value(json!({"users": [{"pattern": "(", "mail": "a@b"}]})).unwrap()).is_err());
}

#[test]
fn the_nine_rules_of_pim_are_complete_and_use_what_no_rule_names() {
    let names: Vec<_> = default_rules::NINE.iter().map(|(name, ..)| *name).collect();
    for who in ["Admin", "Requestor", "Approver"] {
        for what in ["Admin_Eligibility", "Admin_Assignment", "EndUser_Assignment"] {
            assert!(names.contains(&format!("Notification_{who}_{what}").as_str()));
        }
    }
    let settings = serde_json::from_value(json!({"Notification_Admin_EndUser_Assignment": {"enabled": false}})).unwrap();
    let own = rule(json!({"event": "Activation", "recipient": "Admin", "receivers": [{"name": "chat"}]}));
    let rules = default_rules::with(&settings, std::iter::once(&own), &receivers());
    assert_eq!(rules.len(), 9, "eight default rules and one object");
    let receivers_of = |rule: &Rule| rule.spec.receivers.iter().map(|receiver| receiver.name.clone()).collect::<Vec<_>>();
    for rule in &rules[1..] {
        assert_eq!(receivers_of(rule), ["mail"], "{}: 'chat' has a rule of its own", rule.name);
    }
}

#[test]
fn reminders_are_due_while_they_are_true() {
    let rules = [
        rule(
            json!({"event": "Activation", "recipient": "Approver", "receivers": [{"name": "chat"}], "reminders": {"undecidedAfter": ["15m"]}}),
        ),
        rule(
            json!({"event": "Activation", "recipient": "Requester", "receivers": [{"name": "chat"}], "reminders": {"beforeEnd": ["10m"]}}),
        ),
        rule(
            json!({"event": "Eligibility", "recipient": "Approver", "receivers": [{"name": "chat"}], "reminders": {"eligibilityBeforeEnd": ["24h"]}}),
        ),
    ];
    let waits = waiting();
    let due = occasion::of_request(&waits, &activity::of_request(&waits), &rules);
    let [undecided] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((undecided.event.at, undecided.cloud_event_type().as_str()), (at(901), "dev.jitrbac.activation.undecided.v1"));
    assert!(undecided.is_still_true(Some(&waits), None) && !undecided.is_still_true(Some(&active(4_000)), None));
    assert!(!undecided.is_still_true(None, None), "of a request that is completed nothing is asked");
    let again = occasion::of_request(&waits, &activity::of_request(&waits), &rules);
    assert_eq!(again[0].event.id, undecided.event.id, "a restart gives the same id");

    let granted = active(4_000);
    let due = occasion::of_request(&granted, &activity::of_request(&granted), &rules);
    assert_eq!((due[0].event.at, due[0].reminder), (at(3_400), Some(Reminder::BeforeEnd("10m".parse().unwrap()))));
    assert!(due[0].is_still_true(Some(&granted), None));
    assert!(!due[0].is_still_true(Some(&active(9_000)), None), "the end has moved");
    let short = active(300);
    assert!(occasion::of_request(&short, &activity::of_request(&short), &rules).is_empty(), "it was shorter than the reminder");

    let eligibility = eligibility();
    let due = occasion::of_eligibility(&eligibility, &rules);
    assert_eq!(due[0].event.at, at(100_000 - 86_400));
    let (matter, known) = (Matter { eligibility: Some(&eligibility), ..Matter::default() }, receivers());
    assert_eq!(lines(&plan(&due[0], matter, &rules, &known, &directory())), ["chat:"]);
}

#[test]
fn what_is_asked_is_dropped_once_it_is_decided_and_what_happened_is_not() {
    let waits = waiting();
    let events = activity::of_request(&waits);
    let ask = Occasion::of(events[1].clone());
    assert!(ask.is_still_true(Some(&waits), None) && !ask.is_still_true(Some(&active(1_000)), None) && !ask.is_still_true(None, None));
    assert!(Occasion::of(events[0].clone()).is_still_true(None, None));
    assert_eq!(
        text::of(&ask, Matter { request: Some(&waits), ..Matter::default() }).title,
        "ann waits for an approval of eligibility 'edit' in namespace 'shop'"
    );
}

#[test]
fn only_bindings_of_others_with_an_eligible_role_are_active_assignments() {
    let binding = |name: &str, kind: &str| {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": "b-1", "creationTimestamp": stamped(7)},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "ann"}],
        }))
        .unwrap()
    };
    let found = Assignment::of(&binding("standing", "User")).unwrap();
    assert!(found.is_eligible(&eligibility()));
    assert_eq!(found.occasion().event.message, "'ann' got ClusterRole 'edit' without an activation");
    assert_eq!(found.occasion(), Assignment::of(&binding("standing", "User")).unwrap().occasion());
    assert!(Assignment::of(&binding("jit-0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d", "User")).is_none());
    assert!(Assignment::of(&binding("standing", "ServiceAccount")).is_none());
}

proptest! {
    /// Whatever is handled in whatever order, a restart repeats nothing that was stored, and skips nothing that was not handled.
    #[test]
    fn a_position_repeats_nothing_and_skips_nothing(
        times in prop::collection::vec(1_i64..4_000, 1..60),
        handled in prop::collection::vec(any::<bool>(), 60),
    ) {
        let events: Vec<_> = times.iter().enumerate().map(|(number, second)| (format!("{number:032x}").chars().rev().collect::<String>(), at(*second))).collect();
        let mut state = Handled::new(None, at(0));
        for ((id, at), done) in events.iter().zip(&handled) {
            if *done {
                state.add(id, *at);
            }
        }
        let waiting = events.iter().zip(&handled).filter(|(_, done)| !**done).map(|((_, at), _)| *at).min();
        let position = state.position(waiting);
        let mut after = Handled::new(Some(&position), at(0));
        for ((id, at), done) in events.iter().zip(&handled) {
            prop_assert_eq!(after.has(id, *at), *done);
        }
    }
}

#[test]
fn a_position_is_bounded_and_a_new_receiver_starts_at_its_creation() {
    let mut state = Handled::new(None, at(100));
    assert!(state.has("x", at(99)) && !state.has("x", at(100)));
    for number in 0..3 * i64::try_from(MAX_IDS).unwrap() {
        state.add(&format!("{number:032x}").chars().rev().collect::<String>(), at(100 + number / 20));
    }
    assert!(state.position(None).ids.len() <= MAX_IDS);
    let mut quiet = Handled::new(None, at(0));
    quiet.consider(at(100_000));
    assert!(quiet.is_behind());
    let position = quiet.position(None);
    assert_eq!(position.through, at(100_000) - WINDOW);
    assert_eq!(quiet.position(Some(at(50))).through, position.through, "it never goes back");
}
