use std::{
    io,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    signal::unix::{self, SignalKind, signal},
};

use super::{Shim, Stop};

/// A shell script.
pub const SHIM: Shim = Shim { name: "kubectl_complete-jit", text: "#!/bin/sh\nexec kubectl jit __complete \"$@\"\n" };

/// The signals that end a process.
#[derive(Debug)]
pub struct Stops {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Stops {
    /// Receives the signals from now on, instead of being ended by them.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.hangup.recv() => Stop::Terminate,
        }
    }
}

/// Returns the exit code of a shell for a command that ended like this: 128 and more for a signal.
#[must_use]
pub fn exit_code(ended: ExitStatus) -> u8 {
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Asks a command to end. False if it cannot be asked, only killed.
pub fn terminate(child: &Child) -> bool {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok())
}

/// The names of the files that a shell starts for a command of this name.
#[must_use]
pub fn file_names(command: &str) -> Vec<String> {
    vec![command.to_owned()]
}

/// Whether the file can be executed, by anybody.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Lets everybody execute a file, and its owner write it.
pub fn make_executable(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}
