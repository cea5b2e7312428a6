//! The control plane of all measurements, with users and namespaces for thousands of concurrent activations.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use api::RoleActivationRequest;
use control_plane::{ADMIN, AuditEvent, Operator, OperatorOptions, Options, Plane, Server, User, standard_users, wait_for};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, Client, api::ListParams, core::PartialObjectMeta, runtime::watcher};
use serde_json::{Value, json};

use crate::{
    Failure,
    common::OURS,
    observed_events::Sightings,
    places::{LIMITED, NAMESPACES, OFFERS, PASSING, PEOPLE, Places, UNLIMITED, namespace, offer_name, person},
    process,
};

/// How long earlier work may take to settle, and the maximum number of such waits.
const SETTLING: Duration = Duration::from_secs(5);
const SETTLES: u32 = 30;
/// The maximum CPU of an idle API server, in percent of one CPU.
const CALM: f64 = 15.0;
/// How long the leader's CPU is measured.
const IDLE: Duration = Duration::from_secs(20);
/// How long the operator's processes may take to become ready: they may find tens of thousands of grants, all of them overdue.
const READY: Duration = Duration::from_mins(10);

/// Returns true for the operator's writes about an object: neither its Lease nor the proof of a guard.
fn tells(call: &AuditEvent) -> bool {
    call.user.username.starts_with(OURS) && call.is_write() && call.resource() != "leases" && !call.request_uri.contains("dryRun")
}

/// A control plane, and the operator once it is installed.
pub struct ClusterFixture {
    /// The control plane.
    pub plane: Plane,
    /// A client with all permissions.
    pub admin: Client,
    /// A client of an approver.
    pub lead: Client,
    /// The events of the bindings.
    pub bindings: Arc<Sightings>,
    /// The events of requests that become active, once the product is installed.
    pub active: Option<Arc<Sightings>>,
    /// The users, eligibilities and namespaces of the activations.
    pub places: Places,
    operator: Option<Operator>,
}

/// A replica that was started in addition to the leader.
pub struct StartUp {
    /// Milliseconds until the replica has listed all bindings and set their timers.
    pub took: f64,
    /// Its resident memory in MiB at that time.
    pub memory: f64,
}

/// The options of the installation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting {
    /// The retention of requests after short grants; none keeps them forever, like all other requests.
    pub retention: Option<&'static str>,
    /// The webhook's port of an earlier installation: another port would be another guard.
    pub webhook_port: Option<u16>,
}

impl ClusterFixture {
    /// Starts a control plane without the product, with namespaces.
    pub async fn start() -> Result<Self, Failure> {
        Self::with(Options::default()).await
    }

    /// The same on a permanent directory, with everything that an earlier run stored there.
    pub async fn resume(directory: PathBuf) -> Result<Self, Failure> {
        // No measurement reads the audit log, and it would fill the disk.
        let apiserver_flags = ["--audit-log-maxsize=100", "--audit-log-maxbackup=1"].map(str::to_owned).to_vec();
        let fixture = Self::with(Options { directory: Some(directory), keep: true, apiserver_flags, ..Options::default() }).await?;
        // A release record of an interrupted installation: Helm assumes that the installation is still running and refuses another one.
        let begun = "owner=helm,status in (pending-install,pending-upgrade)";
        fixture.plane.kubectl(ADMIN, &["delete", "secret", "-n", "jit-system", "-l", begun]).await?.ok()?;
        Ok(fixture)
    }

    async fn with(options: Options) -> Result<Self, Failure> {
        let mut users = standard_users()?;
        for number in 0..PEOPLE {
            users.push(User::new(&person(number), ["devs"])?);
        }
        let plane = Plane::start(Options { users: Some(users), ..options }).await?;
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
        Ok(Self { plane, admin, lead, bindings, active: None, places: Places::new(people), operator: None })
    }

