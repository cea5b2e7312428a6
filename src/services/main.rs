//! The program of the services: subcommands `notify` and `record`.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing::info;

use jit_rbac_services::notify::{config::Config, engine};
use kube_io::{clock::Clock, connect::AskAgain};
use process::{connect, logs::Format, run};

#[derive(Debug, Parser)]
#[command(name = "jit-rbac-services", version, about = "Notifications and the audit log of jit-rbac")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send notifications about what happens to the objects of jit-rbac.
    Notify {
        /// Path of the configuration file, which the chart renders.
        #[arg(long, default_value = "/etc/jit-rbac/config/notify.json")]
        config: PathBuf,
        /// Address on which /livez, /readyz and /metrics are served. `[::]` means all IPv4 and IPv6 addresses.
        #[arg(long, default_value = "[::]:8080")]
        health_address: SocketAddr,
        /// Format of log lines.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        log_format: Format,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Notify { config, health_address, log_format } => notify(&config, health_address, log_format),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // If standard error cannot be written either, there is nothing left to do.
            let _ = writeln!(std::io::stderr(), "jit-rbac-services: {message}");
            ExitCode::FAILURE
        }
    }
}

fn notify(config: &std::path::Path, health_address: SocketAddr, log_format: Format) -> Result<(), String> {
    let runtime = run::start(log_format)?;
    let config = Config::read(config).map_err(|error| error.to_string())?;
    let served = run::Served { component: "notify", needs: &engine::NEEDS, health_address };
    run::until_stopped(&runtime, served, |health, metrics, stop| async move {
        let clock = Clock::system();
        let Some(client) = connect::client("notify", AskAgain::Client, &clock, &health, &metrics, &stop).await else {
            return Ok(());
        };
        info!("starting notify");
        Box::pin(engine::run(client, config, clock, &health, &metrics, stop)).await.map_err(|error| error.to_string())
    })
}
