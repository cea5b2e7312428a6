//! Decisions that are denied.

use std::sync::Arc;

use control_plane::ADMIN;
use serde_json::{Value, json};

use super::{
    Book,
    By::{Policy, Schema, Webhook},
    eligibility, policy, scene, set,
};
use crate::{
    ensure,
    env::{Env, Outcome, SOON, TestCase},
    status_helpers::until,
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![refused_decisions_get_the_reason]
}

fn decision(verb: &str) -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ActivationDecision", "metadata": {"generateName": "inc-4711-", "namespace": "billing"},
        "spec": {"requestRef": {"name": "inc-4711"}, "decision": verb, "comment": "go ahead"},
    })
}

async fn refused_decisions_get_the_reason(env: Arc<Env>) -> Outcome {
    let scene = scene(&env, "billing").await?;
    let stages = json!([
        {"name": "leads", "approvers": {"groups": ["leads"]}, "required": 2},
        {"name": "safety", "approvers": {"users": ["security"]}},
    ]);
    let spec = json!({
        "approval": {"stages": stages, "requireComment": true}, "revokers": {"groups": ["oncall"]}, "limits": {"minDuration": "5m"},
    });
    let mut offer = eligibility("billing-admin", "billing");
    set(&mut offer, "spec.policyRef.name", json!("four-eyes"));
    scene.admin(&[policy("four-eyes", &spec), offer]).await?;
    scene.kubectl(ADMIN, &["wait", "--for=condition=Ready", "--timeout=15s", "roleeligibility/billing-admin"]).await?.ok()?;
    scene.apply("dev", &scene.request("inc-4711", "billing-admin", "45m")).await?.ok()?;
    let digest = scene.until_state("inc-4711", "AwaitingApproval", SOON).await?["digest"].as_str().unwrap_or_default().to_owned();
    let mut approve = decision("Approve");
    approve["spec"]["digest"] = json!(digest);

    let mut book = Book::new(&scene, "Decisions")?;
    let says = "you cannot approve your own request; ask one of the approvers in its status.awaiting";
    book.apply("Approving one's own request", "dev", approve.clone(), &[], Policy("decisions", says)).await?;
    let says = "NotAnApprover: 'outsider' may not approve under policy 'four-eyes': approvers are group leads (stage 'leads'), security (stage 'safety'); the sign-in has none of the groups 'leads' ('kubectl auth whoami' lists those that it has)";
    book.apply("Approving without being an approver", "outsider", approve.clone(), &[], Webhook(says)).await?;
    let says = "StageNotOpen: 'security' is an approver of stage 'safety', but stage 'leads' is open now (0 of 2)";
    book.apply("Approving before the stage is open", "security", approve.clone(), &[], Webhook(says)).await?;
    book.apply(
        "Approving without digest",
        "lead-1",
        decision("Approve"),
        &[],
        Schema("spec: Invalid value: Approve needs `digest`: the request's status.digest as you saw it"),
    )
    .await?;
    let says = "spec.digest: Invalid value: \"6a7ff\": must be the request's whole status.digest: sha256: and 64 hex digits";
    book.apply("Approving with a part of the digest", "lead-1", approve.clone(), &[("spec.digest", json!("6a7ff"))], Schema(says)).await?;
    let says = format!(
        "DigestStale: the digest '6a7ff3c2e1b09d486a7ff3c2e1b09d486a7ff3c2e1b09d486a7ff3c2e1b09d48' does not match what would be granted now, {digest}; check request 'inc-4711' and decide again"
    );
    book.apply(
        "Approving with another digest",
        "lead-1",
        approve.clone(),
        &[("spec.digest", json!("6a7ff3c2e1b09d486a7ff3c2e1b09d486a7ff3c2e1b09d486a7ff3c2e1b09d48"))],
        Webhook(&says),
    )
    .await?;
    let says = "CommentMissing: policy 'four-eyes' requires a comment from approvers (spec.approval.requireComment); set spec.comment";
    book.apply("Approving without comment", "lead-1", approve.clone(), &[("spec.comment", Value::Null)], Webhook(says)).await?;
    let says = "DurationTooLong: duration 1h is longer than the requested 45m; an approver can only shorten it";
    book.apply("Approving for a longer duration", "lead-1", approve.clone(), &[("spec.duration", json!("1h"))], Webhook(says)).await?;
    let says = "DurationTooShort: duration 1m is too short, at least 5m is required by policy 'four-eyes' (spec.limits.minDuration)";
    book.apply("Approving for a too short duration", "lead-1", approve.clone(), &[("spec.duration", json!("1m"))], Webhook(says)).await?;
    let says = "RequestNotFound: there is no request 'inc-4712' in namespace 'billing'; 'kubectl get roleactivationrequests -n billing' lists them";
    book.apply("Approving a missing request", "lead-1", approve.clone(), &[("spec.requestRef.name", json!("inc-4712"))], Webhook(says))
        .await?;
    let says = "a decision must not have finalizers; remove metadata.finalizers";
    book.apply("Finalizers", "lead-1", approve.clone(), &[("metadata.finalizers", json!(["example.com/hold"]))], Policy("decisions", says))
        .await?;
    let says = "spec.comment: Invalid value: \"go \\u202eahead\": must be one line of visible text: line breaks, control and invisible formatting characters are not allowed";
    book.apply(
        "Invisible characters in the comment",
        "lead-1",
        approve.clone(),
        &[("spec.comment", json!("go \u{202e}ahead"))],
        Schema(says),
    )
    .await?;

    scene.create("lead-1", &approve).await?.ok()?;
    until(&scene, "inc-4711", "one approval", |status| status["awaiting"]["have"] == 1).await?;
    let says = "AlreadyApproved: 'lead-1' approved request 'inc-4711' at 20…Z; another approver must approve too";
    book.apply("Approving twice", "lead-1", approve.clone(), &[], Webhook(says)).await?;

    let own = "SelfApprovalNotAllowed: request 'inc-4711' is your own: use the decision Deactivate instead";
    book.apply("Denying one's own request", "dev", decision("Deny"), &[], Webhook(own)).await?;
    let says = "NotAnApprover: 'outsider' may not deny under policy 'four-eyes': approvers are group leads (stage 'leads'), security (stage 'safety'); the sign-in has none of the groups 'leads' ('kubectl auth whoami' lists those that it has)";
    book.apply("Denying without being an approver", "outsider", decision("Deny"), &[], Webhook(says)).await?;
    let says = "CommentMissing: policy 'four-eyes' requires a comment from approvers (spec.approval.requireComment); set spec.comment";
    book.apply("Denying without comment", "lead-2", decision("Deny"), &[("spec.comment", Value::Null)], Webhook(says)).await?;
    let says = "spec: Invalid value: only Approve may have a `duration`, to shorten the requested one";
    book.apply("Denying with a duration", "lead-2", decision("Deny"), &[("spec.duration", json!("5m"))], Schema(says)).await?;
    let says = "NotARevoker: 'outsider' may not revoke under policy 'four-eyes': approvers are group leads (stage 'leads'), security (stage 'safety'), revokers group oncall; the sign-in has none of the groups 'leads', 'oncall' ('kubectl auth whoami' lists those that it has)";
    book.apply("Revoking without being a revoker", "outsider", decision("Revoke"), &[], Webhook(says)).await?;
    let says = "NotTheRequester: only 'dev' can deactivate request 'inc-4711'; approvers and revokers use Revoke";
    book.apply("Deactivating another user's request", "lead-1", decision("Deactivate"), &[], Webhook(says)).await?;
    let says = "NoReviewPending: request 'inc-4711' has no emergency grant: there is nothing to review";
    book.apply("Reviewing a request that is not an emergency", "lead-1", decision("Review"), &[], Webhook(says)).await?;

    scene.create("lead-2", &decision("Deny")).await?.ok()?;
    scene.until_state("inc-4711", "Denied", SOON).await?;
    let says = "RequestCompleted: request 'inc-4711' is already Denied: there is nothing left to approve";
    book.apply("Approving a completed request", "lead-2", approve.clone(), &[], Webhook(says)).await?;
    ensure!(scene.bindings().await?.is_empty(), "something was granted");
    book.close()
}
