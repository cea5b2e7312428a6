//! Servers of other projects, each a process that ends when its value is dropped.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Authority, eventually};

/// Starts are repeated when another process got the port first.
const STARTS: usize = 5;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the path of a program of `make notify-tools`.
fn program(name: &str) -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache"))).expect("HOME is set");
    let path = cache.join("jit-rbac/tools/bin").join(name);
    assert!(path.is_file(), "{name} is missing: build it with 'make notify-tools'");
    path
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Starts a program until it answers at `url`. `arguments` gets free ports.
async fn started(name: &str, arguments: impl Fn(u16, u16) -> Vec<String>, path: &str) -> (Process, u16, u16) {
    for _ in 0..STARTS {
        let (first, second) = (free_port(), free_port());
        let mut command = Command::new(program(name));
        command.args(arguments(first, second)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process(command.spawn().unwrap_or_else(|error| panic!("{name}: {error}")));
        let url = format!("http://127.0.0.1:{first}{path}");
        let what = format!("{name} answers");
        let is_ready = eventually(&what, || {
            let ended = process.0.try_wait().expect("a process").is_some();
            let url = url.clone();
            async move {
                if ended {
                    return Some(false);
                }
                let answer = get(&url).await.ok()?;
                answer.status().is_success().then_some(true)
            }
        });
        if is_ready.await {
            return (process, first, second);
        }
    }
    panic!("{name} does not start")
}

async fn get(url: &str) -> reqwest::Result<reqwest::Response> {
    // Without TLS, but the client is not created without a provider.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("protocol versions");
    let tls = versions.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build()?.get(url).send().await
}

async fn json(url: String) -> Value {
    get(&url).await.expect("an answer").json().await.expect("JSON")
}

/// How mailpit encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailpitTls {
    /// Not at all.
    None,
    /// From the first byte.
    Implicit,
    /// After STARTTLS, which it requires.
    StartTls,
}

/// A mail server that keeps what it receives.
pub struct Mailpit {
    _process: Process,
    _files: TempDir,
    http: u16,
    smtp: u16,
}

impl Mailpit {
    /// Starts mailpit with a certificate for `names`. With `login`, as `user:password`, it requires this login. Only recipients that match
    /// the regular expression `accepted` are accepted.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(authority: &Authority, names: &[&str], tls: MailpitTls, login: Option<&str>, accepted: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let path = |name: &str| files.path().join(name).display().to_string();
        let (certificate, key) = authority.issue(names);
        fs::write(path("tls.crt"), certificate).expect("a file");
        fs::write(path("tls.key"), key).expect("a file");
        let arguments = |http: u16, smtp: u16| {
            let mut arguments = vec![
                format!("--listen=127.0.0.1:{http}"),
                format!("--smtp=127.0.0.1:{smtp}"),
                format!("--database={}", path("mails")),
                format!("--smtp-allowed-recipients={accepted}"),
                "--smtp-disable-rdns".to_owned(),
                "--disable-version-check".to_owned(),
                "--quiet".to_owned(),
            ];
            if tls != MailpitTls::None {
                arguments.extend([format!("--smtp-tls-cert={}", path("tls.crt")), format!("--smtp-tls-key={}", path("tls.key"))]);
                arguments.push(if tls == MailpitTls::Implicit { "--smtp-require-tls" } else { "--smtp-require-starttls" }.to_owned());
            }
            if let Some(login) = login {
                fs::write(path("logins"), login).expect("a file");
                arguments.push(format!("--smtp-auth-file={}", path("logins")));
            }
            arguments
        };
        let (process, http, smtp) = started("mailpit", arguments, "/readyz").await;
        let listens = || async { tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, smtp)).await.ok() };
        drop(eventually("mailpit accepts mail", listens).await);
        Self { _process: process, _files: files, http, smtp }
    }

    /// The port for mail.
    #[must_use]
    pub const fn smtp(&self) -> u16 {
        self.smtp
    }

    /// The address of the page.
    #[must_use]
    pub fn page(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Returns the summaries of all messages, the newest first.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub async fn messages(&self) -> Vec<Value> {
        let list = json(format!("{}/api/v1/messages?limit=500", self.page())).await;
        list["messages"].as_array().cloned().unwrap_or_default()
    }

    /// Returns a message with its parts.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub async fn message(&self, id: &str) -> Value {
        json(format!("{}/api/v1/message/{id}", self.page())).await
    }

    /// Returns the headers of a message.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub async fn headers(&self, id: &str) -> Value {
        json(format!("{}/api/v1/message/{id}/headers", self.page())).await
    }
}

/// An Alertmanager that notifies a webhook at once.
pub struct Alertmanager {
    _process: Process,
    _files: TempDir,
    port: u16,
}

impl Alertmanager {
    /// Starts Alertmanager. `webhook` is the address that it notifies, with a certificate of `authority`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(authority: &Authority, webhook: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let path = |name: &str| files.path().join(name).display().to_string();
        fs::write(path("ca.crt"), authority.pem()).expect("a file");
        let config = format!(
            "route: {{receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s}}\n\
             receivers: [{{name: test, webhook_configs: [{{url: '{webhook}', send_resolved: true, http_config: {{tls_config: {{ca_file: '{}'}}}}}}]}}]\n",
            path("ca.crt")
        );
        fs::write(path("config.yaml"), config).expect("a file");
        let arguments = |port: u16, _| {
            vec![
                format!("--config.file={}", path("config.yaml")),
                format!("--storage.path={}", path("data")),
                format!("--web.listen-address=127.0.0.1:{port}"),
                "--cluster.listen-address=".to_owned(),
            ]
        };
        let (process, port, _) = started("alertmanager", arguments, "/-/ready").await;
        Self { _process: process, _files: files, port }
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns all alerts that fire.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub async fn alerts(&self) -> Vec<Value> {
        json(format!("{}/api/v2/alerts", self.url())).await.as_array().cloned().unwrap_or_default()
    }
}
