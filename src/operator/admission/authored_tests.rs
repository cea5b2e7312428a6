//! Admission of the kinds that admins write, eligibilities and policies, through both webhooks.

use super::*;

#[tokio::test]
async fn t25_an_eligibility_needs_a_role_that_the_operator_may_bind() {
    assert!(cluster().write("admin", &eligibility("edit"), None).await.unwrap().1.is_empty());
    let message = cluster().write("admin", &eligibility("cluster-admin"), None).await.unwrap_err();
    assert!(message.starts_with("RoleNotBindable: ") && message.contains("bindableRoles.clusterRoles"), "{message}");
    let warnings = Stored::default().write("admin", &eligibility("edit"), None).await.unwrap().1;
    assert!(warnings[0].starts_with("PolicyNotFound: ") && warnings[1].starts_with("RoleNotFound: "), "{warnings:?}");
    let mut endless = eligibility("edit");
    endless["spec"].as_object_mut().unwrap().remove("endTime");
    assert_eq!(cluster().refused("admin", &endless).await, "EndRequired");
    let (policy, _) = cluster().write("admin", &policy(2), None).await.unwrap();
    assert_eq!(policy["metadata"]["annotations"]["jitrbac.dev/author"], "admin");
}

#[tokio::test]
async fn t15_inv_22_the_author_binds_the_role_wherever_the_eligibility_says() {
    let with = |namespaces: Value| {
        let mut object = eligibility("edit");
        object["spec"]["namespaces"] = namespaces;
        object
    };
    let selector = json!({"matchLabels": {"team": "payments"}});
    let many: Vec<String> = (0..60).map(|number| format!("n-{number}")).collect();
    for (user, namespaces, reason) in [
        ("admin", json!({"names": many}), None),
        ("admin", json!({"selector": selector}), None),
        ("evidence", json!({"names": ["payments"]}), None),
        ("local-1", json!({"names": ["payments"]}), None),
        ("local-1", json!({"names": ["payments", "shop"]}), Some("AuthorLacksBind")),
        ("local-1", json!({"selector": selector}), Some("AuthorLacksBind")),
        ("local-1", json!({"names": ["payments"], "selector": selector}), Some("AuthorLacksBind")),
        ("nobody", json!({"names": ["payments"]}), Some("AuthorLacksBind")),
        ("boss", json!({"names": ["payments"]}), Some("AuthorLacksBind")),
        ("broken", json!({"names": ["payments"]}), Some("Unreadable")),
        ("denied", json!({"selector": selector}), Some("AuthorLacksBind")),
    ] {
        let object = with(namespaces);
        match reason {
            None => assert!(cluster().write(user, &object, None).await.is_ok(), "{user} {object}"),
            Some(reason) => assert_eq!(cluster().refused(user, &object).await, reason, "{user} {object}"),
        }
        let old = cluster().write("admin", &eligibility("edit"), None).await.unwrap().0;
        let mut new = old.clone();
        new["spec"]["namespaces"] = object["spec"]["namespaces"].clone();
        new["spec"]["maxDuration"] = json!("5h");
        new["metadata"]["deletionTimestamp"] = json!(AT);
        let answer = cluster().write(user, &new, Some(&old)).await;
        assert_eq!(answer.is_err(), reason.is_some(), "a change while it is being deleted: {user}");
    }
}

