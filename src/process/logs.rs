//! Log lines: one per event, with fields, as text or JSON.

use tracing_subscriber::{EnvFilter, fmt};

use kube_io::redact::Redacting;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Human-readable text.
    #[default]
    Text,
    /// JSON, one object per line.
    Json,
}

/// Logs of our crates, whose names all begin with this prefix, and warnings of other crates, except those that jit-rbac itself reports in
/// one line.
const FILTER: &str = "warn,jit_rbac=info,kube_client::client::builder=off";

/// Starts logging. `RUST_LOG` sets the filter; the default is our crates from INFO on, and warnings of other crates. Secrets are removed
/// with every filter.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let lines = fmt().with_env_filter(filter).with_writer(|| Redacting(std::io::stderr())).with_target(false);
    // A second call has no effect; nothing depends on which one wins.
    let _ = match format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
