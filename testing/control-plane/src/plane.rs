use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;

use crate::components::{API_SERVICE, Layout};
use crate::error::brief;
use crate::issuer::{Issuer, configuration};
use crate::ports::free_port;
use crate::process::Process;
use crate::{
    ADMIN, AuditLog, Binaries, Cluster, Error, ProcessRecord, Provider, Reaper, Result, Said, SignIn, User, certificates, standard_users,
    wait_for_ok,
};

/// The time limit for the three servers to become ready.
const START: Duration = Duration::from_mins(1);
/// The number of start attempts when another process took a port that was free before.
const STARTS: usize = 4;
/// The roles that have rules only once the controller manager has aggregated them.
const AGGREGATED: [&str; 3] = ["view", "edit", "admin"];

/// The options of a control plane.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The programs; found or built if absent.
    pub binaries: Option<Binaries>,
    /// The users; [`standard_users`] if absent.
    pub users: Option<Vec<User>>,
    /// More flags for kube-apiserver. The last occurrence of a flag counts.
    pub apiserver_flags: Vec<String>,
    /// An empty or absent directory for all files, removed at the end. The default is a temporary directory.
    pub directory: Option<PathBuf>,
    /// Keeps the directory, however this process ends, and continues with the data that an earlier control plane stored in it.
    /// Certificates, tokens and ports are new each time.
    pub keep: bool,
    /// The address of this machine, or of this network namespace, at which nodes and pods reach the API server. With it the control plane
    /// has all controllers and admission plugins, and authorizes nodes. Without it there are no pods.
    pub node_address: Option<Ipv4Addr>,
    /// The API server's port, where it must be a specific one.
    pub apiserver_port: Option<u16>,
}

/// A running control plane. Dropping it ends it and removes its files, unless they are kept or the environment has `KEEP=1`.
#[derive(Debug)]
pub struct Plane {
    // Ended in this order: dependent servers first.
    controller_manager: Process,
    apiserver: Process,
    etcd: Process,
    etcd_address: String,
    cluster: Cluster,
    // The API server fetches keys from it whenever a token has an unknown one.
    _issuer: Issuer,
    reaper: Arc<Reaper>,
}

