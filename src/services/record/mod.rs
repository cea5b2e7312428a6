//! The record: every activity event, with everything that it rests on, in the audit log.
//!
//! The stored objects are the outbox: their events follow from what is stored of them, so a process that restarts derives the same list again and
//! continues after the last event that the log has of each object. No grant and no end waits for it.
//!
//! | module | what it does |
//! |---|---|
//! | [`settings`] | the settings file that the chart renders |
//! | [`outbox`] | watches the four kinds, and has the objects with events that are not recorded yet |
//! | [`positions`] | the last recorded event of each object, rebuilt from the index and the tail of the log |
//! | [`inputs`] | reads what an event rests on |
//! | [`session`] | writes: from opening the log until an error that needs another start |
//! | [`mark`] | the Lease, which says what is recorded |

mod context;
mod error;
mod inputs;
pub mod mark;
mod metrics;
pub mod outbox;
pub mod positions;
pub mod session;
pub mod settings;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use kube_io::{backoff::Backoff, clock::Clock, connect::AskAgain};
use process::{connect, logs::Format, run};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use context::{Context, NEED};
use error::RecordError;
use metrics::RecordMetrics;
use settings::RecordSettings;

/// Delays between attempts after an error.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
/// The delay after another writer replaced the checkpoint, or the log is damaged: it needs a person.
const NEEDS_PERSON: Duration = Duration::from_mins(1);

/// The options of `record`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Path of the settings file, which the chart renders.
    #[arg(long, default_value = "/etc/jit-rbac/record.json")]
    settings: PathBuf,
    /// Path of the configuration file of the operator, whose values the rules read.
    #[arg(long, default_value = "/etc/jit-rbac/config.json")]
    config: PathBuf,
    /// Address on which /livez, /readyz and /metrics are served. `[::]` means all IPv4 and IPv6 addresses.
    #[arg(long, default_value = "[::]:8081")]
    health_address: SocketAddr,
    /// Format of log lines.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// Name of this process in the Lease. Defaults to the host name and the process ID.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
}

/// Runs until a signal.
///
/// # Errors
///
/// The settings or the keys cannot be used, or health cannot be served.
pub fn run(options: Options) -> Result<(), String> {
    let runtime = run::start(options.log_format)?;
    let settings = RecordSettings::read(&options.settings, &options.config).map_err(|error| error.to_string())?;
    let identity = options.identity.unwrap_or_else(connect::identity);
    let served = run::Served { component: "record", needs: &[NEED], health_address: options.health_address };
    run::until_stopped(&runtime, served, |health, metrics, stop| async move {
        let clock = Clock::system();
        let Some(client) = connect::client("record", AskAgain::Client, &clock, &health, &metrics, &stop).await else { return Ok(()) };
        info!(url = settings.url, "starting record");
        let context = Context { client, settings, identity, clock, health, metrics: RecordMetrics::registered(&metrics), all: metrics };
        Box::pin(context.run(stop)).await;
        Ok(())
    })
}

impl Context {
    /// Runs sessions until `stop`.
    async fn run(&self, stop: CancellationToken) {
        let watches = kube_io::watches::Watches::default();
        process::watches::show(&watches, &self.all);
        let mut backoff = BACKOFF;
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            let outcome = Box::pin(session::run(self, &watches, &stop)).await;
            self.health.set(NEED, false);
            let Err(error) = outcome else { return };
            if began.elapsed() > NEEDS_PERSON {
                backoff = BACKOFF;
            }
            let delay = match &error {
                RecordError::Log(record::Error::LostFence(_)) => {
                    self.metrics.fenced(true);
                    NEEDS_PERSON
                }
                RecordError::Log(record::Error::Corrupt(_)) => {
                    self.metrics.corrupt(true);
                    NEEDS_PERSON
                }
                RecordError::Log(_) => {
                    self.metrics.store_failed();
                    backoff.next_delay()
                }
                RecordError::Api(_) => backoff.next_delay(),
            };
            if let RecordError::Log(record::Error::LostFence(_) | record::Error::Corrupt(_)) = &error {
                error!(%error, "nothing is recorded until this is resolved: see the runbooks");
            } else {
                warn!(%error, "cannot record, retrying");
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
