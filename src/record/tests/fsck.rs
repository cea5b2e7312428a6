//! Tessera's fsck: another implementation that verifies the log.

use std::{fs, path::PathBuf, process::Command};

/// The folder of the programs that `make record-tools` builds.
pub fn tools() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache"));
    cache.join("jit-rbac/tools/record")
}

/// A program of `make record-tools`.
pub fn tool(name: &str) -> Command {
    let path = tools().join(name);
    assert!(path.exists(), "{name} is missing: run `make record-tools`");
    Command::new(path)
}

/// Asserts that fsck accepts the log in a folder.
pub fn accepts(folder: &std::path::Path, verifier: &str) {
    let (accepted, output) = run(folder, verifier);
    assert!(accepted, "fsck refuses the log in {}:\n{output}", folder.display());
}

/// Whether fsck accepts, and what it printed.
pub fn run(folder: &std::path::Path, verifier: &str) -> (bool, String) {
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), verifier).unwrap();
    let output = tool("fsck")
        .args(["--ui=false", "--v=1", "--N=4", "--public_key"])
        .arg(key.path())
        .arg(format!("--storage_url=file://{}/", folder.display()))
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    // Its exit code is 0 in any case.
    (output.contains("Completed ranges") && !output.contains("fsck failed"), output)
}
