//! Notifications: rules, receivers and the notify process, against servers that receive what is sent.

mod bad_input;
mod default_rules;
mod faults;
mod latency;
mod plugin;

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use control_plane::{ADMIN, Server, secrets, wait_for_ok};
use http::{Response, StatusCode};
use jiff::Timestamp;
use notify_tools::{Authority, Call, Https};
use serde_json::{Value, json};

use crate::{
    env::{Env, Error, Outcome, SOON, Scene, TestCase},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![]
        .into_iter()
        .chain(default_rules::test_cases())
        .chain(bad_input::test_cases())
        .chain(plugin::test_cases())
        .chain(faults::test_cases())
        .chain(latency::test_cases())
        .collect()
}

/// The signing key of all webhooks.
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
/// The host of all receivers.
const HOST: &str = "127.0.0.1";

/// A webhook call whose signature was verified.
#[derive(Clone, Debug)]
pub struct Told {
    /// When it arrived.
    pub at: Timestamp,
    /// The path, which names the receiver.
    pub path: String,
    /// The id of the message.
    pub id: String,
    /// The CloudEvent.
    pub event: Value,
}

impl Told {
    /// Returns the type without its prefix, such as `activation.granted`.
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default().trim_start_matches("dev.jitrbac.").trim_end_matches(".v1")
    }
}

/// What a path answers: a status for each call, counted from 0.
type Answers = Box<dyn Fn(&str, usize) -> StatusCode + Send + Sync>;

/// A webhook that verifies each call.
pub struct Hook {
    server: Https,
    told: Arc<Mutex<Vec<Told>>>,
    forged: Arc<Mutex<Vec<String>>>,
}

impl Hook {
    /// Starts a webhook with these answers. Calls that are not answered with 2xx are not recorded.
    pub fn start(authority: &Authority, answers: Answers) -> Self {
        let (told, forged) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (record, record_forged) = (Arc::clone(&told), Arc::clone(&forged));
        let counts: Mutex<BTreeMap<String, usize>> = Mutex::default();
        let server = Https::start(authority, &[HOST], move |_, call: &Call| {
            let at = Timestamp::now();
            let number = {
                let mut counts = counts.lock().expect("the counts");
                let count = counts.entry(call.path.clone()).or_default();
                *count += 1;
                *count - 1
            };
            let status = answers(&call.path, number);
            let webhook = standardwebhooks::Webhook::new(KEY).expect("a key");
            if let Err(error) = webhook.verify(&call.body, &call.headers) {
                record_forged.lock().expect("the list").push(format!("{}: {error}", call.path));
            }
            if status.is_success() {
                let id = call.headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
                record.lock().expect("the list").push(Told { at, path: call.path.clone(), id, event: call.json() });
            }
            Response::builder().status(status).body(Body::empty()).expect("a response")
        });
        Self { server, told, forged }
    }

    /// Starts a webhook that accepts everything.
    pub fn accepting(authority: &Authority) -> Self {
        Self::start(authority, Box::new(|_, _| StatusCode::OK))
    }

    /// Returns the address of a path.
    pub fn url(&self, path: &str) -> String {
        self.server.url(HOST, path)
    }

    /// Returns the calls of a path so far.
    pub fn told(&self, path: &str) -> Vec<Told> {
        self.told.lock().expect("the list").iter().filter(|told| told.path == path).cloned().collect()
    }

    /// Waits until a path has a call that `is` accepts.
    pub async fn until(&self, path: &str, what: &str, is: impl Fn(&Told) -> bool) -> Result<Told, Error> {
        let what = format!("{path} to be told {what}");
        let found = wait_for_ok(&what, SOON, async || {
            let all = self.told(path);
            let kinds = || all.iter().map(|told| told.kind().to_owned()).collect::<Vec<_>>().join(", ");
            all.iter().find(|told| is(told)).cloned().ok_or_else(|| format!("it received {}", kinds()))
        });
        Ok(found.await?)
    }

