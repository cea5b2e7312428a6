//! Requests and decisions that are denied because of requests that are active, completed or waiting for a review.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{Book, By::Webhook, Row, eligibility, policy, scene, set};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, Scene, TestCase},
    status_helpers::until,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![refused_because_of_existing_requests_get_the_reason]
}

fn request(name: &str, eligibility: &str) -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": name, "namespace": "orders"},
        "spec": {"eligibilityRef": {"name": eligibility}, "duration": "10m", "justification": "INC-4711 checkout is slow"},
    })
}

fn decision(request: &str, verb: &str) -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ActivationDecision", "metadata": {"generateName": format!("{request}-"), "namespace": "orders"},
        "spec": {"requestRef": {"name": request}, "decision": verb, "comment": "noted"},
    })
}

async fn refused_because_of_existing_requests_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = scene(&env, "orders").await?;
    offers(&scene).await?;
    let mut book = Book::new(&scene, "Existing requests")?;
    running(&scene, &mut book).await?;
    waiting(&scene, &mut book).await?;
    emergencies(&scene, &mut book).await?;
    let debug = r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}}]"#;
    scene.kubectl(ADMIN, &["patch", "role", "debug", "-n", "orders", "--type=json", "-p", debug]).await?.ok()?;
    let says = "RiskNotAccepted: eligibility 'orders-debug' cannot be used: Role 'debug' can get secrets (class ServiceAccountTokens): access gained this way can outlive a grant; use a role without it, or add ServiceAccountTokens to spec.acceptRisks";
    book.apply("A role that has gained permissions", "dev", request("inc-4720", "orders-debug"), &[], Webhook(says)).await?;
    ensure!(scene.bindings().await?.is_empty(), "something was granted");
    book.close()
}

async fn offers(scene: &Scene) -> Outcome {
    let limits = json!({"maxActivePerUser": 1, "maxTotalDuration": "30m", "cooldown": "1h"});
    let emergency = json!({"allowed": true, "maxDuration": "30m", "reviewers": {"groups": ["security"]}, "reviewWithin": "1s"});
    let lead = json!({"stages": [{"name": "lead", "approvers": {"groups": ["leads"]}}]});
    let mut all = vec![
        policy("orders-alone", &json!({"approval": {"automatic": {}}, "limits": limits})),
        policy("orders-lead", &json!({"approval": lead, "limits": {"maxPendingPerUser": 1}, "emergency": emergency})),
    ];
    for (name, policy) in [("edit", "alone"), ("more", "alone"), ("incidents", "lead"), ("changes", "lead"), ("debug", "alone")] {
        let mut object = eligibility(&format!("orders-{name}"), "orders");
        set(&mut object, "spec.policyRef.name", json!(format!("orders-{policy}")));
        set(&mut object, "spec.subjects", json!([{"kind": "Group", "name": "devs"}, {"kind": "User", "name": "lead-2"}]));
        if name == "debug" {
            set(&mut object, "spec.roleRef", json!({"kind": "Role", "name": "debug"}));
            set(&mut object, "spec.acceptRisks", Value::Null);
        }
        all.push(object);
    }
    scene.admin(&all).await?;
    for name in ["edit", "more", "incidents", "changes", "debug"] {
        let object = format!("roleeligibility/orders-{name}");
        scene.kubectl(ADMIN, &["wait", "--for=condition=Ready", "--timeout=15s", &object]).await?.ok()?;
    }
    Ok(())
}