#[tokio::test]
async fn t16_inv_22_a_policy_is_written_by_who_may_bind_what_is_activated_under_it() {
    let stored = cluster();
    let written = async |user: &str, stored: &Stored, old: Option<&Value>| stored.write(user, &policy(2), old).await.map(drop);
    for old in [None, Some(policy(1))] {
        for user in ["admin", "boss", "local-1", "evidence"] {
            assert!(written(user, &stored, old.as_ref()).await.is_ok(), "{user}");
        }
        for (user, reason) in [("nobody", "AuthorLacksBind: "), ("denied", "AuthorLacksBind: "), ("broken", "Unreadable: ")] {
            let message = written(user, &stored, old.as_ref()).await.unwrap_err();
            assert!(message.starts_with(reason) && message.contains("edit"), "{message}");
        }
    }
    let mut second = eligibility("view");
    second["metadata"]["name"] = json!("second");
    second["spec"]["namespaces"] = json!({"names": ["shop"]});
    let more = cluster().with("/apis/jitrbac.dev/v1alpha1/roleeligibilities/second", second.clone());
    assert!(written("local-1", &more, None).await.unwrap_err().contains("eligibility 'second'"));
    assert!(written("boss", &more, None).await.is_ok());
    second["spec"]["roleRef"] = json!({"kind": "Later", "name": "view"});
    let unreadable = cluster().with("/apis/jitrbac.dev/v1alpha1/roleeligibilities/second", second);
    assert!(written("admin", &unreadable, None).await.unwrap_err().contains("cannot be read"));
    assert!(written("nobody", &Stored::default(), None).await.is_ok(), "nothing is activated under it");
    let away = Stored { away: true, ..Stored::default() };
    assert_eq!(away.refused("admin", &policy(1)).await, "Unreadable");
}

#[tokio::test]
async fn f52_a_finalizer_takes_the_same_right_as_the_spec() {
    let held = |mut object: Value, finalizers: &[&str]| {
        object["metadata"]["finalizers"] = json!(finalizers);
        object
    };
    for (object, mighty, weak) in [(eligibility("edit"), ["admin", "local-1"], "nobody"), (policy(1), ["boss", "local-1"], "nobody")] {
        let old = cluster().write("admin", &object, None).await.unwrap().0;
        let added = held(old.clone(), &["example.com/keep"]);
        let message = cluster().write(weak, &added, Some(&old)).await.unwrap_err();
        assert!(message.starts_with("AuthorLacksBind: a finalizer requires the same permission as the spec"), "{message}");
        for user in mighty {
            let (stored, _) = cluster().write(user, &added, Some(&old)).await.unwrap();
            assert_eq!(stored["metadata"]["annotations"]["jitrbac.dev/author"], "admin", "the author stays");
        }
        let both = held(old.clone(), &["example.com/keep", "example.com/more"]);
        assert!(cluster().write(weak, &both, Some(&added)).await.is_err(), "one more");
        // Removing a finalizer, or changing labels, requires no permission of jit-rbac.
        for less in [old.clone(), added.clone()] {
            assert!(cluster().write(weak, &less, Some(&added)).await.is_ok());
        }
    }
}

#[tokio::test]
async fn f07_what_is_being_deleted_is_refused_at_admission() {
    let going = |path: &str, mut object: Value| {
        object["metadata"]["deletionTimestamp"] = json!(AT);
        object["metadata"]["finalizers"] = json!(["example.com/keep"]);
        let stored = cluster();
        stored.objects.lock().iter_mut().filter(|(at, _)| at == path).for_each(|(_, found)| *found = object.clone());
        stored
    };
    let (eligibilities, policies) =
        ("/apis/jitrbac.dev/v1alpha1/roleeligibilities/oncall", "/apis/jitrbac.dev/v1alpha1/approvalpolicies/two-eyes");
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/edit";
    let edit = json!({"metadata": {"name": "edit", "uid": "e"}, "rules": []});
    for (stored, reason) in [
        (going(eligibilities, eligibility("edit")), "EligibilityNotFound: eligibility 'oncall'"),
        (going(policies, policy(1)), "PolicyNotFound: eligibility 'oncall'"),
        (going(role, edit.clone()), "RoleNotFound: eligibility 'oncall'"),
    ] {
        let message = stored.write("dev", &request("inc-1"), None).await.unwrap_err();
        assert!(message.starts_with(reason) && message.contains("is being deleted") && message.contains("'example.com/keep'"), "{message}");
    }
    for (stored, reason) in [(going(policies, policy(1)), "PolicyNotFound: "), (going(role, edit), "RoleNotFound: ")] {
        let (_, warnings) = stored.write("admin", &eligibility("edit"), None).await.unwrap();
        assert!(warnings.iter().any(|warning| warning.starts_with(reason) && warning.contains("is being deleted")), "{warnings:?}");
    }
}

