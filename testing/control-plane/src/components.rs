//! The command lines of the three servers.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::Spec;
use crate::{ADMIN, Binaries, Error, Result, User};

/// Logs every call at level `Metadata`; the stage `RequestReceived`, in which no result is known yet, is left out.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// The parameters that the command lines share.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) directory: PathBuf,
    pub(crate) etcd_port: u16,
    pub(crate) etcd_peer_port: u16,
    pub(crate) apiserver_port: u16,
    /// The address of the API server for nodes and pods, if there are any.
    pub(crate) node_address: Option<Ipv4Addr>,
}

/// The range of the cluster IPs of Services.
const SERVICES: &str = "10.0.0.0/24";
/// The cluster IP of the Service `kubernetes`, the first one of the range.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

impl Layout {
    /// The directory of certificates and keys.
    pub(crate) fn pki(&self) -> PathBuf {
        self.directory.join("pki")
    }

    /// The API server's audit log.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// The API server's address for clients.
    pub(crate) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.apiserver_port)
    }

    /// etcd's address.
    pub(crate) fn etcd_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    /// Writes the API server's files other than certificates.
    pub(crate) fn write_files(&self, users: &[User], authentication: &Value) -> Result<()> {
        let tokens: String = users.iter().map(User::token_line).collect();
        let authentication = authentication.to_string();
        for (name, text) in
            [("tokens.csv", tokens.as_str()), ("audit-policy.yaml", AUDIT_POLICY), ("authentication.yaml", authentication.as_str())]
        {
            let path = self.directory.join(name);
            fs::write(&path, text).map_err(Error::path("write", &path))?;
        }
        Ok(())
    }

    pub(crate) fn etcd(&self, binaries: &Binaries) -> Spec {
        let client = self.etcd_address();
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        self.spec(
            "etcd",
            &binaries.etcd,
            [
                flag("data-dir", self.directory.join("etcd")),
                flag("listen-client-urls", &client),
                flag("advertise-client-urls", &client),
                flag("listen-peer-urls", &peer),
                flag("initial-advertise-peer-urls", &peer),
                flag("initial-cluster", format!("default={peer}")),
                // The data does not have to survive a crash of the machine.
                flag("unsafe-no-fsync", "true"),
                // 8 GiB, the maximum that etcd's authors advise: with 2 GiB the measurements with a hundred thousand requests would fail.
                flag("quota-backend-bytes", "8589934592"),
            ],
            &[],
        )
    }

    pub(crate) fn apiserver(&self, binaries: &Binaries, more: &[String]) -> Spec {
        let pki = self.pki();
        self.spec(
            "kube-apiserver",
            &binaries.kube_apiserver,
            [
                flag("etcd-servers", self.etcd_address()),
                flag("secure-port", self.apiserver_port.to_string()),
                flag("tls-cert-file", pki.join("server.crt")),
                flag("tls-private-key-file", pki.join("server.key")),
                flag("client-ca-file", pki.join("ca.crt")),
                flag("token-auth-file", self.directory.join("tokens.csv")),
                flag("authentication-config", self.directory.join("authentication.yaml")),
                flag("service-account-issuer", "https://kubernetes.default.svc"),
                flag("service-account-key-file", pki.join("service-accounts.pub")),
                flag("service-account-signing-key-file", pki.join("service-accounts.key")),
                flag("service-cluster-ip-range", SERVICES),
                flag("allow-privileged", "true"),
                flag("audit-policy-file", self.directory.join("audit-policy.yaml")),
                flag("audit-log-path", self.audit_log()),
                // Megabytes; the readers of the log expect one file.
                flag("audit-log-maxsize", "100000"),
            ],
            more,
        )
        .with(self.apiserver_for_pods())
    }

    /// Returns the API server's flags that depend on whether there are nodes.
    fn apiserver_for_pods(&self) -> Vec<OsString> {
        let Some(address) = self.node_address else {
            return vec![
                flag("bind-address", "127.0.0.1"),
                flag("authorization-mode", "RBAC"),
                flag("endpoint-reconciler-type", "none"),
                // These admission plugins are about pods, of which there are none without nodes.
                flag("disable-admission-plugins", "ServiceAccount,TaintNodesByCondition,Priority,DefaultTolerationSeconds"),
            ];
        };
        let pki = self.pki();
        vec![
            flag("bind-address", "0.0.0.0"),
            // The endpoint of the Service `kubernetes`, which pods use.
            flag("advertise-address", address.to_string()),
            flag("authorization-mode", "Node,RBAC"),
            flag("enable-admission-plugins", "NodeRestriction"),
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("kubelet-client-certificate", pki.join(format!("{ADMIN}.crt"))),
            flag("kubelet-client-key", pki.join(format!("{ADMIN}.key"))),
        ]
    }

    pub(crate) fn controller_manager(&self, binaries: &Binaries, kubeconfig: &Path) -> Spec {
        let pki = self.pki();
        let controllers = match self.node_address {
            Some(_) => "*",
            None => {
                "namespace-controller,garbage-collector-controller,\
                 serviceaccount-controller,clusterrole-aggregation-controller"
            }
        };
        self.spec(
            "kube-controller-manager",
            &binaries.kube_controller_manager,
            [
                flag("kubeconfig", kubeconfig),
                flag("controllers", controllers),
                flag("leader-elect", "false"),
                // Each controller under its own name, as in real clusters.
                flag("use-service-account-credentials", "true"),
                flag("service-account-private-key-file", pki.join("service-accounts.key")),
                flag("root-ca-file", pki.join("ca.crt")),
                flag("secure-port", "0"),
            ],
            &[],
        )
    }

    fn spec<const N: usize>(&self, name: &str, program: &Path, flags: [OsString; N], more: &[String]) -> Spec {
        Spec {
            name: name.to_owned(),
            program: program.to_owned(),
            args: flags.into_iter().chain(more.iter().map(OsString::from)).collect(),
            env: Vec::new(),
            log: self.directory.join(format!("{name}.log")),
        }
    }
}

/// Returns `--name=value`, where the value may be a path.
pub(crate) fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value.into());
    flag
}
