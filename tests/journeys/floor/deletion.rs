//! What goes must be able to go, and what is a record must stay.

use control_plane::ADMIN;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::{Value, json};

use super::{
    Floor, Outcome,
    bindings::{fresh_name, granted},
    plane::{Answer, OPERATOR, STAR, TENANT, decision, name, passes, refused, request},
};

const KIND: &str = "RoleBinding";
const REQUEST: &str = "RoleActivationRequest";
/// Where the bindings are that were there before the policies.
const BEFORE: &str = "floor-before";
/// What [`before_the_policies`] makes, by an annotation that says what is wrong with it.
const WRONG: [&str; 4] = ["finalizers", "no-label", "group", "probe"];

/// A request is completed, as the operator reports it.
async fn completed(floor: &Floor, namespace: &str, request: &str) -> Outcome {
    let status = json!({"status": {"state": "Expired"}});
    passes("an end", floor.patch_status(OPERATOR, REQUEST, namespace, request, status).await).map(drop)
}

/// A stolen token of the operator removes no record of what is active or pending.
pub async fn f58_the_operator_deletes_completed_requests_only(floor: &Floor) -> Outcome {
    let namespace = floor.namespace().await?;
    let delete = async |name: &str| floor.delete(OPERATOR, REQUEST, &namespace, name, &DeleteParams::default()).await;
    let status = async |state: &str| floor.patch_status(OPERATOR, REQUEST, &namespace, "asked", json!({"status": {"state": state}})).await;
    floor.request("dev", &namespace, "asked").await?;
    let said = "the operator may delete completed requests only, and asked is not completed";
    refused("a request that nobody has looked at", delete("asked").await, "requests", said)?;
    for state in ["Pending", "AwaitingApproval", "Scheduled", "Active"] {
        passes(state, status(state).await)?;
        refused(state, delete("asked").await, "requests", said)?;
    }
    refused("all of them", floor.delete_all(OPERATOR, REQUEST, &namespace).await, "requests", said)?;
    for state in ["Denied", "TimedOut", "Withdrawn", "Expired", "Deactivated", "Revoked", "Failed"] {
        passes(state, status(state).await)?;
        let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
        passes(state, floor.delete(OPERATOR, REQUEST, &namespace, "asked", &dry).await)?;
    }
    passes("a completed one", delete("asked").await)?;
    // What goes anyhow.
    floor.request("dev", &namespace, "going").await?;
    passes("a finalizer", floor.patch(OPERATOR, REQUEST, &namespace, "going", finalizers(&["a.example/a"])).await)?;
    passes("its deletion by an admin", floor.delete(ADMIN, REQUEST, &namespace, "going", &DeleteParams::default()).await)?;
    passes("one that is being deleted", delete("going").await)?;
    passes("the end of the namespace", floor.delete(ADMIN, "Namespace", "", &namespace, &DeleteParams::default()).await)?;
    passes("no finalizer on it", floor.patch(STAR, REQUEST, &namespace, "going", finalizers(&[])).await)?;
    floor.gone("Namespace", "", &namespace).await
}

/// Makes bindings that no policy would let through, each with a foreign finalizer.
pub async fn before_the_policies(floor: &Floor) -> Outcome {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BEFORE}});
    passes("a namespace", floor.create(ADMIN, &namespace).await)?;
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
        passes(wrong, floor.create(ADMIN, &object).await)?;
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

/// A binding with a foreign finalizer grants until it is gone, so every way to its end must be open.
pub async fn t28_a_finalizer_is_refused_and_never_holds_a_grant(floor: &Floor) -> Outcome {
    let patch = async |who: &str, wrong: &str, patch: Value| -> Answer { floor.patch(who, KIND, BEFORE, &named(wrong), patch).await };
    let delete = async |who: &str, wrong: &str| floor.delete(who, KIND, BEFORE, &named(wrong), &DeleteParams::default()).await;

    let early = patch(STAR, "finalizers", finalizers(&["a.example/a"])).await;
    refused("a finalizer taken away by others before its end", early, "bindings", "only jit-rbac itself")?;
    passes("the same by the operator", patch(OPERATOR, "finalizers", finalizers(&["a.example/a"])).await)?;
    passes("its end", delete(STAR, "finalizers").await)?;
    let more = json!({"metadata": {"finalizers": []}, "subjects": []});
    refused("finalizers and something else", patch(STAR, "finalizers", more).await, "bindings", "only jit-rbac itself")?;
    passes("the last finalizer, by anybody, once it is being deleted", patch(STAR, "finalizers", finalizers(&[])).await)?;

    // A stripped label looks like a deletion to whoever watches by it; the name still tells.
    passes("the end of one without its label", delete(OPERATOR, "no-label").await)?;
    passes("nobody in it", patch(OPERATOR, "no-label", json!({"subjects": null})).await)?;
    passes("no finalizer on it", patch(OPERATOR, "no-label", finalizers(&[])).await)?;

    passes("nobody in one for a group and without end", patch(OPERATOR, "group", json!({"subjects": null})).await)?;
    passes("its end", delete(OPERATOR, "group").await)?;
    passes("no finalizer on it", patch(OPERATOR, "group", finalizers(&[])).await)?;

    passes("a write that changes nothing on one with a probe's label", floor.write_back(STAR, KIND, BEFORE, &named("probe")).await)?;
    passes("its end", delete(STAR, "probe").await)?;
    passes("no finalizer on it", patch(STAR, "probe", finalizers(&[])).await)?;
    for wrong in WRONG {
        floor.gone(KIND, BEFORE, &named(wrong)).await?;
    }
    Ok(())
}