impl Plane {
    /// Starts a control plane and waits until it serves, namespace `default` exists and `view`, `edit` and `admin` have their rules.
    pub async fn start(options: Options) -> Result<Self> {
        let binaries = match options.binaries.clone() {
            Some(binaries) => binaries,
            None => tokio::task::spawn_blocking(Binaries::find)
                .await
                .map_err(|error| Error::State(format!("cannot find the programs: {error}")))??,
        };
        let users = options.users.clone().map_or_else(standard_users, Ok)?;
        let mut tries = 1;
        loop {
            let directory = directory(options.directory.clone(), options.keep)?;
            let started = Self::try_start(binaries.clone(), users.clone(), directory, &options).await;
            match started {
                Err(Error::Ended { tail, .. }) if tries < STARTS && tail.contains("address already in use") => {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn try_start(binaries: Binaries, users: Vec<User>, directory: PathBuf, options: &Options) -> Result<Self> {
        let keep = options.keep || env::var_os("KEEP").is_some_and(|keep| keep == "1");
        // From here on the files and processes are cleaned up in all cases.
        let reaper = Arc::new(Reaper::start((!keep).then_some(&directory))?);
        if keep {
            eprintln!("The files of the control plane stay in {}", directory.display());
        }
        let layout = Layout {
            directory: directory.clone(),
            etcd_port: free_port()?,
            etcd_peer_port: free_port()?,
            apiserver_port: options.apiserver_port.map_or_else(free_port, Ok)?,
            node_address: options.node_address,
        };
        let pki = layout.pki();
        let addresses: Vec<_> = options.node_address.into_iter().flat_map(|address| [address, API_SERVICE]).collect();
        certificates::write(&pki, &addresses)?;
        let issuer = Issuer::start(&pki)?;
        let ca = pki.join("ca.crt");
        let ca = fs::read_to_string(&ca).map_err(Error::path("read", &ca))?;
        layout.write_files(&users, &configuration(binaries.version()?, issuer.address(), &ca))?;
        let cluster = Cluster { directory, server: layout.server(), users, binaries };
        cluster.write_kubeconfigs()?;
        let manager = cluster.kubeconfig_for_certificate("controller-manager")?;

        let binaries = &cluster.binaries;
        let etcd = Process::spawn(layout.etcd(binaries), &reaper)?;
        let apiserver = Process::spawn(layout.apiserver(binaries, &options.apiserver_flags), &reaper)?;
        wait_until_served(&cluster, &[&etcd, &apiserver]).await?;
        let controller_manager = Process::spawn(layout.controller_manager(binaries, &manager), &reaper)?;
        let plane = Self { controller_manager, apiserver, etcd, etcd_address: layout.etcd_address(), cluster, _issuer: issuer, reaper };
        plane.wait_until_ready().await?;
        Ok(plane)
    }

    /// Waits until the control plane serves again, for instance after a restart of one of its servers, and accepts ID tokens.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let processes = self.processes();
        wait_until_served(&self.cluster, &processes).await?;
        let client = self.cluster.client(ADMIN).await?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let roles: Api<ClusterRole> = Api::all(client);
        let looked = wait_for_ok("namespace default and the rules of view, edit and admin", START, async || {
            if let Err(error) = namespaces.get("default").await {
                return ended(&processes, brief(&error));
            }
            for name in AGGREGATED {
                match roles.get(name).await {
                    Ok(role) if role.rules.iter().flatten().next().is_some() => {}
                    Ok(_) => {
                        return ended(&processes, format!("ClusterRole {name} has no rules"));
                    }
                    Err(error) => return ended(&processes, brief(&error)),
                }
            }
            Ok(Ok(()))
        });
        looked.await??;
        wait_until_believed(&self.cluster, &processes).await
    }

    /// Returns the access to it: clients, kubeconfigs, kubectl, Helm.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Returns etcd's address, without TLS, on loopback.
    #[must_use]
    pub fn etcd_address(&self) -> String {
        self.etcd_address.clone()
    }

    /// Returns etcd, to be killed, stopped and started.
    #[must_use]
    pub fn etcd(&self) -> &Process {
        &self.etcd
    }

    /// Returns kube-apiserver, to be killed, stopped and started.
    #[must_use]
    pub fn apiserver(&self) -> &Process {
        &self.apiserver
    }

    /// Returns kube-controller-manager, to be killed, stopped and started.
    #[must_use]
    pub fn controller_manager(&self) -> &Process {
        &self.controller_manager
    }

    /// Returns the reaper, which ends other processes together with this control plane.
    #[must_use]
    pub fn reaper(&self) -> &Arc<Reaper> {
        &self.reaper
    }

    /// Returns a client for the admin or a user by name.
    pub async fn client(&self, user: &str) -> Result<kube::Client> {
        self.cluster.client(user).await
    }

    /// Runs kubectl as a user and waits for it.
    pub async fn kubectl(&self, user: &str, args: &[&str]) -> Result<Said> {
        self.cluster.run(user, args).await
    }

    /// Runs `kubectl apply` of a manifest as a user.
    pub async fn apply(&self, user: &str, manifest: &str) -> Result<Said> {
        self.cluster.apply(user, manifest).await
    }

    /// Returns the audit log from its beginning.
    #[must_use]
    pub fn audit(&self) -> AuditLog {
        self.cluster.audit()
    }

    /// Ends everything at once, through a shared reference: for an interrupt, which cannot wait for the owner to drop it.
    pub fn end(&self) {
        for process in self.processes() {
            process.kill();
        }
        self.reaper.end();
    }

    /// Returns what another program needs to end the control plane after [`Plane::detach`], in the order in which it must end the servers.
    pub fn records(&self) -> Result<Vec<ProcessRecord>> {
        self.processes().iter().map(|process| process.record()).collect()
    }

    /// Lets the control plane, and all other processes of its reaper, outlive this process.
    pub fn detach(self) {
        self.reaper.release();
        for process in self.processes() {
            process.detach();
        }
    }

    fn processes(&self) -> [&Process; 3] {
        [&self.controller_manager, &self.apiserver, &self.etcd]
    }
}

async fn wait_until_served(cluster: &Cluster, processes: &[&Process]) -> Result<()> {
    let client = cluster.client(ADMIN).await?;
    let looked = wait_for_ok("the API server to be ready", START, async || match readyz(&client).await {
        Ok(_) => Ok(Ok(())),
        Err(error) => ended(processes, error.to_string()),
    });
    looked.await?
}

/// Waits until the API server has the key of every provider. It fetches them in the background, and `/readyz` does not cover that.
async fn wait_until_believed(cluster: &Cluster, processes: &[&Process]) -> Result<()> {
    for provider in Provider::ALL {
        let token = cluster.sign_in(&SignIn { provider, ..SignIn::new("plane", [""; 0]) })?;
        let client = cluster.client_for_token(&token).await?;
        let what = format!("the API server to accept tokens of {provider:?}");
        let looked = wait_for_ok(&what, START, async || match readyz(&client).await {
            Ok(_) => Ok(Ok(())),
            Err(error) => ended(processes, error.to_string()),
        });
        looked.await??;
    }
    Ok(())
}

async fn readyz(client: &kube::Client) -> Result<String> {
    let request = http::Request::get("/readyz").body(Vec::new());
    let request = request.map_err(|error| Error::State(format!("GET /readyz: {error}")))?;
    Ok(client.request_text(request).await?)
}

/// Fails once one of the processes has ended; returns the obstacle otherwise.
fn ended(processes: &[&Process], obstacle: String) -> Result<Result<()>, String> {
    match processes.iter().try_for_each(|process| process.check()) {
        Ok(()) => Err(obstacle),
        Err(error) => Ok(Err(error)),
    }
}

/// Creates the directory for all files, with access for this user only: it contains keys and tokens. Only a directory that is kept may have
/// files already.
fn directory(wanted: Option<PathBuf>, keep: bool) -> Result<PathBuf> {
    let directory = match wanted {
        // Not removed by its handle: the reaper removes it, after the last process.
        None => tempfile::Builder::new().prefix("jit-rbac-plane-").tempdir().map_err(Error::io("create a temporary directory"))?.keep(),
        Some(directory) => {
            if !keep && fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(Error::State(format!("{} is not empty", directory.display())));
            }
            fs::create_dir_all(&directory).map_err(Error::path("create", &directory))?;
            directory
        }
    };
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(Error::path("restrict access to", &directory))?;
    Ok(directory)
}
