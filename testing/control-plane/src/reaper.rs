use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// Reads lists of process ids, one list a line, each replacing the one before.
/// When the input ends it kills the last list and removes the directory.
const SCRIPT: &str = r#"
pids=
while read -r line; do
    [ "$line" = release ] && exit 0
    pids=$line
done
[ -z "$pids" ] || kill -9 $pids
[ -z "$1" ] || rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// A small shell beside this process that outlives it and cleans up behind it.
///
/// It holds the list of what runs, and a pipe from this process. The kernel
/// closes the pipe however this process ends, `kill -9` included.
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
    /// Starts the shell; `directory` is what it removes at the end.
    pub fn start(directory: Option<&Path>) -> Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "reaper"])
            .arg(directory.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that Ctrl-C in the terminal does not reach it.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start /bin/sh"))?;
        let pipe = shell.stdin.take();
        Ok(Self { inner: Mutex::new(Inner { shell, pipe, pids: BTreeSet::new() }) })
    }

    /// This process id is to end with us.
    pub fn add(&self, pid: u32) {
        let mut inner = self.lock();
        inner.pids.insert(pid);
        inner.tell();
    }

    /// This process has been waited for; its id may belong to somebody else soon.
    pub fn remove(&self, pid: u32) {
        let mut inner = self.lock();
        inner.pids.remove(&pid);
        inner.tell();
    }

    /// Lets everything live on: nothing is killed or removed any more.
    pub fn release(&self) {
        let mut inner = self.lock();
        inner.say("release\n");
        inner.close();
    }

    /// Cleans up now, and returns when that is done.
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

    /// A reaper that is gone cannot be told; then only our own `Drop` cleans up.
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
