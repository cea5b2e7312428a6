//! Eligibilities and approval policies: who may write them, and which subjects they may name.

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{
    Fixture, Outcome,
    fixture::{STAR, approval_policy, eligibility, passes, refused},
};

pub async fn t1_author_is_the_user_who_changed_the_spec(fixture: &Fixture) -> Outcome {
    let author = "jitrbac.dev/author";
    for (kind, policy, object, change) in [
        ("RoleEligibility", "eligibilities", eligibility(STAR, "authored"), json!({"maxDuration": "2h"})),
        ("ApprovalPolicy", "approval-policies", approval_policy(STAR, "authored"), json!({"limits": {"maxDuration": "2h"}})),
    ] {
        let mut forged = object.clone();
        forged["metadata"]["annotations"] = json!({author: ADMIN});
        let said = "jitrbac.dev/author is 'admin', but you are 'star'";
        refused("another author", fixture.create(STAR, &forged).await, policy, said)?;
        refused("another author in a dry run", fixture.dry_create(STAR, &forged).await, policy, said)?;
        forged["metadata"]["annotations"] = Value::Null;
        refused("no author", fixture.create(STAR, &forged).await, policy, "jitrbac.dev/author is missing")?;
        passes("the author", fixture.create(STAR, &object).await)?;

        let patch = async |who: &str, patch: Value| fixture.patch(who, kind, "", "authored", patch).await;
        let signed = |who: &str, spec: &Value| json!({"spec": spec, "metadata": {"annotations": {author: who}}});
        passes("a label by another", patch(ADMIN, json!({"metadata": {"labels": {"a": "b"}}})).await)?;
        passes("a write that changes nothing", fixture.write_back(ADMIN, kind, "", "authored").await)?;
        let answer = patch(ADMIN, json!({"spec": change})).await;
        refused("a change by another user with the old author", answer, policy, "is 'star', but you are 'admin'")?;
        refused("a forged author", patch(ADMIN, signed("ann", &change)).await, policy, "is 'ann', but you are 'admin'")?;
        let said = "changes only with the spec";
        refused("a new author alone", patch(ADMIN, json!({"metadata": {"annotations": {author: ADMIN}}})).await, policy, said)?;
        let check = |value: Value| json!({"metadata": {"annotations": {"jitrbac.dev/author-check": value}}});
        refused("the record of a check alone", patch(ADMIN, check(json!("{}"))).await, policy, said)?;
        refused("the removal of the author", patch(STAR, json!({"metadata": {"annotations": {author: null}}})).await, policy, said)?;
        passes("a change with the user's own name", patch(ADMIN, signed(ADMIN, &change)).await)?;
    }
    Ok(())
}

pub async fn t11_system_names_are_never_eligible_and_never_approve(fixture: &Fixture) -> Outcome {
    let system = [("Group", "system:masters"), ("User", "system:admin")];
    let naming = |kind: &str, named: &str| {
        let mut object = eligibility(ADMIN, "t11-system");
        object["spec"]["subjects"] = json!([{"kind": "Group", "name": "devs"}, {"kind": kind, "name": named}]);
        object
    };
    for (kind, named) in system {
        match fixture.create(ADMIN, &naming(kind, named)).await {
            Err((422, said)) if said.contains("names that start with 'system:' belong to Kubernetes") => {}
            other => return Err(format!("the schema should refuse {named}: {other:?}")),
        }
    }
    let check = async || {
        for (kind, named) in system {
            let said = format!("cannot be eligible: {named};");
            refused(named, fixture.create(ADMIN, &naming(kind, named)).await, "eligibilities", &said)?;
        }
        Ok(())
    };
    fixture.without_schema_rules("roleeligibilities.jitrbac.dev", "/properties/subjects/items", check).await?;
    let stage = |people: Value| json!({"approval": {"stages": [{"name": "one", "approvers": people}]}});
    for (spec, named) in [
        (stage(json!({"groups": ["leads", "system:masters"]})), "system:masters"),
        (stage(json!({"users": ["ann", "system:admin"]})), "system:admin"),
        (stage(json!({"users": ["system:serviceaccount:shop"]})), "system:serviceaccount:shop"),
        (stage(json!({"users": ["system:serviceaccount:shop:bot:x"]})), "system:serviceaccount:shop:bot:x"),
        (json!({"approval": {"automatic": {}}, "revokers": {"groups": ["system:serviceaccounts:shop"]}}), "system:serviceaccounts:shop"),
        (json!({"approval": {"automatic": {}}, "emergency": {"reviewers": {"users": ["system:node:n"]}}}), "system:node:n"),
    ] {
        let mut object = approval_policy(ADMIN, "t11-system");
        object["spec"] = spec;
        let said = format!("cannot approve, revoke or review: {named};");
        refused(named, fixture.create(ADMIN, &object).await, "approval-policies", &said)?;
    }
    let mut object = approval_policy(ADMIN, "t11-account");
    object["spec"] = stage(json!({"users": ["system:serviceaccount:shop:bot.x-1"]}));
    passes("a ServiceAccount by its full name", fixture.create(ADMIN, &object).await)?;
    let mut object = eligibility(ADMIN, "t11-account");
    object["spec"]["subjects"] = json!([{"kind": "ServiceAccount", "namespace": "shop", "name": "bot"}]);
    passes("a ServiceAccount as such", fixture.create(ADMIN, &object).await).map(drop)
}

