//! The frame of a process: logs, health, metrics and signals around its work.

use std::net::SocketAddr;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    connect,
    health::Health,
    logs::{self, Format},
    metrics::Metrics,
};

/// What a process serves about itself.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// Its name in metrics, such as `controller`.
    pub component: &'static str,
    /// The conditions of its readiness, in addition to an answer of the API server.
    pub needs: &'a [&'static str],
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub health_address: SocketAddr,
}

/// Starts logging, and builds the runtime.
///
/// # Errors
///
/// The operating system permits no threads.
pub fn start(log_format: Format) -> Result<Runtime, String> {
    logs::start(log_format);
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a TLS provider is already installed".to_owned())?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| format!("cannot start: {error}"))
}

/// Runs `work` until it ends by itself, or has had time to end after a signal. Health is served meanwhile.
///
/// # Errors
///
/// What `work` failed with, or why health cannot be served.
pub fn until_stopped<F, W>(runtime: &Runtime, served: Served<'_>, work: W) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
    W: FnOnce(Health, Metrics, CancellationToken) -> F,
{
    let Served { component, needs, health_address } = served;
    let health = Health::needing(&[needs, &[connect::NEED]].concat());
    let metrics = Metrics::of(component);
    let stop = CancellationToken::new();
    runtime.block_on(async {
        let signals = tokio::spawn(connect::stop_on_signal(stop.clone()));
        let serving = health.clone().serve(health_address, metrics.clone());
        let outcome = tokio::select! {
            outcome = work(health.clone(), metrics, stop.clone()) => outcome,
            served = serving => Err(format!("cannot serve health on {health_address}: {}", served.map_or_else(|e| e.to_string(), |()| "the server stopped".to_owned()))),
            // The shutdown takes no longer than this.
            () = async { stop.cancelled().await; tokio::time::sleep(connect::PATIENCE_AT_STOP).await } => Ok(()),
        };
        signals.abort();
        if let Err(message) = &outcome {
            error!(why = message, "exiting because of an error");
        }
        outcome
    })
}
