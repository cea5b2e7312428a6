//! The status and all other subresources and resources that the API server serves of the product's API group.

use control_plane::ADMIN;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    Fixture, Outcome,
    fixture::{Answer, OPERATOR, STAR, TENANT, approval_policy, decision, eligibility, name, passes, refused},
};

const SAID: &str = "only jit-rbac itself writes status";

pub async fn t22_only_the_operator_writes_status(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    fixture.request("dev", &namespace, "asked").await?;
    passes("an eligibility", fixture.create(STAR, &eligibility(STAR, "t22")).await)?;
    passes("a policy", fixture.create(STAR, &approval_policy(STAR, "t22")).await)?;
    for (kind, namespace, id, first, other) in [
        ("RoleActivationRequest", namespace.as_str(), "asked", json!({"state": "Pending"}), json!({"state": "Active"})),
        ("RoleEligibility", "", "t22", json!({"observedGeneration": 1}), json!({"observedGeneration": 2})),
        ("ApprovalPolicy", "", "t22", json!({"observedGeneration": 1}), json!({"observedGeneration": 2})),
    ] {
        let status =
            async |who: &str, value: &Value| -> Answer { fixture.patch_status(who, kind, namespace, id, json!({"status": value})).await };
        let others: &[&str] = if namespace.is_empty() { &[ADMIN, STAR] } else { &[ADMIN, STAR, TENANT] };
        for who in others {
            refused(&format!("a first status of {kind} by {who}"), status(who, &first).await, "status", SAID)?;
        }
        passes("the operator's", status(OPERATOR, &first).await)?;
        for who in others {
            refused(&format!("another status of {kind} by {who}"), status(who, &other).await, "status", SAID)?;
            refused(&format!("no status of {kind} by {who}"), status(who, &Value::Null).await, "status", SAID)?;
            passes("the same status", status(who, &first).await)?;
            // Through the main resource the API server drops it.
            let whole = fixture.patch(who, kind, namespace, id, json!({"status": other})).await;
            let after = passes("a status in the object", whole)?;
            if after["status"] != first {
                return Err(format!("{who} wrote the status of {kind} as a part of the object: {after}"));
            }
        }
    }
    Ok(())
}

/// Every resource, subresource and writing verb of the discovery documents is denied to a user who has every RBAC permission except
/// `purge`. A kind or subresource that is added later fails here until a policy covers it.
pub async fn t23_every_discovered_resource_is_guarded(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let decided = passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    passes("an eligibility", fixture.create(ADMIN, &eligibility(ADMIN, "t23")).await)?;
    passes("a policy", fixture.create(ADMIN, &approval_policy(ADMIN, "t23")).await)?;

    let client = fixture.cluster().client(ADMIN).await.map_err(|error| error.to_string())?;
    let found = client.list_api_group_resources("jitrbac.dev/v1alpha1").await.map_err(|error| error.to_string())?;
    let mut writes = 0;
    for resource in found.resources {
        let (plural, subresource) = resource.name.split_once('/').unwrap_or((&resource.name, ""));
        let (policy, id) = match plural {
            "roleactivationrequests" => ("requests", "asked"),
            "activationdecisions" => ("decisions", name(&decided)),
            "roleeligibilities" => ("eligibilities", "t23"),
            "approvalpolicies" => ("approval-policies", "t23"),
            // No grant depends on them; T58 is about the status of receivers.
            "notificationreceivers" | "notificationrules" => continue,
            other => return Err(format!("no policy is known for {other}")),
        };
        let namespace = if resource.namespaced { namespace.as_str() } else { "" };
        // RBAC decides who may delete eligibilities and policies: their absence grants nothing.
        let writing = resource.verbs.iter().filter(|verb| match verb.as_str() {
            "get" | "list" | "watch" => false,
            "delete" | "deletecollection" => resource.namespaced,
            _ => true,
        });
        for verb in writing {
            let what = format!("{verb} {}", resource.name);
            let answer = match (subresource, verb.as_str()) {
                ("", "create") => fixture.create(STAR, &unguarded(&resource.kind, namespace)).await,
                ("", "update" | "patch") => {
                    let change = if resource.namespaced { json!({"metadata": {"labels": {"a": "b"}}}) } else { author() };
                    fixture.patch(STAR, &resource.kind, namespace, id, change).await
                }
                ("", "delete") => fixture.delete(STAR, &resource.kind, namespace, id, &DeleteParams::default()).await,
                ("", "deletecollection") => fixture.delete_all(STAR, &resource.kind, namespace).await,
                ("status", "update" | "patch") => {
                    let status = json!({"status": {"observedGeneration": 9}});
                    fixture.patch_status(STAR, &resource.kind, namespace, id, status).await
                }
                _ => return Err(format!("no write is known for {what}")),
            };
            refused(&what, answer, if subresource.is_empty() { policy } else { "status" }, "")?;
            writes += 1;
        }
    }
    if writes < 20 { Err(format!("discovery showed only {writes} writes")) } else { Ok(()) }
}

/// The author annotation of another user, which marks a change of an admin's object.
fn author() -> Value {
    json!({"metadata": {"annotations": {"jitrbac.dev/author": "somebody"}}})
}

/// An object of a kind that the schema allows and that has no stamp.
fn unguarded(kind: &str, namespace: &str) -> Value {
    let mut object = match kind {
        "RoleActivationRequest" => super::fixture::request("lead-1", namespace, "unguarded"),
        "ActivationDecision" => {
            let about =
                json!({"metadata": {"name": "asked", "namespace": namespace, "uid": "x"}, "spec": {"requester": {"username": "dev"}}});
            decision("lead-1", &about, "Revoke")
        }
        "RoleEligibility" => eligibility("somebody", "unguarded"),
        _ => approval_policy("somebody", "unguarded"),
    };
    object["kind"] = json!(kind);
    object
}
