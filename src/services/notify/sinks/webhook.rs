//! A CloudEvent in structured JSON, signed as Standard Webhooks.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use jiff::Timestamp;
use serde_json::{Value, json};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook as Signer};

use crate::notify::{
    http::{Http, headers},
    message::{Delivery, Failure, Reason},
    secrets::{self, Secrets},
    sending::Sending,
    settings::Webhook,
};

/// The key of the Secret with the signing key. Keys that begin with it and a hyphen sign as well, for rotation.
const SIGNING_KEY: &str = "signing-key";
/// The length of a signing key in bytes.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

pub(crate) fn check(settings: &Webhook, http: &Http, secrets: &Secrets) -> Result<(), Failure> {
    http.allowed(url(settings, secrets)?)?;
    headers("", secrets)?;
    signers(secrets).map(drop)
}

pub(crate) async fn send(settings: &Webhook, sending: &Sending<'_>) -> Result<Delivery, Failure> {
    let body = event(sending).to_string().into_bytes();
    let mut headers = headers("application/cloudevents+json; charset=utf-8", sending.secrets)?;
    let id = &sending.message.id;
    // The time of this attempt: receivers refuse old ones, so that nobody can send a recorded message again.
    let time = Timestamp::now().as_second();
    let invalid = || Failure::refused(Reason::SettingsInvalid, "the id of the message cannot be in a header");
    let signatures = signers(sending.secrets)?
        .iter()
        .map(|signer| signer.sign(id, time, &body))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| invalid())?;
    headers.insert(HEADER_WEBHOOK_ID, HeaderValue::try_from(id).map_err(|_| invalid())?);
    headers.insert(HEADER_WEBHOOK_TIMESTAMP, time.into());
    headers.insert(HEADER_WEBHOOK_SIGNATURE, HeaderValue::try_from(signatures.join(" ")).map_err(|_| invalid())?);
    sending.http.post(url(settings, sending.secrets)?, headers, body).await?.accepted(sending.secrets)?;
    Ok(Delivery::default())
}

fn url<'a>(settings: &'a Webhook, secrets: &'a Secrets) -> Result<&'a str, Failure> {
    settings.url.as_deref().map_or_else(|| secrets.required("url"), Ok)
}

/// Returns what signs, one for each key.
fn signers(secrets: &Secrets) -> Result<Vec<Signer>, Failure> {
    secrets.required(SIGNING_KEY)?;
    let signer = |(key, value): (&str, &str)| {
        let invalid = || secrets::invalid(key, "must be 24 to 64 random bytes in base64, with or without 'whsec_'");
        let bytes = BASE64_STANDARD.decode(value.strip_prefix("whsec_").unwrap_or(value)).map_err(|_| invalid())?;
        if !KEY_LENGTH.contains(&bytes.len()) {
            return Err(invalid());
        }
        Signer::from_bytes(bytes).map_err(|_| invalid())
    };
    secrets.all(SIGNING_KEY).into_iter().map(signer).collect()
}

fn event(sending: &Sending<'_>) -> Value {
    let message = sending.message;
    let mut event = json!({
        "specversion": "1.0",
        "id": message.id,
        "source": sending.source,
        "type": message.event_type,
        "subject": message.subject,
        "time": message.time.to_string(),
        "datacontenttype": "application/json",
        "severity": message.severity.as_str(),
        "thread": message.thread.key,
        "data": message.data,
    });
    if let (true, Some(event)) = (message.is_test, event.as_object_mut()) {
        event.insert("test".to_owned(), Value::Bool(true));
    }
    event
}
