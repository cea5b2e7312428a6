//! The namespaces of a run. The program that wants a cluster runs in them itself: there it reaches the API server, pods and Services, and
//! whatever it starts ends with it.

use std::env;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use control_plane::{Error, Reaper, Result, on_interrupt};

use crate::cgroups;
use crate::components::{BRIDGE, GATEWAY};
use crate::requirements::missing;
use crate::run::{self, Owned, Run};

/// The environment variable with the directory of the run, inside of the namespaces.
const VARIABLE: &str = "JIT_RBAC_NODE_RUN";

/// Runs as process 1 of the namespaces: prepares them, and reaps orphans while the program runs. With its end the kernel kills the rest.
const INIT: &str = include_str!("init.sh");

/// The two sides of [`enter`].
#[derive(Debug)]
pub enum Side {
    /// This program runs in namespaces of its own.
    Inside(Run),
    /// This program has run in namespaces, and has ended with this code; everything is cleaned up.
    Outside(ExitCode),
}

/// Runs this program again, with the same arguments, in namespaces of its own. Call it first in `main`, before any thread.
pub fn enter() -> Result<Side> {
    enter_with(env::args_os().skip(1).collect(), None)
}

/// The same with other arguments. The program inside gets the `listener`, which belongs to the namespace outside, as its standard input: see
/// [`crate::forward`].
pub fn enter_with(arguments: Vec<OsString>, listener: Option<TcpListener>) -> Result<Side> {
    if let Some(directory) = env::var_os(VARIABLE) {
        return Ok(Side::Inside(Run::at(PathBuf::from(directory))));
    }
    let missing = missing();
    if !missing.is_empty() {
        return Err(Error::State(missing.join("\n")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::io("start a runtime"))?;
    let owned = runtime.block_on(Owned::new())?;
    let run = &owned.run;
    let keep = env::var_os("KEEP").is_some_and(|keep| keep == "1");
    let reaper = Arc::new(Reaper::start((!keep).then_some(run.directory()))?);
    let (ending, name) = (Arc::clone(&reaper), run.cgroup());
    on_interrupt(move || {
        ending.end();
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            // The next run removes what stays.
            let _ = runtime.block_on(cgroups::remove(&name));
        }
    })?;
    let status = spawn(run, arguments, listener, &reaper)?;
    if keep {
        eprintln!("The files of the cluster stay in {}", run.directory().display());
        run::keep(run);
    }
    reaper.end();
    runtime.block_on(cgroups::remove(&run.cgroup()))?;
    Ok(Side::Outside(status))
}

fn spawn(run: &Run, arguments: Vec<OsString>, listener: Option<TcpListener>, reaper: &Reaper) -> Result<ExitCode> {
    let program = env::current_exe().map_err(Error::io("find the running program"))?;
    // Packages install ip, nft and runc where only root has them on the PATH.
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .args(["/bin/sh", "-c", INIT, "init", BRIDGE, &GATEWAY.to_string()])
        .arg(program)
        .args(arguments)
        .env(VARIABLE, run.directory())
        .env("PATH", path)
        .stdin(listener.map_or_else(Stdio::null, |listener| Stdio::from(OwnedFd::from(listener))))
        .spawn()
        .map_err(Error::io("start unshare"))?;
    reaper.add(child.id());
    let status = child.wait().map_err(Error::io("wait for unshare"))?;
    reaper.remove(child.id());
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
