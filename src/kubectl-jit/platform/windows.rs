use std::{io, path::Path, process::ExitStatus};

use tokio::{
    process::Child,
    signal::windows::{CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown},
};

use super::{Shim, Stop};

/// A batch file: kubectl looks for the extensions .bat, .cmd, .com, .exe and .ps1.
pub const SHIM: Shim = Shim { name: "kubectl_complete-jit.cmd", text: "@kubectl jit __complete %*\r\n" };

/// The extensions of programs where the environment names none.
const EXTENSIONS: &str = ".COM;.EXE;.BAT;.CMD";

/// The events that end a process.
#[derive(Debug)]
pub struct Stops {
    interrupt: CtrlC,
    stop: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Stops {
    /// Receives the events from now on, instead of being ended by them.
    pub fn new() -> io::Result<Self> {
        Ok(Self { interrupt: ctrl_c()?, stop: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// Waits for the next event.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.stop.recv() => Stop::Terminate,
            _ = self.close.recv() => Stop::Terminate,
            _ = self.shutdown.recv() => Stop::Terminate,
        }
    }
}

/// Returns the exit code of a command, and 1 for a code that does not fit.
#[must_use]
pub fn exit_code(ended: ExitStatus) -> u8 {
    ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Returns false: a process cannot be asked to end, only killed.
pub fn terminate(_child: &Child) -> bool {
    false
}

/// The names of the files that a shell starts for a command of this name: it may leave the extension out.
#[must_use]
pub fn file_names(command: &str) -> Vec<String> {
    let extensions = std::env::var("PATHEXT").unwrap_or_else(|_| EXTENSIONS.to_owned());
    let with = extensions.split(';').filter(|extension| !extension.is_empty()).map(|extension| format!("{command}{extension}"));
    std::iter::once(command.to_owned()).chain(with).collect()
}

/// Whether it is a file: any file can be executed.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Does nothing: any file can be executed.
pub fn make_executable(_path: &Path) -> io::Result<()> {
    Ok(())
}
