//! The cluster of all tests: the product in pods, one namespace, one eligibility.

use std::{future::Future, pin::Pin, sync::Mutex, time::Duration};

use control_plane::{ADMIN, NAMESPACE, NODE, ensure, wait_for_ok};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use node::{Node, Options, Run};
use serde_json::{Value, json};

/// Why a test failed.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of a test.
pub type Outcome = Result<(), Error>;
/// A test: takes the cluster and returns a future.
pub type TestCase = for<'a> fn(&'a ClusterFixture) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// The time limit of a condition that should hold soon. It bounds a wait and is not a delay.
pub const SOON: Duration = Duration::from_mins(1);
/// How late a grant may end while a controller runs.
pub const IN_TIME: SignedDuration = SignedDuration::from_millis(1500);
/// The namespace in which access is granted, and the name of its eligibility and policy.
pub const TEAM: &str = "team";

/// A list of test cases: `test_cases![first, second]` for functions `async fn(&ClusterFixture) -> Outcome`.
#[macro_export]
macro_rules! test_cases {
    ($($name:ident),* $(,)?) => {
        vec![$((stringify!($name), (|fixture| Box::pin($name(fixture))) as $crate::cluster_fixture::TestCase)),*]
    };
}

/// An active grant.
#[derive(Clone, Debug)]
pub struct Granted {
    pub request: String,
    pub binding: String,
    pub deadline: Timestamp,
}

/// The cluster with the product.
pub struct ClusterFixture {
    pub node: Node,
    pub client: Client,
    /// The values of the installed release.
    values: Mutex<Value>,
}

