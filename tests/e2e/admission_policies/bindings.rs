//! Managed `RoleBinding`s: only the operator writes them, and only with a deadline.

use std::time::Duration;

use api::instant::stamp;
use control_plane::ADMIN;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Fixture, Outcome,
    fixture::{OPERATOR, STAR, TENANT, binding, name, passes, refused},
};

const KIND: &str = "RoleBinding";
const RBAC: &str = "rbac.authorization.k8s.io";

/// An instant relative to now, in the annotation's format.
pub fn instant(from_now: i64) -> String {
    stamp(Timestamp::now() + SignedDuration::from_secs(from_now))
}

/// Returns another name of the form `jit-<uid>` at each call.
pub fn fresh_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("jit-0b9f5f6e-3f2a-4c7e-9f58-{:012x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn person() -> Value {
    json!({"apiGroup": RBAC, "kind": "User", "name": "dev"})
}

/// A binding as the operator creates it.
pub fn granted(namespace: &str, lasts: i64) -> Value {
    let mut object = binding(namespace, &fresh_name(), "view", &person());
    object["metadata"]["labels"] = json!({"jitrbac.dev/managed": "true"});
    object["metadata"]["annotations"] = json!({"jitrbac.dev/expires-at": instant(lasts)});
    object
}

fn without(mut object: Value, key: &str) -> Value {
    object["metadata"][key] = Value::Null;
    object
}

pub async fn t27_only_the_operator_writes_managed_bindings(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let made = passes("a grant", fixture.create(OPERATOR, &granted(&namespace, 3600)).await)?;
    let two = json!([person(), {"apiGroup": RBAC, "kind": "User", "name": "evil"}]);
    for who in [ADMIN, STAR, TENANT] {
        for patch in [
            json!({"subjects": two}),
            json!({"subjects": null}),
            json!({"metadata": {"annotations": {"jitrbac.dev/expires-at": instant(7200)}}}),
            json!({"metadata": {"annotations": {"jitrbac.dev/expires-at": instant(60)}}}),
            json!({"metadata": {"annotations": {"jitrbac.dev/requester": "evil"}}}),
            json!({"metadata": {"labels": {"jitrbac.dev/managed": null}}}),
            json!({"metadata": {"labels": {"jitrbac.dev/managed": "false"}}}),
            json!({"metadata": {"finalizers": ["a.example/b"]}}),
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]}}),
        ] {
            let what = format!("{patch} by {who}");
            let said = format!("only jit-rbac itself may write the RoleBinding {}", name(&made));
            refused(&what, fixture.patch(who, KIND, &namespace, name(&made), patch).await, "bindings", &said)?;
        }
        passes("a write that changes nothing", fixture.write_back(who, KIND, &namespace, name(&made)).await)?;
    }
    passes("its deletion by a user", fixture.delete(STAR, KIND, &namespace, name(&made), &kube::api::DeleteParams::default()).await)?;
    fixture.gone(KIND, &namespace, name(&made)).await
}

pub async fn t32_only_the_operator_uses_grant_names(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    for who in [ADMIN, STAR, TENANT] {
        let named = without(without(granted(&namespace, 3600), "labels"), "annotations");
        refused("the name alone", fixture.create(who, &named).await, "bindings", "only jit-rbac itself")?;
        let mut labelled = granted(&namespace, 3600);
        labelled["metadata"]["name"] = json!("mine");
        refused("the label alone", fixture.create(who, &labelled).await, "bindings", "only jit-rbac itself")?;
        refused("both", fixture.create(who, &granted(&namespace, 3600)).await, "bindings", "only jit-rbac itself")?;
        refused("in a dry run", fixture.dry_create(who, &granted(&namespace, 3600)).await, "bindings", "only jit-rbac itself")?;
    }
    let plain = binding(&namespace, "plain", "view", &person());
    passes("a binding of the user's own", fixture.create(STAR, &plain).await)?;
    let label = json!({"metadata": {"labels": {"jitrbac.dev/managed": "true"}}});
    refused("the label later", fixture.patch(STAR, KIND, &namespace, "plain", label).await, "bindings", "only jit-rbac itself")
}

