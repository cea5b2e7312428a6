//! Admission: the webhook that stamps the requester and gives `kubectl apply` the result that the controller would report.
//!
//! It contains no rule of its own: it gathers facts and evaluates them with `domain`. It writes only its certificate and the CA in the
//! webhook configurations, and revocation never needs it (T44).

pub mod answer;
mod author;
mod authored;
pub mod authority;
mod bundle;
pub mod certificates;
mod class;
pub mod client_authority;
mod error;
mod fair;
pub mod handler;
mod mutate;
mod review;
pub mod server;
pub mod stamp;
mod validity;

use std::{net::SocketAddr, sync::Arc};

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{config::Config, gather::caches::Caches, observe::metrics::AdmissionMetrics};
use certificates::Served;
use client_authority::ClientAuthority;
pub use error::AdmissionError;
use handler::AdmissionHandler;
use kube_io::watches::StoreRestored;
use process::{health::Health, listen::listen, metrics::Metrics, watches};

/// The name of the caches in readiness.
pub const CACHES: &str = "caches";
/// The conditions of the webhook's readiness.
pub const NEEDS: [&str; 3] = [CACHES, certificates::NEED, watches::NEED];

/// Runs the webhook until `shutdown`. It listens at once. Connections fail until there is a certificate, and `health` reports that.
pub async fn run(
    client: Client,
    config: Config,
    address: SocketAddr,
    clients: Option<ClientAuthority>,
    health: Health,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), AdmissionError> {
    let cannot = |source| AdmissionError::Listen { address, source };
    let listener = listen(address).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let local = listener.local_addr().map_err(cannot)?;

    let caches = Arc::new(Caches::for_admission(client.clone()));
    watches::show(&caches.watches, &metrics);
    let watches = caches.watches.clone();
    let served = Arc::new(Served::default());
    let certificate = served.clone();
    AdmissionMetrics::looked_up(&metrics, move || certificate.until());
    let handler = Arc::new(AdmissionHandler::new(client.clone(), Arc::clone(&caches), &config));
    let clients = clients.map(Arc::new);
    let router = server::router(handler, AdmissionMetrics::registered(&metrics));
    let serving = server::serve(listener, Arc::clone(&served) as _, clients.clone(), router, shutdown);
    info!(address = %local, what = "webhook", "listening");

    let synced = async {
        caches.synced().await;
        health.set(CACHES, true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serving => ended,
        () = caches.follow(|_| {}) => Err(AdmissionError::WatchEnded),
        () = certificates::keep(client, &config, &served, &health) => Ok(()),
        () = synced => Ok(()),
        () = async { match &clients { Some(clients) => clients.follow().await, None => std::future::pending().await } } => Ok(()),
        () = watches::tell(&watches, &health) => Ok(()),
        // The caches may be outdated, as in the controllers. These detect it by the Lease, which the webhook does not use.
        () = watches.went_back() => Err(StoreRestored.into()),
    }
}
