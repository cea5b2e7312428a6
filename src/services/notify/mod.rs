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

pub use guard::{Egress, EgressError, Lookup};
pub use message::{Address, Fact, Message, Outcome, Reason, Severity, State, Thread};
pub use send::Sender;
pub use settings::{Alertmanager, PagerDuty, Receiver, Settings, Slack, Smtp, SmtpTls, Webhook};
