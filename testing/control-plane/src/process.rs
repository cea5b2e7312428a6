use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::{Error, Reaper, Result, wait_for};

/// The number of log lines in an error.
const TAIL: usize = 15;

/// The command of a process.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its display name; also the name of its log file.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables in addition to those of this program.
    pub env: Vec<(String, OsString)>,
    /// The log, appended to at every start.
    pub log: PathBuf,
}

impl Spec {
    /// Adds arguments before the others, so that those override them.
    pub(crate) fn with(mut self, first: Vec<OsString>) -> Self {
        self.args.splice(..0, first);
        self
    }
}

/// A process that can be killed, paused, ended and started again. It is killed when this is dropped, and when this program dies.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Mutex<Option<Child>>,
    /// The length of the log at the last start.
    log_before: AtomicU64,
    reaper: Arc<Reaper>,
}

/// A process that outlives this program, with enough data to identify it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its display name.
    pub name: String,
    /// The process id.
    pub pid: u32,
    /// When it was started, which distinguishes it from a later process with the same id.
    pub started: String,
}

impl Process {
    /// Starts it.
    pub fn spawn(spec: Spec, reaper: &Arc<Reaper>) -> Result<Self> {
        let process = Self { spec, child: Mutex::new(None), log_before: AtomicU64::new(0), reaper: Arc::clone(reaper) };
        process.start()?;
        Ok(process)
    }

    /// Returns its display name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the file with all of its output, over all starts.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// Returns the whole log.
    pub fn log_text(&self) -> Result<String> {
        self.log_after(0)
    }

    /// Returns the log since the last start.
    pub fn log_of_this_start(&self) -> Result<String> {
        self.log_after(self.log_before.load(Ordering::Relaxed))
    }

    fn log_after(&self, offset: u64) -> Result<String> {
        let mut bytes = Vec::new();
        File::open(self.log())
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(offset))?;
                file.read_to_end(&mut bytes)
            })
            .map_err(Error::path("read", self.log()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.lock();
        self.reap(&mut child);
        child.as_ref().map(Child::id)
    }

    /// Starts it, unless it runs.
    pub fn start(&self) -> Result<()> {
        let mut child = self.lock();
        self.reap(&mut child);
        if child.is_some() {
            return Ok(());
        }
        let spec = &self.spec;
        let log = File::options().create(true).append(true).open(&spec.log).map_err(Error::path("open", &spec.log))?;
        let before = log.metadata().map_err(Error::path("read", &spec.log))?.len();
        self.log_before.store(before, Ordering::Relaxed);
        let copy = log.try_clone().map_err(Error::path("open", &spec.log))?;
        let started = Command::new(&spec.program)
            .args(&spec.args)
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            // Ctrl-C in the terminal must not reach the process: it is ended in order by this program.
            .process_group(0)
            .spawn()
            .map_err(Error::path("start", &spec.program))?;
        self.reaper.add(started.id());
        *child = Some(started);
        Ok(())
    }

    /// Sends `kill -9`, and waits for the end. Has no effect if it does not run.
    pub fn kill(&self) {
        let mut child = self.lock();
        if let Some(mut running) = child.take() {
            // Both fail only for a process that has ended already.
            let _ = running.kill();
            let _ = running.wait();
            self.reaper.remove(running.id());
        }
    }

    /// Kills it and starts it again.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        self.start()
    }

    /// Sends SIGTERM and waits at most `limit` for its exit code;
    /// -1 stands for an end by a signal.
    pub async fn terminate(&self, limit: Duration) -> Result<i32> {
        self.signal(Signal::TERM)?;
        let what = format!("{} to end after SIGTERM", self.name());
        let code = wait_for(&what, limit, async || {
            let mut child = self.lock();
            let status = child.as_mut()?.try_wait().ok()??;
            self.reaper.remove(child.as_ref()?.id());
            *child = None;
            Some(status.code().unwrap_or(-1))
        });
        code.await
    }

    /// Freezes it (SIGSTOP), as a machine that hangs would.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Continues it after [`Process::stop`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Fails, with the end of its log, if it does not run.
    pub fn check(&self) -> Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        let log = self.log_of_this_start()?;
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
        Err(Error::Ended { name: self.name().to_owned(), log: self.spec.log.clone(), tail })
    }

    /// Returns what another process needs to find it again.
    pub fn record(&self) -> Result<ProcessRecord> {
        self.check()?;
        let name = self.name().to_owned();
        let pid = self.pid().unwrap_or_default();
        let started = started(pid).ok_or_else(|| Error::State(format!("{name} cannot be found by its id {pid}")))?;
        Ok(ProcessRecord { name, pid, started })
    }

    /// Forgets the process, which continues to run.
    pub fn detach(&self) {
        self.lock().take();
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let what = || format!("signal {}", self.name());
        let child = self.lock();
        let Some(running) = child.as_ref() else {
            return Err(Error::State(format!("{} does not run", self.name())));
        };
        kill_process(Pid::from_child(running), signal).map_err(|error| Error::io(what())(error.into()))
    }

    /// Notices a process that ended by itself.
    fn reap(&self, child: &mut Option<Child>) {
        let ended = child.as_mut().is_some_and(|running| !matches!(running.try_wait(), Ok(None)));
        if let Some(gone) = child.take_if(|_| ended) {
            self.reaper.remove(gone.id());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl ProcessRecord {
    /// Returns whether that very process still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }

    /// Ends it: SIGTERM, and SIGKILL if it still runs after `limit`.
    pub async fn end(&self, limit: Duration) -> Result<()> {
        let gone = async || (!self.runs()).then_some(());
        for signal in [Signal::TERM, Signal::KILL] {
            if self.runs()
                && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
            {
                // Fails only if it has ended meanwhile.
                let _ = kill_process(pid, signal);
            }
            if wait_for(&self.name, limit, gone).await.is_ok() {
                return Ok(());
            }
        }
        Err(Error::State(format!("{} (process {}) does not end", self.name, self.pid)))
    }
}

/// Returns when the process was started, in the machine's own format. None for a process that does not exist, or that is a zombie.
fn started(pid: u32) -> Option<String> {
    if Path::new("/proc/self/stat").exists() {
        // The program's name is in brackets and may contain any character.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        return (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned))?;
    }
    let id = pid.to_string();
    let output = Command::new("ps").args(["-o", "stat=", "-o", "lstart=", "-p", &id]).output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (state, time) = line.split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| time.trim().to_owned())
}
