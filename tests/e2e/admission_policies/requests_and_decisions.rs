//! Requests and decisions: who may write them, with which stamp, and that they are immutable.

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{
    Fixture, Outcome,
    fixture::{OPERATOR, STAR, TENANT, account, approval_policy, decision, eligibility, name, passes, refused, request, stamp},
};

/// Returns `object` with `value` at this JSON pointer.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).expect("a parent")[key] = value;
    object
}

pub async fn t1_stamp_names_the_authenticated_user(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let forged = |pointer: &str, value: Value| with(request("dev", &namespace, "forged"), pointer, value);
    let stamp_with = |key: &str, value: Value| with(stamp("dev"), &format!("/{key}"), value);
    for (object, said) in [
        (forged("/spec/requester", Value::Null), "spec.requester is missing"),
        (forged("/spec/requester", stamp("lead-1")), "spec.requester.username is 'lead-1', but you are 'dev'"),
        (forged("/spec/requester", stamp_with("uid", json!("u-lead-1"))), "spec.requester.uid is not your uid"),
        (forged("/spec/requester", json!({"username": "dev"})), "spec.requester.uid is not your uid"),
        (forged("/spec/requester", stamp_with("groups", json!(["devs", "leads", "x"]))), "groups that you are not a member of: leads, x;"),
        (forged("/spec/requester", stamp_with("extra", json!({"a.b/amr": ["mfa"]}))), "spec.requester.extra has a value"),
    ] {
        refused(said, fixture.create("dev", &object).await, "requests", said)?;
    }
    for (number, stamp) in [stamp("dev"), stamp_with("groups", json!(["devs"]))].into_iter().enumerate() {
        let honest = with(request("dev", &namespace, &format!("honest-{number}")), "/spec/requester", stamp);
        passes("a correct stamp", fixture.create("dev", &honest).await)?;
    }
    Ok(())
}

pub async fn t1_user_in_a_thousand_groups_is_admitted(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    // The maximum number in a stamp, with the relevant ones at the end.
    let mut groups: Vec<_> = (873..1000).map(|number| format!("crowd-{number:04}")).collect();
    groups.push("devs".to_owned());
    let of = |name: &str, groups: &[String]| with(request("crowd", &namespace, name), "/spec/requester/groups", json!(groups));
    passes("a stamp with 128 of 1001 groups", fixture.create("crowd", &of("crowd", &groups)).await)?;
    "leads".clone_into(&mut groups[0]);
    refused("one of them forged", fixture.create("crowd", &of("forged", &groups)).await, "requests", "not a member of: leads;")
}

pub async fn t1_decision_names_its_request_and_its_creator(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let approve = || decision("lead-1", &asked, "Approve");
    let owner = approve()["metadata"]["ownerReferences"][0].clone();
    let owners = "/metadata/ownerReferences";
    for (object, said) in [
        (with(approve(), "/spec/decider", Value::Null), "spec.decider is missing"),
        (with(approve(), "/spec/decider", stamp("lead-2")), "spec.decider.username is 'lead-2', but you are 'lead-1'"),
        (with(approve(), "/spec/decider/uid", json!("u-lead-2")), "spec.decider.uid is not your uid"),
        (with(approve(), "/spec/decider/groups", json!(["leads", "security"])), "not a member of: security;"),
        (with(approve(), "/spec/decider/extra", json!({"a.b/amr": ["mfa"]})), "spec.decider.extra has a value"),
        (with(approve(), "/spec/requestRef/uid", Value::Null), "lacks the request's uid and requester"),
        (with(approve(), "/spec/requestRef/requester", Value::Null), "lacks the request's uid and requester"),
        (with(approve(), owners, json!([])), "must have its request as the only owner"),
        (
            with(approve(), owners, json!([with(owner.clone(), "/kind", json!("RoleEligibility"))])),
            "must have its request as the only owner",
        ),
        (with(approve(), owners, json!([with(owner.clone(), "/uid", json!("other"))])), "must have its request as the only owner"),
        (
            with(approve(), owners, json!([with(owner.clone(), "/blockOwnerDeletion", json!(true))])),
            "must have its request as the only owner",
        ),
        (
            with(approve(), owners, json!([owner, {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}])),
            "2 owners (at most 1)",
        ),
        (with(approve(), "/metadata/finalizers", json!(["a.example/b"])), "must not have finalizers"),
    ] {
        refused(said, fixture.create("lead-1", &object).await, "decisions", said)?;
    }
    for (who, verb) in [("lead-1", "Approve"), ("lead-2", "Deny"), ("dev", "Deactivate")] {
        passes(verb, fixture.create(who, &decision(who, &asked, verb)).await)?;
    }
    Ok(())
}

