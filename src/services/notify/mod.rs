//! Notifications: rules say which events are sent to whom, receivers say how.

mod message;
mod settings;

pub use message::{Address, Fact, Message, Outcome, Reason, Severity, State, Thread};
pub use settings::{Alertmanager, PagerDuty, Receiver, Settings, Slack, Smtp, SmtpTls, Webhook};
