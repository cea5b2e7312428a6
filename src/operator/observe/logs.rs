//! Log lines: one an event, with fields, as text for people or JSON for machines.

use tracing_subscriber::{EnvFilter, fmt};

use kube_io::redact::Redacting;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Ours, whose crates all have a name that begins so, and warnings of others but those that we tell ourselves, in one line.
const FILTER: &str = "warn,jit_rbac=info,kube_client::client::builder=off";

/// Starts logging. `RUST_LOG` chooses what; without it everything of ours from INFO on, and warnings of others. No secret gets through,
/// whatever is chosen.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let lines = fmt().with_env_filter(filter).with_writer(|| Redacting(std::io::stderr())).with_target(false);
    // A second start keeps the first; nothing depends on which one it is.
    let _ = match format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