/// Returns the author check that is recorded in the stored object.
fn check_of(stored: &Value) -> Value {
    serde_json::from_str(stored["metadata"]["annotations"]["jitrbac.dev/author-check"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn f53_f76_what_the_check_rests_on_is_stamped() {
    let role = |more: Value| {
        let mut role = json!({"kind": "ClusterRole", "name": "edit"});
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role
    };
    let seen = json!({"uid": "two-eyes", "generation": 0});
    let stamped = |user: &'static str, object: Value| async move { check_of(&cluster().write(user, &object, None).await.unwrap().0) };
    let expected = json!({"generation": 1, "policy": seen, "roles": [role(json!({"everywhere": true}))]});
    assert_eq!(stamped("admin", eligibility("edit")).await, expected);
    let here = role(json!({"namespaces": {"payments": "n"}}));
    assert_eq!(stamped("local-1", eligibility("edit")).await, json!({"generation": 1, "policy": seen, "roles": [here]}));
    assert_eq!(stamped("boss", policy(1)).await, json!({"generation": 1, "administers": true}));
    assert_eq!(stamped("local-1", policy(1)).await, json!({"generation": 1, "roles": [here]}));
    assert_eq!(check_of(&Stored::default().write("nobody", &policy(1), None).await.unwrap().0), json!({"generation": 1}));
    let unnamed = json!({"metadata": {"name": "", "generateName": "two-"}, "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "spec": policy(1)["spec"]});
    assert!(cluster().write("nobody", &unnamed, None).await.is_ok(), "a name may come later");
    // A change of the spec is checked again; any other write keeps the record.
    let mut old = cluster().write("local-1", &eligibility("edit"), None).await.unwrap().0;
    old["metadata"]["generation"] = json!(4);
    let mut forged = old.clone();
    forged["metadata"]["annotations"]["jitrbac.dev/author-check"] = json!(r#"{"generation":4}"#);
    let (kept, _) = cluster().write("nobody", &forged, Some(&old)).await.unwrap();
    assert_eq!(check_of(&kept), check_of(&old));
    forged["spec"]["maxDuration"] = json!("2h");
    assert_eq!(check_of(&cluster().write("local-1", &forged, Some(&old)).await.unwrap().0)["generation"], 5);
}

/// A change of one field of a check.
type Change<'c> = &'c dyn Fn(&mut Value);

#[tokio::test]
async fn f53_f76_a_stamp_that_the_check_does_not_bear_out_is_refused() {
    let (eligible, _) = cluster().write("local-1", &eligibility("edit"), None).await.unwrap();
    let (approval, _) = cluster().write("local-1", &policy(1), None).await.unwrap();
    let forged = |object: &Value, change: &dyn Fn(&mut Value)| {
        let (mut object, mut check) = (object.clone(), check_of(object));
        change(&mut check);
        object["metadata"]["annotations"]["jitrbac.dev/author-check"] = json!(check.to_string());
        object
    };

    let changes: [(&Value, Change<'_>); 8] = [
        (&eligible, &|check| check["generation"] = json!(2)),
        (&eligible, &|check| check["policy"] = json!({"uid": "two-eyes", "generation": 1})),
        (&eligible, &|check| drop(check.as_object_mut().unwrap().remove("policy"))),
        (&eligible, &|check| check["roles"][0]["everywhere"] = json!(true)),
        (&eligible, &|check| check["roles"][0]["namespaces"]["payments"] = json!("another")),
        (&eligible, &|check| check["roles"][0]["namespaces"]["shop"] = json!("more")),
        (&eligible, &|check| check["roles"][0]["name"] = json!("view")),
        (&approval, &|check| check["administers"] = json!(true)),
    ];
    for (object, change) in changes {
        let forged = forged(object, change);
        let (_, answer) = cluster().ask("/validate", review("local-1", &forged, None).to_string()).await;
        assert_eq!(answer["response"]["auditAnnotations"]["code"], "Unexamined", "{forged}");
        let said = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(said.contains("changed during the check") && said.contains("try again"), "{said}");
    }
    let mut missing = eligible.clone();
    missing["metadata"]["annotations"].as_object_mut().unwrap().remove("jitrbac.dev/author-check");
    let (_, answer) = cluster().ask("/validate", review("local-1", &missing, None).to_string()).await;
    assert_eq!(answer["response"]["auditAnnotations"]["code"], "UserInfoMissing");
    let (_, answer) = cluster().ask("/validate", review("local-1", &eligible, None).to_string()).await;
    assert_eq!(answer["response"]["allowed"], true, "as it was stamped");
}

#[tokio::test]
async fn f53_a_request_in_a_namespace_that_was_made_anew_is_refused_at_admission() {
    let (stored, _) = cluster().write("local-1", &eligibility("edit"), None).await.unwrap();
    let with = |uid: &str| {
        let cluster = cluster();
        cluster.objects.lock()[0].1 = stored.clone();
        cluster.objects.lock()[2].1["metadata"]["uid"] = json!(uid);
        cluster
    };
    assert!(with("n").write("dev", &request("inc-1"), None).await.is_ok());
    let message = with("recreated").write("dev", &request("inc-1"), None).await.unwrap_err();
    assert!(message.starts_with("AuthorLacksBind: namespace 'payments' was deleted and recreated"), "{message}");
}

/// An eligibility of an admin, and a change of its policy by a user who may bind nothing, each checked before the other was stored.
#[tokio::test]
async fn f76_writes_that_cross_each_other_grant_nothing_until_one_is_written_again() {
    let automatic = || {
        let mut automatic = policy(1);
        automatic["spec"] = json!({"approval": {"automatic": {}}});
        automatic
    };
    let eligibilities = "/apis/jitrbac.dev/v1alpha1/roleeligibilities/oncall";
    let before = || {
        let stored = cluster();
        stored.objects.lock().retain(|(at, _)| at != eligibilities);
        stored
    };
    let old = policy(1);
    let (eligible, _) = before().write("admin", &eligibility("edit"), None).await.unwrap();
    let (loosened, _) = before().write("nobody", &automatic(), Some(&old)).await.unwrap();
    let now = |policy: &Value| {
        let stored = before().with(eligibilities, eligible.clone());
        stored.objects.lock()[0].1 = policy.clone();
        stored
    };
    assert!(now(&old).write("dev", &request("inc-1"), None).await.is_ok(), "as the admin's check read it");
    let message = now(&loosened).write("dev", &request("inc-1"), None).await.unwrap_err();
    assert!(message.starts_with("AuthorLacksBind: policy 'two-eyes' and eligibility 'oncall' were written at the same time"), "{message}");
    assert!(now(&old).write("nobody", &automatic(), Some(&old)).await.is_err(), "after the eligibility nobody may");
    let (theirs, _) = now(&old).write("admin", &automatic(), Some(&old)).await.unwrap();
    assert!(now(&theirs).write("dev", &request("inc-1"), None).await.is_ok(), "an edit by who may breaks nothing");
}

#[tokio::test]
async fn f28_durations_that_the_policy_does_not_allow_are_told() {
    let mut short = policy(1);
    short["spec"]["limits"] = json!({"maxDuration": "2h"});
    let stored = cluster();
    stored.objects.lock()[1].1 = short.clone();
    let (_, warnings) = stored.write("admin", &eligibility("edit"), None).await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("spec.maxDuration 4h is above policy 'two-eyes' (spec.limits.maxDuration 2h)"), "{warnings:?}");
    let mut silent = request("inc-1");
    silent["spec"].as_object_mut().unwrap().remove("duration");
    assert!(stored.write("dev", &silent, None).await.is_ok(), "two hours are granted");
}