pub async fn t10_anonymous_users_cannot_request_or_decide(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let nobody = json!({"username": "system:anonymous"});
    for (object, plural, policy) in [
        (with(request("dev", &namespace, "anonymous"), "/spec/requester", nobody.clone()), "roleactivationrequests", "requests"),
        (with(decision("dev", &asked, "Deny"), "/spec/decider", nobody), "activationdecisions", "decisions"),
    ] {
        // Without discovery, which not all users may read.
        let path = format!("/apis/jitrbac.dev/v1alpha1/namespaces/{namespace}/{plural}");
        let args = ["create", "--raw", &path, "-f", "-", "--as=system:anonymous"];
        let said = fixture.cluster().run_with(ADMIN, &args, &object.to_string()).await;
        let said = said.and_then(control_plane::Said::refused).map_err(|error| error.to_string())?;
        refused("nobody", Err((403, said)), policy, "requires an authenticated user; sign in first")?;
    }
    Ok(())
}

pub async fn t4_requester_cannot_approve(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "mine").await?;
    refused(
        "their own approval",
        fixture.create("dev", &decision("dev", &asked, "Approve")).await,
        "decisions",
        "you cannot approve your own request",
    )
}

/// The schema denies it first. A user who removes that rule from the CRD is still denied by the policy.
pub async fn t2_records_are_immutable_without_the_schema_rule(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let decided = passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    for who in [ADMIN, STAR, OPERATOR] {
        let said = fixture.patch(who, "RoleActivationRequest", &namespace, "asked", json!({"spec": {"duration": "4h"}})).await;
        match said {
            Err((422, said)) if said.contains("a request cannot be changed") => {}
            other => return Err(format!("the schema should refuse a change by {who}: {other:?}")),
        }
    }
    for (crd, kind, policy, id, change, said) in [
        (
            "activationdecisions",
            "ActivationDecision",
            "decisions",
            name(&decided),
            json!({"comment": "other"}),
            "a decision cannot be changed",
        ),
        ("roleactivationrequests", "RoleActivationRequest", "requests", "asked", json!({"duration": "4h"}), "a request cannot be changed"),
    ] {
        let check = async || {
            let answer = fixture.patch(ADMIN, kind, &namespace, id, json!({"spec": change})).await;
            refused("a change", answer, policy, said)
        };
        fixture.without_schema_rules(&format!("{crd}.jitrbac.dev"), "", check).await?;
    }
    Ok(())
}