    /// Installs the product, two replicas and the webhook, and makes all users eligible.
    pub async fn install(&mut self, setting: Setting) -> Result<(), Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut options = OperatorOptions::of_checkout(root)?;
        (options.webhook_port, options.ready_within) = (setting.webhook_port, READY);
        self.operator = Some(Operator::start(self.plane.cluster(), self.plane.reaper(), options).await?);
        let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
        let mut objects = vec![json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bench-requesters"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jit-rbac-requester"},
            "subjects": [group("devs"), group("leads")],
        })];
        let stages = json!({"stages": [{"name": "leads", "approvers": {"groups": ["leads"]}, "required": 1}]});
        let limits = json!({"maxActivePerUser": 1000, "maxPendingPerUser": 1000, "cooldown": "1h"});
        for (name, approval, limits, retention) in [
            ("automatic", json!({"automatic": {}}), json!({}), None),
            ("approved", stages, json!({}), None),
            ("limited", json!({"automatic": {}}), limits, None),
            ("passing", json!({"automatic": {}}), json!({}), setting.retention),
        ] {
            let mut spec = json!({"approval": approval, "limits": limits, "eligibility": {"requireEnd": false}});
            if let (Some(retention), Some(spec)) = (retention, spec.as_object_mut()) {
                spec.insert("retention".to_owned(), retention.into());
            }
            objects.push(json!({"apiVersion": "jitrbac.dev/v1alpha1", "kind": "ApprovalPolicy", "metadata": {"name": name}, "spec": spec}));
        }
        let offers = (0..OFFERS).map(|number| (offer_name(number), "automatic"));
        let more = [("approved", "approved"), (UNLIMITED, "automatic"), (LIMITED, "limited"), (PASSING, "passing")];
        for (name, policy) in offers.chain(more.map(|(name, policy)| (name.to_owned(), policy))) {
            let spec = json!({
                "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": "ClusterRole", "name": "view"},
                "namespaces": {"selector": {"matchLabels": {"bench": "yes"}}}, "policyRef": {"name": policy}, "maxDuration": "24h",
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

    /// Ends the product's processes and removes its webhooks; the policies stay.
    pub async fn stop_the_product(&mut self) -> Result<(), Failure> {
        self.operator = None;
        for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
            self.plane.kubectl(ADMIN, &["delete", kind, "jit-rbac"]).await?.ok()?;
        }
        Ok(())
    }

    /// The port that the webhook was installed with.
    pub fn webhook_port(&self) -> Option<u16> {
        self.operator.as_ref().map(Operator::webhook_port)
    }

    /// The events of requests that become active.
    pub fn active(&self) -> Result<&Sightings, Failure> {
        Ok(self.active.as_deref().ok_or("nothing is installed yet")?)
    }

    /// Reads the metadata of the requests of this selection, page by page.
    pub async fn each_request(&self, fields: &str, mut see: impl FnMut(PartialObjectMeta<RoleActivationRequest>)) -> Result<(), Failure> {
        let api: Api<RoleActivationRequest> = Api::all(self.admin.clone());
        let mut page = ListParams::default().fields(fields).limit(500);
        loop {
            let list = api.list_metadata(&page).await?;
            list.items.into_iter().for_each(&mut see);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// Stops the watches of a control plane that is about to end.
    pub fn end(&self) {
        self.bindings.end();
        self.active.iter().for_each(|active| active.end());
    }

    /// Resident memory of the leader in MiB.
    pub async fn memory(&self) -> Result<f64, Failure> {
        process::memory(self.leader().await?)
    }

    /// CPU of the idle leader, in percent of one. It is measured once the leader has written nothing for a while, since it still creates
    /// the Events of earlier work, one after the other.
    pub async fn idle(&self) -> Result<f64, Failure> {
        self.settle().await?;
        process::cpu(self.leader().await?, IDLE).await
    }

    /// Waits until the operator has written nothing for a while.
    pub async fn settle(&self) -> Result<(), Failure> {
        for _ in 0..SETTLES {
            let mut log = self.plane.cluster().audit_from_now()?;
            tokio::time::sleep(SETTLING).await;
            if !log.read()?.iter().any(tells) {
                break;
            }
        }
        Ok(())
    }

    /// Waits until the API server is idle: writes to its store keep the API server and all watchers busy for a while.
    pub async fn calm(&self) -> Result<(), Failure> {
        let apiserver = self.plane.apiserver().pid().ok_or("the API server does not run")?;
        for _ in 0..SETTLES {
            if process::cpu(apiserver, SETTLING).await? < CALM {
                break;
            }
        }
        Ok(())
    }

    /// Restarts a replica other than the leader.
    pub async fn start_up(&self) -> Result<StartUp, Failure> {
        let leader = self.holder().await?;
        let other = self.controllers()?.iter().find(|server| server.name() != leader).ok_or("there is no other replica")?;
        other.kill();
        let start = Instant::now();
        other.start()?;
        other.wait_until_ready(READY).await?;
        let took = start.elapsed().as_secs_f64() * 1_000.0;
        Ok(StartUp { took, memory: process::memory(other.pid().ok_or("the replica has ended")?)? })
    }

    /// The process that holds the Lease.
    pub async fn leader(&self) -> Result<u32, Failure> {
        let leader = self.holder().await?;
        let server = self.controllers()?.iter().find(|server| server.name() == leader).ok_or("no replica is the leader")?;
        Ok(server.pid().ok_or("the leader does not run")?)
    }

    fn controllers(&self) -> Result<&[Server], Failure> {
        Ok(self.operator.as_ref().ok_or("nothing is installed yet")?.controllers())
    }

    async fn holder(&self) -> Result<String, Failure> {
        let args = ["get", "lease", "jit-rbac-controller", "-n", "jit-system", "-o", "jsonpath={.spec.holderIdentity}"];
        let holder = wait_for("a leader", Duration::from_secs(30), async || {
            let said = self.plane.kubectl(ADMIN, &args).await.ok()?.ok().ok()?;
            (!said.is_empty()).then_some(said)
        });
        Ok(holder.await?)
    }
}

async fn apply(plane: &Plane, objects: &[Value]) -> Result<(), Failure> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    plane.apply(ADMIN, &list.to_string()).await?.ok()?;
    Ok(())
}
