//! The operator of a control plane: its chart, its two identities, its processes.

mod health;
mod install;
mod probe;
mod server;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::components::flag;
use crate::ports::free_port;
use crate::process::Spec;
use crate::programs::program;
use crate::{Cluster, Error, ProcessRecord, Proxy, Reaper, Result};
use install::Installed;
pub use install::{NAMESPACE, RELEASE};
pub use probe::wait_until_guarded;
pub use server::Server;

/// The default time limit for a process of the operator to become ready.
const READY: Duration = Duration::from_secs(30);

/// The options of the operator's installation and start.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The `jit-rbac` program.
    pub binary: PathBuf,
    /// The chart's directory.
    pub chart: PathBuf,
    /// The number of controllers; 2 by default.
    pub replicas: usize,
    /// Chart value `bindableRoles.clusterRoles`; view, edit and admin.
    pub cluster_roles: Vec<String>,
    /// Chart value `bindableRoles.roles`; debug.
    pub roles: Vec<String>,
    /// Chart value `maxGrant`, where it differs from the chart's default.
    pub max_grant: Option<String>,
    /// More chart values; they override all others.
    pub values: Value,
    /// Admission policies that are not in the operator's configuration, so that it grants although they are deleted.
    pub unwatched: Vec<String>,
    /// The webhook's port, where it must be a specific one.
    pub webhook_port: Option<u16>,
    /// More flags for the webhook.
    pub webhook_flags: Vec<String>,
    /// The proxy between the controllers and the API server.
    pub proxy: Option<Arc<Proxy>>,
    /// The webhook reaches the API server through the proxy too.
    pub webhook_proxied: bool,
    /// The time limit for each process to become ready; 30 s by default.
    pub ready_within: Duration,
}

impl OperatorOptions {
    /// The usual options for a program and a chart.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, chart: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            chart: chart.into(),
            replicas: 2,
            cluster_roles: ["view", "edit", "admin"].map(str::to_owned).to_vec(),
            roles: vec!["debug".to_owned()],
            max_grant: None,
            values: Value::Null,
            unwatched: Vec::new(),
            webhook_port: None,
            webhook_flags: Vec::new(),
            proxy: None,
            webhook_proxied: false,
            ready_within: READY,
        }
    }

    /// The options for a checkout: `charts/jit-rbac` in it, and the program in the directory of the running one.
    pub fn of_checkout(root: &Path) -> Result<Self> {
        Ok(Self::new(program("jit-rbac")?, root.join("charts").join("jit-rbac")))
    }
}

/// The running operator. Dropping it ends its processes; the chart's objects stay in the cluster.
#[derive(Debug)]
pub struct Operator {
    webhook: Server,
    controllers: Vec<Server>,
    webhook_port: u16,
    ready_within: Duration,
    reaper: Arc<Reaper>,
}

impl Operator {
    /// Installs or upgrades the chart with Helm, starts webhook and controllers as the chart's two identities, and waits until they are
    /// ready and the API server calls them.
    pub async fn start(cluster: &Cluster, reaper: &Arc<Reaper>, options: OperatorOptions) -> Result<Self> {
        let directory = cluster.directory().join("operator");
        fs::create_dir_all(&directory).map_err(Error::path("create", &directory))?;
        let webhook_port = options.webhook_port.map_or_else(free_port, Ok)?;
        let installed = install::install(cluster, &directory, &options, webhook_port).await?;
        let start = |name: &str, kubeconfig: &Path, args: Vec<OsString>| {
            Server::start(spec(&options.binary, &directory, &installed, name, kubeconfig, args), reaper)
        };
        let address = flag("address", format!("127.0.0.1:{webhook_port}"));
        let webhook_kubeconfig = match options.proxy.as_ref().filter(|_| options.webhook_proxied) {
            None => installed.webhook.clone(),
            Some(proxy) => cluster.kubeconfig_through(&proxy.address_for("webhook"), "webhook-proxied", &installed.webhook_token)?,
        };
        let flags = options.webhook_flags.iter().map(OsString::from);
        let webhook = start("webhook", &webhook_kubeconfig, ["webhook".into(), address].into_iter().chain(flags).collect())?;
        let controllers = (0..options.replicas)
            .map(|number| {
                let name = format!("controller-{number}");
                let identity = flag("identity", &name);
                let kubeconfig = match &options.proxy {
                    None => installed.controller.clone(),
                    Some(proxy) => cluster.kubeconfig_through(&proxy.address_for(&name), &name, &installed.controller_token)?,
                };
                start(&name, &kubeconfig, vec!["controller".into(), identity])
            })
            .collect::<Result<_>>()?;
        let operator = Self { webhook, controllers, webhook_port, ready_within: options.ready_within, reaper: Arc::clone(reaper) };
        operator.wait_until_ready().await?;
        probe::wait_until_guarded(cluster).await?;
        Ok(operator)
    }

    /// Waits until every process is ready. Fails at once, with the end of its log, if one of them has ended.
    pub async fn wait_until_ready(&self) -> Result<()> {
        self.webhook.wait_until_ready(self.ready_within).await?;
        for controller in &self.controllers {
            controller.wait_until_ready(self.ready_within).await?;
        }
        Ok(())
    }

    /// Returns the webhook's process. It keeps its port over restarts.
    #[must_use]
    pub fn webhook(&self) -> &Server {
        &self.webhook
    }

    /// Returns the port of the webhook.
    #[must_use]
    pub fn webhook_port(&self) -> u16 {
        self.webhook_port
    }

    /// Returns the controllers' processes.
    #[must_use]
    pub fn controllers(&self) -> &[Server] {
        &self.controllers
    }

    /// Returns one controller's process, counted from 0.
    pub fn controller(&self, number: usize) -> Result<&Server> {
        let has = self.controllers.len();
        self.controllers.get(number).ok_or_else(|| Error::State(format!("no controller {number}: there are {has}, counted from 0")))
    }

    /// Returns all processes, the webhook's first.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.webhook).chain(&self.controllers)
    }

    /// Returns what another program needs to end the processes after [`Operator::detach`].
    pub fn records(&self) -> Result<Vec<ProcessRecord>> {
        self.servers().map(|server| server.record()).collect()
    }

    /// Lets the processes, and all others that the reaper tracks, outlive this one.
    pub fn detach(self) {
        self.reaper.release();
        for server in self.servers() {
            server.detach();
        }
    }
}

fn spec(binary: &Path, directory: &Path, installed: &Installed, name: &str, kubeconfig: &Path, mut args: Vec<OsString>) -> Spec {
    args.extend([flag("config", &installed.config), flag("health-address", "127.0.0.1:0"), flag("log-format", "text")]);
    Spec {
        name: name.to_owned(),
        program: binary.to_owned(),
        args,
        env: vec![("KUBECONFIG".to_owned(), kubeconfig.into()), ("HOME".to_owned(), directory.into()), ("NO_COLOR".to_owned(), "1".into())],
        log: directory.join(format!("{name}.log")),
    }
}
