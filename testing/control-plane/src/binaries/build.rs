use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::release::Release;
use super::{cache, modules};
use crate::{Error, Result};

/// The Helm version that is built.
const HELM: &str = "v4.3.1";

/// The sources of the Go binary, embedded so that the build needs no checkout.
const SOURCES: [(&str, &str); 3] = [("go.mod", include_str!("../../go.mod")), ("go.sum", include_str!("../../go.sum")), MAIN];
const MAIN: (&str, &str) = ("main.go", include_str!("../../main.go"));
/// The sources of the program that applies manifests as Flux does.
const GITOPS: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../../gitops/go.mod")),
    ("go.sum", include_str!("../../../gitops/go.sum")),
    ("main.go", include_str!("../../../gitops/main.go")),
];
/// The sources of the binary of any release but the default one. Its modules follow from the release and the template.
const OTHER_SOURCES: [(&str, &str); 2] = [("template", modules::TEMPLATE), MAIN];
/// The program names under which the one binary can be called.
const NAMES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];
const INSTALL_GO: &str = "install Go 1.26 or later from https://go.dev/dl; \
     Kubernetes and Helm are built with it once, into a cache";
/// The prefix of the directories of unfinished builds.
const UNFINISHED: &str = ".unfinished-";

/// Returns the directory with the four programs of a release; it is built if it is not in the cache.
pub(super) fn kubernetes(release: Release) -> Result<PathBuf> {
    let note = format!(
        "Building Kubernetes {release} (etcd, kube-apiserver, kube-controller-manager, kubectl) \
         from its Go modules: about 5 minutes on 2 cores, once per machine."
    );
    let version = "k8s.io/component-base/version.";
    let minor = release.minor();
    let flags = format!("-s -w -X {version}gitVersion={release} -X {version}gitMajor=1 -X {version}gitMinor={minor}");
    let usual = release == Release::USUAL;
    let sources = if usual { &SOURCES[..] } else { &OTHER_SOURCES[..] };
    cached(&key(release, sources, &flags), &note, |directory| {
        let sources = directory.join("sources");
        fs::create_dir(&sources).map_err(Error::path("create", &sources))?;
        for (name, text) in if usual { &SOURCES[..] } else { &[MAIN] } {
            let path = sources.join(name);
            fs::write(&path, text).map_err(Error::path("write", &path))?;
        }
        if !usual {
            modules::write(release, &sources)?;
        }
        let binary = directory.join("kubernetes");
        run(go(&sources).args(["build", "-trimpath", "-ldflags", &flags, "-o"]).arg(&binary).arg("."))?;
        for name in NAMES {
            let path = directory.join(name);
            symlink("kubernetes", &path).map_err(Error::path("link", &path))?;
        }
        // The generated sources stay with the binary as a record of what it was built from.
        if usual { fs::remove_dir_all(&sources).map_err(Error::path("remove", &sources)) } else { Ok(()) }
    })
}

/// Returns Helm's path; it is built if it is not in the cache.
pub(super) fn helm() -> Result<PathBuf> {
    let note = format!("Building Helm {HELM}: about 2.5 minutes on 2 cores, once per machine.");
    let directory = cached(&format!("helm-{HELM}"), &note, |directory| {
        let module = format!("helm.sh/helm/v4/cmd/helm@{HELM}");
        run(go(directory).env("GOBIN", directory).args(["install", "-trimpath", "-ldflags", "-s -w", &module])).map(drop)
    })?;
    Ok(directory.join("helm"))
}

/// Returns the path of the program that applies manifests as Flux does.
pub(super) fn gitops() -> Result<PathBuf> {
    let note = "Building the library of a GitOps tool: about 2 minutes on 2 cores, once per machine.";
    let directory = cached(&format!("gitops-{}", fingerprint(&GITOPS, "")), note, |directory| {
        for (name, text) in GITOPS {
            let path = directory.join(name);
            fs::write(&path, text).map_err(Error::path("write", &path))?;
        }
        run(go(directory).args(["build", "-trimpath", "-ldflags", "-s -w", "-o", "gitops", "."])).map(drop)
    })?;
    Ok(directory.join("gitops"))
}

