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

use serde_json::{Value, json};

use crate::components::flag;
use crate::ports::free_port;
use crate::process::Spec;
use crate::programs::program;
use crate::{Cluster, Error, ProcessRecord, Proxy, Reaper, Result};
use install::Installed;
pub use install::{NAMESPACE, RELEASE, secrets};
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
    /// The Helm release; `jit-rbac` by default.
    pub release: String,
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
    /// The services next to the operator.
    pub services: Vec<ServiceOptions>,
}

/// A service next to the operator: a subcommand of `jit-rbac-services` that runs as the chart's `ServiceAccount` for it, with the settings that
/// the chart renders.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The subcommand, which is also the end of the names of its `ServiceAccount` and `ConfigMap`, and the name of its settings file.
    pub name: String,
    /// Settings that replace those of the chart, such as folders that only a pod has.
    pub settings: Value,
    /// More environment variables.
    pub env: Vec<(String, OsString)>,
    /// Do not wait until it is ready, because it cannot be.
    pub unready: bool,
    /// It reads the configuration of the operator too.
    pub reads_rules: bool,
}

impl ServiceOptions {
    /// The notify process, whose Secrets are folders in [`secrets`].
    fn notify(cluster: &Cluster) -> Result<Self> {
        let secrets = secrets(cluster);
        fs::create_dir_all(&secrets).map_err(Error::path("create", &secrets))?;
        Ok(Self { name: "notify".to_owned(), settings: json!({ "secrets": secrets }), env: Vec::new(), unready: false, reads_rules: false })
    }
}

impl OperatorOptions {
    /// The usual options for a program and a chart.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, chart: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            chart: chart.into(),
            release: install::RELEASE.to_owned(),
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
            services: Vec::new(),
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
    services: Vec<Server>,
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
        let rollout = Rollout { cluster, reaper, options: &options, directory: &directory, installed: &installed };
        let webhook = rollout.webhook(webhook_port)?;
        let controllers = (0..options.replicas).map(|number| rollout.controller(number)).collect::<Result<_>>()?;
        let services = rollout.services().await?;
        let operator =
            Self { webhook, controllers, services, webhook_port, ready_within: options.ready_within, reaper: Arc::clone(reaper) };
        operator.wait_until_ready().await?;
        probe::wait_until_guarded(cluster, &options.release).await?;
        Ok(operator)
    }

    /// Upgrades the chart, or restores its previous revision, and replaces the processes of `self` by those of `options` as a rolling update
    /// of the Deployments does: each old controller ends when a new one is ready. The webhook keeps its port, so there is none for a moment.
    pub async fn replace(&self, cluster: &Cluster, change: Change, options: OperatorOptions) -> Result<Self> {
        let (directory, reaper) = (cluster.directory().join("operator"), &self.reaper);
        let installed = match change {
            Change::Upgrade => install::install(cluster, &directory, &options, self.webhook_port).await?,
            Change::RollBack => install::roll_back(cluster, &directory, &options).await?,
        };
        let rollout = Rollout { cluster, reaper, options: &options, directory: &directory, installed: &installed };
        let mut controllers = Vec::new();
        for (number, old) in (self.last_number() + 1..).zip(&self.controllers) {
            let new = rollout.controller(number)?;
            new.wait_until_ready(options.ready_within).await?;
            old.terminate(options.ready_within).await?;
            controllers.push(new);
        }
        self.webhook.terminate(options.ready_within).await?;
        let webhook = rollout.webhook(self.webhook_port)?;
        webhook.wait_until_ready(options.ready_within).await?;
        for service in &self.services {
            service.terminate(options.ready_within).await?;
        }
        let services = rollout.services().await?;
        Ok(Self {
            webhook,
            controllers,
            services,
            webhook_port: self.webhook_port,
            ready_within: options.ready_within,
            reaper: Arc::clone(reaper),
        })
    }

    /// Returns the highest number in the names of the controllers.
    fn last_number(&self) -> usize {
        self.controllers.iter().filter_map(|controller| controller.name().rsplit('-').next()?.parse().ok()).max().unwrap_or_default()
    }

    /// Waits until every process is ready. Fails at once, with the end of its log, if one of them has ended.
    pub async fn wait_until_ready(&self) -> Result<()> {
        self.webhook.wait_until_ready(self.ready_within).await?;
        for server in &self.controllers {
            server.wait_until_ready(self.ready_within).await?;
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

    /// Returns the process of a service, by its subcommand.
    pub fn service(&self, name: &str) -> Result<&Server> {
        let found = self.services.iter().find(|service| service.name() == name);
        found.ok_or_else(|| Error::State(format!("no service {name} was started")))
    }

    /// Returns all processes, the webhook's first.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.webhook).chain(&self.controllers).chain(&self.services)
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

/// How the chart of a running operator changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `helm upgrade` to the chart of the options.
    Upgrade,
    /// `helm rollback` to the previous revision.
    RollBack,
}

/// The processes of one version of the operator.
struct Rollout<'a> {
    cluster: &'a Cluster,
    reaper: &'a Arc<Reaper>,
    options: &'a OperatorOptions,
    directory: &'a Path,
    installed: &'a Installed,
}