    /// Fails if a call was not signed with the key.
    pub fn verified(&self) -> Outcome {
        let forged = self.forged.lock().expect("the list");
        if forged.is_empty() { Ok(()) } else { Err(format!("not signed: {forged:?}").into()) }
    }
}

/// Returns the chart values with which the notify process may reach the servers of this machine.
pub fn values(more: Value) -> Value {
    let mut notify = json!({
        "enabled": true, "cluster": "e2e", "allowedHosts": [HOST], "plainHosts": [HOST], "allowedCIDRs": ["127.0.0.0/8"],
        "addresses": {
            "users": [{"pattern": "(dev|lead)(-[0-9]+)?", "mail": "$1$2@example.com"}],
            "groups": {"leads": [{"name": "mail", "to": ["leads@example.com"]}], "devs": [{"name": "mail", "to": ["devs@example.com"]}]},
            "admins": [{"name": "mail", "to": ["admins@example.com"]}],
        },
    });
    if let Value::Object(more) = more {
        notify.as_object_mut().expect("a map").extend(more);
    }
    json!({"notify": notify})
}

impl Scene {
    /// Writes the files of a receiver's Secret, as the kubelet mounts them.
    pub fn secret(&self, name: &str, files: &[(&str, &str)]) -> Outcome {
        let folder = secrets(self.fixture.cluster()).join(name);
        fs::create_dir_all(&folder)?;
        for (key, value) in files {
            fs::write(folder.join(key), value)?;
        }
        Ok(())
    }

    /// Creates a webhook receiver with its Secret.
    pub async fn webhook(&self, name: &str, url: &str, authority: &Authority) -> Outcome {
        self.secret(name, &[("signing-key", KEY), ("ca.crt", &authority.pem())])?;
        self.admin(&[receiver(name, json!({"type": "Webhook", "webhook": {"url": url}, "secretRef": {"name": name}}))]).await
    }

    /// Returns a receiver.
    pub async fn receiver(&self, name: &str) -> Result<Value, Error> {
        let said = self.kubectl(ADMIN, &["get", "nrec", name, "-o", "json"]).await?.ok()?;
        Ok(serde_json::from_str(&said)?)
    }

    /// Waits until a receiver's condition Ready has this status and reason.
    pub async fn until_ready(&self, name: &str, status: &str, reason: &str) -> Result<Value, Error> {
        let what = format!("receiver {name} to be Ready={status} because of {reason}");
        let ready = wait_for_ok(&what, SOON, async || {
            let stored = self.receiver(name).await.map_err(|error| error.to_string())?;
            let ready = &stored["status"]["conditions"][0];
            if ready["status"] == status && ready["reason"] == reason { Ok(stored.clone()) } else { Err(format!("it is {ready}")) }
        });
        Ok(ready.await?)
    }

    /// Returns the notify process.
    pub fn notify(&self) -> Result<&Server, Error> {
        Ok(self.fixture.operator.service("notify")?)
    }
}

/// Returns a receiver to apply.
#[allow(clippy::needless_pass_by_value, reason = "for `json!`")]
pub fn receiver(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "NotificationReceiver", "metadata": {"name": name}, "spec": spec})
}

/// Returns a rule to apply.
#[allow(clippy::needless_pass_by_value, reason = "for `json!`")]
pub fn rule(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "NotificationRule", "metadata": {"name": name}, "spec": spec})
}

/// Starts a control plane with the notify process, and a scene on it.
pub async fn scene(env: &Arc<Env>, name: &str, more: Value) -> Result<(Scene, tokio::sync::OwnedSemaphorePermit), Error> {
    let (fixture, permit) = env.own_fixture(values(more)).await?;
    Ok((env.scene_on(&fixture, name).await?, permit))
}

/// How long a message may take.
pub const LIMIT: Duration = Duration::from_secs(2);
