//! Requests that are refused.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{
    Book,
    By::{Policy, Schema, Webhook, Whole},
    Row, eligibility, policy, scene, set,
};
use crate::{
    ensure,
    env::{Env, Journey, Outcome, SOON, Scene},
    journeys,
};

pub fn journeys() -> Vec<(&'static str, Journey)> {
    journeys![refused_requests_are_told_why]
}

fn request() -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": "inc-4711", "namespace": "payments"},
        "spec": {"eligibilityRef": {"name": "payments-oncall"}, "duration": "45m", "justification": "INC-4711 checkout is slow"},
    })
}

async fn refused_requests_are_told_why(env: Arc<Env>) -> Outcome {
    let scene = scene(&env, "payments").await?;
    scene.create_namespace("shop").await?;
    offers(&scene).await?;
    let mut book = Book::new(&scene, "Requests")?;
    not_eligible(&mut book).await?;
    durations(&mut book).await?;
    texts(&mut book).await?;
    fields(&mut book).await?;
    missing(&scene, &mut book).await?;
    ensure!(scene.list("rar").await?.is_empty() && scene.bindings().await?.is_empty(), "something came of a request that was refused");
    // The last row needs one that runs.
    scene.apply("dev", &request()).await?.ok()?;
    scene.until_state("inc-4711", "Active", SOON).await?;
    let says = "AlreadyRequested: 'dev' already has the live request 'inc-4711' (Active) for this eligibility and namespace; wait for its end, or end it with a decision Deactivate";
    book.apply("A second one at the same time", "dev", request(), &[("metadata.name", json!("inc-4712"))], Webhook(says)).await?;
    book.close()
}

async fn offers(scene: &Scene) -> Outcome {
    let limits = json!({"approval": {"automatic": {}}, "limits": {"minDuration": "5m", "maxDuration": "2h"}, "requirements": {"justification": {"minLength": 10, "pattern": "(INC|CHG)-[0-9]+ .*"}}});
    let mut all = vec![policy("self-service", &limits)];
    let with = |name: &str, changes: &[(&str, Value)]| {
        let mut object = eligibility(name, "payments");
        for (place, value) in changes {
            set(&mut object, place, value.clone());
        }
        object
    };
    all.push(with("payments-oncall", &[("spec.maxDuration", json!("1h"))]));
    all.push(with("payments-long", &[]));
    all.push(with("payments-over", &[("spec.endTime", json!("2026-01-01T00:00:00Z"))]));
    all.push(with("payments-suspended", &[("spec.suspended", json!(true))]));
    all.push(with("payments-later", &[("spec.startTime", json!("2035-01-01T00:00:00Z"))]));
    all.push(with("payments-team", &[("spec.namespaces", json!({"selector": {"matchLabels": {"team": "payments"}}}))]));
    all.push(with(
        "payments-debug",
        &[("spec.roleRef", json!({"kind": "Role", "name": "debug"})), ("spec.namespaces", json!({"names": ["shop"]}))],
    ));
    all.push(with("payments-lawless", &[("spec.policyRef.name", json!("nosuch"))]));
    scene.admin(&all).await?;
    let ready = ["wait", "--for=condition=Ready", "--timeout=15s", "roleeligibility/payments-oncall"];
    scene.kubectl(ADMIN, &ready).await?.ok()?;
    Ok(())
}

