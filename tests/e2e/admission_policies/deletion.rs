//! Deletion: which objects must be deletable, and which records must stay.

use control_plane::ADMIN;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::{Value, json};

use super::{
    Fixture, Outcome,
    bindings::{fresh_name, granted},
    fixture::{Answer, OPERATOR, STAR, TENANT, decision, name, passes, refused, request},
};

const KIND: &str = "RoleBinding";
const REQUEST: &str = "RoleActivationRequest";
/// The namespace of the bindings that existed before the policies.
const BEFORE: &str = "policies-before";
/// The bindings of [`before_the_policies`], by an annotation that names their defect.
const WRONG: [&str; 4] = ["finalizers", "no-label", "group", "probe"];

/// Completes a request, as the operator reports it.
async fn completed(fixture: &Fixture, namespace: &str, request: &str) -> Outcome {
    let status = json!({"status": {"state": "Expired"}});
    passes("its completion", fixture.patch_status(OPERATOR, REQUEST, namespace, request, status).await).map(drop)
}

/// A stolen token of the operator deletes no record of an active or pending request.
pub async fn f58_operator_deletes_only_completed_requests(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let delete = async |name: &str| fixture.delete(OPERATOR, REQUEST, &namespace, name, &DeleteParams::default()).await;
    let status =
        async |state: &str| fixture.patch_status(OPERATOR, REQUEST, &namespace, "asked", json!({"status": {"state": state}})).await;
    fixture.request("dev", &namespace, "asked").await?;
    let said = "the operator may delete completed requests only, and asked is not completed";
    refused("a request without a status", delete("asked").await, "requests", said)?;
    for state in ["Pending", "AwaitingApproval", "Scheduled", "Active"] {
        passes(state, status(state).await)?;
        refused(state, delete("asked").await, "requests", said)?;
    }
    refused("all of them", fixture.delete_all(OPERATOR, REQUEST, &namespace).await, "requests", said)?;
    for state in ["Denied", "TimedOut", "Withdrawn", "Expired", "Deactivated", "Revoked", "Failed"] {
        passes(state, status(state).await)?;
        let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
        passes(state, fixture.delete(OPERATOR, REQUEST, &namespace, "asked", &dry).await)?;
    }
    passes("a completed one", delete("asked").await)?;
    // Deletable in any case.
    fixture.request("dev", &namespace, "going").await?;
    passes("a finalizer", fixture.patch(OPERATOR, REQUEST, &namespace, "going", finalizers(&["a.example/a"])).await)?;
    passes("its deletion by an admin", fixture.delete(ADMIN, REQUEST, &namespace, "going", &DeleteParams::default()).await)?;
    passes("one that is being deleted", delete("going").await)?;
    passes("the deletion of the namespace", fixture.delete(ADMIN, "Namespace", "", &namespace, &DeleteParams::default()).await)?;
    passes("the removal of its finalizers", fixture.patch(STAR, REQUEST, &namespace, "going", finalizers(&[])).await)?;
    fixture.gone("Namespace", "", &namespace).await
}

/// Creates bindings that every policy would deny, each with a foreign finalizer.
pub async fn before_the_policies(fixture: &Fixture) -> Outcome {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BEFORE}});
    passes("a namespace", fixture.create(ADMIN, &namespace).await)?;
    for wrong in WRONG {
        let mut object = granted(BEFORE, 3600);
        object["metadata"]["name"] = json!(named(wrong));
        object["metadata"]["finalizers"] = json!(["a.example/a", "a.example/b"]);
        match wrong {
            "no-label" => object["metadata"]["labels"] = Value::Null,
            "group" => {
                object["subjects"] =
                    json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}, object["subjects"][0]]);
                object["metadata"]["annotations"] = Value::Null;
            }
            "probe" => object["metadata"]["labels"]["jitrbac.dev/probe"] = json!("jit-rbac-bindings"),
            _ => {}
        }
        passes(wrong, fixture.create(ADMIN, &object).await)?;
    }
    Ok(())
}

