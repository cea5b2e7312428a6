//! `/livez`, `/readyz` and `/metrics`. Alive is who answers; ready only who has everything it needs to do its work.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tracing::info;

use super::metrics::{self, Metrics};

/// What must be true before a process is ready, by name.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Health {
    /// Everything in `needs` is missing until [`Health::set`] says otherwise.
    #[must_use]
    pub fn needing(needs: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(needs.iter().map(|need| (*need, false)).collect())))
    }

    /// Says whether `need` is there.
    pub fn set(&self, need: &'static str, there: bool) {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(need, there);
        if before != Some(there) {
            info!(need, there, "readiness");
        }
    }

    /// What is missing; empty when ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let needs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        needs.iter().filter(|(_, there)| !**there).map(|(need, _)| *need).collect()
    }

    /// Serves all paths until the process ends.
    pub async fn serve(self, address: SocketAddr, metrics: Metrics) -> std::io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        info!(address = %listener.local_addr()?, what = "health", "listening");
        axum::serve(listener, self.router(metrics)).await
    }

    fn router(self, metrics: Metrics) -> Router {
        let scrape = move || async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text()).into_response() };
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(scrape))
            .with_state(self)
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let missing = health.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready, missing: {}\n", missing.join(", ")))
    }
}
