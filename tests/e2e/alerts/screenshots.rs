//! Pictures of the pages of Prometheus, as Debian packages it, for the documentation. `SCREENSHOTS` is their directory; without it there are none.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::prometheus::{Prometheus, encoded};
use crate::{ensure, env::Outcome};

/// The time limit of one picture.
const LIMIT: Duration = Duration::from_mins(1);
/// The largest file, in bytes.
const LARGEST: u64 = 150_000;

/// The page with the alerts.
pub async fn of_alerts(prometheus: &Prometheus) -> Outcome {
    picture(prometheus, "alerts", "/classic/alerts", "1280,1000").await
}

/// Graphs of what happened to grants and to calls.
pub async fn of_graphs(prometheus: &Prometheus) -> Outcome {
    let queries = ["max(jitrbac_overdue_grants)", "sum by (code) (rate(jitrbac_api_requests_total[30s]))"];
    let graph = |(number, query): (usize, &str)| format!("g{number}.expr={}&g{number}.tab=0&g{number}.range_input=5m", encoded(query));
    let path = queries.into_iter().enumerate().map(graph).collect::<Vec<_>>().join("&");
    picture(prometheus, "graph", &format!("/classic/graph?{path}"), "1280,1600").await
}

async fn picture(prometheus: &Prometheus, name: &str, path: &str, size: &str) -> Outcome {
    let Some(directory) = std::env::var_os("SCREENSHOTS").map(PathBuf::from) else { return Ok(()) };
    std::fs::create_dir_all(&directory)?;
    let (file, profile) = (directory.join(format!("prometheus-{name}.png")), tempfile::tempdir()?);
    let mut browser = Command::new("chromium");
    browser
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--virtual-time-budget=8000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={size}"))
        .arg(format!("--screenshot={}", file.display()))
        .arg(prometheus.page(path))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let ended = timeout(LIMIT, browser.status()).await??;
    ensure!(ended.success() && file.exists(), "Chromium made no picture of {path}");
    let length = std::fs::metadata(&file)?.len();
    ensure!(length < LARGEST, "{} has {length} bytes", file.display());
    Ok(())
}
