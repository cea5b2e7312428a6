//! The control plane that everything is measured on, with people and namespaces for thousands of activations at a time.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use control_plane::{ADMIN, Operator, OperatorOptions, Options, Plane, User, standard_users, wait_for};
use jit_rbac::api::RoleActivationRequest;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, Client, core::PartialObjectMeta, runtime::watcher};
use serde_json::{Value, json};

use crate::{Failure, process, sightings::Sightings};

/// People who may activate, each with a token of his own.
const PEOPLE: usize = 100;
/// Namespaces in which they may.
pub const NAMESPACES: usize = 100;
/// What a person may activate in one namespace at the same time: one request each.
pub const OFFERS: usize = 10;
/// A while in which what came before may settle, and how many of them at most.
const SETTLING: Duration = Duration::from_secs(5);
const SETTLES: u32 = 12;
/// How long the leader's CPU is looked at.
const IDLE: Duration = Duration::from_secs(20);

/// A plane, and the operator once it is installed.
pub struct Ground {
    /// The plane.
    pub plane: Plane,
    /// A client that may do everything.
    pub admin: Client,
    /// Somebody who may approve.
    pub lead: Client,
    /// The bindings that come and go.
    pub bindings: Arc<Sightings>,
    /// The requests that become active, once the product is installed.
    pub active: Option<Arc<Sightings>>,
    people: Vec<Client>,
    places: AtomicUsize,
    operator: Option<Operator>,
}

/// Where somebody can activate something that he has not activated yet.
pub struct Place {
    /// His client.
    pub client: Client,
    /// His name.
    pub person: String,
    /// Where.
    pub namespace: String,
    /// Which of the offers.
    pub offer: usize,
}