pub async fn t43_unmanaged_bindings_are_not_restricted(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let group = json!({"apiGroup": RBAC, "kind": "Group", "name": "system:authenticated"});
    for free in ["plain", "jit-mine", "jit-0b9f5f6e-3f2a-4c7e-9f58-000000000000-x", "x-jit-0b9f5f6e-3f2a-4c7e-9f58-000000000000"] {
        let mut object = binding(&namespace, free, "view", &group);
        object["metadata"]["finalizers"] = json!(["a.example/b"]);
        passes(free, fixture.create(STAR, &object).await)?;
        let patch = json!({"metadata": {"finalizers": null, "labels": {"a": "b"}}, "subjects": [person()]});
        passes(free, fixture.patch(STAR, KIND, &namespace, free, patch).await)?;
        passes(free, fixture.delete(STAR, KIND, &namespace, free, &kube::api::DeleteParams::default()).await)?;
    }
    Ok(())
}

pub async fn t53_operator_creates_only_bindings_with_a_deadline(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let day = i64::try_from(Duration::from_hours(24).as_secs()).expect("a day");
    let made = |pointer: &str, value: Value| {
        let mut object = granted(&namespace, 3600);
        *object.pointer_mut(pointer).expect("a field") = value;
        object
    };
    let subject = |kind: &str, name: &str| json!([{"apiGroup": RBAC, "kind": kind, "name": name}]);
    let expires = "/metadata/annotations/jitrbac.dev~1expires-at";
    let one = "has exactly one subject";
    for (object, said) in [
        (without(granted(&namespace, 3600), "labels"), "must have the label jitrbac.dev/managed"),
        (made("/metadata/labels/jitrbac.dev~1managed", json!("yes")), "must have the label jitrbac.dev/managed"),
        (made("/metadata/name", json!("other")), "be named jit-<uid of its request>"),
        (without(granted(&namespace, 3600), "annotations"), "must have its end in the annotation"),
        (made(expires, json!("tomorrow")), "must have its end in the annotation"),
        (made(expires, json!("2100-01-01T00:00:00+01:00")), "must have its end in the annotation"),
        (granted(&namespace, day + 60), "within 24h (chart value maxGrant)"),
        (granted(&namespace, -60), "must end after that"),
        (made("/subjects", json!([])), one),
        (made("/subjects", json!([person(), {"apiGroup": RBAC, "kind": "User", "name": "evil"}])), one),
        (made("/subjects", subject("Group", "devs")), one),
        (made("/subjects", subject("User", "system:serviceaccount:a:b")), one),
        (made("/subjects", subject("User", "system:admin")), one),
    ] {
        refused(said, fixture.create(OPERATOR, &object).await, "bindings", said)?;
    }
    let mut held = granted(&namespace, 3600);
    held["metadata"]["finalizers"] = json!(["a.example/b"]);
    refused("a finalizer", fixture.create(OPERATOR, &held).await, "bindings", "must not have finalizers")?;
    for protected in ["kube-system", "kube-public", "kube-node-lease", super::fixture::NAMESPACE] {
        let said = format!("nothing is granted in the namespace {protected}");
        refused(protected, fixture.create(OPERATOR, &granted(protected, 3600)).await, "bindings", &said)?;
    }
    passes("a grant of a day", fixture.create(OPERATOR, &granted(&namespace, day - 5)).await)?;
    passes("f04: a grant of a day by a clock that is two seconds ahead", fixture.create(OPERATOR, &granted(&namespace, day + 2)).await)?;
    let account = made("/subjects", json!([{"kind": "ServiceAccount", "namespace": "shop", "name": "bot"}]));
    passes("a grant to a ServiceAccount", fixture.create(OPERATOR, &account).await).map(drop)
}

