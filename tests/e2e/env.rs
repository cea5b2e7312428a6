//! The environment of a test: the shared control plane or its own one, a namespace, users, eligibilities and policies.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use control_plane::{ADMIN, Said, on_interrupt, wait_for_ok};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    sync::{OnceCell, RwLock, Semaphore},
};

pub use crate::cluster_fixture::{ClusterFixture, Setting};
use crate::{bindings, soak};

/// Why a test failed.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of a test.
pub type Outcome = Result<(), Error>;
/// A test: takes the environment and returns a future.
pub type TestCase = fn(Arc<Env>) -> Pin<Box<dyn Future<Output = Outcome>>>;

/// The time limit of a condition that should hold at once. It bounds a wait and is not a delay.
pub const SOON: Duration = Duration::from_secs(30);
/// `ClusterRole`s that the operator may bind in addition to Kubernetes' own; one test each creates them.
pub const AGGREGATED: &str = "e2e-aggregated";
pub const GAINING: &str = "e2e-gaining";
/// The number of concurrent control planes of fault tests, in addition to the shared one.
pub const OWN_PLANES: usize = 2;

/// A list of test cases: `test_cases![first, second]` for functions `async fn(Arc<Env>) -> Outcome`.
#[macro_export]
macro_rules! test_cases {
    ($($name:ident),* $(,)?) => {
        vec![$((stringify!($name), (|env| Box::pin($name(env))) as $crate::env::TestCase)),*]
    };
}

/// The state that all tests share.
pub struct Env {
    runtime: Runtime,
    shared: OnceCell<Arc<ClusterFixture>>,
    unguarded: OnceCell<RwLock<Arc<ClusterFixture>>>,
    own: Arc<Semaphore>,
    number: AtomicU32,
    /// Kept for the interrupt handler.
    started: Arc<Mutex<Vec<std::sync::Weak<ClusterFixture>>>>,
}

impl Env {
    /// Nothing is started before a test needs it.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
        let started: Arc<Mutex<Vec<std::sync::Weak<ClusterFixture>>>> = Arc::default();
        let fixtures = started.clone();
        on_interrupt(move || {
            for fixture in fixtures.lock().expect("the lock is not poisoned").iter().filter_map(std::sync::Weak::upgrade) {
                fixture.plane.end();
            }
        })
        .expect("signals can be listened for");
        Self {
            runtime,
            shared: OnceCell::new(),
            unguarded: OnceCell::new(),
            own: Arc::new(Semaphore::new(OWN_PLANES)),
            number: AtomicU32::new(0),
            started,
        }
    }

    /// Runs a test, within a time limit.
    pub fn run(self: Arc<Self>, name: &str, case: TestCase) -> Outcome {
        let env = self.clone();
        // Most of it may be spent waiting for one of the few control planes.
        let limit = Duration::from_mins(12) + Duration::from_secs(soak::seconds().unwrap_or_default());
        self.runtime.block_on(async move {
            tokio::time::timeout(limit, case(env)).await.unwrap_or_else(|_| Err(format!("{name} took longer than {limit:?}").into()))
        })
    }

    /// Returns the control plane that tests share. They must not change it, its operator and its policies.
    pub async fn fixture(&self) -> Result<Arc<ClusterFixture>, Error> {
        let start = async || {
            let fixture = Arc::new(ClusterFixture::start(Setting::default()).await?);
            self.started.lock().expect("the lock is not poisoned").push(Arc::downgrade(&fixture));
            Ok::<_, Error>(fixture)
        };
        self.shared.get_or_try_init(start).await.cloned()
    }

    /// Returns a control plane for one test, which may change it. At most a few exist at a time.
    pub async fn own_fixture(&self, values: Value) -> Result<(Arc<ClusterFixture>, tokio::sync::OwnedSemaphorePermit), Error> {
        self.fixture_with(Setting { values, ..Setting::default() }).await
    }

    /// The same with the test's own options.
    pub async fn fixture_with(&self, setting: Setting) -> Result<(Arc<ClusterFixture>, tokio::sync::OwnedSemaphorePermit), Error> {
        self.fixture_of(setting, 1).await
    }

    /// The same for a test that starts processes all the time: no other test has a control plane of its own meanwhile.
    pub async fn exclusive_fixture(&self) -> Result<(Arc<ClusterFixture>, tokio::sync::OwnedSemaphorePermit), Error> {
        self.fixture_of(Setting::default(), u32::try_from(OWN_PLANES)?).await
    }

    async fn fixture_of(&self, setting: Setting, planes: u32) -> Result<(Arc<ClusterFixture>, tokio::sync::OwnedSemaphorePermit), Error> {
        let permit = self.own.clone().acquire_many_owned(planes).await?;
        let fixture = Arc::new(ClusterFixture::start(setting).await?);
        self.started.lock().expect("the lock is not poisoned").push(Arc::downgrade(&fixture));
        Ok((fixture, permit))
    }

    /// Returns a scene on the shared control plane, with names of its own.
    pub async fn scene(&self, name: &str) -> Result<Scene, Error> {
        Scene::new(self.fixture().await?, self.number.fetch_add(1, Ordering::Relaxed), name).await
    }

    /// Returns a scene on a control plane of its own.
    pub async fn scene_on(&self, fixture: &Arc<ClusterFixture>, name: &str) -> Result<Scene, Error> {
        Scene::new(fixture.clone(), self.number.fetch_add(1, Ordering::Relaxed), name).await
    }

    /// Returns a control plane without the policy for managed bindings, for tests of writes that the policy denies to all users. Tests that
    /// end the operator's processes have exclusive access, all others share it.
    pub async fn unguarded(&self) -> Result<&RwLock<Arc<ClusterFixture>>, Error> {
        let start = async || {
            let fixture = Arc::new(ClusterFixture::start(Setting { unwatched: &["jit-rbac-bindings"], ..Setting::default() }).await?);
            self.started.lock().expect("the lock is not poisoned").push(Arc::downgrade(&fixture));
            bindings::remove_policy(&fixture).await?;
            Ok::<_, Error>(RwLock::new(fixture))
        };
        self.unguarded.get_or_try_init(start).await
    }

    /// Ends the control planes that tests share.
    pub fn end(&self) {
        let unguarded = self.unguarded.get().map(|fixture| fixture.blocking_read().clone());
        for fixture in self.shared.get().into_iter().chain(&unguarded) {
            fixture.inspector.finish();
            fixture.plane.end();
        }
    }
}

