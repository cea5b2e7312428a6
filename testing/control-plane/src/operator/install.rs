use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};

use super::{OperatorOptions, ServiceOptions};
use crate::cluster::run;
use crate::{ADMIN, Cluster, Error, Result};

/// The operator's namespace.
pub const NAMESPACE: &str = "jit-system";
/// The usual Helm release; the chart derives the names of its objects from it.
pub const RELEASE: &str = "jit-rbac";
/// The validity of the two identities' tokens: longer than a control plane is kept.
const TOKEN_LIFE: &str = "--duration=720h";

/// The files of the operator's processes.
pub(super) struct Installed {
    /// The configuration file.
    pub(super) config: PathBuf,
    /// The controllers' kubeconfig.
    pub(super) controller: PathBuf,
    /// The controllers' token, which the kubeconfig contains.
    pub(super) controller_token: String,
    /// The webhook's kubeconfig.
    pub(super) webhook: PathBuf,
    /// The webhook's token, which the kubeconfig contains.
    pub(super) webhook_token: String,
}

/// Installs or upgrades the chart, and fetches the files that its pods would get.
pub(super) async fn install(cluster: &Cluster, directory: &Path, options: &OperatorOptions, webhook_port: u16) -> Result<Installed> {
    let values = directory.join("values.json");
    let text = serde_json::to_string_pretty(&chart_values(options, webhook_port))?;
    fs::write(&values, text).map_err(Error::path("write", &values))?;
    let mut helm = cluster.helm()?;
    helm.args(["upgrade", "--install", &options.release]).arg(&options.chart);
    helm.args(["--namespace", NAMESPACE, "--create-namespace", "--values"]).arg(&values);
    if options.release != RELEASE {
        // The CRDs of an earlier release stay when it is uninstalled.
        helm.arg("--take-ownership");
    }
    run(&mut helm, None).await?.ok()?;
    fetch(cluster, directory, options).await
}

/// Restores the previous revision of the release, and fetches the files of its pods.
pub(super) async fn roll_back(cluster: &Cluster, directory: &Path, options: &OperatorOptions) -> Result<Installed> {
    let mut helm = cluster.helm()?;
    helm.args(["rollback", &options.release, "--namespace", NAMESPACE]);
    run(&mut helm, None).await?.ok()?;
    fetch(cluster, directory, options).await
}

async fn fetch(cluster: &Cluster, directory: &Path, options: &OperatorOptions) -> Result<Installed> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(ADMIN).await?, NAMESPACE);
    let name = full_name(&options.release);
    let map = maps.get(&format!("{name}-config")).await?;
    let mut data = map.data.unwrap_or_default();
    let mut file = |name: &str| data.remove(name).ok_or_else(|| Error::State(format!("the chart's ConfigMap has no {name}")));
    let config = directory.join("config.json");
    fs::write(&config, file("config.json")?).map_err(Error::path("write", &config))?;
    let guards = directory.join("guards.json");
    fs::write(&guards, watched(&file("guards.json")?, &options.unwatched)?).map_err(Error::path("write", &guards))?;
    let (controller, webhook) = (format!("{name}-controller"), format!("{name}-webhook"));
    let (controller_token, webhook_token) = (token(cluster, &controller).await?, token(cluster, &webhook).await?);
    Ok(Installed {
        config,
        controller: cluster.kubeconfig_for_token(&controller, &controller_token)?,
        controller_token,
        webhook: cluster.kubeconfig_for_token(&webhook, &webhook_token)?,
        webhook_token,
    })
}

/// The files of a service.
pub(super) struct InstalledService {
    /// Its settings.
    pub(super) settings: PathBuf,
    /// Its kubeconfig.
    pub(super) kubeconfig: PathBuf,
}

/// Fetches what the pod of a service would get.
pub(super) async fn fetch_service(
    cluster: &Cluster,
    directory: &Path,
    options: &OperatorOptions,
    service: &ServiceOptions,
) -> Result<InstalledService> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(ADMIN).await?, NAMESPACE);
    let (account, file) = (format!("{}-{}", full_name(&options.release), service.name), format!("{}.json", service.name));
    let text = maps.get(&account).await?.data.and_then(|mut data| data.remove(&file));
    let text = text.ok_or_else(|| Error::State(format!("the ConfigMap {account} has no {file}")))?;
    let mut content: Value = serde_json::from_str(&text)?;
    merge(&mut content, &service.settings);
    let settings = directory.join(&file);
    fs::write(&settings, content.to_string()).map_err(Error::path("write", &settings))?;
    let token = token(cluster, &account).await?;
    Ok(InstalledService { settings, kubeconfig: cluster.kubeconfig_for_token(&account, &token)? })
}

/// Returns the folder with one folder for each Secret of a receiver of notifications, which a pod would mount.
#[must_use]
pub fn secrets(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("operator").join("secrets")
}

/// Returns the name prefix of a release's objects, as the chart's helper `jit-rbac.fullname` does.
pub(super) fn full_name(release: &str) -> String {
    if release.contains(RELEASE) { release.to_owned() } else { format!("{release}-{RELEASE}") }
}

/// Returns the guards in the operator's configuration: all except those of these names.
fn watched(guards: &str, unwatched: &[String]) -> Result<String> {
    let mut all: Vec<Value> = serde_json::from_str(guards)?;
    all.retain(|guard| !unwatched.iter().any(|name| guard["name"] == **name));
    Ok(serde_json::to_string(&all)?)
}

/// Creates a token of a `ServiceAccount`.
async fn token(cluster: &Cluster, account: &str) -> Result<String> {
    let args = ["create", "token", account, "--namespace", NAMESPACE, TOKEN_LIFE];
    let token = cluster.run(ADMIN, &args).await?.ok()?;
    Ok(token.trim().to_owned())
}

fn chart_values(options: &OperatorOptions, webhook_port: u16) -> Value {
    let mut values = json!({
        "outOfCluster": {"enabled": true, "webhookUrl": format!("https://127.0.0.1:{webhook_port}")},
        "bindableRoles": {"clusterRoles": options.cluster_roles, "roles": options.roles},
    });
    if let Some(limit) = &options.max_grant {
        merge(&mut values, &json!({ "maxGrant": limit }));
    }
    merge(&mut values, &options.values);
    values
}

/// Merges `over` into `base`: objects are merged, all other values replaced.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_values_win_and_leave_their_neighbours() {
        let mut options = OperatorOptions::new("jit-rbac", "charts/jit-rbac");
        options.max_grant = Some("1h".to_owned());
        options.values = json!({"bindableRoles": {"roles": []}, "maxGrant": "2h", "identity": {"prefixes": ["oidc:"]}});
        let values = chart_values(&options, 9443);
        assert_eq!(values["bindableRoles"], json!({"clusterRoles": ["view", "edit", "admin"], "roles": []}));
        assert_eq!(values["maxGrant"], "2h");
        assert_eq!(values["identity"]["prefixes"], json!(["oidc:"]));
        assert_eq!(values["outOfCluster"]["webhookUrl"], "https://127.0.0.1:9443");
    }
}