async fn running(scene: &Scene, book: &mut Book<'_>) -> Outcome {
    scene.create("dev", &request("inc-4711", "orders-edit")).await?.ok()?;
    scene.until_state("inc-4711", "Active", SOON).await?;
    let says = "TooManyActive: 'dev' already has 1 of at most 1 activations under policy 'orders-alone' (spec.limits.maxActivePerUser); end one with a decision Deactivate, or wait for its end";
    book.apply("More active requests than the policy allows", "dev", request("inc-4712", "orders-more"), &[], Webhook(says)).await?;
    let extends = ("spec.extends", json!({"name": "inc-4711"}));
    let says = "MaxTotalDurationExceeded: from 20…Z to 20…Z the activation would last 35m with its extensions, at most 30m is allowed by policy 'orders-alone' (spec.limits.maxTotalDuration): it may end at 20…Z at the latest";
    let changes = [extends.clone(), ("spec.duration", json!("25m"))];
    book.apply("A longer total than the policy allows", "dev", request("inc-4712", "orders-edit"), &changes, Webhook(says)).await?;
    let rows: [Row<'_>; 2] = [
        (
            "Extending another user's request",
            vec![extends.clone()],
            "ExtendedRequestNotActive: spec.extends names 'inc-4711', which belongs to another user; you can extend only your own activations",
        ),
        (
            "Extending a request under another eligibility",
            vec![extends, ("spec.eligibilityRef.name", json!("orders-more"))],
            "ExtendedRequestNotActive: spec.extends names 'inc-4711', which is under eligibility 'orders-edit', not 'orders-more'; name the same one in spec.eligibilityRef",
        ),
    ];
    for ((title, changes, says), user) in rows.into_iter().zip(["dev-2", "dev"]) {
        book.apply(title, user, request("inc-4712", "orders-edit"), &changes, Webhook(says)).await?;
    }
    scene.create("dev", &decision("inc-4711", "Deactivate")).await?.ok()?;
    scene.until_state("inc-4711", "Deactivated", SOON).await?;
    let says = "CooldownActive: the grant 'inc-4711' ended at 20…Z, and policy 'orders-alone' requires a cooldown of 1h after that (spec.limits.cooldown): the next one may start at 20…Z";
    book.apply("Within the cooldown", "dev", request("inc-4712", "orders-edit"), &[], Webhook(says)).await?;
    let says = "ExtendedRequestNotActive: spec.extends names 'inc-4711', which is Deactivated: only an active one can be extended; request a new activation";
    let changes = [("spec.extends", json!({"name": "inc-4711"}))];
    book.apply("Extending a completed request", "dev", request("inc-4712", "orders-edit"), &changes, Webhook(says)).await
}

async fn waiting(scene: &Scene, book: &mut Book<'_>) -> Outcome {
    scene.create("dev", &request("inc-4713", "orders-incidents")).await?.ok()?;
    scene.until_state("inc-4713", "AwaitingApproval", SOON).await?;
    let says = "TooManyPending: 'dev' already has 1 of at most 1 undecided requests under policy 'orders-lead' (spec.limits.maxPendingPerUser); wait until one is decided, or withdraw one with a decision Deactivate";
    book.apply("More pending requests than the policy allows", "dev", request("inc-4714", "orders-changes"), &[], Webhook(says)).await?;
    scene.create("dev", &decision("inc-4713", "Deactivate")).await?.ok()?;
    scene.until_state("inc-4713", "Withdrawn", SOON).await.map(drop)
}

/// For a user who requests no emergency in another test: an owed review blocks all of their emergencies.
async fn emergencies(scene: &Scene, book: &mut Book<'_>) -> Outcome {
    let emergency = ("spec.emergency", json!(true));
    let says = "DurationTooLong: duration 45m was requested, at most 30m is allowed in an emergency by policy 'orders-lead' (spec.emergency.maxDuration); request 30m or less";
    let changes = [emergency.clone(), ("spec.duration", json!("45m"))];
    book.apply("A longer emergency than the policy allows", "lead-2", request("inc-4715", "orders-incidents"), &changes, Webhook(says))
        .await?;
    let mut first = request("inc-4715", "orders-incidents");
    set(&mut first, emergency.0, emergency.1.clone());
    scene.create("lead-2", &first).await?.ok()?;
    until(scene, "inc-4715", "its review to be overdue", |status| status["review"]["state"] == "Overdue").await?;
    let says = "NotAReviewer: 'lead-1' may not review request 'inc-4715': reviewers are group security (spec.emergency.reviewers of the policy); the sign-in has none of the groups 'security' ('kubectl auth whoami' lists those that it has)";
    book.apply("Reviewing without being a reviewer", "lead-1", decision("inc-4715", "Review"), &[], Webhook(says)).await?;
    let says = "SelfApprovalNotAllowed: 'lead-2' created request 'inc-4715' and cannot review it; another reviewer must";
    book.apply("Reviewing one's own emergency", "lead-2", decision("inc-4715", "Review"), &[], Webhook(says)).await?;
    scene.create("lead-2", &decision("inc-4715", "Deactivate")).await?.ok()?;
    scene.until_state("inc-4715", "Deactivated", SOON).await?;
    let says = "ReviewOverdue: emergency 'orders/inc-4715' of 'lead-2' was not reviewed in time, and no other one is granted until it is \
                reviewed; ask a reviewer (group security) for a decision Review, or request without spec.emergency";
    book.apply(
        "Another emergency before the last one was reviewed",
        "lead-2",
        request("inc-4716", "orders-incidents"),
        &[emergency],
        Webhook(says),
    )
    .await
}
