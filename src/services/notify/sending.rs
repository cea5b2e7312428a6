//! What a sink gets to send a message.

use super::{guard::Guard, http::Http, message::Message, secrets::Secrets, text::Text};

/// A message, its text, and the means to send it.
pub(crate) struct Sending<'a> {
    pub(crate) guard: &'a Guard,
    pub(crate) http: &'a Http,
    /// Certificates of further authorities in PEM, next to those of the web.
    pub(crate) authorities: Vec<&'a str>,
    pub(crate) secrets: &'a Secrets,
    /// The cluster, as CloudEvents have it.
    pub(crate) source: &'a str,
    pub(crate) message: &'a Message,
    pub(crate) text: &'a Text,
}
