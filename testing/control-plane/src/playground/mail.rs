//! The mail server of `make up` and `make demo`: it keeps every notification, and shows it on a page.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::components::flag;
use crate::{ADMIN, Cluster, Error, OperatorOptions, Process, ProcessRecord, Reaper, Result, Spec, free_port, programs, wait_for_ok};

/// The time limit for its start.
const START: Duration = Duration::from_secs(20);
/// The most bytes of an answer that are read.
const LONGEST: u64 = 4 << 20;
/// The time limit for messages to arrive.
const ARRIVES: Duration = Duration::from_secs(20);

/// A running mail server.
#[derive(Debug)]
pub struct MailServer {
    process: Process,
    page: u16,
    smtp: u16,
}

/// A message that it keeps.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mail {
    /// The recipients.
    pub to: Vec<Mailbox>,
    /// The subject.
    pub subject: String,
}

/// The address of a recipient.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mailbox {
    /// Such as `dev@example.com`.
    pub address: String,
}

#[derive(Deserialize)]
struct Mails {
    messages: Vec<Mail>,
}

impl MailServer {
    /// Starts mailpit, which `make notify-tools` builds.
    pub async fn start(cluster: &Cluster, reaper: &Arc<Reaper>) -> Result<Self> {
        let (page, smtp) = (free_port()?, free_port()?);
        let process = Process::spawn(
            Spec {
                name: "mailpit".to_owned(),
                program: programs::tool("mailpit", "make notify-tools")?,
                args: vec![
                    flag("listen", format!("127.0.0.1:{page}")),
                    flag("smtp", format!("127.0.0.1:{smtp}")),
                    flag("database", cluster.directory().join("mails")),
                    "--smtp-disable-rdns".into(),
                    "--disable-version-check".into(),
                ],
                env: Vec::new(),
                log: cluster.directory().join("mailpit.log"),
            },
            reaper,
        )?;
        let server = Self { process, page, smtp };
        for port in [page, smtp] {
            wait_for_ok("mailpit", START, async || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map(drop).map_err(|error| error.to_string())
            })
            .await?;
        }
        Ok(server)
    }

    /// Adds the notify process to the options of an operator: everybody has an address of their user name.
    pub fn add_to(options: &mut OperatorOptions) {
        let mail = |to: &str| json!([{"name": "mail", "to": [to]}]);
        let notify = json!({
            "enabled": true, "cluster": "demo", "allowedHosts": ["127.0.0.1"], "plainHosts": ["127.0.0.1"], "allowedCIDRs": ["127.0.0.0/8"],
            "addresses": {
                "users": [{"pattern": "([a-z0-9-]+)", "mail": "$1@example.com"}],
                "groups": {"leads": mail("leads@example.com"), "devs": mail("devs@example.com"), "security": mail("security@example.com")},
                "admins": mail("admins@example.com"),
            },
        });
        match &mut options.values {
            Value::Object(values) => drop(values.insert("notify".to_owned(), notify)),
            values => *values = json!({"notify": notify}),
        }
    }

    /// Creates the receiver. From then on, mail is sent.
    pub async fn receive(&self, cluster: &Cluster) -> Result<()> {
        let receiver = json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "NotificationReceiver", "metadata": {"name": "mail"},
            "spec": {"type": "Smtp", "smtp": {"host": "127.0.0.1", "port": self.smtp, "tls": "None", "from": "jit-rbac <jit-rbac@example.com>"}},
        });
        cluster.apply(ADMIN, &receiver.to_string()).await?.ok().map(drop)
    }

    /// Returns the address of its page.
    #[must_use]
    pub fn page(&self) -> String {
        format!("http://127.0.0.1:{}", self.page)
    }

    /// Returns the kept messages, oldest first, once there are as many as `enough` wants.
    pub async fn messages(&self, enough: impl Fn(&[Mail]) -> bool) -> Result<Vec<Mail>> {
        wait_for_ok("the mails", ARRIVES, async || {
            let mut mails = self.kept().await.map_err(|error| error.to_string())?;
            mails.reverse();
            if enough(&mails) { Ok(mails) } else { Err(format!("{} mails so far", mails.len())) }
        })
        .await
    }

    async fn kept(&self) -> Result<Vec<Mail>> {
        let failed = |error: std::io::Error| Error::State(format!("mailpit does not answer: {error}"));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.page)).await.map_err(failed)?;
        // HTTP/1.0: the answer ends with the connection.
        stream.write_all(b"GET /api/v1/messages?limit=200 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").await.map_err(failed)?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await.map_err(failed)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str::<Mails>(body)?.messages)
    }

    /// Returns what another program needs to end it after [`MailServer::detach`].
    pub fn record(&self) -> Result<ProcessRecord> {
        self.process.record()
    }

    /// Lets it outlive this process.
    pub fn detach(&self) {
        self.process.detach();
    }
}
