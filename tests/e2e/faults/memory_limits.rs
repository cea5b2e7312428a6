//! A user fills the cluster with objects of the maximum size, and every process of the operator stays within the chart's memory limit
//! (T26).

use std::{fs, path::PathBuf, sync::Arc};

use control_plane::{ADMIN, Process, wait_for};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{kill_all, until};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, Setting, automatic},
    guards::{Guard, until_proven, until_verified},
};

/// Latest end of a grant after its deadline, also where the replicas are killed and restarted before it.
const LATEST: SignedDuration = SignedDuration::from_millis(1_500);
/// Roles of about a megabyte, each with this many short names.
const ROLES: usize = 24;
const NAMES: usize = 150_000;
/// Decisions, each with this many labels of about 370 bytes.
const DECISIONS: usize = 126;
const LABELS: usize = 3_200;
/// The number of concurrent writes.
const AT_ONCE: usize = 4;
/// How long a new replica must run.
const LIVES: SignedDuration = SignedDuration::from_secs(12);

/// The chart's value `resources.limits.memory` of a component, in bytes.
fn limit(component: &str) -> Result<u64, Error> {
    let values = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/jit-rbac/values.yaml"))?;
    let of = values.split(&format!("\n{component}:\n")).nth(1).ok_or("no such component")?;
    let mebibytes = of.split("limits: {memory: ").nth(1).and_then(|rest| rest.split("Mi}").next()).ok_or("no limit")?;
    Ok(mebibytes.parse::<u64>()? << 20)
}

/// A limit on the memory of processes, as a kubelet sets it: by a cgroup where this test may create one, and in any case by the kernel's
/// peak value of a process.
struct Limit {
    bytes: u64,
    cgroup: Option<PathBuf>,
}

impl Limit {
    fn new(name: &str, bytes: u64) -> Self {
        let name = format!("jit-rbac-{}-{name}", std::process::id());
        let versions = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let cgroup = versions.iter().find_map(|(root, file)| {
            let group = PathBuf::from(root).join(&name);
            fs::create_dir(&group).ok()?;
            if fs::write(group.join(file), bytes.to_string()).is_ok() {
                return Some(group);
            }
            let _ = fs::remove_dir(&group);
            None
        });
        println!("memory of {name} is limited to {} MiB, by {}", bytes >> 20, cgroup.as_ref().map_or("its peak only", |_| "a cgroup"));
        Self { bytes, cgroup }
    }

    /// Starts a process within the limit.
    fn start(&self, process: &Process) -> Result<u32, Error> {
        process.start()?;
        let pid = process.pid().ok_or("it has ended at once")?;
        if let Some(group) = &self.cgroup {
            fs::write(group.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(pid)
    }

    /// Fails unless the process still runs, and its peak is within the limit.
    fn held(&self, process: &Process, pid: u32) -> Outcome {
        let name = process.name();
        ensure!(process.pid() == Some(pid), "{name} was killed: {}", process.log_of_this_start()?.lines().last().unwrap_or_default());
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let peak = peak.ok_or("the kernel does not report its peak memory")? << 10;
        println!("{name} had {} MiB at most", peak >> 20);
        ensure!(peak < self.bytes, "{name} had {} MiB, and may have {}", peak >> 20, self.bytes >> 20);
        Ok(())
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(group) = &self.cgroup {
            let _ = fs::remove_dir(group);
        }
    }
}

/// A Role with many short names.
fn large_role(namespace: &str, name: &str) -> Value {
    let names: Vec<String> = (0..NAMES).map(|number| format!("{number:x}")).collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "resourceNames": names, "verbs": ["get"]}],
    })
}

fn large_decision(scene: &Scene, request: &str, number: usize) -> Value {
    let labels = (0..LABELS).map(|label| (format!("{label:0>240}.example.com/{label:0>60}"), json!(format!("{label:0>50}"))));
    let mut decision = scene.decision(request, "Deactivate", None);
    decision["metadata"] =
        json!({"name": format!("flood-{number}"), "namespace": scene.name, "labels": labels.collect::<serde_json::Map<_, _>>()});
    decision
}

async fn create(scene: &Scene, gvk: (&str, &str, &str), object: &Value) -> Outcome {
    let (group, version, kind) = gvk;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(scene.fixture.client.clone(), namespace, &resource);
    api.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await?;
    Ok(())
}

const ROLE: (&str, &str, &str) = ("rbac.authorization.k8s.io", "v1", "Role");
const DECISION: (&str, &str, &str) = ("jitrbac.dev", "v1alpha1", "ActivationDecision");

