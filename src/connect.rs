//! The way to the API server, and the way out.

use std::{error::Error, time::Duration};

use http::HeaderValue;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::observe::{errors::one_line, health::Health};

/// What a process lacks until the API server has answered once.
pub const NEED: &str = "api-server";
/// How long a process may take to end once it was asked to.
pub const PATIENCE_AT_STOP: Duration = Duration::from_secs(8);

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A client that has reached the API server; none if `stop` came first. Until it has, it says why in one line an attempt, and waits
/// longer and longer.
pub async fn client(process: &str, health: &Health, stop: &CancellationToken) -> Option<Client> {
    tokio::select! {
        client = reach(process, health) => Some(client),
        () = stop.cancelled() => None,
    }
}

async fn reach(process: &str, health: &Health) -> Client {
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt(process).await {
            Ok(client) => {
                health.set(NEED, true);
                return client;
            }
            Err(why) => {
                warn!(why, again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "cannot reach the API server");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn attempt(process: &str) -> Result<Client, String> {
    let mut config = Config::infer().await.map_err(|error| {
        // Outside of a cluster nobody wants to hear that this is none.
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        error.source().filter(|_| !in_cluster).map_or_else(|| one_line(&error), one_line)
    })?;
    let agent = format!("jit-rbac-{process}/{}", env!("CARGO_PKG_VERSION"));
    let agent = HeaderValue::from_str(&agent).map_err(|error| error.to_string())?;
    config.headers.push((http::header::USER_AGENT, agent));
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|error| one_line(&error))?;
    match tokio::time::timeout(ANSWER_WITHIN, client.apiserver_version()).await {
        Ok(Ok(version)) => {
            info!(server, version = version.git_version, "the API server answers");
            Ok(client)
        }
        Ok(Err(error)) => Err(format!("{server}: {}", one_line(&error))),
        Err(_) => Err(format!("{server}: no answer within {ANSWER_WITHIN:?}")),
    }
}

/// A name for this replica where nobody gave one: host and process.
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
    info!("asked to stop");
    stop.cancel();
}
