use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use control_plane::{Error, Result};

use crate::cgroups;

/// The prefix of the names of runs, which are the names of their directories and cgroups.
const PREFIX: &str = "jit-rbac-node-";
/// The file that the owner of a run's directory holds locked.
const LOCK: &str = "lock";

/// A run of a cluster: its directory and its cgroup, which have the same name.
#[derive(Clone, Debug)]
pub struct Run {
    directory: PathBuf,
}

impl Run {
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the directory of all files of the run.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the name of its cgroup, below the root of every hierarchy.
    #[must_use]
    pub fn cgroup(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A run that this program owns. The lock marks it as running; the kernel releases it however this program ends.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) run: Run,
    _lock: File,
}

impl Owned {
    /// Removes what runs have left that ended in another way than by their own clean-up, and creates directory and cgroups of a new one.
    pub(crate) async fn new() -> Result<Self> {
        // Between creation and lock, another program must not take the directory for one that was left behind.
        let path = env::temp_dir().join(format!("{PREFIX}lock"));
        let all = File::create(&path).map_err(Error::path("open", &path))?;
        all.lock().map_err(Error::path("lock", &path))?;
        remove_abandoned().await?;
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir().map_err(Error::io("create a temporary directory"))?.keep();
        let path = directory.join(LOCK);
        let lock = File::create(&path).map_err(Error::path("open", &path))?;
        lock.lock().map_err(Error::path("lock", &path))?;
        let run = Run { directory };
        cgroups::create(&run.cgroup())?;
        Ok(Self { run, _lock: lock })
    }
}

async fn remove_abandoned() -> Result<()> {
    let parent = env::temp_dir();
    let entries = fs::read_dir(&parent).map_err(Error::path("read", &parent))?;
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        // A directory that was kept has no lock any more.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(entry.path()).map_err(Error::path("remove", &entry.path()))?;
        }
    }
    for name in cgroups::with_prefix(PREFIX) {
        if !parent.join(&name).join(LOCK).exists() {
            cgroups::remove(&name).await?;
        }
    }
    Ok(())
}

/// Keeps the directory of a run that has ended.
pub(crate) fn keep(run: &Run) {
    // Without the file no other run removes the directory. If this fails, one does.
    let _ = fs::remove_file(run.directory.join(LOCK));
}
