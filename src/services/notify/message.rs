//! A message to people or programs outside of the cluster, and what became of it.

use std::time::Duration;

use jiff::Timestamp;

pub use domain::activity::Severity;

/// A message, independent of the receiver that sends it.
///
/// Texts may contain anything that users wrote: each sink escapes them for its format.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The deterministic id. A repetition has the same id, so that receivers can drop it.
    pub id: String,
    /// The type of the CloudEvent, such as `dev.jitrbac.activation.requested.v1`.
    pub event_type: String,
    /// When it happened.
    pub time: Timestamp,
    /// How urgent this message is.
    pub severity: Severity,
    /// The object as `namespace/name`, or `name` for an object of the cluster.
    pub subject: String,
    /// What this message has in common with others about the same matter.
    pub thread: Thread,
    /// What the message means for its thread.
    pub state: State,
    /// The time at which the state ends on its own, such as a deadline. After it, an alert resolves without a further message.
    pub until: Option<Timestamp>,
    /// One line: what happened.
    pub title: String,
    /// The details, in this order.
    pub facts: Vec<Fact>,
    /// The address of the page in the console.
    pub console_url: Option<String>,
    /// The command to copy, such as `kubectl jit approve inc-4711 -n payments`.
    pub command: Option<String>,
    /// The addresses of the people. Only the mail sink uses them.
    pub recipients: Vec<Address>,
    /// The `data` of the CloudEvent.
    pub data: serde_json::Value,
    /// True for a message that only tests its receiver. It is marked as such.
    pub is_test: bool,
    /// The reference that an earlier delivery by the same receiver for the same thread returned.
    pub reference: Option<String>,
}

/// What all messages about one matter have in common. Alerts are identified by it, so none of its fields may differ between the messages of
/// one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The unique key, such as the UID of a request.
    pub key: String,
    /// The kind of matter in CamelCase, one of few: the `event` of a rule, such as `Activation`.
    pub topic: String,
    /// The namespace of the object.
    pub namespace: Option<String>,
    /// The severity of an alert about the matter.
    pub severity: Severity,
}

/// What a message means for its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The matter needs attention.
    Open,
    /// Someone acts on it: an incident stops to escalate.
    Acknowledged,
    /// Nothing is left to do: an alert ends, and an earlier message shows the outcome.
    Resolved,
}

/// A detail of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The name of the detail, such as `Requester`.
    pub label: String,
    /// The value as one line.
    pub value: String,
}

impl Fact {
    /// Returns a detail.
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

/// The mail address of a person or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The name to display.
    pub name: Option<String>,
    /// The address, such as `ann@example.com`.
    pub email: String,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver accepted the message.
    Delivered {
        /// What the receiver calls the message. Pass it on in [`Message::reference`] with the next message of the thread.
        reference: Option<String>,
        /// What did not work but is not tried again, such as an address that the mail server refused.
        notes: Vec<String>,
    },
    /// The message may be delivered later.
    Retry {
        /// The delay that the receiver asked for.
        after: Option<Duration>,
        /// The error, without secrets.
        why: String,
        /// The recipients that are left, if others were served: put them into [`Message::recipients`] before the next attempt.
        left: Vec<Address>,
    },
    /// The message is not delivered, and another attempt without a change would fail in the same way.
    Refused {
        /// The reason for the condition of the receiver.
        reason: Reason,
        /// The error, without secrets.
        why: String,
    },
}

/// Why a message cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The host is not in the list of allowed hosts, or TLS is required for it.
    HostNotAllowed,
    /// The host has an address in a private or reserved network that is not allowed.
    AddressNotAllowed,
    /// A key of the Secret is missing or not valid, or the Secret is not mounted.
    SecretInvalid,
    /// A setting is not valid.
    SettingsInvalid,
    /// A template is not valid.
    TemplateInvalid,
    /// Nobody is left to whom the message could be sent.
    NoRecipient,
    /// The receiver refused the credentials.
    Unauthorized,
    /// The receiver refused the message.
    Rejected,
    /// The receiver answered with something else than its protocol has.
    AnswerInvalid,
}

impl Reason {
    /// Returns the word for conditions and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostNotAllowed => "HostNotAllowed",
            Self::AddressNotAllowed => "AddressNotAllowed",
            Self::SecretInvalid => "SecretInvalid",
            Self::SettingsInvalid => "SettingsInvalid",
            Self::TemplateInvalid => "TemplateInvalid",
            Self::NoRecipient => "NoRecipient",
            Self::Unauthorized => "Unauthorized",
            Self::Rejected => "Rejected",
            Self::AnswerInvalid => "AnswerInvalid",
        }
    }
}

/// A failure within a sink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// See [`Outcome::Retry`].
    #[error("{why}")]
    Retry { after: Option<Duration>, why: String, left: Vec<Address> },
    /// See [`Outcome::Refused`].
    #[error("{why}")]
    Refused { reason: Reason, why: String },
}

impl Failure {
    pub(crate) fn retry(why: impl Into<String>) -> Self {
        Self::Retry { after: None, why: why.into(), left: Vec::new() }
    }

    pub(crate) fn refused(reason: Reason, why: impl Into<String>) -> Self {
        Self::Refused { reason, why: why.into() }
    }
}

/// What a sink returns for a message that was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) reference: Option<String>,
    pub(crate) notes: Vec<String>,
}

impl From<Result<Delivery, Failure>> for Outcome {
    fn from(result: Result<Delivery, Failure>) -> Self {
        match result {
            Ok(Delivery { reference, notes }) => Self::Delivered { reference, notes },
            Err(Failure::Retry { after, why, left }) => Self::Retry { after, why, left },
            Err(Failure::Refused { reason, why }) => Self::Refused { reason, why },
        }
    }
}
