//! The command lines and configuration files of the programs of a node.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use control_plane::{Cluster, Error, NODE, NodeBinaries, Result, Spec};
use serde_json::{Value, json};

use crate::Run;
use crate::requirements::{cni_plugins, find};

/// The bridge to which pods are connected.
pub(crate) const BRIDGE: &str = "cni0";
/// The address of the bridge, which is that of the node and of the API server.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The network of the pods.
const PODS: &str = "10.244.0.0/24";
/// The address of a name server's Service in pods.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// containerd's socket. `/run` belongs to the run alone.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";
/// The image of a pod's sandbox.
pub(crate) const PAUSE: &str = "localhost/pause:1";
/// The namespace of the kubelet's containers and images in containerd.
pub(crate) const NAMESPACE: &str = "k8s.io";
/// Copies the files of an image for each container: it works on every file system.
pub(crate) const SNAPSHOTTER: &str = "native";

/// What the command lines share.
#[derive(Debug)]
pub(crate) struct Components<'a> {
    pub(crate) run: &'a Run,
    pub(crate) cluster: &'a Cluster,
    pub(crate) binaries: &'a NodeBinaries,
}

impl Components<'_> {
    pub(crate) fn scheduler(&self) -> Result<Spec> {
        let kubeconfig = self.cluster.kubeconfig_for_certificate("scheduler")?;
        let args = [flag("kubeconfig", kubeconfig), flag("leader-elect", "false"), flag("secure-port", "0")];
        Ok(self.spec("kube-scheduler", &self.binaries.kube_scheduler, args))
    }

    pub(crate) fn containerd(&self) -> Result<Spec> {
        let missing = || Error::State("runc or the CNI plugins are missing".to_owned());
        let runc = find("runc").ok_or_else(missing)?;
        let plugins = cni_plugins().ok_or_else(missing)?;
        let networks = self.directory("cni")?;
        self.write("cni/10-bridge.conflist", &network(&self.directory("networks")?).to_string())?;
        let root = self.directory("containerd")?;
        // The machine may not let a process lower its OOM score, which `restrict_oom_score_adj` accepts.
        let text = format!(
            "version = 3
root = '{root}'
[plugins.'io.containerd.cri.v1.images']
snapshotter = {SNAPSHOTTER:?}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = {PAUSE:?}
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{plugins}']
conf_dir = '{networks}'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{runc}'
",
            root = root.display(),
            plugins = plugins.display(),
            networks = networks.display(),
            runc = runc.display(),
        );
        let config = self.write("containerd.toml", &text)?;
        let mut spec = self.spec("containerd", &self.binaries.containerd, [flag("config", config)]);
        let mut path = OsString::from(self.binaries.containerd.parent().unwrap_or(Path::new("/")));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        spec.env.push(("PATH".to_owned(), path));
        Ok(spec)
    }

    pub(crate) fn kubelet(&self) -> Result<Spec> {
        let plugins = self.directory("volume-plugins")?;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": GATEWAY,
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": self.cluster.pki().join("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.run.cgroup()),
            "failCgroupV1": false,
            "failSwapOn": false,
            // The machine's disk is not the node's own: how full it is must not evict pods.
            "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": false,
            // There is no name server, and none is needed: pods find the API server by the address in their environment.
            "clusterDNS": [NAME_SERVER],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "makeIPTablesUtilChains": false,
            "oomScoreAdj": 0,
            "readOnlyPort": 0,
            "volumePluginDir": plugins,
        });
        let args = [
            flag("config", self.write("kubelet.json", &config.to_string())?),
            flag("kubeconfig", self.cluster.kubeconfig_for_certificate("kubelet")?),
            flag("root-dir", self.directory("kubelet")?),
            flag("cert-dir", self.directory("kubelet-pki")?),
            flag("hostname-override", NODE),
            flag("node-ip", GATEWAY.to_string()),
        ];
        Ok(self.spec("kubelet", &self.binaries.kubelet, args))
    }

    pub(crate) fn kube_proxy(&self) -> Result<Spec> {
        let kubeconfig = self.cluster.kubeconfig_for_certificate("kube-proxy")?;
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": NODE,
            "bindAddress": GATEWAY,
            "healthzBindAddress": "",
            "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": kubeconfig},
            "detectLocalMode": "BridgeInterface",
            "detectLocal": {"bridgeInterface": BRIDGE},
            // These limits are the machine's own.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        });
        let config = self.write("kube-proxy.json", &config.to_string())?;
        Ok(self.spec("kube-proxy", &self.binaries.kube_proxy, [flag("config", config)]))
    }

    fn spec<const N: usize>(&self, name: &str, program: &Path, args: [OsString; N]) -> Spec {
        let log = self.run.directory().join(format!("{name}.log"));
        Spec { name: name.to_owned(), program: program.to_owned(), args: args.into(), env: Vec::new(), log }
    }

    fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.run.directory().join(name);
        fs::create_dir_all(&path).map_err(Error::path("create", &path))?;
        Ok(path)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.run.directory().join(name);
        fs::write(&path, text).map_err(Error::path("write", &path))?;
        Ok(path)
    }
}

/// The CNI configuration: each pod gets an address on the bridge.
fn network(addresses: &Path) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": true,
                // A pod may be the one that answers its own call of a Service.
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": addresses,
                    "ranges": [[{"subnet": PODS, "gateway": GATEWAY}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// Returns `--name=value`, where the value may be a path.
fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value.into());
    flag
}
