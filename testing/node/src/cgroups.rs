//! The cgroups of a run: one directory below the root of every hierarchy, and everything of the node's pods in it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control_plane::{Error, Result, wait_for};

/// How long the kernel may take to remove a killed process from its cgroup.
const EMPTY: Duration = Duration::from_secs(10);

/// The mounted hierarchies: one for each controller with version 1, one for all with version 2.
fn hierarchies() -> Vec<(PathBuf, String)> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind, options) = (PathBuf::from(fields.next()?), fields.next()?, fields.next()?);
        match kind {
            "cgroup" => Some((path, options.to_owned())),
            "cgroup2" => Some((path.clone(), fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default())),
            _ => None,
        }
    };
    mounts.lines().filter_map(parse).filter(|(path, _)| path.starts_with("/sys/fs/cgroup")).collect()
}

/// Returns whether a controller is mounted.
pub(crate) fn has(controller: &str) -> bool {
    hierarchies().iter().any(|(_, options)| options.split([',', ' ', '\n']).any(|option| option == controller))
}

/// Creates a cgroup below the root of every hierarchy.
pub(crate) fn create(name: &str) -> Result<()> {
    for (root, _) in hierarchies() {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(Error::path("create", &path))?;
        // In a new cpuset of version 1 no process can run before it has CPUs and memory nodes.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(all), Ok(own)) = (fs::read_to_string(root.join(file)), fs::read_to_string(path.join(file)))
                && own.trim().is_empty()
            {
                fs::write(path.join(file), all).map_err(Error::path("write", &path.join(file)))?;
            }
        }
    }
    Ok(())
}

/// Removes a cgroup, with all below it, once its last process has ended.
pub(crate) async fn remove(name: &str) -> Result<()> {
    let what = format!("the cgroup {name} to be empty");
    wait_for(&what, EMPTY, async || hierarchies().iter().all(|(root, _)| remove_tree(&root.join(name)).is_ok()).then_some(())).await
}

/// Returns the names of the cgroups directly below a root that begin with a prefix.
pub(crate) fn with_prefix(prefix: &str) -> Vec<String> {
    let roots = hierarchies();
    let entries = roots.iter().filter_map(|(root, _)| fs::read_dir(root).ok()).flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names.dedup();
    names
}

/// A cgroup has files that cannot be removed, and goes together with them.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(path)
}
