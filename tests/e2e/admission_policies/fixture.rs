//! A control plane with the operator's chart and without the operator, and helpers that write as a given user.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use control_plane::{ADMIN, Cluster, Options, Plane, Said, User, standard_users, wait_for_ok};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::Outcome;
use crate::authors::AUTHORS;

/// Release and namespace of the chart.
pub const RELEASE: &str = "jit-rbac";
pub const NAMESPACE: &str = "jit-system";
/// The users of the tests, in addition to the control plane's own users.
pub const OPERATOR: &str = "operator";
pub const WEBHOOK: &str = "webhook";
/// May do everything with the four kinds except `purge`, and bind any role.
pub const STAR: &str = "star";
/// May do everything in every namespace of the tests, and nothing outside of them.
pub const TENANT: &str = "tenant";
/// May do everything with webhook configurations and CRDs.
pub const HOOKS: &str = "hooks";

/// The API server's response.
pub type Answer = Result<Value, (u16, String)>;

/// The control plane and a client per user.
pub struct Fixture {
    plane: Plane,
    clients: BTreeMap<String, Client>,
    namespaces: AtomicUsize,
    guards: Mutex<()>,
}

/// Returns the user name of one of the chart's two identities.
pub fn account(name: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{RELEASE}-{name}")
}

/// Returns the fixture that tests share, from its first user to the last test.
pub async fn shared() -> Result<Arc<Fixture>, String> {
    // A failed start is not repeated for every test.
    static FIXTURE: Mutex<Result<Weak<Fixture>, String>> = Mutex::const_new(Ok(Weak::new()));
    let mut known = FIXTURE.lock().await;
    if let Some(fixture) = known.as_ref().map_err(Clone::clone)?.upgrade() {
        return Ok(fixture);
    }
    let started = Fixture::start().await.map(Arc::new);
    *known = started.as_ref().map(Arc::downgrade).map_err(Clone::clone);
    started
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Installs or upgrades the chart with Helm, with these additional values.
pub async fn helm(cluster: &Cluster, more: &[&str]) -> Outcome {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jit-rbac");
    let mut command = cluster.helm().map_err(text)?;
    command.args(["upgrade", "--install", RELEASE]).arg(chart);
    command.args(["--namespace", NAMESPACE, "--create-namespace", "--set", "outOfCluster.enabled=true"]);
    // No process listens on this port.
    command.args(["--set", "outOfCluster.webhookUrl=https://127.0.0.1:1"]).args(more);
    let output = command.output().await.map_err(text)?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

impl Fixture {
    /// Starts a control plane, installs the chart, disables the webhooks and waits until every policy is in force.
    pub async fn start() -> Result<Self, String> {
        let fixture = Self::with_webhooks().await?;
        fixture.switch_webhooks_off().await?;
        fixture.wait_for_policies().await?;
        Ok(fixture)
    }

    /// The same with the webhooks enabled. No process answers for them, so only the operator can write the product's kinds.
    pub async fn with_webhooks() -> Result<Self, String> {
        let mut users = standard_users().map_err(text)?;
        for name in [STAR, TENANT, HOOKS].into_iter().chain(AUTHORS) {
            users.push(User::new(name, [""; 0]).map_err(text)?);
        }
        let plane = Plane::start(Options { users: Some(users), ..Options::default() }).await.map_err(text)?;
        let cluster = plane.cluster();
        let mut clients = BTreeMap::new();
        for name in cluster.users().iter().map(|user| user.name.as_str()).chain([ADMIN]) {
            clients.insert(name.to_owned(), cluster.client(name).await.map_err(text)?);
        }
        let mut fixture = Self { plane, clients, namespaces: AtomicUsize::new(0), guards: Mutex::const_new(()) };
        let cluster = fixture.cluster().clone();
        cluster.apply(ADMIN, include_str!("rights.yaml")).await.and_then(Said::ok).map_err(text)?;
        super::deletion::before_the_policies(&fixture).await?;
        helm(&cluster, &[]).await?;
        // Otherwise the garbage collector discovers new kinds only every half minute.
        fixture.plane.controller_manager().restart().map_err(text)?;
        for (name, account) in [(OPERATOR, "jit-rbac-controller"), (WEBHOOK, "jit-rbac-webhook")] {
            let token = cluster.run(ADMIN, &["create", "token", account, "--namespace", NAMESPACE]).await;
            let token = token.and_then(Said::ok).map_err(text)?;
            fixture.clients.insert(name.to_owned(), cluster.client_for_token(token.trim()).await.map_err(text)?);
        }
        Ok(fixture)
    }

    /// Keeps the two configurations, but for a group that does not exist.
    async fn switch_webhooks_off(&self) -> Outcome {
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            let away =
                |number: u8| json!({"op": "replace", "path": format!("/webhooks/{number}/rules/0/apiGroups"), "value": ["nobody.invalid"]});
            self.json_patch(ADMIN, kind, "", RELEASE, json!([away(0), away(1)])).await.map_err(|(_, said)| said)?;
        }
        Ok(())
    }

    async fn wait_for_policies(&self) -> Outcome {
        for policy in POLICIES {
            let what = format!("the policy {policy} to take effect");
            let looked = wait_for_ok(&what, Duration::from_secs(30), async || match self.dry_create(ADMIN, &probe(policy)).await {
                Ok(_) => Err("its probe was let through".to_owned()),
                Err((_, said)) if said.contains(&format!("ValidatingAdmissionPolicy '{RELEASE}-{policy}'")) => Ok(()),
                Err((_, said)) => Err(said),
            });
            looked.await.map_err(text)?;
        }
        Ok(())
    }

    /// Returns the control plane's cluster.
    pub fn cluster(&self) -> &Cluster {
        self.plane.cluster()
    }

    /// Creates a namespace for one test.
    pub async fn namespace(&self) -> Result<String, String> {
        let name = format!("policies-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        passes("a namespace", self.create(ADMIN, &object).await)?;
        let subject = json!({"apiGroup": RBAC, "kind": "User", "name": TENANT});
        passes("a tenant", self.create(ADMIN, &binding(&name, "tenant", "policies-everything", &subject)).await)?;
        Ok(name)
    }

    /// Tests that write CRDs and webhook configurations run one after the other, or their updates would conflict.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.guards.lock().await
    }

    /// Removes the rules at this path from a CRD's schema, waits until `check` holds, and restores them. The schema is evaluated before the
    /// policies, so only this proves that a policy denies on its own.
    pub async fn without_schema_rules(&self, crd: &str, field: &str, check: impl AsyncFnMut() -> Outcome) -> Outcome {
        let _alone = self.alone().await;
        let (kind, path) = (
            "CustomResourceDefinition",
            format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec{field}/x-kubernetes-validations"),
        );
        let definition = passes("the CRD", self.get(kind, "", crd).await)?;
        let rules = definition.pointer(&path).ok_or_else(|| format!("{crd} has no rules at {path}"))?;
        let replace = |value: &Value| json!([{"op": "replace", "path": path, "value": value}]);
        passes("their removal by an admin", self.json_patch(ADMIN, kind, "", crd, replace(&json!([]))).await)?;
        let looked = wait_for_ok("the policy alone to deny", Duration::from_secs(20), check).await;
        passes("their restoration", self.json_patch(ADMIN, kind, "", crd, replace(rules)).await)?;
        looked.map_err(text)
    }

    fn api(&self, who: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let client = self.clients[who].clone();
        let resource = resource(kind);
        if namespace.is_empty() { Api::all_with(client, &resource) } else { Api::namespaced_with(client, namespace, &resource) }
    }

    async fn post(&self, who: &str, object: &Value, dry_run: bool) -> Answer {
        let [kind, namespace] = [&object["kind"], &object["metadata"]["namespace"]].map(|value| value.as_str().unwrap_or_default());
        let body: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        answer(self.api(who, kind, namespace).create(&PostParams { dry_run, ..PostParams::default() }, &body).await)
    }

    /// Creates an object as a user.
    pub async fn create(&self, who: &str, object: &Value) -> Answer {
        self.post(who, object, false).await
    }

    /// Creates an object as a user, in a dry run.
    pub async fn dry_create(&self, who: &str, object: &Value) -> Answer {
        self.post(who, object, true).await
    }

    /// Reads an object as the admin.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Answer {
        answer(self.api(ADMIN, kind, namespace).get(name).await)
    }

    /// Merges `patch` into an object as a user.
    pub async fn patch(&self, who: &str, kind: &str, namespace: &str, name: &str, patch: Value) -> Answer {
        answer(self.api(who, kind, namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    /// Applies an object server-side as a user, as this field manager.
    pub async fn server_side_apply(&self, who: &str, object: &Value, manager: &str) -> Answer {
        let [kind, namespace] = [&object["kind"], &object["metadata"]["namespace"]].map(|value| value.as_str().unwrap_or_default());
        answer(self.api(who, kind, namespace).patch(name(object), &PatchParams::apply(manager), &Patch::Apply(object)).await)
    }

    /// Merges `patch` into an object's status as a user.
    pub async fn patch_status(&self, who: &str, kind: &str, namespace: &str, name: &str, patch: Value) -> Answer {
        answer(self.api(who, kind, namespace).patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    /// Applies a JSON patch to an object as a user.
    pub async fn json_patch(&self, who: &str, kind: &str, namespace: &str, name: &str, patch: Value) -> Answer {
        let patch = serde_json::from_value(patch).expect("a JSON patch");
        answer(self.api(who, kind, namespace).patch(name, &PatchParams::default(), &Patch::<()>::Json(patch)).await)
    }

    /// Writes an object back unchanged, as storage migration does.
    pub async fn write_back(&self, who: &str, kind: &str, namespace: &str, name: &str) -> Answer {
        let api = self.api(who, kind, namespace);
        let object = self.api(ADMIN, kind, namespace).get(name).await.expect("the object");
        answer(api.replace(name, &PostParams::default(), &object).await)
    }

    /// Updates an object as a user.
    pub async fn replace(&self, who: &str, kind: &str, object: &Value) -> Answer {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let body: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        answer(self.api(who, kind, namespace).replace(name(object), &PostParams::default(), &body).await)
    }

    /// Deletes an object as a user.
    pub async fn delete(&self, who: &str, kind: &str, namespace: &str, name: &str, params: &DeleteParams) -> Answer {
        let deleted = self.api(who, kind, namespace).delete(name, params).await;
        answer(deleted.map(|gone| gone.left().unwrap_or_else(|| DynamicObject::new(name, &resource(kind)))))
    }

    /// Deletes every object of a kind as a user.
    pub async fn delete_all(&self, who: &str, kind: &str, namespace: &str) -> Answer {
        let deleted = self.api(who, kind, namespace).delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await;
        answer(deleted.map(|_| DynamicObject::new("all", &resource(kind))))
    }

    /// Waits until an object is deleted.
    pub async fn gone(&self, kind: &str, namespace: &str, name: &str) -> Outcome {
        let api = self.api(ADMIN, kind, namespace);
        let what = format!("{kind} {name} to be gone");
        let looked = wait_for_ok(&what, Duration::from_secs(30), async || match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(format!("it has the finalizers {:?}", object.finalizers())),
            Err(error) => Err(error.to_string()),
        });
        looked.await.map_err(text)
    }

    /// Creates a request of a user, as that user, with a correct stamp.
    pub async fn request(&self, who: &str, namespace: &str, name: &str) -> Result<Value, String> {
        passes("a request", self.create(who, &request(who, namespace, name)).await)
    }
}

fn answer(result: kube::Result<DynamicObject>) -> Answer {
    match result {
        Ok(object) => Ok(serde_json::to_value(object).expect("JSON")),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(error) => Err((0, error.to_string())),
    }
}

/// Returns the object, if `what` was allowed.
pub fn passes(what: &str, answer: Answer) -> Result<Value, String> {
    answer.map_err(|(code, said)| format!("{what} should pass, but: {code} {said}"))
}

/// Succeeds if `what` was denied by this policy of the chart with a message that contains `said`.
pub fn refused(what: &str, answer: Answer, policy: &str, said: &str) -> Outcome {
    let by = format!("ValidatingAdmissionPolicy '{RELEASE}-{policy}' with binding '{RELEASE}-{policy}' denied request: ");
    match answer {
        Ok(object) => Err(format!("{what} should be refused, but was let through: {object}")),
        Err((403, message)) if message.contains(&by) && message.contains(said) => Ok(()),
        Err((code, message)) => Err(format!("{what} should be refused by {policy} with `{said}`, but: {code} {message}")),
    }
}

/// Returns the name of an object that was created.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Returns the chart's policies.
pub const POLICIES: [&str; 8] =
    ["requests", "decisions", "eligibilities", "approval-policies", "status", "bindings", "guards", "namespaces"];
const RBAC: &str = "rbac.authorization.k8s.io";

/// Returns an object that the policy denies to all users and that is valid otherwise, as the admin would write it.
pub fn probe(policy: &str) -> Value {
    let mut object = match policy {
        "requests" | "status" => request(ADMIN, "default", "probe"),
        "decisions" => decision(
            ADMIN,
            &json!({"metadata": {"name": "x", "namespace": "default", "uid": "x"}, "spec": {"requester": {"username": "x"}}}),
            "Revoke",
        ),
        "eligibilities" => eligibility(ADMIN, "probe"),
        "approval-policies" => approval_policy(ADMIN, "probe"),
        "namespaces" => json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "probe"}}),
        "bindings" => binding("default", "probe", "view", &json!({"apiGroup": RBAC, "kind": "User", "name": "dev"})),
        _ => {
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "probe"}})
        }
    };
    object["metadata"]["labels"] = json!({"jitrbac.dev/probe": format!("{RELEASE}-{policy}")});
    object
}

