//! The programs of a control plane: installed ones, or built once and cached.

mod build;
mod modules;
mod release;
mod version;

use std::env;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};
pub use release::Release;
pub(crate) use version::Version;

/// The oldest Helm that the charts are tested with.
const OLDEST_HELM: Version = Version { major: 4, minor: 0 };

/// The programs of a control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binaries {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver, of the oldest minor in [`Release::ALL`] or later.
    pub kube_apiserver: PathBuf,
    /// kube-controller-manager of the API server's minor version.
    pub kube_controller_manager: PathBuf,
    /// kubectl, of the oldest minor in [`Release::ALL`] or later.
    pub kubectl: PathBuf,
    /// Helm 4.
    pub helm: PathBuf,
}

impl Binaries {
    /// Finds them in `$KUBEBUILDER_ASSETS`, then on `PATH`, then in the cache, and builds the missing ones, which takes minutes and is
    /// reported on stderr. The environment's `KUBERNETES_VERSION`, such as `1.34`, selects the minor version of all three Kubernetes
    /// programs.
    pub fn find() -> Result<Self> {
        let places: Vec<PathBuf> = env::var_os("KUBEBUILDER_ASSETS")
            .into_iter()
            .map(PathBuf::from)
            .chain(env::var_os("PATH").iter().flat_map(env::split_paths))
            .collect();
        Self::find_in(&places, Release::chosen()?)
    }

    /// Returns the program that applies manifests as Flux does (`testing/gitops`). It is built at the first call.
    pub fn gitops() -> Result<PathBuf> {
        build::gitops()
    }

    /// Returns the API server's version. It is queried at each call, which takes a tenth of a second.
    pub(crate) fn version(&self) -> Result<Version> {
        version::ask_version(&self.kube_apiserver, &["--version"])
            .ok_or_else(|| Error::State(format!("{} does not report its version", self.kube_apiserver.display())))
    }

    fn find_in(places: &[PathBuf], chosen: Option<Release>) -> Result<Self> {
        let release = chosen.unwrap_or(Release::USUAL);
        let helm = match version::first(places, "helm", &["version", "--short"], |found| found >= OLDEST_HELM) {
            Some((helm, _)) => helm,
            None => build::helm()?,
        };
        if let Some(own) = Own::find(places, chosen) {
            let built = if own.is_whole() { None } else { Some(build::control_plane(release)?) };
            if let Some(binaries) = own.complete(built.as_deref(), release, &helm) {
                return Ok(binaries);
            }
            eprintln!(
                "The API server {} has no installed controller manager of the same version; \
                 using the built Kubernetes {release} instead.",
                own.apiserver.0.display()
            );
        }
        let built = build::control_plane(release)?;
        Ok(Self {
            etcd: built.join("etcd"),
            kube_apiserver: built.join("kube-apiserver"),
            kube_controller_manager: built.join("kube-controller-manager"),
            kubectl: built.join("kubectl"),
            helm,
        })
    }
}

/// The programs of a node that no package provides in the needed version: those of Kubernetes and of containerd.
#[derive(Clone, Debug)]
pub struct NodeBinaries {
    /// kubelet.
    pub kubelet: PathBuf,
    /// kube-scheduler, which belongs to the control plane but has no work without nodes.
    pub kube_scheduler: PathBuf,
    /// kube-proxy.
    pub kube_proxy: PathBuf,
    /// Kubernetes' own `pause`, the process of a pod's sandbox; a static program.
    pub pause: PathBuf,
    /// containerd. Its shim for runc is in the same directory.
    pub containerd: PathBuf,
    /// ctr, containerd's command-line client.
    pub ctr: PathBuf,
}

impl NodeBinaries {
    /// Finds them in the cache, and builds the missing ones, which takes minutes and is reported on stderr. The environment's
    /// `KUBERNETES_VERSION` selects the minor version of Kubernetes.
    pub fn find() -> Result<Self> {
        let kubernetes = build::node(Release::chosen()?.unwrap_or(Release::USUAL))?;
        let containerd = build::containerd()?;
        Ok(Self {
            kubelet: kubernetes.join("kubelet"),
            kube_scheduler: kubernetes.join("kube-scheduler"),
            kube_proxy: kubernetes.join("kube-proxy"),
            pause: kubernetes.join("pause"),
            containerd: containerd.join("containerd"),
            ctr: containerd.join("ctr"),
        })
    }
}

/// The programs that are installed on the machine; at least an API server and etcd.
struct Own {
    etcd: PathBuf,
    apiserver: (PathBuf, Version),
    controller_manager: Option<PathBuf>,
    kubectl: Option<PathBuf>,
}

impl Own {
    fn find(places: &[PathBuf], chosen: Option<Release>) -> Option<Self> {
        let [oldest, ..] = Release::ALL;
        let suits = |found| chosen.map_or(found >= oldest.version(), |release| found == release.version());
        let version = &["--version"];
        let apiserver = version::first(places, "kube-apiserver", version, suits)?;
        let controller_manager = version::first(places, "kube-controller-manager", version, suits)
            .filter(|(_, found)| *found == apiserver.1)
            .map(|(path, _)| path);
        let kubectl = version::first(places, "kubectl", &["version", "--client"], suits).map(|(path, _)| path);
        Some(Self { etcd: version::which(places, "etcd")?, apiserver, controller_manager, kubectl })
    }

    fn is_whole(&self) -> bool {
        self.controller_manager.is_some() && self.kubectl.is_some()
    }

    /// Adds the missing programs from the built ones, as far as the versions are compatible.
    fn complete(&self, built: Option<&Path>, release: Release, helm: &Path) -> Option<Binaries> {
        let same = self.apiserver.1 == release.version();
        let from_built = |name: &str| built.map(|directory| directory.join(name));
        let controller_manager = self.controller_manager.clone();
        Some(Binaries {
            etcd: self.etcd.clone(),
            kube_apiserver: self.apiserver.0.clone(),
            kube_controller_manager: controller_manager.or_else(|| from_built("kube-controller-manager").filter(|_| same))?,
            kubectl: self.kubectl.clone().or_else(|| from_built("kubectl"))?,
            helm: helm.to_owned(),
        })
    }
}

/// The cache outside the checkout.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .ok_or_else(|| Error::State("neither XDG_CACHE_HOME nor HOME is set: no directory for the cache".into()))?;
    Ok(base.join("jit-rbac").join("control-plane"))
}
