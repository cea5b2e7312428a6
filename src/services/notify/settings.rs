//! The settings of a receiver, as its object and its Secret have them.

use std::{collections::BTreeMap, path::PathBuf};

/// A receiver: how and where messages are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The name of the object, for errors.
    pub name: String,
    /// The sink and its settings.
    pub sink: Settings,
    /// The folder into which the Secret is mounted, one file for each key.
    pub secrets: Option<PathBuf>,
    /// The template of the title.
    pub title: Option<String>,
    /// The template of the text, instead of the list of details.
    pub body: Option<String>,
}

/// The settings of one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// A CloudEvent, signed as Standard Webhooks.
    Webhook(Webhook),
    /// Mail.
    Smtp(Smtp),
    /// A message in a channel of Slack.
    Slack(Slack),
    /// A card, posted by a workflow of Microsoft Teams.
    TeamsWorkflow,
    /// An event for PagerDuty.
    PagerDuty(PagerDuty),
    /// An alert in Alertmanager.
    Alertmanager(Alertmanager),
}

/// Settings of [`Settings::Webhook`].
///
/// Keys of the Secret: `signing-key`, and others that begin with `signing-key-` for rotation; `url`, instead of the field; optionally
/// `token`, or `username` and `password`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Webhook {
    /// The address. Absent: key `url` of the Secret.
    pub url: Option<String>,
}

/// Settings of [`Settings::Smtp`]. Keys of the Secret, both optional: `username` and `password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// The name of the mail server.
    pub host: String,
    /// The port. Absent: 465 for implicit TLS, 587 for STARTTLS, 25 for plain.
    pub port: Option<u16>,
    /// The encryption.
    pub tls: SmtpTls,
    /// The sender, such as `jit-rbac <jit@example.com>`.
    pub from: String,
    /// The address for answers.
    pub reply_to: Option<String>,
}

/// The encryption of the connection to a mail server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte.
    #[default]
    Implicit,
    /// TLS after the command STARTTLS. A server without it is refused.
    StartTls,
    /// None. The host must be in the list of hosts that may be used without TLS.
    Plain,
}

/// Settings of [`Settings::Slack`]. Key of the Secret: `token`, the token of a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slack {
    /// The id or name of the channel.
    pub channel: String,
    /// The address of the Web API. Absent: `https://slack.com/api`.
    pub api_url: Option<String>,
}

/// Settings of [`Settings::PagerDuty`]. Key of the Secret: `routing-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PagerDuty {
    /// The address of the Events API. Absent: `https://events.pagerduty.com/v2/enqueue`.
    pub url: Option<String>,
}

/// Settings of [`Settings::Alertmanager`]. Keys of the Secret, all optional: `token`, or `username` and `password`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alertmanager {
    /// The addresses of all members, such as `https://alertmanager.monitoring.svc:9093`. Every member receives each alert.
    pub urls: Vec<String>,
    /// Further labels of each alert.
    pub labels: BTreeMap<String, String>,
}
