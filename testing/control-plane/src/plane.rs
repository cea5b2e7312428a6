use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;

use crate::components::Layout;
use crate::error::brief;
use crate::issuer::{Issuer, configuration};
use crate::ports::free_port;
use crate::process::Process;
use crate::{
    ADMIN, AuditLog, Binaries, Cluster, Error, ProcessRecord, Provider, Reaper, Result, Said, SignIn, User, certificates, standard_users,
    wait_for_ok,
};

/// How long the three servers may take until they are ready.
const START: Duration = Duration::from_mins(1);
/// How often a start is tried when somebody else took a port that was free a moment ago.
const STARTS: usize = 4;
/// The roles that have rules only once the controller manager has aggregated them.
const AGGREGATED: [&str; 3] = ["view", "edit", "admin"];

/// What a plane is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The programs; found or built if absent.
    pub binaries: Option<Binaries>,
    /// The people; [`standard_users`] if absent.
    pub users: Option<Vec<User>>,
    /// More flags for kube-apiserver. A flag that is given twice counts as given last.
    pub apiserver_flags: Vec<String>,
    /// An empty or absent directory for all files, removed at the end like a
    /// temporary one, which is the default.
    pub directory: Option<PathBuf>,
    /// The directory stays at the end, however this process ends, and a plane that
    /// was in it before goes on with what it had stored. Certificates, tokens and
    /// ports are new each time.
    pub keep: bool,
}

/// A running control plane. Dropping it ends it and removes its files, unless
/// they are to be kept or the environment has `KEEP=1`.
#[derive(Debug)]
pub struct Plane {
    // Ended in this order: those that need an other one first.
    controller_manager: Process,
    apiserver: Process,
    etcd: Process,
    etcd_address: String,
    cluster: Cluster,
    // The API server fetches keys from it whenever it meets one that it does not know.
    _issuer: Issuer,
    reaper: Arc<Reaper>,
}

impl Plane {
    /// Starts a plane and waits until it serves, namespace `default` exists and
    /// `view`, `edit` and `admin` have their rules.
    pub async fn start(options: Options) -> Result<Self> {
        let binaries = match options.binaries.clone() {
            Some(binaries) => binaries,
            None => tokio::task::spawn_blocking(Binaries::find)
                .await
                .map_err(|error| Error::State(format!("looking for the programs: {error}")))??,
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
        // From here on, whatever happens, nothing is left behind.
        let reaper = Arc::new(Reaper::start((!keep).then_some(&directory))?);
        if keep {
            eprintln!("Files of the plane stay in {}", directory.display());
        }
        let layout =
            Layout { directory: directory.clone(), etcd_port: free_port()?, etcd_peer_port: free_port()?, apiserver_port: free_port()? };
        let pki = layout.pki();
        certificates::write(&pki)?;
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

    /// Waits until the plane serves again, for instance after one of its servers was restarted, and knows people by their ID tokens.
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

    /// How to reach it: clients, kubeconfigs, kubectl, Helm.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where etcd listens, without TLS, on loopback.
    #[must_use]
    pub fn etcd_address(&self) -> String {
        self.etcd_address.clone()
    }

    /// etcd, to be killed, stopped and started.
    #[must_use]
    pub fn etcd(&self) -> &Process {
        &self.etcd
    }

    /// kube-apiserver, to be killed, stopped and started.
    #[must_use]
    pub fn apiserver(&self) -> &Process {
        &self.apiserver
    }

    /// kube-controller-manager, to be killed, stopped and started.
    #[must_use]
    pub fn controller_manager(&self) -> &Process {
        &self.controller_manager
    }

    /// What ends other processes together with this plane.
    #[must_use]
    pub fn reaper(&self) -> &Arc<Reaper> {
        &self.reaper
    }

    /// A client for the admin or a user by name.
    pub async fn client(&self, user: &str) -> Result<kube::Client> {
        self.cluster.client(user).await
    }

    /// Runs kubectl to its end as a user.
    pub async fn kubectl(&self, user: &str, args: &[&str]) -> Result<Said> {
        self.cluster.run(user, args).await
    }

    /// `kubectl apply` of a manifest as a user.
    pub async fn apply(&self, user: &str, manifest: &str) -> Result<Said> {
        self.cluster.apply(user, manifest).await
    }

    /// The audit log from its beginning.
    #[must_use]
    pub fn audit(&self) -> AuditLog {
        self.cluster.audit()
    }

    /// Ends everything at once, through a shared reference: for an interrupt,
    /// where nobody can wait for the owner to drop it.
    pub fn end(&self) {
        for process in self.processes() {
            process.kill();
        }
        self.reaper.end();
    }

    /// What another program needs to end the plane after [`Plane::detach`], in
    /// the order in which it should.
    pub fn records(&self) -> Result<Vec<ProcessRecord>> {
        self.processes().iter().map(|process| process.record()).collect()
    }

    /// Lets the plane, and all else that its reaper looks after, live on without this process.
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

/// Waits until the API server has the key of every provider. It asks for it beside its start, and says nothing of that in `/readyz`.
async fn wait_until_believed(cluster: &Cluster, processes: &[&Process]) -> Result<()> {
    for provider in Provider::ALL {
        let token = cluster.sign_in(&SignIn { provider, ..SignIn::new("plane", [""; 0]) })?;
        let client = cluster.client_for_token(&token).await?;
        let what = format!("the API server to believe {provider:?}");
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

/// Waiting is over, with an error, once one of the processes has ended; else
/// the obstacle stands.
fn ended(processes: &[&Process], obstacle: String) -> Result<Result<()>, String> {
    match processes.iter().try_for_each(|process| process.check()) {
        Ok(()) => Err(obstacle),
        Err(error) => Ok(Err(error)),
    }
}

/// The directory for all files, for our eyes only: keys and tokens go there. Only one that is kept may have files already.
fn directory(wanted: Option<PathBuf>, keep: bool) -> Result<PathBuf> {
    let directory = match wanted {
        // Not removed by its handle: the reaper does that, after the last process.
        None => tempfile::Builder::new().prefix("jit-rbac-plane-").tempdir().map_err(Error::io("create a temporary directory"))?.keep(),
        Some(directory) => {
            if !keep && fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(Error::State(format!("{} is not empty", directory.display())));
            }
            fs::create_dir_all(&directory).map_err(Error::path("create", &directory))?;
            directory
        }
    };
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(Error::path("close to others", &directory))?;
    Ok(directory)
}