impl Rollout<'_> {
    fn webhook(&self, port: u16) -> Result<Server> {
        let address = flag("address", format!("127.0.0.1:{port}"));
        let kubeconfig = match self.options.proxy.as_ref().filter(|_| self.options.webhook_proxied) {
            None => self.installed.webhook.clone(),
            Some(proxy) => {
                self.cluster.kubeconfig_through(&proxy.address_for("webhook"), "webhook-proxied", &self.installed.webhook_token)?
            }
        };
        let flags = self.options.webhook_flags.iter().map(OsString::from);
        self.start("webhook", &kubeconfig, ["webhook".into(), address].into_iter().chain(flags).collect())
    }

    fn controller(&self, number: usize) -> Result<Server> {
        let name = format!("controller-{number}");
        let identity = flag("identity", &name);
        let kubeconfig = match &self.options.proxy {
            None => self.installed.controller.clone(),
            Some(proxy) => self.cluster.kubeconfig_through(&proxy.address_for(&name), &name, &self.installed.controller_token)?,
        };
        self.start(&name, &kubeconfig, vec!["controller".into(), identity])
    }

    /// Starts the services, whose program is next to the operator's.
    async fn services(&self) -> Result<Vec<Server>> {
        let mut started = Vec::new();
        let notify = (self.options.values.pointer("/notify/enabled") == Some(&Value::Bool(true)))
            .then(|| ServiceOptions::notify(self.cluster))
            .transpose()?;
        for service in self.options.services.iter().chain(&notify) {
            let files = install::fetch_service(self.cluster, self.directory, self.options, service).await?;
            let mut args = vec![service.name.clone().into(), flag("settings", &files.settings)];
            args.extend(service.reads_rules.then(|| flag("config", &self.installed.config)));
            let binary = self.options.binary.with_file_name("jit-rbac-services");
            let mut spec = spec(&binary, self.directory, &service.name, &files.kubeconfig, args);
            spec.env.extend(service.env.iter().cloned());
            let server = Server::start(spec, self.reaper)?;
            if !service.unready {
                server.wait_until_ready(self.options.ready_within).await?;
            }
            started.push(server);
        }
        Ok(started)
    }

    fn start(&self, name: &str, kubeconfig: &Path, args: Vec<OsString>) -> Result<Server> {
        let args = args.into_iter().chain([flag("config", &self.installed.config)]).collect();
        Server::start(spec(&self.options.binary, self.directory, name, kubeconfig, args), self.reaper)
    }
}

fn spec(binary: &Path, directory: &Path, name: &str, kubeconfig: &Path, mut args: Vec<OsString>) -> Spec {
    args.extend([flag("health-address", "127.0.0.1:0"), flag("log-format", "text")]);
    Spec {
        name: name.to_owned(),
        program: binary.to_owned(),
        args,
        env: vec![("KUBECONFIG".to_owned(), kubeconfig.into()), ("HOME".to_owned(), directory.into()), ("NO_COLOR".to_owned(), "1".into())],
        log: directory.join(format!("{name}.log")),
    }
}
