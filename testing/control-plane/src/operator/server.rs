use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::health;
use crate::process::Spec;
use crate::{Error, Process, Reaper, Result, wait_for_ok};

/// A process of the operator: a [`Process`] with liveness and readiness.
#[derive(Debug)]
pub struct Server {
    process: Process,
}

impl Server {
    pub(super) fn start(spec: Spec, reaper: &Arc<Reaper>) -> Result<Self> {
        Ok(Self { process: Process::spawn(spec, reaper)? })
    }

    /// The address of its health server, once the process has logged it since its last start.
    pub fn health_address(&self) -> Result<SocketAddr> {
        let log = self.process.log_of_this_start()?;
        health::address(&log).ok_or_else(|| Error::State(format!("{} has not logged the address of its health server", self.name())))
    }

    /// Calls `/readyz`; the error names what is not ready.
    pub async fn ready(&self) -> Result<(), String> {
        self.ask("/readyz").await.map(drop)
    }

    /// Calls `/livez`.
    pub async fn alive(&self) -> Result<(), String> {
        self.ask("/livez").await.map(drop)
    }

    /// Returns a value from its `/metrics`, by metric name and labels; 0 where there is no such series yet.
    pub async fn metric(&self, series: &str) -> Result<f64, String> {
        let text = self.ask("/metrics").await?;
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        Ok(found.unwrap_or_default())
    }

    /// Waits until it is ready; fails if the process ends.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<()> {
        let what = format!("{} to be ready", self.name());
        let looked = wait_for_ok(&what, limit, async || match self.process.check() {
            Err(error) => Ok(Err(error)),
            Ok(()) => self.ready().await.map(Ok),
        });
        looked.await?
    }

    async fn ask(&self, path: &'static str) -> Result<String, String> {
        let address = self.health_address().map_err(|error| error.to_string())?;
        health::get(address, path).await
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
