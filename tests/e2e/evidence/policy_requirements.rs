//! The settings of `requirements.authentication` in a policy, one by one.

use std::sync::Arc;

use control_plane::SignIn;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ACR, AMR, AUTH_TIME, approve, asking, bare, debug_for, for_devs, guarded, may, second_factor, with_mfa};
use crate::{
    ensure,
    env::{Env, Error, Outcome, SOON, TestCase, approved_by, automatic},
    faults::until,
    status_helpers::{Person, refused, until_condition},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        every_required_claim_must_match,
        missing_claims_are_not_evidence,
        t09_sign_in_counts_only_within_its_maximum_age,
        t09_pending_request_keeps_its_sign_in_age,
        evidence_is_required_of_requester_approver_or_both,
        ending_access_requires_no_evidence,
        policy_status_reports_whether_evidence_was_observed,
    ]
}

async fn every_required_claim_must_match(env: Arc<Env>) -> Outcome {
    let scene = env.scene("claims").await?;
    let rule = json!({"claims": [{"key": AMR, "anyOf": ["mfa", "hwk"]}, {"key": ACR, "anyOf": ["c1"]}]});
    let offer = scene.offer("strong", asking(automatic(), &rule), for_devs()).await?;
    let sign_in = |name: &str, amr: &[&str], acr: Option<&str>| {
        let amr = amr.iter().map(ToString::to_string).collect();
        Person::sign_in(&scene, &SignIn { amr, acr: acr.map(str::to_owned), ..SignIn::new(name, ["devs"]) })
    };
    let by = "(spec.requirements.authentication.claims); sign in again to meet this requirement";
    let amr_is = |shown: &str| {
        format!(
            "EvidenceMismatch: the sign-in of 'oidc:ann' has '{AMR}' with the value {shown}, and policy '{offer}' requires one of 'mfa', 'hwk' {by}"
        )
    };
    for (amr, acr, says) in [
        (&["pwd"][..], Some("c1"), amr_is("'pwd'")),
        // A value is matched as a whole, in the provider's own spelling.
        (&["MFA", "mfa2", "mf"], Some("c1"), amr_is("'MFA', 'mfa2', 'mf'")),
        (
            &["mfa"],
            Some("c2"),
            format!("EvidenceMismatch: the sign-in of 'oidc:ann' has '{ACR}' with the value 'c2', and policy '{offer}' requires 'c1' {by}"),
        ),
        (&["mfa"], None, format!("EvidenceMissing: the sign-in of 'oidc:ann' has no '{ACR}', and policy '{offer}' requires 'c1';")),
        // One claim does not replace the other.
        (&["c1"], Some("mfa"), amr_is("'c1'")),
    ] {
        refused(sign_in("ann", amr, acr)?.create(&scene, &scene.request("ann", &offer, "10m")).await?, &[&says])?;
    }
    for (name, amr) in [("ann", &["pwd", "mfa"][..]), ("bob", &["hwk"])] {
        let person = sign_in(name, amr, Some("c1"))?;
        person.create(&scene, &scene.request(name, &offer, "10m")).await?.ok()?;
        scene.until_state(name, "Active", SOON).await?;
        may(&scene, &person, true).await?;
    }
    ensure!(scene.bindings().await?.len() == 2, "there are {} bindings", scene.bindings().await?.len());
    Ok(())
}

async fn missing_claims_are_not_evidence(env: Arc<Env>) -> Outcome {
    let scene = env.scene("missing").await?;
    let spec = debug_for(&json!([{"kind": "Group", "name": "oidc:devs"}, {"kind": "Group", "name": "devs"}]));
    let claims = scene.offer("claims", asking(automatic(), &second_factor()), spec.clone()).await?;
    let age = json!({"maxAge": {"key": AUTH_TIME, "duration": "1h"}});
    let age = scene.offer("age", asking(automatic(), &age), spec).await?;
    let person = bare(&scene, "ann", "devs")?;
    // A claim that is present, but empty.
    let empty = Person::sign_in(&scene, &SignIn { amr: vec![String::new()], ..SignIn::new("ann", ["devs"]) })?;
    for (offer, key, wanted) in [(&claims, AMR, "one of 'mfa', 'hwk'"), (&age, AUTH_TIME, "a sign-in at most 1h old")] {
        let request = scene.request("now", offer, "10m");
        let says = |name: &str| {
            format!(
                "EvidenceMissing: the sign-in of '{name}' has no '{key}', and policy '{offer}' requires {wanted}; sign in again without \
                 impersonation; if that does not help, ask an admin whether the cluster's authentication passes '{key}' on"
            )
        };
        refused(person.create(&scene, &request).await?, &[&says("oidc:ann")])?;
        refused(empty.create(&scene, &request).await?, &[&says("oidc:ann")])?;
        // A user who did not sign in with the provider has no evidence either.
        refused(scene.create("dev", &request).await?, &[&says("dev")])?;
    }
    ensure!(scene.list("rar").await?.is_empty(), "one of them created a request");
    Ok(())
}

