//! A test's own admission webhook that blocks the operator's calls until it is opened. A test can then act between two calls of a
//! replica, or between a call and its response.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use control_plane::{ADMIN, wait_for, wait_for_ok};
use jiff::Timestamp;
use jit_rbac::admission::{
    authority::{Plan, Stored, carry_out, certified},
    server,
};
use k8s_openapi::ByteString;
use rustls::sign::SingleCertAndKey;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::env::{Error, Outcome, SOON, Scene};

/// The operator's user name.
const OPERATOR: &str = "system:serviceaccount:jit-system:jit-rbac-controller";

/// The gate. Calls pass it until [`BlockingWebhook::hold`] is called.
pub struct BlockingWebhook {
    name: String,
    keeper: Arc<Keeper>,
    _server: DropGuard,
}

struct Keeper {
    in_force: AtomicBool,
    to_hold: AtomicU32,
    held: AtomicU32,
    open: watch::Sender<bool>,
}

impl BlockingWebhook {
    /// A gate for the operator's calls of some operations on a resource in the scene's namespace. `resource` is as in
    /// `rolebindings` or `roleactivationrequests/status`.
    pub async fn new(scene: &Scene, group: &str, resource: &str, operations: &[&str]) -> Result<Self, Error> {
        Self::for_callers(scene, &format!("== '{OPERATOR}'"), group, resource, operations).await
    }

    /// The same for the callers whose user name fulfills a condition in CEL, such as `== 'dev'`.
    pub async fn for_callers(scene: &Scene, callers: &str, group: &str, resource: &str, operations: &[&str]) -> Result<Self, Error> {
        let keeper = Arc::new(Keeper {
            in_force: AtomicBool::new(false),
            to_hold: AtomicU32::new(0),
            held: AtomicU32::new(0),
            open: watch::Sender::new(false),
        });
        let made = carry_out(Plan::RenewAll(""), Timestamp::now(), &Stored::default(), b"", &["127.0.0.1".to_owned()])?
            .ok_or("a certificate can be made")?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", post(review)).with_state(keeper.clone());
        let certificate = Arc::new(SingleCertAndKey::from(certified(&made.leaf, &made.leaf_key)?));
        let serving = server::serve(listener, certificate, None, router, stop.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the gate is broken: {error}");
            }
        });

        let name = format!("e2e-gate-{}-{}", scene.name, port);
        let rule = |group: &str, resource: &str, operations: &[&str]| json!({"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [resource]});
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [{
                "name": "gate.e2e.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 30,
                "clientConfig": {"url": format!("https://127.0.0.1:{port}/"), "caBundle": ByteString(made.authorities)},
                "namespaceSelector": {"matchLabels": {"scene": scene.name}},
                "rules": [rule(group, resource, operations), rule("", "configmaps", &["CREATE"])],
                "matchConditions": [{
                    "name": "the-callers-or-a-probe",
                    "expression": format!("request.userInfo.username {callers} || request.resource.resource == 'configmaps'"),
                }],
            }],
        });
        scene.admin(&[configuration]).await?;
        let gate = Self { name, keeper, _server: stop.drop_guard() };
        let probe = ["create", "configmap", "probe", "--dry-run=server", "-n", scene.name.as_str()];
        let in_force = wait_for_ok("the gate to be called", SOON, async || match scene.kubectl(ADMIN, &probe).await {
            Ok(_) if gate.keeper.in_force.load(Ordering::Relaxed) => Ok(()),
            Ok(said) => Err(said.stderr),
            Err(error) => Err(error.to_string()),
        });
        in_force.await?;
        Ok(gate)
    }

    /// Holds the next `calls`; later ones pass.
    pub fn hold(&self, calls: u32) {
        self.keeper.open.send_replace(false);
        self.keeper.held.store(0, Ordering::Relaxed);
        self.keeper.to_hold.store(calls, Ordering::Relaxed);
    }

    /// Waits until this many calls are held.
    pub async fn until_held(&self, calls: u32, limit: Duration) -> Outcome {
        let what = format!("{calls} of the operator's calls to be held");
        Ok(wait_for(&what, limit, async || (self.keeper.held.load(Ordering::Relaxed) >= calls).then_some(())).await?)
    }

    /// Releases the held calls.
    pub fn open(&self) {
        self.keeper.to_hold.store(0, Ordering::Relaxed);
        self.keeper.open.send_replace(true);
    }

    /// Removes the gate and releases the held calls.
    pub async fn remove(self, scene: &Scene) -> Outcome {
        self.open();
        scene.kubectl(ADMIN, &["delete", "validatingwebhookconfiguration", &self.name]).await?.ok()?;
        Ok(())
    }
}

async fn review(State(keeper): State<Arc<Keeper>>, Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    if request["resource"]["resource"] == "configmaps" {
        keeper.in_force.store(true, Ordering::Relaxed);
    } else if keeper.to_hold.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        keeper.held.fetch_add(1, Ordering::Relaxed);
        // The sender lives in the keeper, so this cannot fail.
        let _ = keeper.open.subscribe().wait_for(|open| *open).await;
    }
    Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": request["uid"], "allowed": true}}))
}