impl ClusterFixture {
    /// Starts a cluster and installs the chart with its defaults; only the roles to grant are named.
    pub async fn start(run: &Run) -> Result<Self, Error> {
        let node = Node::start(run, Options::default()).await?;
        let values = values(&json!({}));
        node.install(&values).await?;
        let fixture = Self { client: node.plane().client(ADMIN).await?, node, values: Mutex::new(values) };
        let apply = async |object: Value| fixture.node.cluster().apply(ADMIN, &object.to_string()).await?.ok();
        apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})).await?;
        apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "requesters"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jit-rbac-requester"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}],
        }))
        .await?;
        apply(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": TEAM},
            "spec": {"approval": {"automatic": {}}, "revokers": {"groups": ["security"]}, "eligibility": {"requireEnd": false}},
        }))
        .await?;
        apply(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": TEAM},
            "spec": {
                "subjects": [{"kind": "Group", "name": "devs"}],
                "roleRef": {"kind": "ClusterRole", "name": "edit"},
                "acceptRisks": ["Impersonation", "ServiceAccountTokens"],
                "namespaces": {"names": [TEAM]},
                "policyRef": {"name": TEAM},
                "maxDuration": "1h",
            },
        }))
        .await?;
        fixture.node.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("roleeligibility/{TEAM}")]).await?.ok()?;
        Ok(fixture)
    }

    /// Upgrades the release to these values in addition to those of [`ClusterFixture::start`], unless it has them, and waits until all pods
    /// are ready. A test that failed may have left the node in another state.
    pub async fn with_values(&self, more: &Value) -> Outcome {
        self.node.kubelet().start()?;
        self.node.kubectl(&["uncordon", NODE]).await?.ok()?;
        let wanted = values(more);
        if *self.values.lock().expect("the lock is not poisoned") != wanted {
            self.node.upgrade(&wanted).await?;
            *self.values.lock().expect("the lock is not poisoned") = wanted;
        }
        self.until_pods_are_ready().await
    }

    /// Installs the release again, after it was uninstalled, with the values that it had.
    pub async fn install_again(&self) -> Outcome {
        let values = self.values.lock().expect("the lock is not poisoned").clone();
        self.node.upgrade(&values).await?;
        self.until_pods_are_ready().await
    }

    /// Waits until every Deployment of the release has as many ready pods as it wants, and no others.
    pub async fn until_pods_are_ready(&self) -> Outcome {
        for component in ["controller", "webhook"] {
            let name = format!("deployment/jit-rbac-{component}");
            self.node.kubectl(&["rollout", "status", "--timeout=60s", "-n", NAMESPACE, &name]).await?.ok()?;
        }
        let gone = wait_for_ok("terminating pods to be gone", SOON, async || {
            let pods = self.pods("").await.map_err(|error| error.to_string())?;
            let left = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_some());
            left.map_or(Ok(()), |pod| Err(pod.metadata.name.unwrap_or_default()))
        });
        Ok(gone.await?)
    }

    /// Returns the pods of a component of the release, or of all.
    pub async fn pods(&self, component: &str) -> Result<Vec<Pod>, Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let labels = if component.is_empty() {
            "app.kubernetes.io/instance=jit-rbac".to_owned()
        } else {
            format!("app.kubernetes.io/component={component}")
        };
        Ok(pods.list(&ListParams::default().labels(&labels)).await?.items)
    }

    /// Returns the name of the pod that holds the Lease.
    pub async fn leader(&self) -> Result<String, Error> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let lease = leases.get("jit-rbac-controller").await?;
        Ok(lease.spec.and_then(|spec| spec.holder_identity).ok_or("nobody holds the Lease")?)
    }

    /// Creates a request of `dev`, and waits until it is granted.
    pub async fn grant(&self, duration: &str) -> Result<Granted, Error> {
        self.grant_to("dev", duration).await
    }

    /// Creates a request of a user, and waits until it is granted.
    pub async fn grant_to(&self, user: &str, duration: &str) -> Result<Granted, Error> {
        let api = requests(self.node.plane().client(user).await?);
        let asked = request(duration)?;
        let name = api.create(&PostParams::default(), &asked).await?.metadata.name.ok_or("the request has no name")?;
        let what = format!("request {TEAM}/{name} to be granted");
        let status = wait_for_ok(&what, SOON, async || {
            let status = self.status(&name).await.map_err(|error| error.to_string())?;
            if status["state"] == "Active" { Ok(status) } else { Err(status.to_string()) }
        })
        .await?;
        Ok(Granted {
            request: name,
            binding: status["bindingRef"]["name"].as_str().ok_or("the grant has no RoleBinding")?.to_owned(),
            deadline: status["expiresAt"].as_str().ok_or("the grant has no end")?.parse()?,
        })
    }

    /// Returns the status of a request.
    pub async fn status(&self, request: &str) -> Result<Value, Error> {
        Ok(requests(self.client.clone()).get(request).await?.data["status"].clone())
    }

    /// Returns whether the RoleBinding of a grant exists.
    pub async fn is_bound(&self, granted: &Granted) -> Result<bool, Error> {
        let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::namespaced(self.client.clone(), TEAM);
        Ok(bindings.get_opt(&granted.binding).await?.is_some())
    }

    /// Waits until this moment, while the RoleBinding must exist.
    pub async fn until(&self, moment: Timestamp, granted: &Granted) -> Outcome {
        let reached = wait_for_ok("a moment of the grant", SOON, async || {
            if Timestamp::now() >= moment {
                Ok(Ok(()))
            } else {
                self.is_bound(granted).await.map_err(|error| error.to_string()).and_then(|bound| {
                    if bound { Err("it is not reached".to_owned()) } else { Ok(Err("the grant ended before its deadline")) }
                })
            }
        });
        Ok(reached.await??)
    }

    /// Waits until the grant has ended, and returns how long after its deadline that was observed.
    pub async fn lateness(&self, granted: &Granted) -> Result<SignedDuration, Error> {
        let what = format!("RoleBinding {TEAM}/{} to be gone", granted.binding);
        let end = wait_for_ok(&what, SOON, async || match self.is_bound(granted).await {
            Ok(false) => Ok(Timestamp::now()),
            Ok(true) => Err("it exists".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await?;
        Ok(end.duration_since(granted.deadline))
    }

    /// Waits until the grant has ended, in time and not before its deadline, and its request says so.
    pub async fn ends_in_time(&self, granted: &Granted) -> Outcome {
        let late = self.lateness(granted).await?;
        println!("    {} ended {late:?} after its deadline", granted.request);
        ensure!(late <= IN_TIME && late >= SignedDuration::ZERO, "the grant ended {late:?} after its deadline");
        self.is_recorded_as_expired(granted).await
    }

    /// Waits until the request of a grant is expired.
    pub async fn is_recorded_as_expired(&self, granted: &Granted) -> Outcome {
        let recorded = wait_for_ok("the request to be expired", SOON, async || {
            let status = self.status(&granted.request).await.map_err(|error| error.to_string())?;
            if status["state"] == "Expired" { Ok(()) } else { Err(status["state"].to_string()) }
        });
        Ok(recorded.await?)
    }
}

/// Returns a request for the team's eligibility.
pub fn request(duration: &str) -> Result<DynamicObject, Error> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest",
        "metadata": {"generateName": "incident-", "namespace": TEAM},
        "spec": {"eligibilityRef": {"name": TEAM}, "duration": duration, "justification": "INC-4711 checkout is slow"},
    }))?)
}

/// Returns the API of requests in the team's namespace.
pub fn requests(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("jitrbac.dev", "v1alpha1", "RoleActivationRequest");
    Api::namespaced_with(client, TEAM, &ApiResource::from_gvk(&kind))
}

fn values(more: &Value) -> Value {
    let mut values = json!({"bindableRoles": {"clusterRoles": ["edit"]}});
    let more = more.as_object().into_iter().flatten();
    values.as_object_mut().expect("it is an object").extend(more.map(|(name, value)| (name.clone(), value.clone())));
    values
}
