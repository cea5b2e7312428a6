//! Requests that are denied.

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
    env::{Env, Outcome, SOON, Scene, TestCase},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![refused_requests_get_the_reason]
}

fn request() -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": "inc-4711", "namespace": "payments"},
        "spec": {"eligibilityRef": {"name": "payments-oncall"}, "duration": "45m", "justification": "INC-4711 checkout is slow"},
    })
}

async fn refused_requests_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = scene(&env, "payments").await?;
    scene.create_namespace("shop").await?;
    offers(&scene).await?;
    let mut book = Book::new(&scene, "Requests")?;
    not_eligible(&mut book).await?;
    durations(&mut book).await?;
    texts(&mut book).await?;
    starts(&mut book).await?;
    tickets(&mut book).await?;
    fields(&mut book).await?;
    missing(&scene, &mut book).await?;
    ensure!(scene.list("rar").await?.is_empty() && scene.bindings().await?.is_empty(), "a denied request was stored or had an effect");
    // The last row needs an active one.
    scene.apply("dev", &request()).await?.ok()?;
    scene.until_state("inc-4711", "Active", SOON).await?;
    let says = "AlreadyRequested: 'dev' already has the request 'inc-4711' (Active) for this eligibility and namespace; wait for its end, or end it with a decision Deactivate";
    book.apply("A second request at the same time", "dev", request(), &[("metadata.name", json!("inc-4712"))], Webhook(says)).await?;
    book.close()
}