async fn flood(scene: &Scene, other: &str) -> Outcome {
    let roles = stream::iter(0..ROLES).map(async |number| create(scene, ROLE, &large_role(other, &format!("flood-{number}"))).await);
    let outcomes: Vec<Outcome> = roles.buffer_unordered(AT_ONCE).collect().await;
    outcomes.into_iter().collect::<Outcome>()?;
    // The admin removes the bounds of decisions, writes, and restores them.
    let fixture = &scene.fixture;
    let mut guards = Vec::new();
    for (kind, name) in [
        ("validatingadmissionpolicybinding", "jit-rbac-decisions"),
        ("mutatingwebhookconfiguration", "jit-rbac"),
        ("validatingwebhookconfiguration", "jit-rbac"),
    ] {
        let guard = Guard::save(fixture, kind, name).await?;
        guard.delete(fixture).await?;
        guards.push(guard);
    }
    let first = async || create(scene, DECISION, &large_decision(scene, "ended", DECISIONS)).await.ok();
    wait_for("the API server to accept a decision of a megabyte", SOON, first).await?;
    let decisions = stream::iter(0..DECISIONS).map(async |number| create(scene, DECISION, &large_decision(scene, "ended", number)).await);
    let outcomes: Vec<Outcome> = decisions.buffer_unordered(AT_ONCE).collect().await;
    outcomes.into_iter().collect::<Outcome>()?;
    let back = Timestamp::now();
    for guard in &guards {
        guard.restore(fixture).await?;
    }
    until_proven(fixture, back).await
}

pub async fn f48_f73_grants_end_on_time_within_memory_limits_under_a_flood_of_objects(env: Arc<Env>) -> Outcome {
    let (fixture, _permit) = env.fixture_with(Setting::default()).await?;
    let scene = env.scene_on(&fixture, "memory").await?;
    let other = format!("{}-other", scene.name);
    scene.create_namespace(&other).await?;
    let debug = json!({
        "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": "Role", "name": "debug"}, "maxDuration": "1h",
        "namespaces": {"names": [scene.name, other]},
    });
    scene.offers(&["ended", "runs", "asked", "large"], &automatic(), &debug).await?;
    scene.granted("dev", "ended", "5s").await?;
    scene.ends_as("ended", "Expired", &[], SOON).await?;
    // Objects that were written after the last proof before a gap would have to be written again.
    until_verified(&fixture).await?;
    let began = Timestamp::now();
    flood(&scene, &other).await?;
    measured("flooding a cluster with Roles and decisions took", Timestamp::now().duration_since(began));
    let mut calls = Calls::from_now(&scene)?;

    // New processes within the limits, while a grant expires.
    let runs = scene.granted("dev", "runs", "25s").await?;
    kill_all(&fixture);
    fixture.operator.webhook().kill();
    let mut started = Vec::new();
    for server in fixture.operator.servers() {
        let component = if server.name() == "webhook" { "webhook" } else { "controller" };
        let limit = Limit::new(server.name(), limit(component)?);
        let pid = limit.start(server)?;
        started.push((server, limit, pid));
    }
    for (server, ..) in &started {
        server.wait_until_ready(SOON).await?;
    }
    until(runs.deadline).await?;
    calls.ended_on_time(&runs.binding, runs.deadline, LATEST, "grant ended after its deadline, replicas restarted in a flood").await?;
    let asked = scene.granted("dev", "asked", "8s").await?;
    until(asked.deadline).await?;
    calls.ended_on_time(&asked.binding, asked.deadline, LATEST, "grant ended after its deadline, in a flood").await?;
    until(Timestamp::now() + LIVES).await?;

    // A role beyond the limit is granted to no user, and the reason is reported: in a request, in an eligibility, and at a later
    // evaluation.
    scene.kubectl(ADMIN, &["delete", "role", "debug", "-n", &other]).await?.ok()?;
    create(&scene, ROLE, &large_role(&other, "debug")).await?;
    let mut request = scene.request("large", &scene.offered("large"), "1m");
    request["metadata"]["namespace"] = json!(other);
    let said = scene.create("dev", &request).await?;
    let told = |text: &str| text.contains("RoleTooLarge") && text.contains("Role 'debug' have") && text.contains("262144 at most");
    ensure!(!said.status.success() && told(&said.stderr), "it says: {}", said.stderr);
    let mut spec = debug.clone();
    spec["policyRef"] = json!({"name": scene.offered("large")});
    let eligibility = json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": format!("{}-later", scene.name)}, "spec": spec,
    });
    let said = scene.apply(ADMIN, &eligibility).await?;
    ensure!(
        !said.status.success() && told(&said.stderr) && said.stderr.contains(&format!("in namespace '{other}'")),
        "it says: {}",
        said.stderr
    );

    for (server, limit, pid) in &started {
        limit.held(server, *pid)?;
    }
    Ok(())
}