async fn t09_sign_in_counts_only_within_its_maximum_age(env: Arc<Env>) -> Outcome {
    let scene = env.scene("age").await?;
    let rule = json!({"maxAge": {"key": AUTH_TIME, "duration": "10m"}});
    let offer = scene.offer("fresh", asking(automatic(), &rule), for_devs()).await?;
    // All tokens are new: a session that is refreshed gets new tokens, and its sign-in time stays the same.
    let signed_in =
        |ago: SignedDuration| Person::sign_in(&scene, &SignIn { auth_time: Some(Timestamp::now() - ago), ..with_mfa("ann", "devs") });
    let request = scene.request("ann", &offer, "10m");
    refused(
        signed_in(SignedDuration::from_mins(11))?.create(&scene, &request).await?,
        &[
            "EvidenceTooOld: 'oidc:ann' signed in at ",
            &format!(
                " before the request or decision was created, and policy '{offer}' allows at most 10m (spec.requirements.authentication.maxAge); sign in again and retry"
            ),
        ],
    )?;
    refused(
        signed_in(SignedDuration::from_mins(-5))?.create(&scene, &request).await?,
        &["EvidenceUnreadable: the sign-in of 'oidc:ann' is at ", ", in the future, and policy "],
    )?;
    refused(
        Person::sign_in(&scene, &SignIn { auth_time: None, ..with_mfa("ann", "devs") })?.create(&scene, &request).await?,
        &[&format!("EvidenceMissing: the sign-in of 'oidc:ann' has no '{AUTH_TIME}'")],
    )?;
    ensure!(scene.list("rar").await?.is_empty(), "one of them created a request");
    let fresh = signed_in(SignedDuration::from_mins(5))?;
    fresh.create(&scene, &request).await?.ok()?;
    scene.until_state("ann", "Active", SOON).await?;
    may(&scene, &fresh, true).await
}

async fn t09_pending_request_keeps_its_sign_in_age(env: Arc<Env>) -> Outcome {
    let max = SignedDuration::from_secs(40);
    let scene = env.scene("waits").await?;
    let rule = json!({"maxAge": {"key": AUTH_TIME, "duration": "40s"}});
    let offer = scene.offer("fresh", asking(approved_by("oidc:leads", 1), &rule), for_devs()).await?;
    let lead = bare(&scene, "lead", "leads")?;
    // Half a minute is left for requests, and soon it has passed.
    let auth_time = Timestamp::now() - SignedDuration::from_secs(10);
    let ann = Person::sign_in(&scene, &SignIn { auth_time: Some(auth_time), ..with_mfa("ann", "devs") })?;
    ann.create(&scene, &scene.request("ann", &offer, "10m")).await?.ok()?;
    scene.until_state("ann", "AwaitingApproval", SOON).await?;
    let too_old = auth_time + max + SignedDuration::from_secs(2);
    until(too_old).await?;
    // The sign-in is too old for another request, but it was not at the creation of this one.
    refused(
        ann.create(&scene, &scene.request("again", &offer, "10m")).await?,
        &[&format!("policy '{offer}' allows at most 40s (spec.requirements.authentication.maxAge)")],
    )?;
    approve(&scene, &lead, "ann").await?.ok()?;
    scene.until_state("ann", "Active", SOON).await?;
    may(&scene, &ann, true).await
}