async fn offers(scene: &Scene) -> Outcome {
    let limits = json!({"approval": {"automatic": {}}, "limits": {"minDuration": "5m", "maxDuration": "2h"}, "requirements": {"justification": {"minLength": 10, "pattern": "(INC|CHG)-[0-9]+ .*"}}});
    let hours = json!([{"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "08:00", "to": "18:00", "timeZone": "Europe/Oslo"}]);
    let mut all = vec![
        policy("self-service", &limits),
        policy(
            "office-hours",
            &json!({"approval": {"automatic": {}}, "windows": hours, "limits": {"maxIdentityAge": "99999h", "maxScheduleAhead": "99999h"}}),
        ),
        policy(
            "ticketed",
            &json!({
                "approval": {"automatic": {}}, "limits": {"maxScheduleAhead": "1h", "maxIdentityAge": "99999h"},
                "requirements": {"ticket": {"required": true, "system": "jira", "pattern": "INC-[0-9]+"}},
            }),
        ),
        policy(
            "second-factor",
            &json!({
                "approval": {"automatic": {}},
                "requirements": {"authentication": {"claims": [{"key": "jitrbac.dev/amr", "anyOf": ["mfa"]}]}},
            }),
        ),
    ];
    let with = |name: &str, changes: &[(&str, Value)]| {
        let mut object = eligibility(name, "payments");
        for (path, value) in changes {
            set(&mut object, path, value.clone());
        }
        object
    };
    all.push(with("payments-oncall", &[("spec.maxDuration", json!("1h"))]));
    all.push(with("payments-long", &[]));
    all.push(with("payments-office", &[("spec.policyRef.name", json!("office-hours"))]));
    all.push(with("payments-ticket", &[("spec.policyRef.name", json!("ticketed"))]));
    all.push(with("payments-evidence", &[("spec.policyRef.name", json!("second-factor"))]));
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
    let says = "NotEligible: 'outsider' is not among the subjects of eligibility 'payments-oncall', neither by name nor by a group; the sign-in has none of the groups 'devs' ('kubectl auth whoami' lists those that it has); ask an admin, or see 'kubectl get roleeligibilities'";
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
            "A system namespace",
            in_namespace("kube-system"),
            "NamespaceProtected: namespace 'kube-system' is the cluster's own: no role can be activated in it, unless the chart's value systemNamespaces lists it",
        ),
        (
            "The operator's namespace",
            in_namespace("jit-system"),
            "NamespaceProtected: namespace 'jit-system' is the operator's own: no role can be activated in it",
        ),
        (
            "Eligibility expired",
            to("payments-over"),
            "EligibilityExpired: eligibility 'payments-over' is not valid at 20…Z: it ends at 2026-01-01T00:00:00Z (spec.endTime)",
        ),
        (
            "Eligibility suspended",
            to("payments-suspended"),
            "EligibilitySuspended: eligibility 'payments-suspended' is suspended (spec.suspended)",
        ),
        (
            "Eligibility not started",
            to("payments-later"),
            "EligibilityNotStarted: eligibility 'payments-later' has not started at 20…Z: it starts at 2035-01-01T00:00:00Z \
             (spec.startTime)",
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
            "DurationTooLong: duration 5h was requested, at most 1h is allowed by eligibility 'payments-oncall' (spec.maxDuration); request 1h or less",
        ),
        (
            "Longer than the policy allows",
            "payments-long",
            "3h",
            "DurationTooLong: duration 3h was requested, at most 2h is allowed by policy 'self-service' (spec.limits.maxDuration); request 2h or less",
        ),
        (
            "Shorter than the policy allows",
            "payments-oncall",
            "4m",
            "DurationTooShort: duration 4m is too short, at least 5m is required by policy 'self-service' (spec.limits.minDuration)",
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
    book.apply("A too long justification", "dev", request(), &says(json!("x".repeat(1025))), Schema(too_long)).await?;
    for (title, text, told) in [
        (
            "No justification",
            Value::Null,
            "JustificationMissing: no justification was given; policy 'self-service' requires one of at least 10 characters in \
             spec.justification",
        ),
        (
            "A too short justification",
            json!("x"),
            "JustificationTooShort: the justification has 1 character; policy 'self-service' requires at least 10",
        ),
        (
            "A justification without ticket",
            json!("checkout is slow"),
            "JustificationMismatch: the justification does not match '(INC|CHG)-[0-9]+ .*', which policy 'self-service' requires (the whole text must match)",
        ),
    ] {
        book.apply(title, "dev", request(), &says(text), Webhook(told)).await?;
    }
    Ok(())
}

async fn starts(book: &mut Book<'_>) -> Outcome {
    let at = |hour: u8| ("spec.startTime", json!(format!("2035-01-01T{hour:02}:00:00Z")));
    let office = ("spec.eligibilityRef.name", json!("payments-office"));
    let rows: [Row<'_>; 5] = [
        (
            "A start outside the windows",
            vec![office.clone(), at(3)],
            "OutsideWindow: a start at 2035-01-01T03:00:00Z is outside the windows of policy 'office-hours' (spec.windows), Mon, Tue, Wed, Thu, Fri 08:00 to 18:00 Europe/Oslo; the next one starts at 2035-01-01T07:00:00Z: request then, or request now with that time in spec.startTime",
        ),
        (
            "A start too far ahead",
            vec![("spec.eligibilityRef.name", json!("payments-ticket")), at(9)],
            "StartTooFarAhead: a start at 2035-01-01T09:00:00Z was requested; policy 'ticketed' allows one at most 1h ahead, which is 20…Z now (spec.limits.maxScheduleAhead)",
        ),
        (
            "A start too far ahead for group membership",
            vec![at(9)],
            "IdentityTooOld: 'dev' is eligible by a group membership observed at 20…Z, and a start at 2035-01-01T09:00:00Z or later is more than 24h after that, the maximum of policy 'self-service' (spec.limits.maxIdentityAge); request again closer to the start",
        ),
        (
            "Extending a request that does not exist",
            vec![("spec.extends", json!({"name": "inc-4710"}))],
            "ExtendedRequestNotActive: spec.extends names 'inc-4710', but there is no such request in namespace 'payments'; request a new \
             activation",
        ),
        (
            "An emergency that the policy does not allow",
            vec![("spec.emergency", json!(true))],
            "EmergencyNotAllowed: policy 'self-service' does not allow emergencies (spec.emergency.allowed); request without \
             spec.emergency",
        ),
    ];
    for (title, mut changes, says) in rows {
        if changes[0].1 == json!("payments-ticket") {
            changes.push(("spec.ticket", json!({"system": "jira", "number": "INC-4711"})));
        }
        book.apply(title, "dev", request(), &changes, Webhook(says)).await?;
    }
    let alone = "an emergency request starts at once and extends nothing: leave `startTime` and `extends` out";
    let base = ("spec.extends", json!({"name": "inc-4710"}));
    let emergency = ("spec.emergency", json!(true));
    for (title, changes, says) in [
        (
            "An extension with a start",
            vec![base.clone(), at(9)],
            "a request with `extends` starts when the request that it extends ends: leave `startTime` out",
        ),
        ("An emergency with a start", vec![emergency.clone(), at(9)], alone),
        ("An emergency that extends a request", vec![emergency.clone(), base], alone),
        (
            "An emergency without reason",
            vec![emergency, ("spec.justification", Value::Null)],
            "an emergency request needs a `justification` for its reviewers",
        ),
    ] {
        book.apply(title, "dev", request(), &changes, Schema(&format!("spec: Invalid value: {says}"))).await?;
    }
    Ok(())
}

async fn tickets(book: &mut Book<'_>) -> Outcome {
    let ticket = |value: Value| vec![("spec.eligibilityRef.name", json!("payments-ticket")), ("spec.ticket", value)];
    let rows: [Row<'_>; 4] = [
        (
            "No ticket",
            ticket(Value::Null),
            "TicketMissing: no ticket was given; policy 'ticketed' requires one of the system 'jira' whose number matches 'INC-[0-9]+' in spec.ticket",
        ),
        (
            "A ticket without a system",
            ticket(json!({"number": "INC-4711"})),
            "TicketMismatch: the ticket 'INC-4711' names no system; policy 'ticketed' requires 'jira' in spec.ticket.system",
        ),
        (
            "A ticket of another system",
            ticket(json!({"system": "github", "number": "INC-4711"})),
            "TicketMismatch: the ticket 'INC-4711' is of the system 'github'; policy 'ticketed' requires 'jira' in spec.ticket.system",
        ),
        (
            "A ticket of another form",
            ticket(json!({"system": "jira", "number": "INC-4711, or so"})),
            "TicketMismatch: the ticket 'INC-4711, or so' does not match 'INC-[0-9]+', which policy 'ticketed' requires for spec.ticket.number (the whole text must match)",
        ),
    ];
    for (title, changes, says) in rows {
        book.apply(title, "dev", request(), &changes, Webhook(says)).await?;
    }
    let says = "EvidenceMissing: the sign-in of 'dev' has no 'jitrbac.dev/amr', and policy 'second-factor' requires 'mfa'; sign in again without impersonation; if that does not help, ask an admin whether the cluster's authentication passes 'jitrbac.dev/amr' on";
    let changes = [("spec.eligibilityRef.name", json!("payments-evidence"))];
    book.apply("A sign-in without the evidence", "dev", request(), &changes, Webhook(says)).await
}

async fn fields(book: &mut Book<'_>) -> Outcome {
    let unknown = "Error from server (BadRequest): error when creating \"request.yaml\": RoleActivationRequest in version \"v1alpha1\" cannot be handled as a RoleActivationRequest: strict decoding error: unknown field \"spec.namespace\"";
    book.apply("An unknown field", "dev", request(), &[("spec.namespace", json!("shop"))], Whole(unknown)).await?;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "a"}]);
    book.apply(
        "Finalizers",
        "dev",
        request(),
        &[("metadata.finalizers", json!(["example.com/hold"]))],
        Policy("requests", "a request must not have finalizers; remove metadata.finalizers"),
    )
    .await?;
    let says = "a request must not have owners, since it would be deleted with them; remove metadata.ownerReferences";
    book.apply("Owners", "dev", request(), &[("metadata.ownerReferences", owner)], Policy("requests", says)).await
}

async fn missing(scene: &Scene, book: &mut Book<'_>) -> Outcome {
    let says = "PolicyNotFound: eligibility 'payments-lawless' refers to policy 'nosuch', which does not exist";
    book.apply("Its policy is missing", "dev", request(), &[("spec.eligibilityRef.name", json!("payments-lawless"))], Webhook(says))
        .await?;
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].reason}"#;
    let said = scene.kubectl("dev", &["get", "rel", "payments-lawless", "-o", &format!("jsonpath={ready}")]).await?.ok()?;
    ensure!(said == "False PolicyNotFound", "the eligibility is {said}");
    scene.kubectl(ADMIN, &["delete", "role", "debug", "-n", "shop"]).await?.ok()?;
    let changes = [("metadata.namespace", json!("shop")), ("spec.eligibilityRef.name", json!("payments-debug"))];
    let says = "RoleNotFound: eligibility 'payments-debug' refers to Role 'debug', which does not exist in namespace 'shop'";
    book.apply("Its role is missing", "dev", request(), &changes, Webhook(says)).await
}