async fn not_eligible(book: &mut Book<'_>) -> Outcome {
    let to = |name: &str| vec![("spec.eligibilityRef.name", json!(name))];
    let says = "NotASubject: 'outsider' is not among the subjects of eligibility 'payments-oncall', neither by name nor by a group; ask an admin, or see 'kubectl get roleeligibilities'";
    book.apply("Not a subject", "outsider", request(), &[], Webhook(says)).await?;
    let in_namespace = |name: &str| vec![("metadata.namespace", json!(name))];
    let rows: [Row<'_>; 8] = [
        (
            "Unknown eligibility",
            to("payments-onkall"),
            "EligibilityNotFound: there is no eligibility 'payments-onkall'; 'kubectl get roleeligibilities' lists them",
        ),
        (
            "Namespace not covered",
            in_namespace("shop"),
            "NamespaceNotCovered: namespace 'shop' is not covered by eligibility 'payments-oncall', which is for payments",
        ),
        (
            "Namespace not covered by a selector",
            to("payments-team"),
            "NamespaceNotCovered: namespace 'payments' is not covered by eligibility 'payments-team', which is for namespaces with team=payments",
        ),
        (
            "A namespace of the cluster",
            in_namespace("kube-system"),
            "NamespaceProtected: namespace 'kube-system' is the cluster's own: no role can be activated in it",
        ),
        (
            "The operator's namespace",
            in_namespace("jit-system"),
            "NamespaceProtected: namespace 'jit-system' is the operator's own: no role can be activated in it",
        ),
        (
            "Eligibility over",
            to("payments-over"),
            "EligibilityOver: eligibility 'payments-over' is over at 20…Z: it ends at 2026-01-01T00:00:00Z (spec.endTime)",
        ),
        (
            "Eligibility suspended",
            to("payments-suspended"),
            "EligibilitySuspended: eligibility 'payments-suspended' is suspended (spec.suspended)",
        ),
        (
            "Eligibility not begun",
            to("payments-later"),
            "EligibilityNotBegun: eligibility 'payments-later' has not begun at 20…Z: it begins at 2035-01-01T00:00:00Z (spec.startTime)",
        ),
    ];
    for (title, changes, says) in rows {
        book.apply(title, "dev", request(), &changes, Webhook(says)).await?;
    }
    Ok(())
}

async fn durations(book: &mut Book<'_>) -> Outcome {
    let rows = [
        (
            "Longer than the eligibility allows",
            "payments-oncall",
            "5h",
            "DurationTooLong: duration 5h was asked for, at most 1h is allowed by eligibility 'payments-oncall' (spec.maxDuration); ask for 1h or less",
        ),
        (
            "Longer than the policy allows",
            "payments-long",
            "3h",
            "DurationTooLong: duration 3h was asked for, at most 2h is allowed by policy 'self-service' (spec.limits.maxDuration); ask for 2h or less",
        ),
        (
            "Shorter than the policy allows",
            "payments-oncall",
            "4m",
            "DurationTooShort: duration 4m is too short, at least 5m is allowed by policy 'self-service' (spec.limits.minDuration)",
        ),
    ];
    for (title, eligibility, duration, says) in rows {
        let mut changes = vec![("spec.duration", json!(duration))];
        if eligibility != "payments-oncall" {
            changes.insert(0, ("spec.eligibilityRef.name", json!(eligibility)));
        }
        book.apply(title, "dev", request(), &changes, Webhook(says)).await?;
    }
    let digits = format!("{}h", "9".repeat(23));
    for (title, duration) in [
        ("Zero", "0s"),
        ("Negative", "-45m"),
        ("Half negative", "1h-5m"),
        ("23 digits of hours", &digits),
        ("No unit", "45"),
        ("Nothing", ""),
    ] {
        let says = format!(
            "spec.duration: Invalid value: \"{duration}\": must be hours, minutes and seconds such as 45m, 1h30m or 90s, from 1s to 99999h"
        );
        book.apply(title, "dev", request(), &[("spec.duration", json!(duration))], Schema(&says)).await?;
    }
    Ok(())
}