/// A namespace with a Role `debug`, and the objects of a test.
pub struct Scene {
    /// Its control plane.
    pub fixture: Arc<ClusterFixture>,
    /// The namespace; also the prefix of the names of cluster-scoped objects.
    pub name: String,
}

impl Scene {
    async fn new(fixture: Arc<ClusterFixture>, number: u32, name: &str) -> Result<Self, Error> {
        let scene = Self { fixture, name: format!("{name}-{number}") };
        scene.create_namespace(&scene.name).await?;
        Ok(scene)
    }

    /// Creates a further namespace of this scene, labelled `scene=<name of the scene>`, with a Role `debug` that may get pods.
    pub async fn create_namespace(&self, name: &str) -> Outcome {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"scene": self.name}}});
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "debug", "namespace": name},
            "rules": [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}],
        });
        self.admin(&[namespace, role]).await
    }

    /// Runs kubectl as a user.
    pub async fn kubectl(&self, user: &str, args: &[&str]) -> Result<Said, Error> {
        Ok(self.fixture.cluster().run(user, args).await?)
    }

    /// Runs `kubectl apply -f -` as a user.
    pub async fn apply(&self, user: &str, object: &Value) -> Result<Said, Error> {
        Ok(self.fixture.cluster().apply(user, &object.to_string()).await?)
    }

    /// Runs `kubectl create -f -` as a user.
    pub async fn create(&self, user: &str, object: &Value) -> Result<Said, Error> {
        Ok(self.fixture.cluster().run_with(user, &["create", "-f", "-"], &object.to_string()).await?)
    }

    /// Applies objects as the admin.
    pub async fn admin(&self, objects: &[Value]) -> Outcome {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.apply(ADMIN, &list).await?.ok()?;
        Ok(())
    }

    /// Applies a policy and an eligibility of the scene's name and `suffix`, and waits until they are ready. The specs come from
    /// [`automatic`], [`approved_by`] and [`eligibility`], with the test's changes; names and references are filled in here.
    pub async fn offer(&self, suffix: &str, policy: Value, mut eligibility: Value) -> Result<String, Error> {
        let name = format!("{}-{suffix}", self.name);
        eligibility["policyRef"] = json!({"name": name});
        if eligibility["namespaces"].is_null() {
            eligibility["namespaces"] = json!({"names": [self.name]});
        }
        self.admin(&[
            json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": name}, "spec": policy}),
            json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name}, "spec": eligibility}),
        ])
        .await?;
        self.kubectl(ADMIN, &["wait", "--for=condition=Ready", "--timeout=15s", &format!("roleeligibility/{name}")]).await?.ok()?;
        Ok(name)
    }

    /// A request in the scene's namespace, to be applied by a user.
    pub fn request(&self, name: &str, eligibility: &str, duration: &str) -> Value {
        json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"name": name, "namespace": self.name},
            "spec": {"eligibilityRef": {"name": eligibility}, "duration": duration, "justification": "an end-to-end test"},
        })
    }

    /// A decision on a request in the scene's namespace. For Approve, `digest` is the one that the approver saw.
    pub fn decision(&self, request: &str, verb: &str, digest: Option<&str>) -> Value {
        let mut decision = json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ActivationDecision", "metadata": {"generateName": format!("{request}-"), "namespace": self.name},
            "spec": {"requestRef": {"name": request}, "decision": verb, "comment": "noted"},
        });
        if let Some(digest) = digest {
            decision["spec"]["digest"] = json!(digest);
        }
        decision
    }

    /// Approves a request as `user`, with the digest in its current status.
    pub async fn approve(&self, user: &str, request: &str) -> Outcome {
        let digest = self.status(request).await?["digest"].as_str().unwrap_or_default().to_owned();
        self.create(user, &self.decision(request, "Approve", Some(&digest))).await?.ok()?;
        Ok(())
    }

    /// Returns the API of a kind in the scene's namespace, with the admin's client: much cheaper than kubectl for polls.
    pub fn api(&self, kind: &str) -> Option<Api<DynamicObject>> {
        self.api_as(self.fixture.client.clone(), kind)
    }

    /// The same with a user's client.
    pub fn api_as(&self, client: Client, kind: &str) -> Option<Api<DynamicObject>> {
        let (group, version, kind) = match kind {
            "rar" => ("jitrbac.dev", "v1alpha1", "RoleActivationRequest"),
            "adec" => ("jitrbac.dev", "v1alpha1", "ActivationDecision"),
            "rolebinding" | "rolebindings" => ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
            "configmap" => ("", "v1", "ConfigMap"),
            _ => return None,
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Some(Api::namespaced_with(client, &self.name, &resource))
    }

    /// Returns a stored object of the scene's namespace as JSON; none if it does not exist.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Option<Value>, Error> {
        if let Some(api) = self.api(kind) {
            return Ok(api.get_opt(name).await?.map(serde_json::to_value).transpose()?);
        }
        let said = self.kubectl(ADMIN, &["get", kind, name, "-n", &self.name, "-o", "json", "--ignore-not-found"]).await?.ok()?;
        Ok(if said.trim().is_empty() { None } else { Some(serde_json::from_str(&said)?) })
    }

    /// Returns the status of a request; null where there is none.
    pub async fn status(&self, request: &str) -> Result<Value, Error> {
        Ok(self.get("rar", request).await?.map(|r| r["status"].clone()).unwrap_or_default())
    }

    /// Waits until a request is in `state`, and returns its status.
    pub async fn until_state(&self, request: &str, state: &str, limit: Duration) -> Result<Value, Error> {
        let what = format!("request {}/{request} to be {state}", self.name);
        let status = wait_for_ok(&what, limit, async || {
            let status = self.status(request).await.map_err(|error| error.to_string())?;
            if status["state"] == state { Ok(status) } else { Err(format!("it is {} ({})", status["state"], status["reason"])) }
        });
        Ok(status.await?)
    }

    /// Returns the objects of a kind in the scene's namespace.
    pub async fn list(&self, kind: &str) -> Result<Vec<Value>, Error> {
        let api = self.api(kind).ok_or_else(|| format!("there is no API for {kind}"))?;
        let list = api.list(&ListParams::default()).await?;
        Ok(list.items.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    }

    /// Returns the managed bindings of the scene's namespace.
    pub async fn bindings(&self) -> Result<Vec<Value>, Error> {
        let bindings = self.list("rolebindings").await?;
        Ok(bindings.into_iter().filter(|b| b["metadata"]["name"].as_str().is_some_and(|n| n.starts_with("jit-"))).collect())
    }

    /// Waits until the scene's namespace has no managed binding.
    pub async fn until_no_binding(&self, limit: Duration) -> Outcome {
        let what = format!("no managed binding in {}", self.name);
        let gone = wait_for_ok(&what, limit, async || match self.bindings().await.map(|b| b.len()) {
            Ok(0) => Ok(()),
            Ok(many) => Err(format!("there are {many}")),
            Err(error) => Err(error.to_string()),
        });
        Ok(gone.await?)
    }

    /// Runs `kubectl auth can-i` as a user in the scene's namespace.
    pub async fn can(&self, user: &str, verb: &str, resource: &str) -> Result<bool, Error> {
        let said = self.kubectl(user, &["auth", "can-i", verb, resource, "-n", &self.name]).await?;
        Ok(said.stdout.trim() == "yes")
    }
}