/// Without the webhook: an author who may write an eligibility but not bind its role cannot add anything to it that keeps it stored.
pub async fn f52_finalizer_on_an_eligibility_requires_the_right_to_bind(fixture: &Fixture) -> Outcome {
    let author = "author-none";
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "f52-author"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jit-rbac-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": author}],
    });
    let given = fixture.cluster().apply(ADMIN, &binding.to_string()).await.map_err(|error| error.to_string())?;
    given.ok().map_err(|error| error.to_string())?;
    passes("an eligibility", fixture.create(STAR, &eligibility(STAR, "f52")).await)?;
    let patch = async |who: &str, patch: Value| fixture.patch(who, "RoleEligibility", "", "f52", patch).await;
    let finalizers = |left: &[&str]| json!({"metadata": {"finalizers": left}});
    // RBAC may need a moment to observe the binding; a label shows that it has.
    let label = async || patch(author, json!({"metadata": {"labels": {"by": "author"}}})).await.map(drop).map_err(|(_, said)| said);
    control_plane::wait_for_ok("the author's write access", std::time::Duration::from_secs(20), label).await.map_err(|e| e.to_string())?;
    let answer = patch(author, finalizers(&["example.com/keep"])).await;
    refused("a finalizer by an author who may not bind", answer, "eligibilities", "may not make users eligible")?;
    passes("the same by one who may", patch(STAR, finalizers(&["example.com/keep"])).await)?;
    passes("a label", patch(author, json!({"metadata": {"labels": {"by": "them"}}})).await)?;
    passes("the removal of a finalizer", patch(author, finalizers(&[])).await).map(drop)
}

/// A policy whose expressions exceed the cost limits would deny everything.
pub async fn largest_policy_and_eligibility_fit_the_cost_limits(fixture: &Fixture) -> Outcome {
    let users: Vec<_> = (10..74).map(|number| format!("system:serviceaccount:{}:{}{number}", "n".repeat(63), "x".repeat(160))).collect();
    let groups: Vec<_> = (10..74).map(|number| format!("{}{number}", "g".repeat(254))).collect();
    let people = json!({"users": users, "groups": groups});
    let stages: Vec<_> = (0..5).map(|number| json!({"name": format!("stage-{number}"), "approvers": people})).collect();
    let mut object = approval_policy(ADMIN, "largest");
    object["spec"] = json!({"approval": {"stages": stages}, "revokers": people, "emergency": {"reviewers": people}});
    passes("the largest policy", fixture.create(ADMIN, &object).await)?;
    passes("the same again", fixture.write_back(ADMIN, "ApprovalPolicy", "", "largest").await)?;

    let subjects: Vec<_> = (100..356).map(|number| json!({"kind": "User", "name": format!("{}{number}", "u".repeat(253))})).collect();
    let mut object = eligibility(ADMIN, "largest");
    object["spec"]["subjects"] = json!(subjects);
    passes("the largest eligibility", fixture.create(ADMIN, &object).await)?;
    passes("the same again", fixture.write_back(ADMIN, "RoleEligibility", "", "largest").await).map(drop)
}

pub async fn f48_metadata_size_of_eligibilities_and_policies_is_limited(fixture: &Fixture) -> Outcome {
    let many = |number: usize| (0..number).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let owners = |number: usize| -> Value {
        (0..number).map(|n| json!({"apiVersion": "v1", "kind": "Namespace", "name": format!("n{n}"), "uid": format!("u{n}")})).collect()
    };
    for (kind, policy, made) in [
        ("RoleEligibility", "eligibilities", eligibility(ADMIN, "f48-heavy")),
        ("ApprovalPolicy", "approval-policies", approval_policy(ADMIN, "f48-heavy")),
    ] {
        let with = |key: &str, value: Value| {
            let mut object = made.clone();
            object["metadata"][key] = value;
            object
        };
        let mut noted = many(30_000);
        noted.insert("jitrbac.dev/author".to_owned(), made["metadata"]["annotations"]["jitrbac.dev/author"].clone());
        for (key, value, said) in [
            ("labels", many(65).into(), "it has 65 labels (at most 64)"),
            ("labels", many(30_000).into(), "it has 30000 labels (at most 64)"),
            ("annotations", noted.into(), "30001 annotations (at most 64, with 262144 characters)"),
            ("ownerReferences", owners(17), "17 owners (at most 16)"),
            ("finalizers", (0..17).map(|n| json!(format!("a.example/f{n}"))).collect(), "17 finalizers (at most 16)"),
        ] {
            refused(said, fixture.create(ADMIN, &with(key, value)).await, policy, said)?;
        }
        passes("as many as are allowed", fixture.create(ADMIN, &with("labels", many(64).into())).await)?;
        // Also by a write of the metadata alone.
        let answer = fixture.patch(ADMIN, kind, "", "f48-heavy", json!({"metadata": {"labels": {"one-more": "v"}}})).await;
        refused("one label more", answer, policy, "it has 65 labels (at most 64)")?;
        passes("the same again", fixture.write_back(ADMIN, kind, "", "f48-heavy").await)?;
    }
    Ok(())
}
