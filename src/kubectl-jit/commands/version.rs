//! `kubectl jit version`: the versions of the plugin, the API server and the operator.

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::{
    flags::Output,
    objects,
    problem::{Exit, Problem},
    session::Session,
};

/// The version of this program.
pub const OURS: &str = env!("CARGO_PKG_VERSION");

/// Prints the versions of the plugin, the API server and the operator.
///
/// The version of the operator needs permission to list its Deployments.
#[derive(Debug, Args)]
pub struct Options {
    /// Print only the version of the plugin, without a cluster.
    #[arg(long)]
    pub client: bool,
    #[command(flatten)]
    output: Output,
}

/// Prints the version of the plugin.
pub fn client(options: &Options, screen: &crate::screen::Screen) -> Result<Exit, Problem> {
    let value = json!({"client": OURS});
    screen.data(&objects::data(&value, options.output.output)?.unwrap_or_else(|| format!("client   {OURS}")));
    Ok(Exit::Done)
}

/// Prints all versions.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    let server = session.client.apiserver_version().await.map_err(|error| Problem::of(&format!("reach {}", session.server()), &error))?;
    let operator = operator(session).await;
    let value = json!({"client": OURS, "server": server.git_version, "operator": operator});
    let shown = objects::data(&value, options.output.output)?.unwrap_or_else(|| {
        let operator = operator.as_deref().unwrap_or("unknown: there is no Deployment of it that you may read");
        format!(
            "client   {OURS}\nserver   {}\noperator {operator}",
            session.screen.on_stdout(&server.git_version, crate::paint::Paint::Plain)
        )
    });
    session.screen.data(&shown);
    if let Some(operator) = operator.filter(|operator| minor(operator) != minor(OURS)) {
        session.screen.warn(&format!("the operator has version {operator} and this plugin {OURS}: use the plugin version of the operator"));
    }
    Ok(Exit::Done)
}

/// The version in the labels of the operator's Deployments.
async fn operator(session: &Session) -> Option<String> {
    let api: Api<Deployment> = Api::all(session.client.clone());
    let found = api.list(&ListParams::default().labels("app.kubernetes.io/name=jit-rbac")).await.ok()?;
    let label = |deployment: &Deployment| deployment.metadata.labels.as_ref()?.get("app.kubernetes.io/version").cloned();
    found.items.iter().find_map(label).map(|version| api::text::printable(&version))
}

/// Major and minor of a version.
fn minor(version: &str) -> (Option<&str>, Option<&str>) {
    let mut parts = version.trim_start_matches('v').split('.');
    (parts.next(), parts.next())
}
