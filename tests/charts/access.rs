//! The chart for admins: eligibilities and policies from values.

use serde_json::{Value, json};

use crate::render::{Rendered, items, try_render};

fn access(values: &Value) -> Result<Rendered, String> {
    try_render("jit-access", "jit-access", values)
}

fn eligibility(subjects: &Value, policy: &str) -> Value {
    json!({
        "subjects": subjects,
        "roleRef": {"kind": "ClusterRole", "name": "view"},
        "namespaces": {"names": ["payments"]},
        "policyRef": {"name": policy},
        "maxDuration": "1h",
    })
}

fn two_policies() -> Value {
    json!({
        "alone": {"approval": {"automatic": {}}, "revokers": {"groups": ["security"], "users": ["zoe"]}},
        "two-eyes": {
            "approval": {"stages": [
                {"name": "lead", "approvers": {"groups": ["leads"], "users": ["ann", "system:serviceaccount:shop:bot"]}, "required": 2},
                {"name": "head", "approvers": {"users": ["ann"]}},
            ]},
            "emergency": {"allowed": true, "reviewers": {"groups": ["audit"]}},
        },
    })
}

#[test]
fn t12_exactly_the_people_who_are_named_may_ask_and_decide() {
    let subjects = json!([
        {"kind": "Group", "name": "devs"},
        {"kind": "User", "name": "ann", "uid": "1"},
        {"kind": "ServiceAccount", "name": "bot", "namespace": "shop"},
    ]);
    let rendered = access(&json!({
        "policies": two_policies(),
        "eligibilities": {
            "one": eligibility(&subjects, "alone"),
            "two": eligibility(&json!([{"kind": "Group", "name": "devs"}, {"kind": "Group", "name": "leads"}]), "two-eyes"),
        },
    }))
    .unwrap();
    let binding = rendered.only("ClusterRoleBinding");
    let group = "rbac.authorization.k8s.io";
    assert_eq!(binding["roleRef"], json!({"apiGroup": group, "kind": "ClusterRole", "name": "jit-rbac-requester"}));
    let people = |kind: &str, names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"apiGroup": group, "kind": kind, "name": name})).collect()
    };
    let mut wanted = people("Group", &["audit", "devs", "leads", "security"]);
    wanted.push(json!({"kind": "ServiceAccount", "name": "bot", "namespace": "shop"}));
    wanted.extend(people("User", &["ann", "zoe"]));
    assert_eq!(items(&binding["subjects"]), wanted, "sorted, each once");
    for kind in ["ClusterRole", "Role", "RoleBinding"] {
        assert!(rendered.all(kind).is_empty());
    }
}

#[test]
fn specs_arrive_as_they_were_written() {
    let one = eligibility(&json!([{"kind": "Group", "name": "devs"}]), "two-eyes");
    let rendered = access(&json!({"policies": two_policies(), "eligibilities": {"one": one}})).unwrap();
    assert_eq!(rendered.get("RoleEligibility", "one")["spec"], one);
    for (name, spec) in two_policies().as_object().unwrap() {
        let policy = rendered.get("ApprovalPolicy", name);
        assert_eq!(policy["spec"], *spec);
        assert_eq!(policy["apiVersion"], "jitrbac.dev/v1alpha1");
        assert_eq!(policy["metadata"]["annotations"], Value::Null, "the author is stamped, not written");
    }
}

#[test]
fn nothing_named_nothing_bound() {
    assert!(access(&json!({})).unwrap().0.is_empty());
    let values = json!({"policies": two_policies(), "requesterClusterRole": ""});
    assert!(access(&values).unwrap().all("ClusterRoleBinding").is_empty());
    let named = access(&json!({"policies": two_policies(), "requesterClusterRole": "mine"})).unwrap();
    assert_eq!(named.only("ClusterRoleBinding")["roleRef"]["name"], "mine");
}

#[test]
fn an_eligibility_needs_a_policy_that_is_known() {
    let one = json!({"one": eligibility(&json!([{"kind": "Group", "name": "devs"}]), "elsewhere")});
    let said = access(&json!({"policies": two_policies(), "eligibilities": one})).err().unwrap();
    assert!(
        said.contains("eligibilities.one.policyRef.name: there is no policy \"elsewhere\" in this release (policies: alone, two-eyes)"),
        "{said}"
    );
    assert!(said.contains("list it in externalPolicies"), "{said}");
    let said = access(&json!({"eligibilities": one})).err().unwrap();
    assert!(said.contains("(policies: none)"), "{said}");
    assert!(access(&json!({"eligibilities": one, "externalPolicies": ["elsewhere"]})).is_ok());
}

#[test]
fn mistakes_in_specs_are_named_before_the_cluster_sees_them() {
    let with = |pointer: &str, value: Value| {
        let mut all = json!({
            "policies": two_policies(),
            "eligibilities": {"one": eligibility(&json!([{"kind": "Group", "name": "devs"}]), "alone")},
        });
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        all.pointer_mut(parent).unwrap()[key] = value;
        access(&all).err().unwrap_or_else(|| panic!("{pointer} was taken"))
    };
    for (pointer, value, said) in [
        ("/eligibilities/one/maxDurations", json!("1h"), "additional properties 'maxDurations' not allowed"),
        ("/eligibilities/one/maxDuration", json!("1d"), "'1d' does not match pattern"),
        ("/eligibilities/one/roleRef/kind", json!("clusterrole"), "at '/eligibilities/one/roleRef/kind': value must be one of"),
        ("/eligibilities/one/subjects", json!([]), "at '/eligibilities/one/subjects': minItems: got 0, want 1"),
        ("/eligibilities/one/policyRef", json!({}), "missing property 'name'"),
        ("/eligibilities/One", json!({}), "'One' does not match pattern"),
        ("/policies/alone/approval/automatic", json!({"really": true}), "additional properties 'really' not allowed"),
        ("/policies/alone/revoker", json!({}), "additional properties 'revoker' not allowed"),
        ("/policies/alone/limits", json!({"maxActivePerUser": 0}), "minimum: got 0, want 1"),
        // A key with nothing behind it.
        ("/externalPolicies", Value::Null, "at '': missing property 'externalPolicies'"),
        ("/eligibilities/one/endTime", Value::Null, "at '/eligibilities/one/endTime': got null, want string"),
    ] {
        let error = with(pointer, value);
        assert!(error.contains(said), "{pointer}: {error}");
    }
}