pub async fn t31_finalizers_and_owners_are_denied(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let owner = json!([{"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": "x"}]);
    let made = |pointer: &str, value: Value| with(request("dev", &namespace, "levered"), pointer, value);
    for (object, said) in [
        (made("/metadata/finalizers", json!(["a.example/b"])), "a request must not have finalizers"),
        (made("/metadata/finalizers", json!(["orphan"])), "a request must not have finalizers"),
        (made("/metadata/ownerReferences", owner.clone()), "a request must not have owners"),
    ] {
        refused(said, fixture.create("dev", &object).await, "requests", said)?;
    }
    let asked = with(request("dev", &namespace, "asked"), "/metadata/labels", json!({"a": "b"}));
    let asked = passes("a request with a label", fixture.create("dev", &asked).await)?;
    let decided = passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    for (kind, policy, object) in [("RoleActivationRequest", "requests", &asked), ("ActivationDecision", "decisions", &decided)] {
        for who in [ADMIN, STAR, TENANT] {
            for metadata in [
                json!({"labels": {"a": "c"}}),
                json!({"annotations": {"a": "b"}}),
                json!({"finalizers": ["a.example/b"]}),
                json!({"ownerReferences": owner}),
                json!({"generateName": "other-"}),
            ] {
                let answer = fixture.patch(who, kind, &namespace, name(object), json!({"metadata": metadata})).await;
                refused(&format!("{metadata} by {who}"), answer, policy, "are immutable, since they belong to the record")?;
            }
            passes("a write that changes nothing", fixture.write_back(who, kind, &namespace, name(object)).await)?;
        }
    }
    let stripped =
        fixture.patch(STAR, "ActivationDecision", &namespace, name(&decided), json!({"metadata": {"ownerReferences": null}})).await;
    refused("a decision without its owner", stripped, "decisions", "are immutable, since they belong to the record")
}

/// Requesters may apply a stored object, and each apply adds a field manager: without a bound any requester could let any record grow.
pub async fn f29_only_the_creator_can_reapply_a_record(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let decided = passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    for (maker, policy, stored) in [("dev", "requests", &asked), ("lead-1", "decisions", &decided)] {
        let mut again = stored.clone();
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "generateName"] {
            again["metadata"].as_object_mut().expect("metadata").remove(field);
        }
        for number in 0..7 {
            passes("its creator applies it", fixture.server_side_apply(maker, &again, &format!("tool-{number}")).await)?;
        }
        passes("the same again", fixture.server_side_apply(maker, &again, "tool-0").await)?;
        for (who, manager) in [(maker, "tool-7"), (STAR, "another"), (TENANT, "another")] {
            let said = fixture.server_side_apply(who, &again, manager).await;
            refused("one more field manager", said, policy, "only the user who created")?;
        }
        let after = passes("the record", fixture.get(text(&stored["kind"]), &namespace, name(stored)).await)?;
        for field in ["spec", "metadata/labels", "metadata/annotations", "metadata/ownerReferences", "metadata/uid", "metadata/generation"]
        {
            if after.pointer(&format!("/{field}")) != stored.pointer(&format!("/{field}")) {
                return Err(format!("{field} has changed: {after}"));
            }
        }
        again["metadata"]["labels"] = json!({"a": "c"});
        let said = fixture.server_side_apply(maker, &again, "tool-0").await;
        refused("a label by server-side apply", said, policy, "are immutable, since they belong to the record")?;
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub async fn t43_labels_do_not_exempt_from_admission_policies(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let labels = json!({
        "control-plane": "true", "jitrbac.dev/ignore": "true", "jitrbac.dev/managed": "true", "jitrbac.dev/probe": "other",
        "admission.jitrbac.dev/disabled": "true", "app.kubernetes.io/managed-by": "Helm",
    });
    let labelled = json!({"metadata": {"labels": labels}});
    passes("labels on the namespace", fixture.patch(ADMIN, "Namespace", "", &namespace, labelled).await)?;
    let mut forged = with(request("dev", &namespace, "forged"), "/metadata/labels", labels.clone());
    forged["spec"]["requester"] = stamp("lead-1");
    refused("a forged stamp under labels", fixture.create("dev", &forged).await, "requests", "but you are 'dev'")?;
    let honest = with(request("dev", &namespace, "honest"), "/metadata/labels", labels);
    passes("a correct stamp", fixture.create("dev", &honest).await).map(drop)
}

pub async fn t46_dry_run_passes_the_same_policies_and_stores_nothing(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let mut forged = request("dev", &namespace, "tried");
    forged["spec"]["requester"] = stamp("lead-1");
    refused("a forged stamp", fixture.dry_create("dev", &forged).await, "requests", "but you are 'dev'")?;
    let mut honest = request("dev", &namespace, "tried");
    passes("a correct stamp", fixture.dry_create("dev", &honest).await)?;
    honest["metadata"] = json!({"generateName": "tried-", "namespace": namespace});
    passes("a correct stamp with a generated name", fixture.dry_create("dev", &honest).await)?;
    fixture.gone("RoleActivationRequest", &namespace, "tried").await
}

pub async fn t53_operator_cannot_create_requests_or_decisions(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let me = json!({"username": account("controller")});
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let own = with(request(OPERATOR, &namespace, "own"), "/spec/requester", me.clone());
    let decided = with(decision(OPERATOR, &asked, "Approve"), "/spec/decider", me);
    for (object, policy, said) in
        [(own, "requests", "the operator must not create requests"), (decided, "decisions", "the operator must not create decisions")]
    {
        refused(said, fixture.create(OPERATOR, &object).await, policy, said)?;
        passes("the same in a dry run, for probes", fixture.dry_create(OPERATOR, &object).await)?;
    }
    for (object, policy) in [
        (eligibility(&account("controller"), "by-the-operator"), "eligibilities"),
        (approval_policy(&account("controller"), "by-the-operator"), "approval-policies"),
    ] {
        let said = "the operator must not write";
        refused(said, fixture.create(OPERATOR, &object).await, policy, said)?;
        passes("the same in a dry run, for probes", fixture.dry_create(OPERATOR, &object).await)?;
    }
    Ok(())
}

/// Labels or annotations: this many, each with this many characters.
fn many(number: usize, length: usize) -> Value {
    (0..number).map(|n| (format!("k{n}"), Value::from("x".repeat(length)))).collect::<serde_json::Map<_, _>>().into()
}

/// Field managers: this many.
fn managers(number: usize) -> Value {
    let one = |n: usize| {
        json!({
            "manager": format!("m{n}"), "operation": "Apply", "apiVersion": "jitrbac.dev/v1alpha1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:duration": {}}}, "time": "2026-11-02T10:00:00Z",
        })
    };
    (0..number).map(one).collect()
}

