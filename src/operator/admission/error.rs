//! Why the webhook ended.

use std::net::SocketAddr;

use kube_io::watches::StoreRestored;

/// Why the webhook ended.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// It cannot listen on its address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// It cannot serve.
    #[error("cannot serve: {0}")]
    Serve(std::io::Error),
    /// TLS cannot be set up.
    #[error("cannot serve TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A watch ended, although watches run for ever.
    #[error("a watch ended")]
    WatchEnded,
    /// An older copy of the API server's store was restored.
    #[error(transparent)]
    StoreRestored(#[from] StoreRestored),
}
