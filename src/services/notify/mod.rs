//! Notifications: rules say which events are sent to whom, receivers say how.

pub mod config;
pub mod engine;
mod escape;
#[cfg(test)]
mod escaping_tests;
mod guard;
mod http;
mod message;
mod secrets;
mod send;
mod sending;
mod settings;
mod sinks;
mod text;

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use tracing::info;

use kube_io::{clock::Clock, connect::AskAgain};
use process::{connect, logs::Format, run};

pub use guard::{Egress, EgressError, Lookup};
pub use message::{Address, Fact, Message, Outcome, Reason, Severity, State, Thread};
pub use send::Sender;
pub use settings::{Alertmanager, PagerDuty, Receiver, Settings, Slack, Smtp, SmtpTls, Webhook};

/// The flags of `jit-rbac-services notify`.
#[derive(Debug, Args)]
pub struct Options {
    /// Path of the settings file, which the chart renders.
    #[arg(long, default_value = "/etc/jit-rbac/config/notify.json")]
    settings: PathBuf,
    /// Address on which /livez, /readyz and /metrics are served. `[::]` means all IPv4 and IPv6 addresses.
    #[arg(long, default_value = "[::]:8081")]
    health_address: SocketAddr,
    /// Format of log lines.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

/// Sends notifications until the process is stopped.
///
/// # Errors
///
/// The settings cannot be used, or health cannot be served.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = run::start(options.log_format)?;
    let settings = config::Config::read(&options.settings).map_err(|error| error.to_string())?;
    let served = run::Served { component: "notify", needs: &engine::NEEDS, health_address: options.health_address };
    run::until_stopped(&runtime, served, |health, metrics, stop| async move {
        let clock = Clock::system();
        let Some(client) = connect::client("notify", AskAgain::Client, &clock, &health, &metrics, &stop).await else {
            return Ok(());
        };
        info!("starting notify");
        Box::pin(engine::run(client, settings, clock, &health, &metrics, stop)).await.map_err(|error| error.to_string())
    })
}
