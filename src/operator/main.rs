//! The operator's program: subcommands `controller`, `webhook`, `check`, `revoke-all`, `crds`.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use api::Duration;
use clap::{Args, Parser, Subcommand};
use jit_rbac::{
    admission::{self, client_authority::ClientAuthority},
    check,
    config::Config,
    controller, crds, guards,
    uninstall::{self, UninstallError},
};
use kube_io::{clock::Clock, connect::AskAgain};
use process::{connect, health::Health, logs::Format, metrics::Metrics, run};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Just-in-time RBAC for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "jit-rbac", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller, which grants approved requests and revokes expired grants.
    Controller {
        #[command(flatten)]
        common: Common,
        /// Name of this replica in the Lease and in Events. Defaults to the host name and the process ID.
        #[arg(long, env = "POD_NAME")]
        identity: Option<String>,
    },
    /// Run the admission webhook.
    Webhook {
        #[command(flatten)]
        common: Common,
        /// Address on which admission reviews are served. `[::]` means all IPv4 and IPv6 addresses.
        #[arg(long, default_value = "[::]:9443")]
        address: SocketAddr,
        /// Accept admission reviews only from clients with a certificate of the CA in this PEM file, which is loaded again when it
        /// changes.
        #[arg(long)]
        client_ca: Option<PathBuf>,
        /// Accept only certificates with this common name; the flag may be repeated.
        #[arg(long, requires = "client_ca")]
        client_name: Vec<String>,
    },
    /// Check that the webhook answers, that a controller leads, and that the admission guards are verified.
    ///
    /// It repeats until everything works, and fails after `--timeout`.
    Check {
        /// Path of the configuration file, which the chart renders.
        #[arg(long, default_value = "/etc/jit-rbac/config.json")]
        config: PathBuf,
        /// Time limit, for example `1m` or `90s`.
        #[arg(long, default_value = "1m")]
        timeout: Duration,
        /// Format of log lines.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        log_format: Format,
    },
    /// Stop new grants and revoke every grant, before jit-rbac is uninstalled. The chart runs this.
    RevokeAll {
        /// Path of the configuration file, which the chart renders.
        #[arg(long, default_value = "/etc/jit-rbac/config.json")]
        config: PathBuf,
        /// Format of log lines.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        log_format: Format,
        /// Name of this process in the Lease. Defaults to the host name and the process ID.
        #[arg(long, env = "POD_NAME")]
        identity: Option<String>,
    },
    /// Print the CRDs.
    Crds {
        /// Write one file per kind to this directory instead.
        #[arg(long)]
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Path of the configuration file, which the chart renders.
    #[arg(long, default_value = "/etc/jit-rbac/config.json")]
    config: PathBuf,
    /// Address on which /livez, /readyz and /metrics are served. `[::]` means all IPv4 and IPv6 addresses.
    #[arg(long, default_value = "[::]:8081")]
    health_address: SocketAddr,
    /// Format of log lines.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Crds { directory } => crds(directory.as_deref()),
        Command::Check { config, timeout, log_format } => check(&config, timeout, log_format),
        Command::RevokeAll { config, log_format, identity } => revoke_all(&config, log_format, identity),
        Command::Controller { common, identity } => {
            let expected = guards::expected::read(&common.config).map_err(|error| error.to_string());
            process("controller", &common, &controller::NEEDS, |config, health, metrics, stop| async move {
                let expected = expected?;
                let clock = Clock::system();
                let Some(client) = connect::client("controller", AskAgain::Caller, &clock, &health, &metrics, &stop).await else {
                    return Ok(());
                };
                let identity = identity.unwrap_or_else(connect::identity);
                info!(identity, "starting controller");
                let setup = controller::Setup { config, expected, identity, clock, health, metrics };
                Box::pin(controller::run(client, setup, stop)).await.map_err(|error| error.to_string())
            })
        }
        Command::Webhook { common, address, client_ca, client_name } => {
            process("webhook", &common, &admission::NEEDS, |config, health, metrics, stop| async move {
                let Some(client) = connect::client("webhook", AskAgain::Client, &Clock::system(), &health, &metrics, &stop).await else {
                    return Ok(());
                };
                info!("starting webhook");
                let clients =
                    client_ca.map(|file| ClientAuthority::load(file, client_name)).transpose().map_err(|error| error.to_string())?;
                Box::pin(admission::run(client, config, address, clients, health, metrics, stop)).await.map_err(|error| error.to_string())
            })
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // If standard error cannot be written either, there is nothing left to do.
            let _ = writeln!(std::io::stderr(), "jit-rbac: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the configuration, and runs `work` with health, metrics and signals.
fn process<F, W>(component: &'static str, common: &Common, needs: &[&'static str], work: W) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
    W: FnOnce(Config, Health, Metrics, CancellationToken) -> F,
{
    let (config, runtime) = start(&common.config, common.log_format)?;
    let served = run::Served { component, needs, health_address: common.health_address };
    run::until_stopped(&runtime, served, |health, metrics, stop| work(config, health, metrics, stop))
}

/// Starts logging, reads the configuration and builds the runtime.
fn start(config: &Path, log_format: Format) -> Result<(Config, Runtime), String> {
    let runtime = run::start(log_format)?;
    let config = Config::read(config).map_err(|error| error.to_string())?;
    Ok((config, runtime))
}

fn check(config: &Path, timeout: Duration, log_format: Format) -> Result<(), String> {
    let (config, runtime) = start(config, log_format)?;
    let patience = std::time::Duration::from_secs(timeout.as_secs().into());
    runtime.block_on(check::run(&config, patience)).map_err(|error| error.to_string())
}

fn revoke_all(config: &Path, log_format: Format, identity: Option<String>) -> Result<(), String> {
    let (config, runtime) = start(config, log_format)?;
    let (clock, stop, identity) = (Clock::system(), CancellationToken::new(), identity.unwrap_or_else(connect::identity));
    runtime.block_on(async {
        let signals = tokio::spawn(connect::stop_on_signal(stop.clone()));
        let client =
            connect::client("controller", AskAgain::Client, &clock, &Health::needing(&[connect::NEED]), &Metrics::of("revoke-all"), &stop)
                .await;
        let client = client.ok_or_else(|| UninstallError::Stopped.to_string())?;
        let done = uninstall::run(&client, &config, &identity, &clock, &stop).await.map_err(|error| error.to_string());
        signals.abort();
        let uninstall::Done { removed, emptied, recorded, unrecorded } = done?;
        info!(removed, emptied = emptied.len(), recorded, unrecorded, "every grant is revoked, and nothing is granted any more");
        Ok(())
    })
}

fn crds(directory: Option<&Path>) -> Result<(), String> {
    let all = crds::all().map_err(|error| error.to_string())?;
    match directory {
        None => {
            let mut text = String::new();
            for (_, yaml) in &all {
                // Writing to a String cannot fail.
                let _ = write!(text, "---\n{yaml}");
            }
            std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
        }
        Some(directory) => all.iter().try_for_each(|(plural, yaml)| {
            let path = directory.join(format!("{plural}.yaml"));
            std::fs::write(&path, yaml).map_err(|error| format!("cannot write {}: {error}", path.display()))
        }),
    }
}
