use std::path::Path;
use std::time::Duration;

use control_plane::{ADMIN, Cluster, Error, NODE, NodeBinaries, Plane, Process, Result, Said, wait_for, wait_for_ok};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::Api;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::Run;
use crate::components::{Components, GATEWAY, NAMESPACE, PAUSE, SNAPSHOTTER, SOCKET};
use crate::image;

/// The time limit for containerd, the kubelet and kube-proxy to be ready.
const START: Duration = Duration::from_mins(1);
/// The number of lines of a command in a description.
const LINES: usize = 25;
/// The address of the API server's Service.
const API_SERVICE: (&str, u16) = ("10.0.0.1", 443);

/// The options of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The API server's port, where it must be a specific one.
    pub apiserver_port: Option<u16>,
}

/// A running cluster of one node.
#[derive(Debug)]
pub struct Node {
    kubelet: Process,
    kube_proxy: Process,
    scheduler: Process,
    containerd: Process,
    plane: Plane,
    binaries: NodeBinaries,
}

impl Node {
    /// Starts a cluster in the namespaces of this run, builds missing programs, and waits until pods can run and Services are routed.
    pub async fn start(run: &Run, options: Options) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(NodeBinaries::find)
            .await
            .map_err(|error| Error::State(format!("cannot find the programs: {error}")))??;
        let plane = control_plane::Options {
            directory: Some(run.directory().join("plane")),
            node_address: Some(GATEWAY),
            apiserver_port: options.apiserver_port,
            ..control_plane::Options::default()
        };
        let plane = Plane::start(plane).await?;
        let components = Components { run, cluster: plane.cluster(), binaries: &binaries };
        let spawn = |spec| Process::spawn(spec, plane.reaper());
        let containerd = spawn(components.containerd()?)?;
        let scheduler = spawn(components.scheduler()?)?;
        wait_for_ok("containerd to be ready", START, async || match containerd.check() {
            Err(error) => Ok(Err(error)),
            Ok(()) => ctr(&binaries, &["version"]).await.map(|_| Ok(())).map_err(|error| error.to_string()),
        })
        .await??;
        let archive = run.directory().join("pause.tar");
        image::write(&binaries.pause, &archive)?;
        load(&binaries, &archive, PAUSE).await?;
        let kubelet = spawn(components.kubelet()?)?;
        let kube_proxy = spawn(components.kube_proxy()?)?;
        let node = Self { kubelet, kube_proxy, scheduler, containerd, plane, binaries };
        node.wait_until_ready().await?;
        Ok(node)
    }

    /// Waits until the node is ready and the Service of the API server is routed.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let nodes: Api<NodeObject> = Api::all(self.plane.client(ADMIN).await?);
        let running = || [&self.kubelet, &self.kube_proxy, &self.scheduler, &self.containerd].into_iter().try_for_each(Process::check);
        wait_for_ok("the node to be ready", START, async || {
            if let Err(error) = running() {
                return Ok(Err(error));
            }
            let node = nodes.get(NODE).await.map_err(|error| error.to_string())?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").ok_or("it has no condition Ready")?;
            if ready.status == "True" { Ok(Ok(())) } else { Err(ready.message.unwrap_or_default()) }
        })
        .await??;
        wait_for_ok("the Service of the API server to be routed", START, async || match running() {
            Err(error) => Ok(Err(error)),
            Ok(()) => TcpStream::connect(API_SERVICE).await.map(|_| Ok(())).map_err(|error| error.to_string()),
        })
        .await?
    }

    /// Returns the control plane.
    #[must_use]
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// Returns the access to the cluster: clients, kubeconfigs, kubectl, Helm.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        self.plane.cluster()
    }

    /// Returns the kubelet, to be killed, stopped and started. Containers continue to run without it.
    #[must_use]
    pub fn kubelet(&self) -> &Process {
        &self.kubelet
    }

    /// Runs kubectl as the admin and waits for it.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Said> {
        self.cluster().run(ADMIN, args).await
    }

    /// Describes the state of the cluster, for the message of a failed test.
    pub async fn describe(&self) -> String {
        let mut parts = Vec::new();
        for args in [&["get", "pods", "-A", "-o", "wide"][..], &["get", "events", "-A", "--sort-by=.lastTimestamp"], &["get", "nodes"]] {
            let said = self.kubectl(args).await.and_then(Said::ok).unwrap_or_else(|error| error.to_string());
            let lines: Vec<_> = said.lines().collect();
            let end = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
            parts.push(format!("kubectl {}\n{}\n", args.join(" "), end.join("\n")));
        }
        parts.concat()
    }

    /// Runs Helm as the admin and waits for it.
    pub async fn helm(&self, args: &[&str]) -> Result<Said> {
        self.cluster().run_helm(args).await
    }

    /// Imports the image for this machine's platform from an OCI archive, under this name, so that the kubelet need not pull it.
    pub async fn load_image(&self, archive: &Path, name: &str) -> Result<()> {
        load(&self.binaries, archive, name).await
    }

    /// Sends SIGKILL to the process of a pod's first container, as the kernel does when memory is short.
    pub async fn kill_container(&self, namespace: &str, pod: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.plane.client(ADMIN).await?, namespace);
        let what = format!("pod {namespace}/{pod} to have a container");
        let id = wait_for(&what, START, async || {
            let status = pods.get(pod).await.ok()?.status?.container_statuses?.into_iter().next()?;
            status.container_id?.strip_prefix("containerd://").map(str::to_owned)
        })
        .await?;
        ctr(&self.binaries, &["tasks", "kill", "--signal", "SIGKILL", &id]).await.map(drop)
    }
}

async fn load(binaries: &NodeBinaries, archive: &Path, name: &str) -> Result<()> {
    let archive = archive.display().to_string();
    let args = ["images", "import", "--local", "--snapshotter", SNAPSHOTTER, "--index-name", name, &archive];
    ctr(binaries, &args).await.map(drop)
}

async fn ctr(binaries: &NodeBinaries, args: &[&str]) -> Result<String> {
    let mut command = Command::new(&binaries.ctr);
    command.args(["--address", SOCKET, "--namespace", NAMESPACE]).args(args).kill_on_drop(true);
    let output = command.output().await.map_err(Error::path("start", &binaries.ctr))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command { command: format!("ctr {}", args.join(" ")), output: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
