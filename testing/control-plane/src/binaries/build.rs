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

/// The containerd version that is built.
const CONTAINERD: &str = "v2.4.2";

/// The Go module of both binaries, embedded so that the build needs no checkout.
const MODULE: [(&str, &str); 2] = [("go.mod", include_str!("../../go.mod")), ("go.sum", include_str!("../../go.sum"))];
/// The source of the module of any release but the default one. Its versions follow from the release and the template.
const OTHER_MODULE: [(&str, &str); 1] = [("template", modules::TEMPLATE)];
/// The source file of a binary.
const MAIN: &str = "main.go";

/// Programs of Kubernetes in one binary, which acts by the name it is called with.
struct Programs {
    /// The prefix of the directory in the cache.
    prefix: &'static str,
    main: &'static str,
    names: &'static [&'static str],
    minutes: u8,
}

const CONTROL_PLANE: Programs = Programs {
    prefix: "kubernetes",
    main: include_str!("../../main.go"),
    names: &["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"],
    minutes: 5,
};
const NODE: Programs = Programs {
    prefix: "kubernetes-node",
    main: include_str!("../../node/main.go"),
    names: &["kubelet", "kube-scheduler", "kube-proxy"],
    minutes: 4,
};
/// The sources of the program that applies manifests as Flux does.
const GITOPS: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../../gitops/go.mod")),
    ("go.sum", include_str!("../../../gitops/go.sum")),
    (MAIN, include_str!("../../../gitops/main.go")),
];

const INSTALL_GO: &str = "install Go 1.26 or later from https://go.dev/dl; \
     Kubernetes and Helm are built with it once, into a cache";
/// The prefix of the directories of unfinished builds.
const UNFINISHED: &str = ".unfinished-";

/// Returns the directory with the four programs of a control plane; they are built if they are not in the cache.
pub(super) fn control_plane(release: Release) -> Result<PathBuf> {
    kubernetes(release, &CONTROL_PLANE, |_| Ok(()))
}

/// Returns the directory with the three programs of a node and `pause`; they are built if they are not in the cache.
pub(super) fn node(release: Release) -> Result<PathBuf> {
    kubernetes(release, &NODE, |directory| {
        let module = run(go(&directory.join("sources")).args(["list", "-mod=mod", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]))?;
        let source = Path::new(module.trim()).join("build/pause/linux/pause.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-Os", "-static", "-DVERSION=built", "-o"]).arg(directory.join("pause")).arg(source);
        run(&mut compiler).map(drop)
    })
}

fn kubernetes(release: Release, programs: &Programs, more: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let Programs { prefix, main, names, minutes } = programs;
    let note = format!(
        "Building Kubernetes {release} ({}) from its Go modules: about {minutes} minutes on 2 cores, once per machine.",
        names.join(", ")
    );
    let version = "k8s.io/component-base/version.";
    let minor = release.minor();
    let flags = format!("-s -w -X {version}gitVersion={release} -X {version}gitMajor=1 -X {version}gitMinor={minor}");
    let usual = release == Release::USUAL;
    let module = if usual { &MODULE[..] } else { &OTHER_MODULE[..] };
    let key: Vec<_> = module.iter().copied().chain([(MAIN, *main)]).collect();
    cached(&format!("{prefix}-{release}-{}", key_of(&key, &flags)), &note, |directory| {
        let sources = directory.join("sources");
        fs::create_dir(&sources).map_err(Error::path("create", &sources))?;
        for (name, text) in key.iter().filter(|(name, _)| usual || *name == MAIN) {
            let path = sources.join(name);
            fs::write(&path, text).map_err(Error::path("write", &path))?;
        }
        if !usual {
            modules::write(release, &sources)?;
        }
        let binary = directory.join("kubernetes");
        // `go.mod` lists what the control plane needs. The versions of what only a node needs follow from Kubernetes' own `go.mod`.
        run(go(&sources).args(["build", "-mod=mod", "-trimpath", "-ldflags", &flags, "-o"]).arg(&binary).arg("."))?;
        for name in *names {
            let path = directory.join(name);
            symlink("kubernetes", &path).map_err(Error::path("link", &path))?;
        }
        more(directory)?;
        // The generated sources stay with the binary as a record of what it was built from.
        if usual { fs::remove_dir_all(&sources).map_err(Error::path("remove", &sources)) } else { Ok(()) }
    })
}

/// Returns the directory with containerd, its shim for runc, and `ctr`; they are built if they are not in the cache.
pub(super) fn containerd() -> Result<PathBuf> {
    let note = format!("Building containerd {CONTAINERD}: about 2.5 minutes on 2 cores, once per machine.");
    cached(&format!("containerd-{CONTAINERD}"), &note, |directory| {
        let package = |name| format!("github.com/containerd/containerd/v2/cmd/{name}@{CONTAINERD}");
        // Snapshotters that need C libraries or are not used.
        let tags = "no_btrfs no_devmapper no_zfs no_aufs";
        let flags = format!("-s -w -X github.com/containerd/containerd/v2/version.Version={CONTAINERD}");
        let mut install = go(directory);
        install.env("GOBIN", directory).args(["install", "-trimpath", "-tags", tags, "-ldflags", &flags]);
        run(install.args(["containerd", "containerd-shim-runc-v2", "ctr"].map(package))).map(drop)
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
    let directory = cached(&format!("gitops-{}", key_of(&GITOPS, "")), note, |directory| {
        for (name, text) in GITOPS {
            let path = directory.join(name);
            fs::write(&path, text).map_err(Error::path("write", &path))?;
        }
        run(go(directory).args(["build", "-trimpath", "-ldflags", "-s -w", "-o", "gitops", "."])).map(drop)
    })?;
    Ok(directory.join("gitops"))
}

/// Returns the part of a directory's name that stands for these sources and flags. Other sources have another name, so that the cache never
/// serves a stale binary.
fn key_of(sources: &[(&str, &str)], flags: &str) -> String {
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
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound if program == "go" => Error::Missing { tool: program.clone(), install: INSTALL_GO },
        std::io::ErrorKind::NotFound => Error::Missing { tool: program.clone(), install: "install a C compiler" },
        _ => Error::io(format!("start {program}"))(source),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("go: downloading")).collect();
    let output = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
    Err(Error::Command { command: format!("{program} {}", words.join(" ")), output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_every_source_and_on_the_flags() {
        let base = key_of(&[("a", "1"), ("b", "2")], "-s");
        assert_eq!(base, key_of(&[("a", "1"), ("b", "2")], "-s"));
        for (sources, flags) in [
            ([("a", "1"), ("b", "3")], "-s"),
            ([("a", "1"), ("c", "2")], "-s"),
            ([("a", "12"), ("b", "")], "-s"),
            ([("a", "1"), ("b", "2")], "-w"),
        ] {
            assert_ne!(base, key_of(&sources, flags));
        }
    }

    #[test]
    fn go_mod_names_the_release_that_is_said_to_be_built() {
        let (_, go_mod) = MODULE[0];
        assert!(go_mod.contains(&format!("k8s.io/kubernetes {}\n", Release::USUAL)));
    }
}
