//! Who may write what admins write: eligibilities and policies, through the whole door.

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
        ("local-1", json!({"names": ["payments", "shop"]}), Some("AuthorMayNotBind")),
        ("local-1", json!({"selector": selector}), Some("AuthorMayNotBind")),
        ("local-1", json!({"names": ["payments"], "selector": selector}), Some("AuthorMayNotBind")),
        ("nobody", json!({"names": ["payments"]}), Some("AuthorMayNotBind")),
        ("boss", json!({"names": ["payments"]}), Some("AuthorMayNotBind")),
        ("broken", json!({"names": ["payments"]}), Some("Unreadable")),
        ("denied", json!({"selector": selector}), Some("AuthorMayNotBind")),
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
        for (user, reason) in [("nobody", "AuthorMayNotBind: "), ("denied", "AuthorMayNotBind: "), ("broken", "Unreadable: ")] {
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