/// Returns the directory of the build from these sources with these flags.
fn key(release: Release, sources: &[(&str, &str)], flags: &str) -> String {
    format!("kubernetes-{release}-{}", fingerprint(sources, flags))
}

/// Returns a hash of sources and flags. Other sources have another name in the cache, so it never serves a stale binary.
fn fingerprint(sources: &[(&str, &str)], flags: &str) -> String {
    let mut hash = Sha256::new();
    for (name, text) in sources {
        // The lengths separate two adjacent fields.
        hash.update(format!("{name} {}\n{text}", text.len()));
    }
    hash.update(flags);
    let short = hash.finalize().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{short:016x}")
}

/// Returns the directory `name` of the cache, filled by `fill` if it does not exist. One process builds at a time, and an interrupted build
/// does not create it.
fn cached(name: &str, note: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache()?;
    let finished = cache.join(name);
    if finished.is_dir() {
        return Ok(finished);
    }
    fs::create_dir_all(&cache).map_err(Error::path("create", &cache))?;
    // The lock is held until it is dropped at the end, or until this process dies.
    let _lock = lock(&cache.join(".lock"))?;
    if finished.is_dir() {
        return Ok(finished);
    }
    remove_unfinished(&cache)?;
    run(go(&cache).arg("version"))?;
    eprintln!("{note}");
    let started = std::time::Instant::now();
    let directory = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&cache).map_err(Error::path("create a directory in", &cache))?;
    fill(directory.path())?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), readable).map_err(Error::path("make readable", directory.path()))?;
    fs::rename(directory.keep(), &finished).map_err(Error::path("rename to", &finished))?;
    eprintln!("Built in {} s: {}", started.elapsed().as_secs(), finished.display());
    Ok(finished)
}

fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path).map_err(Error::path("open", path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("Waiting for another process that is building."),
        Err(TryLockError::Error(error)) => return Err(Error::path("lock", path)(error)),
    }
    file.lock().map_err(Error::path("lock", path))?;
    Ok(file)
}

/// Removes what interrupted builds have left. Only the holder of the lock may call it.
fn remove_unfinished(cache: &Path) -> Result<()> {
    let entries = fs::read_dir(cache).map_err(Error::path("read", cache))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path()).map_err(Error::path("remove", &entry.path()))?;
        }
    }
    Ok(())
}

pub(super) fn go(directory: &Path) -> Command {
    let mut command = Command::new("go");
    // A Go workspace in a parent directory must not affect the build.
    command.current_dir(directory).env("CGO_ENABLED", "0").env("GOWORK", "off");
    command
}

/// Returns the output of a command that succeeded.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { tool: "go".to_owned(), install: INSTALL_GO },
        _ => Error::io("start go")(source),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("go: downloading")).collect();
    let output = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
    Err(Error::Command { command: format!("go {}", words.join(" ")), output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_the_release_on_every_source_and_on_the_flags() {
        let usual = |sources: &[(&str, &str)], flags| key(Release::USUAL, sources, flags);
        let base = usual(&[("a", "1"), ("b", "2")], "-s");
        assert!(base.starts_with("kubernetes-v1.36.3-"), "{base}");
        assert_eq!(base, usual(&[("a", "1"), ("b", "2")], "-s"));
        for (sources, flags) in [
            ([("a", "1"), ("b", "3")], "-s"),
            ([("a", "1"), ("c", "2")], "-s"),
            ([("a", "12"), ("b", "")], "-s"),
            ([("a", "1"), ("b", "2")], "-w"),
        ] {
            assert_ne!(base, usual(&sources, flags));
        }
        assert_ne!(base, key(Release::ALL[0], &[("a", "1"), ("b", "2")], "-s"));
    }

    #[test]
    fn go_mod_names_the_release_that_is_said_to_be_built() {
        let (_, go_mod) = SOURCES[0];
        assert!(go_mod.contains(&format!("k8s.io/kubernetes {}\n", Release::USUAL)));
    }
}
