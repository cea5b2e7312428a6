//! Helpers that read a status and its conditions, and kubeconfigs of other users.

use std::{collections::BTreeMap, ops::Deref, path::Path};

use control_plane::{ADMIN, Said, SignIn, wait_for_ok};
use serde_json::{Value, json};

use crate::{
    ensure,
    env::{Error, Outcome, SOON, Scene},
};

/// Waits until `holds` is true for the status of a request, and returns it.
pub async fn until(scene: &Scene, request: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value, Error> {
    let what = format!("request {}/{request}: {what}", scene.name);
    let looked = wait_for_ok(&what, SOON, async || {
        let status = scene.status(request).await.map_err(|error| error.to_string())?;
        if holds(&status) { Ok(status) } else { Err(status.to_string()) }
    });
    Ok(looked.await?)
}

/// Returns the conditions of a status as `type -> status`, and verifies that they are well-formed.
pub fn conditions(status: &Value) -> Result<BTreeMap<String, String>, Error> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = BTreeMap::new();
    for condition in status["conditions"].as_array().into_iter().flatten() {
        ensure!(condition["reason"] == status["reason"], "{condition} has another reason than {}", status["reason"]);
        ensure!(condition["observedGeneration"] == status["observedGeneration"], "{condition} has another generation");
        all.insert(text(&condition["type"]), text(&condition["status"]));
    }
    ensure!(!says(status).is_empty(), "the condition Active has no message: {status}");
    Ok(all)
}

/// Returns the reason of the condition Active: why there is access, or why not.
pub fn says(status: &Value) -> &str {
    let active = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "Active");
    active.and_then(|condition| condition["message"].as_str()).unwrap_or_default()
}

/// Waits until a condition of a cluster-scoped object has this status and reason, and returns its message.
pub async fn until_condition(scene: &Scene, object: &str, kind: &str, status: &str, reason: &str) -> Result<String, Error> {
    let what = format!("{object} to have {kind}={status} {reason}");
    let said = wait_for_ok(&what, SOON, async || {
        let said = scene.kubectl("dev", &["get", object, "-o", "json"]).await.and_then(|said| Ok(said.ok()?));
        let found: Value = serde_json::from_str(&said.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let conditions = found["status"]["conditions"].as_array().into_iter().flatten();
        let condition = conditions.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
        let holds = condition["status"] == status && condition["reason"] == reason;
        if holds { Ok(condition["message"].as_str().unwrap_or_default().to_owned()) } else { Err(found["status"].to_string()) }
    });
    Ok(said.await?)
}

/// Returns true when the timeline contains `event` by `actor`.
pub fn did(status: &Value, actor: &str, event: &str) -> bool {
    status["timeline"].as_array().into_iter().flatten().any(|entry| entry["actor"] == actor && entry["event"] == event)
}

/// A user whom the admin impersonates, which simulates a second account of one user.
pub struct Guise<'a> {
    pub name: &'a str,
    pub uid: &'a str,
    pub groups: &'a [&'a str],
}

impl Guise<'_> {
    /// Runs `kubectl create -f -` under this name.
    pub async fn create(&self, scene: &Scene, object: &Value) -> Result<Said, Error> {
        let mut args = vec!["create", "-f", "-", "--as", self.name];
        if !self.uid.is_empty() {
            args.extend(["--as-uid", self.uid]);
        }
        args.extend(self.groups.iter().flat_map(|group| ["--as-group", group]));
        Ok(scene.fixture.cluster().run_with(ADMIN, &args, &object.to_string()).await?)
    }
}

/// The holder of a token: a signed-in user, or a `ServiceAccount`.
pub struct Person {
    /// The user name in the API server.
    pub username: String,
    kubeconfig: String,
}

impl Person {
    /// Signs in a user with an ID token. Another sign-in returns another one, and the previous one stays valid.
    pub fn sign_in(scene: &Scene, who: &SignIn) -> Result<Self, Error> {
        Self::new(scene, who.username(), &scene.fixture.cluster().sign_in(who)?)
    }

    fn new(scene: &Scene, username: String, token: &str) -> Result<Self, Error> {
        // A token's signature is unique, and short enough for a file name.
        let signature = token.rsplit('.').next().unwrap_or_default().chars().take(16).collect::<String>();
        let kubeconfig = scene.fixture.cluster().kubeconfig_for_token(&format!("{}-{signature}", scene.name), token)?;
        Ok(Self { username, kubeconfig: kubeconfig.display().to_string() })
    }

    /// The same user with an extra of the user whom they impersonate.
    pub fn showing(&self, key: &str, value: &str) -> Result<Self, Error> {
        Ok(Self { username: self.username.clone(), kubeconfig: showing(Path::new(&self.kubeconfig), key, value)? })
    }

    /// Runs kubectl with this token.
    pub async fn kubectl(&self, scene: &Scene, args: &[&str], manifest: &str) -> Result<Said, Error> {
        let args = [&["--kubeconfig", self.kubeconfig.as_str()], args].concat();
        Ok(scene.fixture.cluster().run_with(ADMIN, &args, manifest).await?)
    }

    /// Runs `kubectl create -f -` with this token.
    pub async fn create(&self, scene: &Scene, object: &Value) -> Result<Said, Error> {
        self.kubectl(scene, &["create", "-f", "-"], &object.to_string()).await
    }
}

/// Another kubeconfig with an extra of the impersonated user: kubectl has a flag for it only since 1.35.
pub fn showing(kubeconfig: &Path, key: &str, value: &str) -> Result<String, Error> {
    let mut config: Value = serde_json::from_slice(&std::fs::read(kubeconfig)?)?;
    config["users"][0]["user"]["as-user-extra"] = json!({ key: [value] });
    let path = format!("{}-{}", kubeconfig.display(), key.replace('/', "-"));
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

/// A `ServiceAccount` with a token of its own.
pub struct Account {
    /// Its UID.
    pub uid: String,
    person: Person,
}

impl Deref for Account {
    type Target = Person;

    fn deref(&self) -> &Person {
        &self.person
    }
}

impl Account {
    /// Creates a `ServiceAccount` in the scene's namespace.
    pub async fn new(scene: &Scene, name: &str) -> Result<Self, Error> {
        scene.kubectl(ADMIN, &["create", "serviceaccount", name, "-n", &scene.name]).await?.ok()?;
        let uid =
            scene.kubectl(ADMIN, &["get", "serviceaccount", name, "-n", &scene.name, "-o", "jsonpath={.metadata.uid}"]).await?.ok()?;
        let token = scene.kubectl(ADMIN, &["create", "token", name, "-n", &scene.name]).await?.ok()?;
        Ok(Self { uid, person: Person::new(scene, format!("system:serviceaccount:{}:{name}", scene.name), token.trim())? })
    }
}

/// Succeeds if kubectl was denied with a message that contains all of `parts`.
pub fn refused(said: Said, parts: &[&str]) -> Outcome {
    ensure!(said.status.code() == Some(1), "kubectl ended with {} and said {:?}", said.status, said.stdout);
    let why = said.refused()?;
    match parts.iter().find(|part| !why.contains(**part)) {
        Some(part) => Err(format!("the message does not contain {part:?}: {why}").into()),
        None => Ok(()),
    }
}