async fn texts(book: &mut Book<'_>) -> Outcome {
    let says = |text: Value| [("spec.justification", text)];
    let visible = "must be one line of visible text: line breaks, control and invisible formatting characters are not allowed";
    for (title, text, shown) in [
        ("Bidi characters in the justification", "INC-4711 \u{202e}drawkcab", "INC-4711 \\u202edrawkcab"),
        ("Terminal escapes in the justification", "INC-4711 \u{1b}[2Jgone", "INC-4711 \\x1b[2Jgone"),
        ("A line break in the justification", "INC-4711 a\nb", "INC-4711 a\\nb"),
    ] {
        book.apply(
            title,
            "dev",
            request(),
            &says(json!(text)),
            Schema(&format!("spec.justification: Invalid value: \"{shown}\": {visible}")),
        )
        .await?;
    }
    let too_long = "\n* spec.justification: Too long: may not be more than 1024 bytes\n* <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    book.apply("Too long a justification", "dev", request(), &says(json!("x".repeat(1025))), Schema(too_long)).await?;
    for (title, text, told) in [
        (
            "No justification",
            Value::Null,
            "JustificationMissing: no justification was given; policy 'self-service' asks for one of at least 10 characters in spec.justification",
        ),
        (
            "Too short a justification",
            json!("x"),
            "JustificationTooShort: the justification has 1 character; policy 'self-service' asks for at least 10",
        ),
        (
            "A justification without ticket",
            json!("checkout is slow"),
            "JustificationMismatch: the justification does not match '(INC|CHG)-[0-9]+ .*', which policy 'self-service' asks for (the whole text must match)",
        ),
    ] {
        book.apply(title, "dev", request(), &says(text), Webhook(told)).await?;
    }
    Ok(())
}

async fn fields(book: &mut Book<'_>) -> Outcome {
    for (field, value) in [
        ("spec.startTime", json!("2035-01-01T00:00:00Z")),
        ("spec.extends", json!({"name": "inc-4710"})),
        ("spec.emergency", json!(true)),
        ("spec.ticket", json!({"system": "jira", "number": "INC-4711"})),
    ] {
        let says = format!("FieldNotInForce: {field} is set, and this version of jit-rbac does not act upon it yet; leave it out");
        book.apply(&format!("Not in force: {field}"), "dev", request(), &[(field, value)], Webhook(&says)).await?;
    }
    let unknown = "Error from server (BadRequest): error when creating \"request.yaml\": RoleActivationRequest in version \"v1alpha1\" cannot be handled as a RoleActivationRequest: strict decoding error: unknown field \"spec.namespace\"";
    book.apply("A field that there is not", "dev", request(), &[("spec.namespace", json!("shop"))], Whole(unknown)).await?;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "a"}]);
    book.apply(
        "Finalizers",
        "dev",
        request(),
        &[("metadata.finalizers", json!(["example.com/hold"]))],
        Policy("requests", "a request has no finalizers; take metadata.finalizers out"),
    )
    .await?;
    let says = "a request has no owner, or it would be removed with it; take metadata.ownerReferences out";
    book.apply("Owners", "dev", request(), &[("metadata.ownerReferences", owner)], Policy("requests", says)).await
}

async fn missing(scene: &Scene, book: &mut Book<'_>) -> Outcome {
    let says = "PolicyNotFound: eligibility 'payments-lawless' names the policy 'nosuch', which does not exist";
    book.apply("Its policy is missing", "dev", request(), &[("spec.eligibilityRef.name", json!("payments-lawless"))], Webhook(says))
        .await?;
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].reason}"#;
    let said = scene.kubectl("dev", &["get", "rel", "payments-lawless", "-o", &format!("jsonpath={ready}")]).await?.ok()?;
    ensure!(said == "False PolicyNotFound", "the eligibility is {said}");
    scene.kubectl(ADMIN, &["delete", "role", "debug", "-n", "shop"]).await?.ok()?;
    let changes = [("metadata.namespace", json!("shop")), ("spec.eligibilityRef.name", json!("payments-debug"))];
    let says = "RoleNotFound: eligibility 'payments-debug' is for the Role 'debug', which does not exist in namespace 'shop'";
    book.apply("Its role is missing", "dev", request(), &changes, Webhook(says)).await
}
