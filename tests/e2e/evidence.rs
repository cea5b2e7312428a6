//! Sign-in evidence: real ID tokens with `amr`, `acr`, `auth_time`, groups and uid.

mod policy_requirements;
mod token_identity;

use control_plane::SignIn;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    env::{Error, Outcome, Scene, TestCase, automatic, eligibility},
    status_helpers::Person,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    [policy_requirements::test_cases(), token_identity::test_cases()].concat()
}

/// The extra keys to which the API server maps the claims.
pub const AMR: &str = "jitrbac.dev/amr";
const ACR: &str = "jitrbac.dev/acr";
const AUTH_TIME: &str = "jitrbac.dev/auth-time";

/// A policy that also has authentication requirements.
fn asking(mut policy: Value, authentication: &Value) -> Value {
    policy["requirements"] = json!({"authentication": authentication});
    policy
}

/// The most common requirement: a second factor.
fn second_factor() -> Value {
    json!({"claims": [{"key": AMR, "anyOf": ["mfa", "hwk"]}]})
}

/// An eligibility for the scene's Role `debug`.
fn debug_for(subjects: &Value) -> Value {
    let mut spec = eligibility("edit");
    spec["roleRef"] = json!({"kind": "Role", "name": "debug"});
    spec["subjects"] = subjects.clone();
    spec
}

/// An eligibility for the users of the group `oidc:devs`.
fn for_devs() -> Value {
    debug_for(&json!([{"kind": "Group", "name": "oidc:devs"}]))
}

/// Policy and eligibility of a scene whose requester must have used a second factor.
pub async fn guarded(scene: &Scene) -> Result<String, Error> {
    scene.offer("mfa", asking(automatic(), &second_factor()), for_devs()).await
}

/// A sign-in of just now with password and second factor.
pub fn with_mfa(name: &str, group: &str) -> SignIn {
    SignIn { amr: vec!["pwd".to_owned(), "mfa".to_owned()], auth_time: Some(Timestamp::now()), ..SignIn::new(name, [group]) }
}

/// A sign-in with nothing but a name.
fn bare(scene: &Scene, name: &str, group: &str) -> Result<Person, Error> {
    Person::sign_in(scene, &SignIn::new(name, [group]))
}

/// Approves a request with the digest in its current status.
async fn approve(scene: &Scene, who: &Person, request: &str) -> Result<control_plane::Said, Error> {
    let status = scene.status(request).await?;
    who.create(scene, &scene.decision(request, "Approve", status["digest"].as_str())).await
}

/// Verifies that `who` may, or may not, get pods in the scene's namespace.
async fn may(scene: &Scene, who: &Person, wanted: bool) -> Outcome {
    let said = who.kubectl(scene, &["auth", "can-i", "get", "pods", "-n", &scene.name], "").await?;
    crate::ensure!((said.stdout.trim() == "yes") == wanted, "'{}' may get pods: {}", who.username, said.stdout.trim());
    Ok(())
}