async fn evidence_is_required_of_requester_approver_or_both(env: Arc<Env>) -> Outcome {
    let scene = env.scene("parties").await?;
    let mfa = |name: &str, group: &str| Person::sign_in(&scene, &with_mfa(name, group));
    let (ann, lead) = (mfa("ann", "devs")?, mfa("lead", "leads")?);
    let (bare_ann, bare_lead) = (bare(&scene, "ann", "devs")?, bare(&scene, "lead", "leads")?);
    for (name, applies_to, of_requester, of_approver) in [
        ("absent", json!([]), true, false),
        ("requester", json!(["Requester"]), true, false),
        ("approver", json!(["Approver"]), false, true),
        ("both", json!(["Requester", "Approver"]), true, true),
    ] {
        let mut rule = second_factor();
        rule["appliesTo"] = applies_to;
        let offer = scene.offer(name, asking(approved_by("oidc:leads", 1), &rule), for_devs()).await?;
        let missing = |who: &str| format!("EvidenceMissing: the sign-in of 'oidc:{who}' has no '{AMR}', and policy '{offer}' requires");
        let request = scene.request(name, &offer, "10m");
        if of_requester {
            refused(bare_ann.create(&scene, &request).await?, &[&missing("ann")])?;
            ann.create(&scene, &request).await?.ok()?;
        } else {
            bare_ann.create(&scene, &request).await?.ok()?;
        }
        scene.until_state(name, "AwaitingApproval", SOON).await?;
        if of_approver {
            refused(approve(&scene, &bare_lead, name).await?, &[&missing("lead")])?;
            approve(&scene, &lead, name).await?.ok()?;
        } else {
            approve(&scene, &bare_lead, name).await?.ok()?;
        }
        scene.until_state(name, "Active", SOON).await?;
    }
    Ok(())
}

async fn ending_access_requires_no_evidence(env: Arc<Env>) -> Outcome {
    let scene = env.scene("ends").await?;
    let mut rule = second_factor();
    rule["appliesTo"] = json!(["Requester", "Approver"]);
    let waits = scene.offer("waits", asking(approved_by("oidc:leads", 1), &rule), for_devs()).await?;
    let free = guarded(&scene).await?;
    let lead = bare(&scene, "lead", "leads")?;
    let session = |name: &str| -> Result<(Person, Person), Error> {
        Ok((Person::sign_in(&scene, &with_mfa(name, "devs"))?, bare(&scene, name, "devs")?))
    };

    let (ann, bare_ann) = session("ann")?;
    ann.create(&scene, &scene.request("denied", &waits, "10m")).await?.ok()?;
    scene.until_state("denied", "AwaitingApproval", SOON).await?;
    lead.create(&scene, &scene.decision("denied", "Deny", None)).await?.ok()?;
    scene.until_state("denied", "Denied", SOON).await?;

    ann.create(&scene, &scene.request("given-back", &free, "10m")).await?.ok()?;
    scene.until_state("given-back", "Active", SOON).await?;
    bare_ann.create(&scene, &scene.decision("given-back", "Deactivate", None)).await?.ok()?;
    scene.until_state("given-back", "Deactivated", SOON).await?;

    let (bob, _) = session("bob")?;
    bob.create(&scene, &scene.request("revoked", &free, "10m")).await?.ok()?;
    scene.until_state("revoked", "Active", SOON).await?;
    // `security` uses a token file, and has no evidence.
    scene.create("security", &scene.decision("revoked", "Revoke", None)).await?.ok()?;
    scene.until_state("revoked", "Revoked", SOON).await?;
    may(&scene, &bob, false).await?;
    scene.until_no_binding(SOON).await
}

async fn policy_status_reports_whether_evidence_was_observed(env: Arc<Env>) -> Outcome {
    const NEVER: &str = "jitrbac.dev/never-mapped";
    let scene = env.scene("seen").await?;
    let rule = json!({"claims": [{"key": NEVER, "anyOf": ["yes"]}]});
    let never = scene.offer("never", asking(automatic(), &rule), for_devs()).await?;
    let seen = guarded(&scene).await?;
    let ann = Person::sign_in(&scene, &with_mfa("ann", "devs"))?;
    refused(ann.create(&scene, &scene.request("never", &never, "10m")).await?, &[&format!("has no '{NEVER}'")])?;
    let says = format!("no request has contained '{NEVER}' yet; if none can, the cluster's authentication does not pass it on");
    let message = until_condition(&scene, &format!("apol/{never}"), "EvidenceObserved", "False", "EvidenceNotObserved").await?;
    ensure!(message.contains(&says), "it says {message}");
    ann.create(&scene, &scene.request("ann", &seen, "10m")).await?.ok()?;
    scene.until_state("ann", "Active", SOON).await?;
    let message = until_condition(&scene, &format!("apol/{seen}"), "EvidenceObserved", "True", "EvidenceObserved").await?;
    ensure!(message.contains(&format!("sign-ins contained '{AMR}'")), "it says {message}");
    Ok(())
}
