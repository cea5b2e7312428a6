use tokio::signal::unix::{SignalKind, signal};

use crate::{Error, Result};

/// The exit code of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Runs `cleanup` and ends this process when Ctrl-C, SIGTERM or SIGHUP comes.
///
/// The reaper would clean up without it too, since it notices the end of this process. With it the cleanup is complete before this process
/// ends.
pub fn on_interrupt(cleanup: impl FnOnce() + Send + 'static) -> Result<()> {
    let what = || "listen for Ctrl-C";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::io(what()))?;
    let mut signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .into_iter()
            .map(signal)
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::io(what()))?
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            runtime.block_on(std::future::poll_fn(|context| {
                let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
                if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            }));
            cleanup();
            std::process::exit(INTERRUPTED);
        })
        .map(drop)
        .map_err(Error::io(what()))
}
