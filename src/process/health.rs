//! `/livez`, `/readyz` and `/metrics`. A process that answers is alive. It is ready once all its dependencies are available.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::metrics::{self, Metrics};
use super::{
    http_server::{HttpServer, Stay},
    listen::listen,
};

/// Most connections at a time. The kubelet and each scraper need one.
const CONNECTIONS: usize = 64;
/// Longest duration of a connection: a kubelet waits for a second, a scraper for some seconds.
const STAY: Duration = Duration::from_secs(5);

/// The conditions of readiness, by name.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Health {
    /// Returns a state in which every one of `needs` is missing until [`Health::set`] changes it.
    #[must_use]
    pub fn needing(needs: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(needs.iter().map(|need| (*need, false)).collect())))
    }

    /// Records whether `need` is met.
    pub fn set(&self, need: &'static str, there: bool) {
        let before = self.0.lock().insert(need, there);
        if before != Some(there) {
            info!(need, there, "readiness");
        }
    }

    /// Returns the needs that are not met; empty when ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let needs = self.0.lock();
        needs.iter().filter(|(_, there)| !**there).map(|(need, _)| *need).collect()
    }

    /// Serves all paths until the process ends.
    pub async fn serve(self, address: SocketAddr, metrics: Metrics) -> std::io::Result<()> {
        let listener = listen(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        info!(address = %listener.local_addr()?, what = "health", "listening");
        self.answer(listener, metrics).await;
        Ok(())
    }

    async fn answer(self, listener: TcpListener, metrics: Metrics) {
        let server = HttpServer { connections: CONNECTIONS, stay: Stay::Once(STAY), tls: None, router: self.router(metrics) };
        // It is never stopped: a process reports its health until it exits.
        server.serve(listener, CancellationToken::new(), Duration::ZERO).await;
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    /// Longer than any step of these tests.
    const EVER: Duration = Duration::from_secs(30);

    fn open(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(EVER)).unwrap();
        stream
    }

    fn probe(address: SocketAddr, path: &str) -> String {
        let mut stream = open(address);
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn t26_a_probe_is_answered_while_others_take_every_place() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::needing(&["all"]);
        let serving = tokio::spawn(health.clone().answer(listener, Metrics::of("controller")));
        let mut silent = Vec::new();
        for (place, ready) in [(CONNECTIONS, false), (3, true)] {
            for _ in 0..place {
                let mut stream = open(address);
                stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nx: ").unwrap();
                silent.push(stream);
            }
            health.set("all", ready);
            assert!(probe(address, "/livez").ends_with("\r\n\r\nok\n"));
            assert_eq!(probe(address, "/readyz").starts_with("HTTP/1.1 200 OK\r\n"), ready);
            assert!(probe(address, "/metrics").contains("\njitrbac_build_info"));
        }
        serving.abort();
    }
}
