//! The Go modules of a Kubernetes release that this crate has no `go.mod` for.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::build::{go, run};
use super::release::Release;
use crate::{Error, Result};

/// The template of `go.mod`; `go mod tidy` adds the rest.
pub(super) const TEMPLATE: &str = "\
// The upstream components of the local control plane, in one binary. Written for this build alone.
module jit-rbac.invalid/control-plane

go {go}

require k8s.io/kubernetes {kubernetes}

// k8s.io/kubernetes names its own staging modules as v0.0.0.
replace (
{replace})
";
/// The placeholder version of the modules that are published together with Kubernetes.
const OF_STAGING: &str = "v0.0.0";

/// The directory of a downloaded module.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    go_mod: PathBuf,
}

/// The content of a `go.mod`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    go: String,
    require: Vec<Required>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Required {
    path: String,
    version: String,
}

/// Writes `go.mod` and `go.sum` into a directory with `main.go`. All versions are those of Kubernetes. The modules that are published with
/// it are read from the release's `go.mod`, and so are the versions of all others.
pub(super) fn write(release: Release, directory: &Path) -> Result<()> {
    let downloaded = run(go(directory).args(["mod", "download", "-json", &format!("k8s.io/kubernetes@{release}")]))?;
    let downloaded: Downloaded = serde_json::from_str(&downloaded)?;
    let module: Module = serde_json::from_str(&run(go(directory).args(["mod", "edit", "-json"]).arg(&downloaded.go_mod))?)?;
    let path = directory.join("go.mod");
    fs::write(&path, go_mod(release, &module)).map_err(Error::path("write", &path))?;
    run(go(directory).args(["mod", "tidy"])).map(drop)
}

fn go_mod(release: Release, module: &Module) -> String {
    let version = release.of_staging();
    let staging = module.require.iter().filter(|required| required.version == OF_STAGING && required.path.starts_with("k8s.io/"));
    let lines: Vec<String> = staging.map(|required| format!("\t{0} => {0} {version}\n", required.path)).collect();
    TEMPLATE.replace("{go}", &module.go).replace("{kubernetes}", &release.to_string()).replace("{replace}", &lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_published_with_kubernetes_is_replaced() {
        let said = r#"{
            "Module": {"Path": "k8s.io/kubernetes"}, "Go": "1.26.0", "Replace": null,
            "Require": [
                {"Path": "github.com/x/y", "Version": "v0.0.0"}, {"Path": "k8s.io/api", "Version": "v0.0.0"},
                {"Path": "k8s.io/klog/v2", "Version": "v2.140.0"}, {"Path": "k8s.io/kubectl", "Version": "v0.0.0", "Indirect": true}
            ]
        }"#;
        let written = go_mod(Release::USUAL, &serde_json::from_str(said).unwrap());
        assert!(written.contains("\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.36.3\n"), "{written}");
        let replace = "\nreplace (\n\tk8s.io/api => k8s.io/api v0.36.3\n\tk8s.io/kubectl => k8s.io/kubectl v0.36.3\n)\n";
        assert!(written.ends_with(replace), "{written}");
    }
}
