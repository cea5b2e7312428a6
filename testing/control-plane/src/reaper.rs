use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// Reads lists of process ids, one list per line; each line replaces the one before. At the end of the input it kills the last list and
/// removes the directory.
const SCRIPT: &str = r#"
pids=
while read -r line; do
    [ "$line" = release ] && exit 0
    pids=$line
done
[ -z "$pids" ] || kill -9 $pids
[ -z "$1" ] || rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// A small shell process that outlives this process and cleans up after it.
///
/// It has the list of running processes, and a pipe from this process. The kernel closes the pipe however this process ends, `kill -9`
/// included.
#[derive(Debug)]
pub struct Reaper {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    shell: Child,
    pipe: Option<ChildStdin>,
    pids: BTreeSet<u32>,
}

impl Reaper {
    /// Starts the shell, which removes `directory` at the end.
    pub fn start(directory: Option<&Path>) -> Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "reaper"])
            .arg(directory.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A process group of its own, so that Ctrl-C in the terminal does not reach it.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start /bin/sh"))?;
        let pipe = shell.stdin.take();
        Ok(Self { inner: Mutex::new(Inner { shell, pipe, pids: BTreeSet::new() }) })
    }

    /// Adds a process id that must end with this process.
    pub fn add(&self, pid: u32) {
        let mut inner = self.lock();
        inner.pids.insert(pid);
        inner.tell();
    }

    /// Removes the id of a process that was waited for; another process may get the id.
    pub fn remove(&self, pid: u32) {
        let mut inner = self.lock();
        inner.pids.remove(&pid);
        inner.tell();
    }

    /// Lets everything outlive this process: nothing is killed or removed any more.
    pub fn release(&self) {
        let mut inner = self.lock();
        inner.say("release\n");
        inner.close();
    }

    /// Cleans up now, and returns when that is complete.
    pub fn end(&self) {
        self.lock().close();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Inner {
    fn tell(&mut self) {
        let pids: Vec<_> = self.pids.iter().map(u32::to_string).collect();
        self.say(&format!("{}\n", pids.join(" ")));
    }

    /// A write to a reaper that is gone fails; then only this program's `Drop` cleans up.
    fn say(&mut self, line: &str) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(line.as_bytes());
        }
    }

    fn close(&mut self) {
        if self.pipe.take().is_some() {
            let _ = self.shell.wait();
        }
    }
}