pub async fn f48_metadata_size_of_records_is_limited(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    for (who, policy, made) in
        [("dev", "requests", request("dev", &namespace, "heavy")), ("lead-1", "decisions", decision("lead-1", &asked, "Deny"))]
    {
        for (pointer, value, said) in [
            ("/metadata/labels", many(33, 1), "it has 33 labels (at most 32)"),
            // Far more than the webhook would accept: the evaluation cost of the policy must not offer a way around it.
            ("/metadata/labels", many(20_000, 60), "it has 20000 labels (at most 32)"),
            ("/metadata/annotations", many(33, 1), "33 annotations (at most 32, with 16384 characters)"),
            ("/metadata/annotations", many(1, 16_385), "1 annotations (at most 32, with 16384 characters)"),
            ("/metadata/annotations", many(30_000, 1), "30000 annotations (at most 32, with 16384 characters)"),
            ("/metadata/managedFields", managers(17), "entries in managedFields (at most 16)"),
        ] {
            refused(said, fixture.create(who, &with(made.clone(), pointer, value)).await, policy, said)?;
        }
        let full = with(with(made, "/metadata/labels", many(32, 63)), "/metadata/annotations", many(32, 512));
        passes("as much as is allowed", fixture.create(who, &full).await)?;
    }
    // A user who may write the metadata of a stored object cannot increase its size, though the labels stay as they are.
    let grow = json!([{"op": "replace", "path": "/metadata/managedFields", "value": managers(17)}]);
    for who in [ADMIN, STAR, TENANT] {
        let answer = fixture.json_patch(who, "RoleActivationRequest", &namespace, "asked", grow.clone()).await;
        refused("managers by a patch", answer, "requests", "entries in managedFields (at most 16)")?;
    }
    passes("a write that changes nothing", fixture.write_back(ADMIN, "RoleActivationRequest", &namespace, "asked").await).map(drop)
}
