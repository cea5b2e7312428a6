//! An HTTPS server that records what it receives, and answers as a test says.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use bytes::Bytes;
use http::HeaderMap;

use crate::Authority;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Call {
    /// The path and the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// Returns the body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }
}

/// The server. It stops when it is dropped.
pub struct Https {
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
    handle: Handle<SocketAddr>,
}

impl Https {
    /// Starts a server with a certificate for `names`. `answer` gets the number of requests before this one, and the request.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    #[must_use]
    pub fn start(authority: &Authority, names: &[&str], answer: impl Fn(usize, &Call) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let port = listener.local_addr().expect("an address").port();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (recorded, answer) = (Arc::clone(&calls), Arc::new(answer));
        let router = Router::new().fallback(move |request: Request| {
            let (recorded, answer) = (Arc::clone(&recorded), Arc::clone(&answer));
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 16 * 1024 * 1024).await.expect("a whole body");
                let call = Call { path: parts.uri.to_string(), headers: parts.headers, body };
                let number = {
                    let mut calls = recorded.lock().expect("the calls");
                    calls.push(call.clone());
                    calls.len() - 1
                };
                answer(number, &call)
            }
        });
        let handle = Handle::new();
        let tls = RustlsConfig::from_config(authority.server(names));
        let server = axum_server::from_tcp_rustls(listener, tls).expect("a server").handle(handle.clone());
        tokio::spawn(async move { server.serve(router.into_make_service()).await });
        Self { port, calls, handle }
    }

    /// Returns the address for a name.
    #[must_use]
    pub fn url(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.port)
    }

    /// Returns the requests so far.
    ///
    /// # Panics
    ///
    /// If an answer has panicked.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("the calls").clone()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}
