//! An image with one static program, as an OCI archive.

use std::fs;
use std::path::Path;
use std::process::Command;

use control_plane::{Error, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A blob of an image: its digest and size.
struct Blob {
    digest: String,
    size: usize,
}

impl Blob {
    fn descriptor(&self, kind: &str) -> Value {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": self.digest, "size": self.size})
    }
}

/// Writes an image that contains only this program, and runs it as the user 65532, to `archive`.
pub(crate) fn write(program: &Path, archive: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().map_err(Error::io("create a temporary directory"))?;
    let (root, layout) = (scratch.path().join("root"), scratch.path().join("layout"));
    let blobs = layout.join("blobs").join("sha256");
    for directory in [&root, &blobs] {
        fs::create_dir_all(directory).map_err(Error::path("create", directory))?;
    }
    let name = program.file_name().unwrap_or_default();
    fs::copy(program, root.join(name)).map_err(Error::path("copy", program))?;
    let layer = scratch.path().join("layer.tar");
    tar(&root, &layer)?;
    let layer = add(&blobs, &fs::read(&layer).map_err(Error::path("read", &layer))?)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": [format!("/{}", name.to_string_lossy())], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    });
    let config = add(&blobs, config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("config.v1+json"),
        "layers": [layer.descriptor("layer.v1.tar")],
    });
    let manifest = add(&blobs, manifest.to_string().as_bytes())?;
    let index = json!({"schemaVersion": 2, "manifests": [manifest.descriptor("manifest.v1+json")]});
    for (name, text) in [("index.json", index.to_string()), ("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string())] {
        let path = layout.join(name);
        fs::write(&path, text).map_err(Error::path("write", &path))?;
    }
    tar(&layout, archive)
}

fn add(blobs: &Path, content: &[u8]) -> Result<Blob> {
    let digest = Sha256::digest(content).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let path = blobs.join(&digest);
    fs::write(&path, content).map_err(Error::path("write", &path))?;
    Ok(Blob { digest: format!("sha256:{digest}"), size: content.len() })
}

fn tar(directory: &Path, file: &Path) -> Result<()> {
    let output = Command::new("tar").arg("-cf").arg(file).arg("-C").arg(directory).arg(".").output().map_err(Error::io("start tar"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Command { command: format!("tar of {}", directory.display()), output: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// Returns the name of this machine's architecture in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
