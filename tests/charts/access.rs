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
    assert_eq!(items(&binding["subjects"]), wanted, "the subjects are sorted and have no duplicates");
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
        assert_eq!(policy["metadata"]["annotations"], Value::Null, "the webhook sets the author, not the chart");
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

/// Returns the role and the subjects' names of each binding, by namespace; "" is the whole cluster.
fn bound(rendered: &Rendered) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let each = |binding: &&Value| {
        let names = items(&binding["subjects"]).iter().map(|subject| text(&subject["name"])).collect();
        (text(&binding["metadata"]["namespace"]), text(&binding["roleRef"]["name"]), names)
    };
    [rendered.all("ClusterRoleBinding"), rendered.all("RoleBinding")].concat().iter().map(each).collect()
}

#[test]
fn f22_requesters_may_be_bound_in_their_namespaces_alone() {
    let user = |name: &str| json!([{"kind": "User", "name": name}]);
    let mut one = eligibility(&user("bob"), "alone");
    one["namespaces"] = json!({"names": ["payments", "shop"]});
    let mut two = eligibility(&user("eve"), "two-eyes");
    two["namespaces"] = json!({"names": ["shop"]});
    let mut values = json!({
        "requesterBindings": "Namespaces", "policies": two_policies(), "eligibilities": {"one": one, "two": two},
    });
    let rendered = access(&values).unwrap();
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let row = |namespace: &str, role: &str, all: &[&str]| (namespace.to_owned(), role.to_owned(), names(all));
    assert_eq!(
        bound(&rendered),
        [
            row("", "jit-rbac-eligibility-viewer", &["audit", "leads", "security", "bot", "ann", "bob", "eve", "zoe"]),
            row("payments", "jit-rbac-requester", &["security", "bob", "zoe"]),
            row("shop", "jit-rbac-requester", &["audit", "leads", "security", "bot", "ann", "bob", "eve", "zoe"]),
        ]
    );
    values["eligibilities"]["two"]["namespaces"] = json!({"selector": {"matchLabels": {"a": "b"}}});
    let said = access(&values).err().unwrap();
    assert!(said.contains("eligibilities.two.namespaces.selector") && said.contains("set requesterBindings: Cluster"), "{said}");
    values["requesterBindings"] = json!("Cluster");
    assert_eq!(bound(&access(&values).unwrap()).len(), 1);
}

#[test]
fn f44_null_takes_an_entry_away() {
    let one = eligibility(&json!([{"kind": "User", "name": "bob"}]), "alone");
    let mut values = json!({
        "policies": two_policies(), "eligibilities": {"one": one, "gone": null},
    });
    let rendered = access(&values).unwrap();
    assert!(rendered.find("RoleEligibility", "one").is_some() && rendered.all("RoleEligibility").len() == 1);
    values["policies"]["two-eyes"] = Value::Null;
    let rendered = access(&values).unwrap();
    assert_eq!(rendered.all("ApprovalPolicy").len(), 1);
    assert_eq!(bound(&rendered)[0].2, ["security", "bob", "zoe"], "no subject of a removed policy");
    values["policies"]["alone"] = Value::Null;
    let said = access(&values).err().unwrap();
    assert!(said.contains("there is no policy \"alone\" in this release (policies: none)"), "{said}");
}

#[test]
fn f44_a_binding_of_another_role_has_another_name() {
    let name = |role: &str| {
        let values = json!({"policies": two_policies(), "requesterClusterRole": role});
        access(&values).unwrap().only("ClusterRoleBinding")["metadata"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name("jit-rbac-requester"), "jit-access-jit-rbac-requester");
    assert_eq!(name("system:mine"), "jit-access-system:mine");
    let (long, other) = (name(&"a".repeat(253)), name(&format!("{}b", "a".repeat(252))));
    assert!(long.len() == 253 && long != other, "{long}");
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
        access(&all).err().unwrap_or_else(|| panic!("{pointer} was accepted"))
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
        // A key without a value.
        ("/externalPolicies", Value::Null, "at '': missing property 'externalPolicies'"),
        ("/eligibilities/one/endTime", Value::Null, "at '/eligibilities/one/endTime': got null, want string"),
    ] {
        let error = with(pointer, value);
        assert!(error.contains(said), "{pointer}: {error}");
    }
}
