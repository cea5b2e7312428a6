use std::env;
use std::path::{Path, PathBuf};

use crate::cgroups;

/// The programs that Debian's packages provide: each program with its package.
const PROGRAMS: [(&str, &str); 6] = [
    ("cc", "a C compiler (gcc or clang)"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("runc", "runc"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
];
/// The directories in which packages install CNI plugins.
const CNI: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// The CNI plugins of the node.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];
/// The cgroup controllers that the kubelet needs.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// Returns what this machine lacks for a node, one line each.
#[must_use]
pub fn missing() -> Vec<String> {
    let mut lines = Vec::new();
    if !rustix::process::geteuid().is_root() {
        lines.push("root is missing: a node makes namespaces, mounts and cgroups; run this as root".to_owned());
    }
    for (program, package) in PROGRAMS {
        if find(program).is_none() {
            lines.push(format!("{program} is missing: install {package}"));
        }
    }
    if cni_plugins().is_none() {
        let [usual, other] = CNI;
        lines
            .push(format!("the CNI plugins {} are missing: install containernetworking-plugins to {usual} or {other}", PLUGINS.join(", ")));
    }
    for controller in CONTROLLERS {
        if !cgroups::has(controller) {
            lines.push(format!("the cgroup controller {controller} is missing: mount it below /sys/fs/cgroup, writable"));
        }
    }
    lines
}

/// Returns the path of a program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Packages install runc and nft where only root has them on the PATH.
    let places = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|path| path.is_file())
}

/// Returns the directory of the CNI plugins.
pub(crate) fn cni_plugins() -> Option<&'static Path> {
    CNI.map(Path::new).into_iter().find(|directory| PLUGINS.iter().all(|plugin| directory.join(plugin).is_file()))
}