/// A stamp as the webhook would write it.
pub fn stamp(who: &str) -> Value {
    // The admin's certificate has no uid, all other tokens have one.
    if who == ADMIN { json!({"username": who}) } else { json!({"username": who, "uid": format!("u-{who}")}) }
}

/// A request of a user with a correct stamp.
pub fn request(who: &str, namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"eligibilityRef": {"name": "any"}, "requester": stamp(who)},
    })
}

/// A user's decision on a request, with a correct stamp.
pub fn decision(who: &str, request: &Value, verb: &str) -> Value {
    let about = &request["metadata"];
    let mut decision = json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ActivationDecision",
        "metadata": {
            "generateName": "decision-", "namespace": about["namespace"],
            "ownerReferences": [
                {"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "name": about["name"], "uid": about["uid"]},
            ],
        },
        "spec": {
            "requestRef": {"name": about["name"], "uid": about["uid"], "requester": request["spec"]["requester"]["username"]},
            "decision": verb,
            "decider": stamp(who),
        },
    });
    if verb == "Approve" {
        decision["spec"]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    }
    decision
}

/// An eligibility as a user writes it.
pub fn eligibility(author: &str, name: &str) -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility",
        "metadata": {"name": name, "annotations": {"jitrbac.dev/author": author}},
        "spec": {
            "subjects": [{"kind": "Group", "name": "devs"}],
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "namespaces": {"names": ["payments"]},
            "policyRef": {"name": "any"},
            "maxDuration": "1h",
        },
    })
}

/// A policy as a user writes it.
pub fn approval_policy(author: &str, name: &str) -> Value {
    json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy",
        "metadata": {"name": name, "annotations": {"jitrbac.dev/author": author}},
        "spec": {"approval": {"automatic": {}}},
    })
}

/// A `RoleBinding`.
pub fn binding(namespace: &str, name: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    })
}

fn resource(kind: &str) -> ApiResource {
    let (group, version) = match kind {
        "RoleActivationRequest" | "ActivationDecision" | "RoleEligibility" | "ApprovalPolicy" => ("jitrbac.dev", "v1alpha1"),
        "Role" | "RoleBinding" => (RBAC, "v1"),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" | "ValidatingAdmissionPolicy" => {
            ("admissionregistration.k8s.io", "v1")
        }
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    // The plural is derived from the kind, correctly for all of these.
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}
