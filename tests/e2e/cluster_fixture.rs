//! A control plane with the operator running on it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use control_plane::{ADMIN, Cluster, Operator, OperatorOptions, Options, Plane, Proxy, ServiceOptions, User, standard_users};
use kube::Client;
use serde_json::{Value, json};

use crate::{
    audit::Inspector,
    authors::{ALONE, AUTHORS},
    env::{AGGREGATED, Error, GAINING},
};

/// A control plane with the operator on it.
pub struct ClusterFixture {
    /// The control plane.
    pub plane: Plane,
    /// The operator's processes.
    pub operator: Operator,
    /// The admin's client, for polls.
    pub client: Client,
    /// The inspector of the API server's audit log at the end.
    pub inspector: Inspector,
    /// The proxy between the controllers and the API server, on a control plane that was started with one.
    pub proxy: Option<Arc<Proxy>>,
}

/// The additional options of a control plane.
#[derive(Default)]
pub struct Setting {
    /// More chart values.
    pub values: Value,
    /// More flags for the API server.
    pub apiserver_flags: Vec<String>,
    /// More flags for the webhook.
    pub webhook_flags: Vec<String>,
    /// Policies that the operator does not watch.
    pub unwatched: &'static [&'static str],
    /// The controllers reach the API server through a [`Proxy`].
    pub proxied: bool,
    /// The webhook too.
    pub webhook_proxied: bool,
    /// The number of controllers, if not two.
    pub replicas: Option<usize>,
    /// The services next to the operator.
    pub services: Vec<ServiceOptions>,
    /// The program and the chart, if not those of the checkout.
    pub earlier: Option<(PathBuf, PathBuf)>,
}

impl Drop for ClusterFixture {
    fn drop(&mut self) {
        self.inspector.finish();
    }
}

impl ClusterFixture {
    /// Starts a control plane and the operator, and lets all users make requests.
    pub async fn start(setting: Setting) -> Result<Self, Error> {
        let mut users = standard_users()?;
        for author in AUTHORS.into_iter().chain(ALONE) {
            users.push(User::new(author, [""; 0])?);
        }
        let apiserver_flags = setting.apiserver_flags;
        let plane = Plane::start(Options { apiserver_flags, users: Some(users), ..Options::default() }).await?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut options = match setting.earlier {
            Some((binary, chart)) => OperatorOptions::new(binary, chart),
            None => OperatorOptions::of_checkout(root)?,
        };
        options.cluster_roles.extend([AGGREGATED, GAINING].map(str::to_owned));
        options.values = setting.values;
        options.services = setting.services;
        options.unwatched = setting.unwatched.iter().map(|name| (*name).to_owned()).collect();
        options.webhook_flags = setting.webhook_flags;
        options.replicas = setting.replicas.unwrap_or(options.replicas);
        let proxy = if setting.proxied { Some(Arc::new(Proxy::start(plane.cluster()).await?)) } else { None };
        options.proxy.clone_from(&proxy);
        options.webhook_proxied = setting.webhook_proxied;
        let operator = Operator::start(plane.cluster(), plane.reaper(), options).await?;
        let groups = ["devs", "leads", "security", "system:serviceaccounts", "oidc:devs", "oidc:leads", "oidc:staff"]
            .map(|g| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": g}));
        let users = ["outsider"].map(|u| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": u}));
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "e2e-requesters"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jit-rbac-requester"},
            "subjects": groups.into_iter().chain(users).collect::<Vec<_>>(),
        });
        plane.apply(ADMIN, &binding.to_string()).await?.ok()?;
        let client = plane.client(ADMIN).await?;
        let inspector = Inspector::new(&client, plane.cluster()).await?;
        Ok(Self { plane, operator, client, inspector, proxy })
    }

    /// Returns the proxy between the controllers and the API server.
    pub fn proxy(&self) -> Result<&Proxy, Error> {
        Ok(self.proxy.as_deref().ok_or("this control plane has no proxy")?)
    }

    /// Returns kubectl, cluster and clients.
    pub fn cluster(&self) -> &Cluster {
        self.plane.cluster()
    }
}