/// A policy that approves automatically and has `security` as revoker.
pub fn automatic() -> Value {
    json!({"approval": {"automatic": {}}, "revokers": {"groups": ["security"]}, "eligibility": {"requireEnd": false}})
}

/// A policy with one stage: this many approvers of a group.
pub fn approved_by(group: &str, required: u32) -> Value {
    json!({
        "approval": {"stages": [{"name": "first", "approvers": {"groups": [group]}, "required": required}]},
        "revokers": {"groups": ["security"]},
        "eligibility": {"requireEnd": false},
    })
}

/// An eligibility of the group `devs` for a `ClusterRole`, up to an hour, in the scene's namespace.
pub fn eligibility(cluster_role: &str) -> Value {
    json!({
        "subjects": [{"kind": "Group", "name": "devs"}],
        "roleRef": {"kind": "ClusterRole", "name": cluster_role},
        "maxDuration": "1h",
        "acceptRisks": risks(cluster_role),
    })
}

/// The effects of Kubernetes' own roles that outlast a grant, and must be accepted.
pub fn risks(cluster_role: &str) -> Value {
    match cluster_role {
        "edit" => json!(["Impersonation", "ServiceAccountTokens"]),
        "admin" => json!(["Escalation", "Impersonation", "ServiceAccountTokens"]),
        _ => json!([]),
    }
}
