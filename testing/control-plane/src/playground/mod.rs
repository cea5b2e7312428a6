//! The content of the control planes of `make up` and `make demo`: namespaces, roles, users, the examples.

mod audit_log;
mod mail;

use std::path::Path;

use serde_json::{Value, json};

use crate::{ADMIN, Cluster, Error, Result};

pub use audit_log::AuditLog;
pub use mail::{Mail, MailServer, Mailbox};

const NAMESPACES: &str = include_str!("namespaces.yaml");
const REQUESTERS: &str = include_str!("requesters.yaml");
/// The kinds that admins write. A directory of examples has requests as well, which users apply.
const OF_ADMINS: [&str; 2] = ["ApprovalPolicy", "RoleEligibility"];

/// Creates namespaces with their roles.
pub async fn namespaces(cluster: &Cluster) -> Result<()> {
    cluster.apply(ADMIN, NAMESPACES).await?.ok().map(drop)
}

/// Lets all users of the playground request and decide. With the chart `jit-access` this is not needed.
pub async fn requesters(cluster: &Cluster) -> Result<()> {
    cluster.apply(ADMIN, REQUESTERS).await?.ok().map(drop)
}

/// Applies the eligibilities and policies of a directory as the admin, and reports those that do not become ready soon.
pub async fn examples(cluster: &Cluster, directory: &Path) -> Result<()> {
    if !directory.is_dir() {
        return Err(Error::State(format!("there are no examples in {}", directory.display())));
    }
    // kubectl parses the YAML.
    let path = directory.display().to_string();
    let args = ["create", "--dry-run=client", "--validate=false", "-R", "-o", "json", "-f", &path];
    let text = cluster.run(ADMIN, &args).await?.ok()?;
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut objects = Vec::new();
    for document in documents {
        let document = document?;
        match document.get("items").and_then(Value::as_array) {
            Some(items) => objects.extend(items.iter().cloned()),
            None => objects.push(document),
        }
    }
    objects.retain(|object| {
        let kind = object.get("kind").and_then(Value::as_str);
        kind.is_some_and(|kind| OF_ADMINS.contains(&kind))
    });
    if objects.is_empty() {
        return Err(Error::State(format!("no eligibilities and policies in {path}")));
    }
    let manifest = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    cluster.apply(ADMIN, &manifest).await?.ok()?;
    let kinds = "approvalpolicies,roleeligibilities";
    let args = ["wait", "--for=condition=Ready", "--all", "--timeout=20s", kinds];
    if let Err(error) = cluster.run(ADMIN, &args).await?.ok() {
        eprintln!("Some examples are not ready: {error}");
    }
    Ok(())
}
