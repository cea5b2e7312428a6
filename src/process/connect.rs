//! Connection to the API server, and shutdown on signals.

use std::time::Duration;

use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{api_calls, health::Health, metrics::Metrics};
use kube_io::{
    backoff::Backoff,
    clock::Clock,
    connect::{AskAgain, attempt},
    observed::Observe,
};

/// The name in readiness of the condition that the API server has answered once.
pub const NEED: &str = "api-server";
/// Time limit of a shutdown.
pub const PATIENCE_AT_STOP: Duration = Duration::from_secs(8);

/// Delays between attempts to reach the API server.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));

/// Returns a client that has reached the API server; `None` if `stop` came first. Each failed attempt logs its error in one line, and
/// attempts back off. `clock` records the API server's time from every answer, and `metrics` count the calls.
pub async fn client(
    process: &str,
    again: AskAgain,
    clock: &Clock,
    health: &Health,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Option<Client> {
    let observe = api_calls::registered(metrics);
    tokio::select! {
        client = reach(process, again, clock, health, &observe) => Some(client),
        () = stop.cancelled() => None,
    }
}

async fn reach(process: &str, again: AskAgain, clock: &Clock, health: &Health, observe: &Observe) -> Client {
    let agent = format!("jit-rbac-{process}/{}", env!("CARGO_PKG_VERSION"));
    let mut backoff = BACKOFF;
    loop {
        match attempt(&agent, again, clock, observe).await {
            Ok(client) => {
                health.set(NEED, true);
                return client;
            }
            Err(why) => {
                let pause = backoff.next_delay();
                warn!(why, again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "cannot reach the API server");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Returns the default name of this replica: host name and process id.
#[must_use]
pub fn identity() -> String {
    let host = std::fs::read_to_string("/etc/hostname").map_or_else(|_| "jit-rbac".to_owned(), |name| name.trim().to_owned());
    format!("{host}-{}", std::process::id())
}

/// Cancels `stop` on SIGTERM and SIGINT.
pub async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        warn!("cannot listen for signals");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("received a signal to stop");
    stop.cancel();
}