impl Ground {
    /// A plane without the product, and namespaces on it.
    pub async fn start() -> Result<Self, Failure> {
        let mut users = standard_users()?;
        for number in 0..PEOPLE {
            users.push(User::new(&person(number), ["devs"])?);
        }
        let plane = Plane::start(Options { users: Some(users), ..Options::default() }).await?;
        let namespaces: Vec<Value> = (0..NAMESPACES)
            .map(|number| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number), "labels": {"bench": "yes"}}}))
            .collect();
        apply(&plane, &namespaces).await?;
        let admin = plane.client(ADMIN).await?;
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            people.push(plane.client(&person(number)).await?);
        }
        let lead = plane.client("lead-1").await?;
        let bindings = Sightings::follow(Api::<PartialObjectMeta<RoleBinding>>::all(admin.clone()), watcher::Config::default());
        Ok(Self { plane, admin, lead, bindings, active: None, people, places: AtomicUsize::new(0), operator: None })
    }

    /// Installs the product, two replicas and the webhook, and makes everybody eligible.
    pub async fn install(&mut self) -> Result<(), Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let options = OperatorOptions::new(env!("CARGO_BIN_EXE_jit-rbac"), root.join("charts/jit-rbac"));
        self.operator = Some(Operator::start(self.plane.cluster(), self.plane.minder(), options).await?);
        let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
        let mut objects = vec![json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bench-requesters"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jit-rbac-requester"},
            "subjects": [group("devs"), group("leads")],
        })];
        let stages = json!({"stages": [{"name": "leads", "approvers": {"groups": ["leads"]}, "required": 1}]});
        for (name, approval) in [("automatic", json!({"automatic": {}})), ("approved", stages)] {
            let spec = json!({"approval": approval, "eligibility": {"requireEnd": false}});
            objects.push(json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": name}, "spec": spec}));
        }
        let offers = (0..OFFERS).map(|number| (offer(number), "automatic")).chain([("approved".to_owned(), "approved")]);
        for (name, policy) in offers {
            let spec = json!({
                "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": "ClusterRole", "name": "view"},
                "namespaces": {"selector": {"matchLabels": {"bench": "yes"}}}, "policyRef": {"name": policy}, "maxDuration": "4h",
            });
            objects
                .push(json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": name}, "spec": spec}));
        }
        apply(&self.plane, &objects).await?;
        let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "rel", "--all"];
        self.plane.kubectl(ADMIN, &wait).await?.ok()?;
        let requests = Api::<PartialObjectMeta<RoleActivationRequest>>::all(self.admin.clone());
        self.active = Some(Sightings::follow(requests, watcher::Config::default().fields("status.state=Active")));
        Ok(())
    }

    /// The requests that become active.
    pub fn active(&self) -> Result<&Sightings, Failure> {
        Ok(self.active.as_deref().ok_or("nothing is installed yet")?)
    }

    /// Looks no longer at a plane that is about to end.
    pub fn end(&self) {
        self.bindings.end();
        self.active.iter().for_each(|active| active.end());
    }

    /// A place of which nobody has asked for anything yet.
    pub fn place(&self) -> Result<Place, Failure> {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        let (who, where_, offer) = (number % PEOPLE, number / PEOPLE, number / PEOPLE / NAMESPACES);
        if offer >= OFFERS {
            return Err("there are no more places".into());
        }
        let client = self.people.get(who).cloned().ok_or("nobody")?;
        Ok(Place { client, person: person(who), namespace: namespace(where_), offer })
    }

    /// Resident memory of the leader in MiB.
    pub async fn memory(&self) -> Result<f64, Failure> {
        process::memory(self.leader().await?)
    }

    /// CPU of the leader while nothing happens, in percent of one: as soon as it falls no more, since what came before is still recorded.
    pub async fn idle(&self) -> Result<f64, Failure> {
        let leader = self.leader().await?;
        let mut before = f64::INFINITY;
        for _ in 0..SETTLES {
            let now = process::cpu(leader, SETTLING).await?;
            if now > before * 0.9 {
                break;
            }
            before = now;
        }
        process::cpu(leader, IDLE).await
    }

    /// Starts another replica than the leader anew: milliseconds until all bindings were looked through and have their timers.
    pub async fn start_up(&self) -> Result<f64, Failure> {
        let leader = self.holder().await?;
        let operator = self.operator.as_ref().ok_or("nothing is installed yet")?;
        let other = operator.controllers().iter().find(|server| server.name() != leader).ok_or("there is no other replica")?;
        other.kill();
        let start = Instant::now();
        other.start()?;
        other.wait_until_ready(Duration::from_mins(2)).await?;
        Ok(start.elapsed().as_secs_f64() * 1_000.0)
    }

    async fn leader(&self) -> Result<u32, Failure> {
        let leader = self.holder().await?;
        let operator = self.operator.as_ref().ok_or("nothing is installed yet")?;
        let server = operator.controllers().iter().find(|server| server.name() == leader).ok_or("nobody leads")?;
        Ok(server.pid().ok_or("the leader does not run")?)
    }

    async fn holder(&self) -> Result<String, Failure> {
        let args = ["get", "lease", "jit-rbac-controller", "-n", "jit-system", "-o", "jsonpath={.spec.holderIdentity}"];
        let holder = wait_for("somebody to lead", Duration::from_secs(30), async || {
            let said = self.plane.kubectl(ADMIN, &args).await.ok()?.ok().ok()?;
            (!said.is_empty()).then_some(said)
        });
        Ok(holder.await?)
    }
}

/// Name of one of the offers.
pub fn offer(number: usize) -> String {
    format!("bench-{number}")
}

fn person(number: usize) -> String {
    format!("bench-{number:03}")
}

/// Name of one of the namespaces; after the last the first comes again.
pub fn namespace(number: usize) -> String {
    format!("bench-{:03}", number % NAMESPACES)
}

async fn apply(plane: &Plane, objects: &[Value]) -> Result<(), Failure> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    plane.apply(ADMIN, &list.to_string()).await?.ok()?;
    Ok(())
}
