//! The notify process: it watches the kinds of jit-rbac, and sends what follows from each change.

pub mod cluster;
pub mod compose;
pub mod handle;
pub mod observe;
pub mod queue;
pub mod state;
#[cfg(test)]
mod tests;
pub mod watching;
pub mod worker;

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::time::{Instant, interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use self::{cluster::Cluster, handle::Handles, observe::NotifyMetrics, watching::Watching, worker::Shared};
use super::{
    Sender,
    config::{Config, ConfigError},
};
use domain::notify::addresses::{AddressError, Directory};
use kube_io::{clock::Clock, watches::Watches};
use process::{health::Health, metrics::Metrics, watches};

/// The condition of readiness that everything was listed.
const LISTED: &str = "lists";
/// What readiness needs.
pub const NEEDS: [&str; 2] = [LISTED, watches::NEED];
/// How often reminders are looked for.
const REMINDERS: Duration = Duration::from_secs(1);

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A pattern of addresses is not valid.
    #[error(transparent)]
    Addresses(#[from] AddressError),
    /// The allowed hosts are not valid.
    #[error(transparent)]
    Egress(#[from] super::EgressError),
}

/// Runs until `stop`.
///
/// # Errors
///
/// The configuration cannot be used.
pub async fn run(
    client: Client,
    config: Config,
    clock: Clock,
    health: &Health,
    metrics: &Metrics,
    stop: CancellationToken,
) -> Result<(), EngineError> {
    let source = format!("//jit-rbac/{}", config.cluster);
    let sender = Arc::new(Sender::new(&config.egress()?, source)?);
    let directory = Directory::new(config.addresses.clone())?;
    let handles = Arc::new(Handles::new(config.secrets.clone()));
    let gauges = {
        let (handles, clock) = (Arc::clone(&handles), clock.clone());
        move || handles.gauges(clock.now())
    };
    let notify_metrics = NotifyMetrics::registered(metrics, gauges);
    let cluster = Arc::new(Cluster::new(Arc::clone(&handles), directory, config.default_rules.clone(), notify_metrics.clone()));
    let watches = Watches::default();
    process::watches::show(&watches, metrics);
    let shared = Shared {
        client: client.clone(),
        sender,
        cluster: Arc::clone(&cluster),
        metrics: notify_metrics,
        clock: clock.clone(),
        console_url: config.console_url.clone(),
    };
    let tasks = TaskTracker::new();
    let watching = Watching::new(client, watches.clone(), shared, tasks.clone(), stop.clone());
    let began = Instant::now();
    let listed = async {
        watching.start(&config).await;
        for handle in handles.all() {
            handle.state.lock().handled.forget_unknown();
        }
        health.set(LISTED, true);
        info!(
            receivers = handles.all().len(),
            took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "notifications are sent"
        );
        let mut tick = interval(REMINDERS);
        loop {
            tick.tick().await;
            cluster.remind(clock.now());
        }
    };
    tokio::select! {
        () = listed => {}
        () = process::watches::tell(&watches, health) => {}
        () = stop.cancelled() => {}
    }
    watching.end();
    tasks.close();
    tasks.wait().await;
    Ok(())
}
