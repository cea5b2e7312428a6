//! A real Prometheus that scrapes the operator's processes and evaluates the rules of the chart.

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use control_plane::wait_for_ok;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{
    ensure,
    env::{ClusterFixture, Error, Outcome, SOON},
};

/// The time limit of a query, and of the start of an alert's life or its end beyond what the rules themselves wait for.
const LIMIT: Duration = Duration::from_secs(5);
/// How often targets are scraped and rules evaluated.
const INTERVAL: &str = "1s";

/// The process. Dropping it kills it.
pub struct Prometheus {
    _child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts it with the rule groups of a `PrometheusRule`. Its targets are set by [`Prometheus::scrape`].
    pub async fn start(fixture: &ClusterFixture, groups: &Value) -> Result<Self, Error> {
        let directory = fixture.cluster().directory().join("prometheus");
        std::fs::create_dir_all(&directory)?;
        let rules = directory.join("rules.yaml");
        // JSON is YAML.
        std::fs::write(&rules, json!({ "groups": groups }).to_string())?;
        check(&rules).await?;
        let config = json!({
            "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "jit-rbac", "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": INTERVAL}]}],
        });
        std::fs::write(directory.join("prometheus.yaml"), config.to_string())?;
        std::fs::write(directory.join("targets.json"), "[]")?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = std::fs::File::create(directory.join("prometheus.log"))?;
        let child = Command::new("prometheus")
            .arg(format!("--web.listen-address={address}"))
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=data")
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(missing)?;
        let prometheus = Self { _child: child, address, directory };
        wait_for_ok("Prometheus to be ready", SOON, async || prometheus.get("/-/ready").await.map(drop)).await?;
        Ok(prometheus)
    }

    /// Returns the address of one of its pages.
    pub fn page(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Scrapes the operator's processes, and `others`. The addresses of processes change when they are started again.
    pub fn scrape(&self, fixture: &ClusterFixture, others: &[SocketAddr]) -> Outcome {
        let own = fixture.operator.servers().map(|server| Ok(server.health_address()?)).collect::<Result<Vec<_>, Error>>()?;
        self.scrape_only(&[&own, others].concat())
    }

    /// Scrapes these addresses and no others.
    pub fn scrape_only(&self, addresses: &[SocketAddr]) -> Outcome {
        let targets: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        // Replaced as a whole, since Prometheus reads the file at any time.
        let (new, file) = (self.directory.join("targets.new"), self.directory.join("targets.json"));
        std::fs::write(&new, json!([{ "targets": targets }]).to_string())?;
        Ok(std::fs::rename(new, file)?)
    }

    /// Waits until an alert fires, and returns it.
    pub async fn until_firing(&self, alert: &str, limit: Duration) -> Result<Value, Error> {
        let what = format!("{alert} to fire");
        let fires = wait_for_ok(&what, limit, async || {
            let alerts = self.alerts().await?;
            let known = alerts.into_iter().filter(|found| found["labels"]["alertname"] == alert).collect::<Vec<_>>();
            let firing = known.iter().find(|found| found["state"] == "firing").cloned();
            firing.ok_or_else(|| format!("it is {known:?}"))
        });
        Ok(fires.await?)
    }

    /// Waits until an alert is neither pending nor firing.
    pub async fn until_inactive(&self, alert: &str, limit: Duration) -> Outcome {
        let what = format!("{alert} to clear");
        let clears = wait_for_ok(&what, limit, async || {
            let alerts = self.alerts().await?;
            match alerts.into_iter().find(|found| found["labels"]["alertname"] == alert) {
                Some(found) => Err(found.to_string()),
                None => Ok(()),
            }
        });
        Ok(clears.await?)
    }

    /// Returns the alerts that are pending or firing.
    pub async fn alerts(&self) -> Result<Vec<Value>, String> {
        Ok(self.data("/api/v1/alerts").await?["alerts"].as_array().cloned().unwrap_or_default())
    }

    /// Returns the samples of an instant query.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let found = self.data(&format!("/api/v1/query?query={}", encoded(query))).await?;
        Ok(found["result"].as_array().cloned().unwrap_or_default())
    }

    async fn data(&self, path: &str) -> Result<Value, String> {
        let answer: Value = serde_json::from_str(&self.get(path).await?).map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        let (address, path) = (self.address, path.to_owned());
        let asked = tokio::task::spawn_blocking(move || ask(address, &path)).await;
        asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?
    }
}

/// Returns the body of an answer; the error is that of an answer with another status.
fn ask(address: SocketAddr, path: &str) -> std::io::Result<Result<String, String>> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // Version 1.0, so that the body ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let is_ok = head.split_whitespace().nth(1) == Some("200");
    Ok(if is_ok { Ok(body.to_owned()) } else { Err(format!("{path}: {} {body}", head.lines().next().unwrap_or_default())) })
}

/// Returns a text as a part of a URL.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

/// Checks a file of rules with promtool.
async fn check(rules: &Path) -> Outcome {
    let said = Command::new("promtool").args(["check", "rules"]).arg(rules).output().await.map_err(missing)?;
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    ensure!(said.status.success(), "promtool: {text}");
    Ok(())
}

fn missing(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        "Prometheus is missing: install it so that 'prometheus' and 'promtool' are on the PATH (`make prometheus`)".into()
    } else {
        error.into()
    }
}