fn named(wrong: &str) -> String {
    let number = WRONG.iter().position(|known| *known == wrong).unwrap_or_default();
    format!("jit-0b9f5f6e-3f2a-4c7e-9f58-ffffffffff{number:02}")
}

fn finalizers(left: &[&str]) -> Value {
    json!({"metadata": {"finalizers": left}})
}

/// A binding with a foreign finalizer grants until it is removed, so every way to end it must be open.
pub async fn t28_finalizer_is_denied_and_keeps_no_grant(fixture: &Fixture) -> Outcome {
    let patch = async |who: &str, wrong: &str, patch: Value| -> Answer { fixture.patch(who, KIND, BEFORE, &named(wrong), patch).await };
    let delete = async |who: &str, wrong: &str| fixture.delete(who, KIND, BEFORE, &named(wrong), &DeleteParams::default()).await;

    let early = patch(STAR, "finalizers", finalizers(&["a.example/a"])).await;
    refused("the removal of a finalizer by another user before the deletion", early, "bindings", "only jit-rbac itself")?;
    passes("the same by the operator", patch(OPERATOR, "finalizers", finalizers(&["a.example/a"])).await)?;
    passes("its deletion", delete(STAR, "finalizers").await)?;
    let more = json!({"metadata": {"finalizers": []}, "subjects": []});
    refused("finalizers and something else", patch(STAR, "finalizers", more).await, "bindings", "only jit-rbac itself")?;
    passes("the removal of the last finalizer by any user during the deletion", patch(STAR, "finalizers", finalizers(&[])).await)?;

    // A watcher by label sees a removed label as a deletion; the name still identifies the binding.
    passes("the deletion of a binding without its label", delete(OPERATOR, "no-label").await)?;
    passes("no subjects", patch(OPERATOR, "no-label", json!({"subjects": null})).await)?;
    passes("the removal of its finalizers", patch(OPERATOR, "no-label", finalizers(&[])).await)?;

    passes("no subjects in a binding for a group and without deadline", patch(OPERATOR, "group", json!({"subjects": null})).await)?;
    passes("its deletion", delete(OPERATOR, "group").await)?;
    passes("the removal of its finalizers", patch(OPERATOR, "group", finalizers(&[])).await)?;

    passes("a write that changes nothing, with a probe's label", fixture.write_back(STAR, KIND, BEFORE, &named("probe")).await)?;
    passes("its deletion", delete(STAR, "probe").await)?;
    passes("the removal of its finalizers", patch(STAR, "probe", finalizers(&[])).await)?;
    for wrong in WRONG {
        fixture.gone(KIND, BEFORE, &named(wrong)).await?;
    }
    Ok(())
}

pub async fn t30_foreground_and_orphan_deletion_complete(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    for policy in [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan] {
        let id = format!("{policy:?}").to_lowercase();
        let asked = fixture.request("dev", &namespace, &id).await?;
        let decided = passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
        let uid = asked["metadata"]["uid"].as_str().unwrap_or_default();
        let mut grant = granted(&namespace, 3600);
        grant["metadata"]["name"] = json!(format!("jit-{uid}"));
        grant["metadata"]["ownerReferences"] = decided["metadata"]["ownerReferences"].clone();
        passes("a grant", fixture.create(OPERATOR, &grant).await)?;
        let params = DeleteParams { propagation_policy: Some(policy.clone()), ..DeleteParams::default() };
        passes(&id, fixture.delete(ADMIN, REQUEST, &namespace, &id, &params).await)?;
        if matches!(policy, PropagationPolicy::Orphan) {
            // No user can detach the binding from its request, so the operator ends both, as it does in production.
            for (kind, name) in [(KIND, name(&grant)), ("ActivationDecision", name(&decided))] {
                passes(name, fixture.delete(OPERATOR, kind, &namespace, name, &DeleteParams::default()).await)?;
            }
        }
        fixture.gone(REQUEST, &namespace, &id).await?;
        fixture.gone(KIND, &namespace, name(&grant)).await?;
        fixture.gone("ActivationDecision", &namespace, name(&decided)).await?;
    }
    // A binding alone, with foreground deletion.
    let grant = passes("a grant", fixture.create(OPERATOR, &granted(&namespace, 3600)).await)?;
    passes("its deletion", fixture.delete(STAR, KIND, &namespace, name(&grant), &DeleteParams::foreground()).await)?;
    fixture.gone(KIND, &namespace, name(&grant)).await
}

