use proptest::prelude::*;

use super::*;

fn user(groups: usize) -> UserInfo {
    UserInfo {
        username: Some("dev".to_owned()),
        uid: Some("u-1".to_owned()),
        groups: Some((0..groups).map(|n| format!("g{n:04}")).collect()),
        extra: Some(BTreeMap::from([
            (CREDENTIAL_ID.to_owned(), vec!["X509SHA256=ab".to_owned()]),
            ("jitrbac.dev/amr".to_owned(), vec!["pwd".to_owned(), "mfa".to_owned(), "x".repeat(2000)]),
            ("secret.example/token".to_owned(), vec!["hush".to_owned()]),
        ])),
    }
}

fn eligibility(groups: &[String]) -> RoleEligibilitySpec {
    let subjects: Vec<Value> = groups.iter().map(|name| json!({"kind": "Group", "name": name})).collect();
    serde_json::from_value(json!({
        "subjects": subjects, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "namespaces": {"names": ["payments"]},
        "policyRef": {"name": "two-eyes"}, "maxDuration": "4h",
    }))
    .unwrap()
}

fn policy() -> ApprovalPolicySpec {
    serde_json::from_value(json!({
        "approval": {"stages": [{"name": "lead", "approvers": {"groups": ["g0001", "leads"]}}]},
        "revokers": {"groups": ["g0002"]},
        "emergency": {"reviewers": {"groups": ["g0003"]}},
        "requirements": {"authentication": {"claims": [{"key": "jitrbac.dev/amr", "anyOf": ["mfa"]}]}},
    }))
    .unwrap()
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn patched(before: &Value, patch: &Patch) -> Value {
    let mut after = before.clone();
    json_patch::patch(&mut after, patch).unwrap();
    after
}

fn request(spec: &Value) -> Value {
    json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": "inc-1", "namespace": "payments"}, "spec": spec})
}

fn facts() -> RequestFacts {
    let mut stored = request(&json!({"eligibilityRef": {"name": "oncall"}, "requester": {"username": "dev"}}));
    stored["metadata"]["uid"] = json!("r-1");
    domain::convert::request(&serde_json::from_value(stored).unwrap())
}

#[test]
fn only_what_somebody_names_is_stamped() {
    let user = user(1000);
    let mut chosen = Chosen::of(&user);
    assert_eq!(chosen.stamp(), json!({"username": "dev", "uid": "u-1", "extra": {CREDENTIAL_ID: ["X509SHA256=ab"]}}));
    chosen.eligibility(&eligibility(&["g0999".to_owned(), "strangers".to_owned()]), true);
    chosen.policy(&policy(), false);
    let expected = json!({
        "username": "dev", "uid": "u-1", "groups": ["g0999", "g0001", "g0002", "g0003"],
        "extra": {CREDENTIAL_ID: ["X509SHA256=ab"], "jitrbac.dev/amr": ["pwd", "mfa"]},
    });
    assert_eq!(chosen.stamp(), expected);
    let nobody = UserInfo::default();
    assert_eq!(Chosen::of(&nobody).stamp(), json!({"username": ""}), "the schema refuses an empty name");
}

#[test]
fn t1_a_person_in_a_thousand_groups_gets_those_that_matter_first() {
    let user = user(1000);
    let mut chosen = Chosen::of(&user);
    let all: Vec<String> = (0..1000).map(|n| format!("g{n:04}")).collect();
    for some in all.chunks(200) {
        chosen.eligibility(&eligibility(some), false);
    }
    chosen.eligibility(&eligibility(&["g0998".to_owned()]), true);
    let stamp = chosen.stamp();
    let groups = stamp["groups"].as_array().unwrap();
    assert_eq!((groups.len(), &groups[0]), (MAX_STAMPED_GROUPS, &json!("g0998")));
    let stamp: Stamp = serde_json::from_value(stamp).unwrap();
    assert_eq!(check("spec.requester", Some(&stamp), &user), Ok(()));
}

#[test]
fn t1_what_a_client_forged_is_overwritten_and_a_second_call_changes_nothing() {
    let user = user(3);
    let stamp = Chosen::of(&user).stamp();
    for spec in [
        json!({"eligibilityRef": {"name": "oncall"}}),
        json!({"eligibilityRef": {"name": "oncall"}, "requester": {"username": "boss", "groups": ["admins"], "extra": {"a": ["b"]}}}),
        json!({"requester": "nonsense"}),
    ] {
        let before = request(&spec);
        let after = patched(&before, &requester(&object(before.clone()), stamp.clone()));
        assert_eq!(after["spec"]["requester"], stamp);
        assert_eq!(patched(&after, &requester(&object(after.clone()), stamp.clone())), after);
    }
}

#[test]
fn t3_a_decision_is_stamped_with_the_request_that_exists_and_owned_by_it_alone() {
    let stamp = json!({"username": "lead-1"});
    for (spec, owners) in [
        (json!({"requestRef": {"name": "inc-1"}, "decision": "Deny"}), json!(null)),
        (
            json!({"requestRef": {"name": "inc-1", "uid": "r-0", "requester": "boss"}, "decision": "Deny", "decider": {"username": "boss"}}),
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x", "controller": true}]),
        ),
    ] {
        let mut before = request(&spec);
        before["kind"] = json!("ActivationDecision");
        if !owners.is_null() {
            before["metadata"]["ownerReferences"] = owners;
        }
        let after = patched(&before, &decision(&object(before.clone()), stamp.clone(), &facts()));
        assert_eq!(after["spec"]["decider"], stamp);
        assert_eq!(after["spec"]["requestRef"], json!({"name": "inc-1", "uid": "r-1", "requester": "dev"}));
        let owner = json!([{"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "name": "inc-1", "uid": "r-1"}]);
        assert_eq!(after["metadata"]["ownerReferences"], owner);
        assert_eq!(patched(&after, &decision(&object(after.clone()), stamp.clone(), &facts())), after);
    }
}

#[test]
fn what_has_no_spec_is_left_to_the_schema() {
    for spec in [json!(null), json!(7), json!("x"), json!([])] {
        let before = object(request(&spec));
        assert!(requester(&before, json!({})).is_empty());
        assert!(decision(&before, json!({}), &facts()).is_empty());
    }
    assert!(decision(&object(request(&json!({"requestRef": "x"}))), json!({}), &facts()).is_empty());
}

#[test]
fn the_author_changes_with_the_spec_and_only_then() {
    let of = |author: Option<&str>, spec: i32| {
        let mut value = request(&json!({"n": spec}));
        if let Some(author) = author {
            value["metadata"]["annotations"] = json!({names::AUTHOR: author, "other": "kept"});
        }
        value
    };
    for (what, before, old, expected) in [
        ("created", of(None, 1), None, Some("ann")),
        ("created with a forged author", of(Some("boss"), 1), None, Some("ann")),
        ("created with the right one", of(Some("ann"), 1), None, Some("ann")),
        ("changed", of(Some("bob"), 2), Some(of(Some("bob"), 1)), Some("ann")),
        ("changed, never stamped", of(None, 2), Some(of(None, 1)), Some("ann")),
        ("labelled", of(Some("bob"), 1), Some(of(Some("bob"), 1)), Some("bob")),
        ("labelled with a forged author", of(Some("ann"), 1), Some(of(Some("bob"), 1)), Some("bob")),
        ("the author removed", of(None, 1), Some(of(Some("bob"), 1)), Some("bob")),
        ("an author added", of(Some("ann"), 1), Some(of(None, 1)), None),
    ] {
        let old = old.map(object);
        let stamped = |object: &DynamicObject| match old.as_ref().filter(|old| same_spec(object, old)) {
            Some(old) => same_author(object, old),
            None => author(object, "ann", &AuthorCheck { generation: 7, ..AuthorCheck::default() }),
        };
        let after = patched(&before, &stamped(&object(before.clone())));
        let check = after["metadata"]["annotations"].get(names::AUTHOR_CHECK).and_then(Value::as_str);
        assert_eq!(check, (expected == Some("ann")).then_some("{\"generation\":7}"), "{what}");
        let found = after["metadata"]["annotations"].get(names::AUTHOR).and_then(Value::as_str);
        assert_eq!(found, expected, "{what}");
        if before["metadata"]["annotations"].get("other").is_some() {
            assert_eq!(after["metadata"]["annotations"]["other"], "kept", "{what}");
        }
        assert!(stamped(&object(after)).is_empty(), "{what}: a second call");
    }
}

#[test]
fn t1_a_stamp_must_be_a_part_of_the_user() {
    let user = user(3);
    let good = json!({"username": "dev", "uid": "u-1", "groups": ["g0001"], "extra": {CREDENTIAL_ID: ["X509SHA256=ab"]}});
    let checked = |change: &dyn Fn(&mut Value)| {
        let mut stamp = good.clone();
        change(&mut stamp);
        check("spec.requester", Some(&serde_json::from_value(stamp).unwrap()), &user).is_ok()
    };
    assert!(checked(&|_| {}));
    assert!(checked(&|s| s["groups"] = json!([])));
    assert!(checked(&|s| s["extra"] = json!({"jitrbac.dev/amr": ["mfa"]})));
    assert!(!checked(&|s| s["username"] = json!("boss")));
    assert!(!checked(&|s| s["username"] = json!("")));
    assert!(!checked(&|s| s["uid"] = json!("u-2")));
    assert!(!checked(&|s| s["uid"] = json!(null)));
    assert!(!checked(&|s| s["groups"] = json!(["g0001", "admins"])));
    assert!(!checked(&|s| s["extra"] = json!({"jitrbac.dev/amr": ["mfa", "hwk"]})));
    assert!(!checked(&|s| s["extra"] = json!({"other": ["mfa"]})));
    assert!(check("spec.requester", None, &user).is_err());
    assert!(check("spec.requester", Some(&Stamp::default()), &UserInfo::default()).is_err(), "nobody is nobody's stamp");
}

proptest! {
    #[test]
    fn t1_the_stamp_of_any_user_is_a_part_of_him(
        username in "\\PC{1,40}",
        groups in proptest::collection::vec("g[0-9]{1,3}", 0..300),
        named in proptest::collection::vec("g[0-9]{1,3}", 1..300),
        extra in proptest::collection::btree_map("[a-z]{1,3}", proptest::collection::vec("\\PC{0,20}", 0..20), 0..20),
    ) {
        let user = UserInfo { username: Some(username), uid: None, groups: Some(groups), extra: Some(extra.clone()) };
        let mut chosen = Chosen::of(&user);
        chosen.eligibility(&eligibility(&named), true);
        chosen.far.keys.extend(extra.into_keys());
        let stamp = chosen.stamp();
        prop_assert_eq!(&stamp, &chosen.stamp());
        if let Ok(stamp) = serde_json::from_value::<Stamp>(stamp) {
            prop_assert!(stamp.groups.len() <= MAX_STAMPED_GROUPS && stamp.extra.len() <= MAX_EXTRA);
            prop_assert!(stamp.extra.values().all(|values| values.len() <= MAX_EXTRA));
            prop_assert_eq!(check("spec.requester", Some(&stamp), &user), Ok(()));
        }
    }
}

#[test]
fn f29_metadata_is_the_same_but_for_what_the_api_server_keeps() {
    let with = |metadata: &Value| {
        let mut whole = json!({"name": "x", "namespace": "payments", "uid": "u", "labels": {"a": "b"}, "finalizers": ["a.b/c"], "resourceVersion": "1"});
        whole.as_object_mut().unwrap().extend(metadata.as_object().cloned().unwrap());
        object(json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": whole}))
    };
    let old = with(&json!({}));
    for (metadata, same) in [
        (json!({}), true),
        (json!({"resourceVersion": "2", "generation": 2, "managedFields": [{"manager": "helm", "operation": "Apply"}]}), true),
        (json!({"labels": {"a": "c"}}), false),
        (json!({"labels": null}), false),
        (json!({"annotations": {"a": "b"}}), false),
        (json!({"finalizers": []}), false),
        (json!({"finalizers": ["a.b/c", "d.e/f"]}), false),
        (json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]}), false),
        (json!({"generateName": "x-"}), false),
    ] {
        assert_eq!(same_metadata(&with(&metadata), &old), same, "{metadata}");
    }
    let deleting = json!({"deletionTimestamp": "2026-01-01T12:00:00Z"});
    let fewer = with(&json!({"deletionTimestamp": "2026-01-01T12:00:00Z", "finalizers": []}));
    assert!(same_metadata(&fewer, &with(&deleting)), "finalizers may go while it is being deleted");
}