pub async fn t30_foreground_and_orphan_deletion_end(floor: &Floor) -> Outcome {
    let namespace = floor.namespace().await?;
    for policy in [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan] {
        let id = format!("{policy:?}").to_lowercase();
        let asked = floor.request("dev", &namespace, &id).await?;
        let decided = passes("a decision", floor.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
        let uid = asked["metadata"]["uid"].as_str().unwrap_or_default();
        let mut grant = granted(&namespace, 3600);
        grant["metadata"]["name"] = json!(format!("jit-{uid}"));
        grant["metadata"]["ownerReferences"] = decided["metadata"]["ownerReferences"].clone();
        passes("a grant", floor.create(OPERATOR, &grant).await)?;
        let params = DeleteParams { propagation_policy: Some(policy.clone()), ..DeleteParams::default() };
        passes(&id, floor.delete(ADMIN, REQUEST, &namespace, &id, &params).await)?;
        if matches!(policy, PropagationPolicy::Orphan) {
            // Nobody can cut the binding loose from its request, so the operator ends both, as it does in life.
            for (kind, name) in [(KIND, name(&grant)), ("ActivationDecision", name(&decided))] {
                passes(name, floor.delete(OPERATOR, kind, &namespace, name, &DeleteParams::default()).await)?;
            }
        }
        floor.gone(REQUEST, &namespace, &id).await?;
        floor.gone(KIND, &namespace, name(&grant)).await?;
        floor.gone("ActivationDecision", &namespace, name(&decided)).await?;
    }
    // A binding alone, in the foreground.
    let grant = passes("a grant", floor.create(OPERATOR, &granted(&namespace, 3600)).await)?;
    passes("its end", floor.delete(STAR, KIND, &namespace, name(&grant), &DeleteParams::foreground()).await)?;
    floor.gone(KIND, &namespace, name(&grant)).await
}

pub async fn t31_a_records_finalizers_go_only_while_it_is_being_deleted(floor: &Floor) -> Outcome {
    let namespace = floor.namespace().await?;
    let asked = floor.request("dev", &namespace, "asked").await?;
    let decided = passes("a decision", floor.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    for (kind, policy, object) in [("ActivationDecision", "decisions", &decided), (REQUEST, "requests", &asked)] {
        let patch = async |who: &str, patch: Value| -> Answer { floor.patch(who, kind, &namespace, name(object), patch).await };
        let said = "are immutable, since they belong to the record";
        passes("finalizers, as only the operator can put them there", patch(OPERATOR, finalizers(&["a.example/a", "a.example/b"])).await)?;
        if kind == REQUEST {
            completed(floor, &namespace, name(object)).await?;
        }
        refused("one taken away too early", patch(STAR, finalizers(&["a.example/a"])).await, policy, said)?;
        passes("its end", floor.delete(OPERATOR, kind, &namespace, name(object), &DeleteParams::default()).await)?;
        let more = json!({"metadata": {"finalizers": [], "labels": {"a": "b"}}});
        refused("finalizers and something else", patch(STAR, more).await, policy, said)?;
        passes("one of them", patch(STAR, finalizers(&["a.example/b"])).await)?;
        passes("the last", patch(STAR, finalizers(&[])).await)?;
        floor.gone(kind, &namespace, name(object)).await?;
    }
    Ok(())
}

pub async fn t37_a_namespace_goes_with_all_that_is_in_it(floor: &Floor) -> Outcome {
    let namespace = floor.namespace().await?;
    let asked = floor.request("dev", &namespace, "asked").await?;
    passes("a decision", floor.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    let mut grant = granted(&namespace, 3600);
    grant["metadata"]["name"] = json!(fresh_name());
    passes("a grant", floor.create(OPERATOR, &grant).await)?;
    passes("its end", floor.delete(ADMIN, "Namespace", "", &namespace, &DeleteParams::default()).await)?;
    floor.gone("Namespace", "", &namespace).await
}

pub async fn t52_records_are_deleted_by_those_who_may_purge(floor: &Floor) -> Outcome {
    let namespace = floor.namespace().await?;
    let asked = floor.request("dev", &namespace, "asked").await?;
    let decided = passes("a decision", floor.create("lead-1", &decision("lead-1", &asked, "Deny")).await)?;
    for (kind, policy, object) in [("ActivationDecision", "decisions", &decided), (REQUEST, "requests", &asked)] {
        // The tenant holds every verb in the namespace, and so `purge`; only the whole cluster counts.
        for who in [STAR, TENANT] {
            let said = "requires the verb purge on";
            let one = floor.delete(who, kind, &namespace, name(object), &DeleteParams::default()).await;
            refused(&format!("{kind} by {who}"), one, policy, said)?;
            let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
            refused("in a dry run", floor.delete(who, kind, &namespace, name(object), &dry).await, policy, said)?;
            refused(&format!("every {kind} by {who}"), floor.delete_all(who, kind, &namespace).await, policy, said)?;
        }
        if kind == REQUEST {
            completed(floor, &namespace, name(object)).await?;
        }
        passes("by the operator", floor.delete(OPERATOR, kind, &namespace, name(object), &DeleteParams::default()).await)?;
    }
    passes("a request", floor.create("dev", &request("dev", &namespace, "purged")).await)?;
    passes("by a cluster admin", floor.delete(ADMIN, REQUEST, &namespace, "purged", &DeleteParams::default()).await)?;
    for controller in ["generic-garbage-collector", "namespace-controller"] {
        floor.request("dev", &namespace, controller).await?;
        let as_controller = format!("--as=system:serviceaccount:kube-system:{controller}");
        let args = ["delete", "rar", controller, "--namespace", &namespace, "--wait=false", &as_controller];
        floor.cluster().run(ADMIN, &args).await.and_then(control_plane::Said::ok).map_err(|error| error.to_string())?;
    }
    Ok(())
}
