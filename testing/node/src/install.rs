use std::env;
use std::fs;
use std::path::PathBuf;

use control_plane::{ADMIN, Error, NAMESPACE, RELEASE, Result, checkout, wait_until_guarded};
use serde_json::{Value, json};

use crate::Node;

/// The name of the image on the node.
const IMAGE: (&str, &str) = ("localhost/jit-rbac", "built-here");
/// The environment variable with the path of another archive than that of `make image`.
const ARCHIVE: &str = "JIT_RBAC_IMAGE";
/// How long Helm waits for the pods to be ready.
const WAIT: &str = "--timeout=3m";

/// Returns the OCI archive of the image: that of `make image`, or the one that the environment's `JIT_RBAC_IMAGE` names.
pub fn image() -> Result<PathBuf> {
    let archive = match env::var_os(ARCHIVE) {
        Some(path) => PathBuf::from(path),
        None => checkout()?.join("target").join("image").join("jit-rbac.oci.tar"),
    };
    if archive.is_file() { Ok(archive) } else { Err(Error::State(format!("there is no image {}: run 'make image'", archive.display()))) }
}

impl Node {
    /// Loads the image and installs the chart with its default security settings, in a namespace that enforces the Pod Security Standard
    /// `restricted`. Returns when Helm reports all pods as ready, and the API server calls the webhook and enforces the policies.
    pub async fn install(&self, values: &Value) -> Result<()> {
        let (repository, tag) = IMAGE;
        self.load_image(&image()?, &format!("{repository}:{tag}")).await?;
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        });
        self.cluster().apply(ADMIN, &namespace.to_string()).await?.ok()?;
        self.upgrade(values).await
    }

    /// Installs or upgrades the chart with these values, as [`Node::install`] does.
    pub async fn upgrade(&self, values: &Value) -> Result<()> {
        let (repository, tag) = IMAGE;
        let mut all = values.clone();
        if let Some(values) = all.as_object_mut() {
            values.insert("image".to_owned(), json!({"repository": repository, "tag": tag}));
        }
        let path = self.cluster().directory().join("values.json");
        fs::write(&path, all.to_string()).map_err(Error::path("write", &path))?;
        let (chart, path) = (checkout()?.join("charts").join("jit-rbac").display().to_string(), path.display().to_string());
        let args = ["upgrade", "--install", RELEASE, &chart, "--namespace", NAMESPACE, "--values", &path, "--wait", WAIT];
        self.helm(&args).await?.ok()?;
        wait_until_guarded(self.cluster(), RELEASE).await
    }
}
