use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Cluster, Error, ProcessRecord, Result};

/// The time limit for a process to end by itself.
const END: Duration = Duration::from_secs(5);

/// A control plane that outlives the program that started it: its access and its processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The access to it.
    pub cluster: Cluster,
    /// Its servers, in the order in which they are ended.
    pub plane: Vec<ProcessRecord>,
    /// The operator's processes.
    pub operator: Vec<ProcessRecord>,
    /// The port of the webhook in the chart's values.
    pub webhook_port: u16,
}

/// The lock for starting, changing or ending the control plane that outlives its program.
#[derive(Debug)]
pub struct Held {
    directory: PathBuf,
    _lock: File,
}

impl State {
    /// Acquires the lock for the control plane of this user.
    pub fn hold() -> Result<Held> {
        let directory = env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| env::home_dir().map(|home| home.join(".local").join("state")))
            .ok_or_else(|| Error::State("neither XDG_STATE_HOME nor HOME is set: no directory for the control plane".to_owned()))?
            .join("jit-rbac");
        fs::create_dir_all(&directory).map_err(Error::path("create", &directory))?;
        let path = directory.join("lock");
        let lock = File::create(&path).map_err(Error::path("open", &path))?;
        lock.try_lock().map_err(|_| Error::State("another `plane` command is running; try again when it has finished".to_owned()))?;
        Ok(Held { directory, _lock: lock })
    }

    /// Returns whether every process still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.plane.iter().chain(&self.operator).all(ProcessRecord::runs)
    }

    /// Ends the operator's processes.
    pub async fn end_operator(&mut self) -> Result<()> {
        while let Some(process) = self.operator.pop() {
            process.end(END).await?;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<()> {
        self.end_operator().await?;
        for process in &self.plane {
            process.end(END).await?;
        }
        Ok(())
    }
}

impl Held {
    /// Returns the directory of the control plane's files.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.directory.join("plane")
    }

    /// Returns the control plane that was left running, if there is one.
    pub fn load(&self) -> Result<Option<State>> {
        match fs::read(self.file()) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::path("read", &self.file())(error)),
        }
    }

    /// Records the control plane that is left running.
    pub fn save(&self, state: &State) -> Result<()> {
        let text = serde_json::to_string_pretty(state)?;
        crate::cluster::write_whole(&self.file(), &text)
    }

    /// Ends the control plane that was left running and removes its files. Returns false if there was none.
    pub async fn end(&self) -> Result<bool> {
        let Some(state) = self.load()? else {
            return Ok(false);
        };
        state.end().await?;
        for path in [self.directory(), self.file()] {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::path("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(true)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("plane.json")
    }
}
