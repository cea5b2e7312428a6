//! The webhook with an API server that is a list: it answers reads from the list, and records every call.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode},
};
use jit_rbac::{
    admission::{handler::AdmissionHandler, server::router},
    config::Config,
    gather::caches::Caches,
    observe::metrics::AdmissionMetrics,
};
use kube::Client;
use process::metrics::Metrics;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::{ServiceExt, service_fn};

/// The controller's user name.
const OPERATOR: &str = "system:serviceaccount:jit-system:jit-rbac-controller";
/// The creation time of every object, by the API server's clock.
pub const AT: &str = "2026-11-22T12:00:00Z";

/// A cluster with an eligibility, its policy, its role, and one request by `dev` that waits for `leads`.
pub struct Cluster {
    router: Router,
    calls: Arc<Mutex<Vec<String>>>,
    runtime: Runtime,
}

fn meta(name: &str) -> Value {
    json!({"name": name, "uid": name, "creationTimestamp": AT})
}

/// The stored objects, by path.
fn stored() -> Vec<(&'static str, Value)> {
    let ours = |kind: &str, metadata: Value, spec: Value| json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    let eligibility = json!({
        "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": "ClusterRole", "name": "edit"}, "namespaces": {"names": ["payments"]},
        "policyRef": {"name": "two-eyes"}, "maxDuration": "4h", "endTime": "2027-02-01T00:00:00Z",
    });
    let policy = json!({
        "approval": {"stages": [{"name": "lead", "approvers": {"groups": ["leads"]}, "required": 1}]},
        "requirements": {"ticket": {"pattern": "INC-[0-9]+"}},
        "windows": [{"from": "00:00", "to": "00:00", "timeZone": "UTC"}],
    });
    let request = json!({"eligibilityRef": {"name": "oncall"}, "duration": "45m", "requester": {"username": "dev", "uid": "u-dev", "groups": ["devs"]}});
    let mut inside = meta("inc-1");
    if let Some(inside) = inside.as_object_mut() {
        inside.insert("namespace".to_owned(), "payments".into());
    }
    vec![
        ("/apis/jitrbac.dev/v1alpha1/roleeligibilities/oncall", ours("RoleEligibility", meta("oncall"), eligibility)),
        ("/apis/jitrbac.dev/v1alpha1/approvalpolicies/two-eyes", ours("ApprovalPolicy", meta("two-eyes"), policy)),
        ("/apis/jitrbac.dev/v1alpha1/namespaces/payments/roleactivationrequests/inc-1", ours("RoleActivationRequest", inside, request)),
        ("/api/v1/namespaces/payments", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta("payments")})),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/edit",
            json!({"metadata": meta("edit"), "rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]}),
        ),
    ]
}

/// `admin` may bind every role, the controller `edit`, all others none.
fn access(spec: &Value) -> Value {
    let bind = spec.pointer("/resourceAttributes/verb").is_some_and(|verb| verb == "bind");
    let edit = spec.pointer("/resourceAttributes/name").is_some_and(|name| name == "edit");
    let allowed = match spec.get("user").and_then(Value::as_str) {
        Some("admin") => bind,
        Some(OPERATOR) => bind && edit,
        _ => false,
    };
    json!({"allowed": allowed})
}

fn answer(stored: &[(&'static str, Value)], path: &str, body: Value) -> (StatusCode, Value) {
    if path.ends_with("/subjectaccessreviews") {
        let status = access(body.get("spec").unwrap_or(&Value::Null));
        let Value::Object(mut review) = body else { return (StatusCode::BAD_REQUEST, Value::Null) };
        review.insert("status".to_owned(), status);
        return (StatusCode::CREATED, review.into());
    }
    if let Some((_, found)) = stored.iter().find(|(at, _)| *at == path) {
        return (StatusCode::OK, found.clone());
    }
    if ["/roleactivationrequests", "/activationdecisions", "/roleeligibilities"].iter().any(|kind| path.ends_with(kind)) {
        let items: Vec<&Value> = stored.iter().filter(|(at, _)| at.starts_with(&format!("{path}/"))).map(|(_, object)| object).collect();
        return (StatusCode::OK, json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "List", "metadata": {}, "items": items}));
    }
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "NotFound"});
    (StatusCode::NOT_FOUND, status)
}

impl Cluster {
    /// The cluster before each input.
    pub fn new() -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let client = {
            let _inside = runtime.enter();
            client(&calls)
        };
        let config: Config = serde_json::from_value(json!({
            "operatorNamespace": "jit-system",
            "controller": {"serviceAccount": "jit-rbac-controller", "lease": "jit-rbac-controller"},
            "webhook": {"serviceAccount": "jit-rbac-webhook", "certificate": {"directory": "/tls"}, "mutatingConfiguration": "jit-rbac",
                "validatingConfiguration": "jit-rbac"},
            "maxGrant": "24h",
        }))
        .unwrap();
        let handler = AdmissionHandler::new(client.clone(), Arc::new(Caches::new(client)), &config);
        Self { router: router(Arc::new(handler), AdmissionMetrics::registered(&Metrics::of("webhook"))), calls, runtime }
    }

    /// The webhook's response to a body, and the calls that it made meanwhile.
    pub fn ask(&self, path: &str, body: &[u8]) -> (StatusCode, Vec<u8>, Vec<String>) {
        let request = Request::post(path).header("content-type", "application/json").body(Body::from(body.to_vec())).unwrap();
        let (status, bytes) = self.runtime.block_on(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let status = response.status();
            (status, to_bytes(response.into_body(), usize::MAX).await.unwrap())
        });
        let calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        (status, bytes.to_vec(), calls)
    }
}

fn client(calls: &Arc<Mutex<Vec<String>>>) -> Client {
    let (calls, stored) = (Arc::clone(calls), Arc::new(stored()));
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let (calls, stored) = (Arc::clone(&calls), Arc::clone(&stored));
        async move {
            let (parts, body) = request.into_parts();
            let body = serde_json::from_slice(&body.collect_bytes().await.unwrap_or_default()).unwrap_or_default();
            calls.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{} {}", parts.method, parts.uri));
            let (code, answer) = answer(&stored, parts.uri.path(), body);
            let response = Response::builder().status(code).header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(Body::from(answer.to_string())).unwrap())
        }
    });
    Client::new(service, "default")
}