pub async fn t53_operator_can_only_shorten_a_grant(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let made = passes("a grant", fixture.create(OPERATOR, &granted(&namespace, 3600)).await)?;
    let patch = async |patch: Value| fixture.patch(OPERATOR, KIND, &namespace, name(&made), patch).await;
    let end = |from_now: i64| json!({"metadata": {"annotations": {"jitrbac.dev/expires-at": instant(from_now)}}});
    for (change, said) in [
        (end(7200), "cannot be moved to a later time"),
        (json!({"metadata": {"annotations": {"jitrbac.dev/expires-at": null}}}), "must have its end in the annotation"),
        (json!({"metadata": {"labels": {"jitrbac.dev/managed": null}}}), "must have the label"),
        (json!({"metadata": {"finalizers": ["a.example/b"]}}), "must not have finalizers"),
        (json!({"subjects": [{"apiGroup": RBAC, "kind": "User", "name": "evil"}]}), "is immutable"),
        (json!({"subjects": null, "metadata": {"labels": {"jitrbac.dev/managed": null}}}), "must have the label"),
    ] {
        let what = change.to_string();
        refused(&what, patch(change).await, "bindings", said)?;
    }
    passes("an earlier deadline", patch(end(1800)).await)?;
    passes("no subjects", patch(json!({"subjects": null})).await)?;
    let again = json!({"subjects": made["subjects"]});
    refused("the subjects again", patch(again).await, "bindings", "is immutable")?;
    passes("its deletion", fixture.delete(OPERATOR, KIND, &namespace, name(&made), &kube::api::DeleteParams::default()).await)?;
    fixture.gone(KIND, &namespace, name(&made)).await
}

pub async fn t53_operator_cannot_change_other_bindings(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    passes("a user's binding", fixture.create(STAR, &binding(&namespace, "plain", "view", &person())).await)?;
    let adopted = json!({"metadata": {"labels": {"jitrbac.dev/managed": "true"}, "annotations": {"jitrbac.dev/expires-at": instant(60)}}});
    for patch in [adopted, json!({"metadata": {"labels": {"a": "b"}}}), json!({"subjects": null})] {
        let what = patch.to_string();
        let answer = fixture.patch(OPERATOR, KIND, &namespace, "plain", patch).await;
        refused(&what, answer, "bindings", "managed RoleBindings only, and plain is not managed")?;
    }
    let gone = fixture.delete(OPERATOR, KIND, &namespace, "plain", &kube::api::DeleteParams::default()).await;
    refused("its deletion", gone, "bindings", "managed RoleBindings only, and plain is not managed")?;
    passes("a write that changes nothing", fixture.write_back(ADMIN, KIND, &namespace, "plain").await).map(drop)
}

pub async fn t25_operator_cannot_bind_an_unlisted_role_that_it_holds(fixture: &Fixture) -> Outcome {
    let namespace = fixture.namespace().await?;
    let rules = json!([{"apiGroups": [RBAC], "resources": ["rolebindings"], "verbs": ["get"]}]);
    // The operator holds the permissions of these roles, so RBAC alone would let it grant them. `view` is a ClusterRole in the list, and no
    // Role.
    for role in ["reader", "view"] {
        let object =
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": role, "namespace": namespace}, "rules": rules});
        passes("a role with permissions that the operator holds", fixture.create(ADMIN, &object).await)?;
    }
    for (kind, role) in [("ClusterRole", "jit-rbac-viewer"), ("Role", "reader"), ("Role", "view")] {
        let mut object = granted(&namespace, 3600);
        object["roleRef"] = json!({"apiGroup": RBAC, "kind": kind, "name": role});
        let said = format!("the {kind} {role} is not in the chart's value bindableRoles: the operator may not grant it");
        refused(role, fixture.create(OPERATOR, &object).await, "bindings", &said)?;
        object["metadata"]["name"] = json!(fresh_name());
        object["metadata"]["labels"] = Value::Null;
        refused("the same without label", fixture.create(OPERATOR, &object).await, "bindings", "must have the label")?;
    }
    passes("a role of the list", fixture.create(OPERATOR, &granted(&namespace, 3600)).await).map(drop)
}
