use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::routing::get;
use axum::{Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

use super::configuration::discovery_path;
use super::sign_in::{KEY_ID, Provider, read_key};
use crate::{Error, Result, certificates};

/// The server of the discovery documents and the key. It has a thread of its own, because a test may block its runtime while the API server
/// sends a request. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Issuer {
    address: String,
    handle: Handle<std::net::SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl Issuer {
    /// Starts it with the files that [`crate::certificates::write`] wrote to `pki`. It accepts connections when this returns.
    pub(crate) fn start(pki: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io("the issuer cannot listen")(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = format!("https://{}", listener.local_addr().map_err(failed)?);
        let router = router(&address, &read_key(pki)?)?;
        let tls = RustlsConfig::from_config(Arc::new(certificates::tls(pki, "issuer")?));
        let handle = Handle::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let serving = handle.clone();
        let serve = async move {
            let server = axum_server::from_tcp_rustls(listener, tls)?;
            server.handle(serving).serve(router.into_make_service()).await
        };
        let thread = std::thread::spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                eprintln!("The issuer of ID tokens has ended: {error}");
            }
        });
        Ok(Self { address, handle, thread: Some(thread) })
    }

    /// Returns its base URL.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            // The server has reported its error itself.
            let _ = thread.join();
        }
    }
}

fn router(address: &str, key: &KeyPair) -> Result<Router> {
    let keys = keys(key)?;
    let router = Router::new().route("/keys", get(async move || Json(keys.clone())));
    Ok(Provider::ALL.into_iter().fold(router, |router, provider| {
        let document = json!({
            "issuer": provider.issuer(),
            "jwks_uri": format!("{address}/keys"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        router.route(&format!("/{}", discovery_path(provider)), get(async move || Json(document.clone())))
    }))
}

/// Returns the public key as a JSON Web Key Set.
fn keys(key: &KeyPair) -> Result<Value> {
    // An uncompressed point: a 4, then both coordinates (RFC 7518, 6.2.1).
    let point = match key.der_bytes() {
        [4, point @ ..] if point.len() == 64 => point,
        _ => return Err(Error::State("the key for ID tokens is not a point of P-256".to_owned())),
    };
    let (x, y) = point.split_at(32);
    let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    Ok(json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID, "x": number(x), "y": number(y)}]}))
}
