//! Access to the OCI archive.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

/// Returns the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the platforms that were built, such as `linux/arm64`: those of `make image` unless the variable limits them.
pub fn platforms() -> Vec<String> {
    let platforms = std::env::var("PLATFORMS").unwrap_or_else(|_| "linux/amd64,linux/arm64".to_owned());
    platforms.split(',').map(str::to_owned).collect()
}

/// The programs of the image.
pub const PROGRAMS: [&str; 2] = ["jit-rbac", "jit-rbac-services"];

/// Returns a program that `make binaries` built for a platform.
pub fn binary(platform: &str, program: &str) -> PathBuf {
    root().join("target/binaries").join(platform).join(program)
}

/// Returns each program for each platform that was built.
pub fn binaries() -> Vec<(String, &'static str)> {
    platforms().into_iter().flat_map(|platform| PROGRAMS.map(|program| (platform.clone(), program))).collect()
}

/// Returns the output of a command that must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An unpacked archive.
pub struct Archive(TempDir);

/// The image of one platform.
pub struct Image {
    /// The configuration.
    pub config: Value,
    /// The layers, compressed.
    pub layers: Vec<PathBuf>,
}

impl Archive {
    /// Unpacks `target/image/jit-rbac.oci.tar` of this checkout.
    pub fn open() -> Self {
        let directory = TempDir::new().unwrap();
        output(Command::new("tar").arg("-xf").arg(root().join("target/image/jit-rbac.oci.tar")).arg("-C").arg(directory.path()));
        Self(directory)
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.0.path().join(path)).unwrap()).unwrap()
    }

    /// Returns the content that a descriptor names.
    fn blob(descriptor: &Value) -> String {
        format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"))
    }

    /// Returns the only entry of the archive, which is the index of the image.
    pub fn entry(&self) -> Value {
        let mut entries = self.json("index.json")["manifests"].as_array().unwrap().clone();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }

    /// Returns the image of each platform.
    pub fn images(&self) -> BTreeMap<String, Image> {
        let index = self.json(&Self::blob(&self.entry()));
        let image = |descriptor: &Value| {
            let platform = &descriptor["platform"];
            let manifest = self.json(&Self::blob(descriptor));
            let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| self.0.path().join(Self::blob(layer))).collect();
            let name = format!("{}/{}", platform["os"].as_str().unwrap(), platform["architecture"].as_str().unwrap());
            (name, Image { config: self.json(&Self::blob(&manifest["config"])), layers })
        };
        index["manifests"].as_array().unwrap().iter().map(image).collect()
    }
}