pub async fn t31_finalizers_of_a_record_are_removable_only_during_deletion(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let decided = passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    for (kind, policy, object) in [("ActivationDecision", "decisions", &decided), (REQUEST, "requests", &asked)] {
        let patch = async |who: &str, patch: Value| -> Answer { fixture.patch(who, kind, &namespace, name(object), patch).await };
        let said = "are immutable, since they belong to the record";
        passes("finalizers, which only the operator can add", patch(OPERATOR, finalizers(&["a.example/a", "a.example/b"])).await)?;
        if kind == REQUEST {
            completed(fixture, &namespace, name(object)).await?;
        }
        refused("the removal of a finalizer before the deletion", patch(STAR, finalizers(&["a.example/a"])).await, policy, said)?;
        passes("its deletion", fixture.delete(OPERATOR, kind, &namespace, name(object), &DeleteParams::default()).await)?;
        let more = json!({"metadata": {"finalizers": [], "labels": {"a": "b"}}});
        refused("finalizers and something else", patch(STAR, more).await, policy, said)?;
        passes("the removal of one of them", patch(STAR, finalizers(&["a.example/b"])).await)?;
        passes("the removal of the last", patch(STAR, finalizers(&[])).await)?;
        fixture.gone(kind, &namespace, name(object)).await?;
    }
    Ok(())
}

pub async fn t37_namespace_deletion_removes_all_records(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    let mut grant = granted(&namespace, 3600);
    grant["metadata"]["name"] = json!(fresh_name());
    passes("a grant", fixture.create(OPERATOR, &grant).await)?;
    passes("its deletion", fixture.delete(ADMIN, "Namespace", "", &namespace, &DeleteParams::default()).await)?;
    fixture.gone("Namespace", "", &namespace).await
}

pub async fn t52_deletion_of_records_requires_the_purge_verb(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let asked = fixture.request("dev", &namespace, "asked").await?;
    let decided = passes("a decision", fixture.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    for (kind, policy, object) in [("ActivationDecision", "decisions", &decided), (REQUEST, "requests", &asked)] {
        // The tenant holds every verb in the namespace, including `purge`; only the verb in the whole cluster counts.
        for who in [STAR, TENANT] {
            let said = "requires the verb purge on";
            let one = fixture.delete(who, kind, &namespace, name(object), &DeleteParams::default()).await;
            refused(&format!("{kind} by {who}"), one, policy, said)?;
            let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
            refused("in a dry run", fixture.delete(who, kind, &namespace, name(object), &dry).await, policy, said)?;
            refused(&format!("every {kind} by {who}"), fixture.delete_all(who, kind, &namespace).await, policy, said)?;
        }
        if kind == REQUEST {
            completed(fixture, &namespace, name(object)).await?;
        }
        passes("by the operator", fixture.delete(OPERATOR, kind, &namespace, name(object), &DeleteParams::default()).await)?;
    }
    passes("a request", fixture.create("dev", &request("dev", &namespace, "purged")).await)?;
    passes("by a cluster admin", fixture.delete(ADMIN, REQUEST, &namespace, "purged", &DeleteParams::default()).await)?;
    for controller in ["generic-garbage-collector", "namespace-controller"] {
        fixture.request("dev", &namespace, controller).await?;
        let as_controller = format!("--as=system:serviceaccount:kube-system:{controller}");
        let args = ["delete", "rar", controller, "--namespace", &namespace, "--wait=false", &as_controller];
        fixture.cluster().run(ADMIN, &args).await.and_then(control_plane::Said::ok).map_err(|error| error.to_string())?;
    }
    Ok(())
}
