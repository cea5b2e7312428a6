//! An alert in Alertmanager, which notifies every kind of receiver that has no sink here.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::notify::{
    escape::{annotation, cut, line},
    http::{Http, headers},
    message::{Delivery, Failure, Reason, State},
    secrets::Secrets,
    sending::Sending,
    settings::Alertmanager,
    text::COMMAND,
};

/// The path of the API below the address of Alertmanager.
const PATH: &str = "api/v2/alerts";
/// How long an alert fires whose state has no end of its own. Nothing sends it again, so it would otherwise end after Alertmanager's
/// `resolve_timeout`.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long the alert of a test fires.
const TEST: SignedDuration = SignedDuration::from_mins(5);
/// The longest label in units of UTF-16.
const LABEL: usize = 128;
/// The longest annotation.
const ANNOTATION: usize = 4_000;

/// The labels that identify the alert of a thread.
const NAME: &str = "alertname";
const NAMESPACE: &str = "namespace";
const SEVERITY: &str = "severity";
const UID: &str = "jit_rbac_uid";

pub(crate) fn check(settings: &Alertmanager, http: &Http, secrets: &Secrets) -> Result<(), Failure> {
    let invalid = |why: String| Err(Failure::refused(Reason::SettingsInvalid, why));
    if settings.urls.is_empty() {
        return invalid("'urls' is empty".to_owned());
    }
    for label in settings.labels.keys() {
        let mut letters = label.chars();
        let is_valid = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !is_valid {
            return invalid(format!("label '{}' is not a valid name", line(label, LABEL)));
        }
        if [NAME, NAMESPACE, UID].contains(&label.as_str()) {
            return invalid(format!("label '{label}' is set by jit-rbac"));
        }
    }
    headers("", secrets)?;
    settings.urls.iter().try_for_each(|url| http.allowed(&endpoint(url)).map(drop))
}

pub(crate) async fn send(settings: &Alertmanager, sending: &Sending<'_>) -> Result<Delivery, Failure> {
    check(settings, sending.http, sending.secrets)?;
    let body = json!([alert(settings, sending)]).to_string().into_bytes();
    let post = |url: String| {
        let body = body.clone();
        async move {
            let headers = headers("application/json", sending.secrets)?;
            sending.http.post(&url, headers, body).await?.accepted(sending.secrets)
        }
    };
    // The members of a cluster share silences and what was notified, but not alerts.
    let answers = futures::future::join_all(settings.urls.iter().map(|url| post(endpoint(url)))).await;
    let total = answers.len();
    let failures: Vec<Failure> = answers.into_iter().filter_map(Result::err).collect();
    let is_delivered = failures.len() < total;
    if is_delivered {
        return Ok(Delivery {
            reference: None,
            notes: failures.iter().map(|failure| sending.secrets.masked(&failure.to_string())).collect(),
        });
    }
    // One that may accept it later counts more than one that never does.
    let is_retry = |failure: &Failure| matches!(failure, Failure::Retry { .. });
    let position = failures.iter().position(is_retry).unwrap_or_default();
    Err(failures.into_iter().nth(position).unwrap_or_else(|| Failure::retry("no Alertmanager answered")))
}

fn endpoint(url: &str) -> String {
    format!("{}/{PATH}", url.trim_end_matches('/'))
}

/// Returns the alert. Its labels depend on nothing but the thread, so that a later message resolves it.
pub(crate) fn alert(settings: &Alertmanager, sending: &Sending<'_>) -> Value {
    let (message, text) = (sending.message, sending.text);
    let thread = &message.thread;
    let mut labels = BTreeMap::from([
        (NAME, line(&format!("JitRbac{}", thread.topic), LABEL)),
        (SEVERITY, thread.severity.as_str().to_owned()),
        (UID, line(&thread.key, LABEL)),
    ]);
    if let Some(namespace) = &thread.namespace {
        labels.insert(NAMESPACE, line(namespace, LABEL));
    }
    labels.extend(settings.labels.iter().map(|(label, value)| (label.as_str(), line(value, LABEL))));
    let mut annotations = BTreeMap::from([("summary", text.title.clone()), ("description", text.plain())]);
    if let Some(command) = &text.command {
        annotations.insert("command", format!("{COMMAND}: {command}"));
    }
    let longest = if message.is_test { TEST } else { LONGEST };
    let ends = match message.state {
        State::Resolved => Some(message.time),
        State::Open | State::Acknowledged => message.until.or_else(|| Timestamp::now().checked_add(longest).ok()),
    };
    let mut alert = json!({
        "labels": labels,
        "annotations": annotations.into_iter().map(|(name, value)| (name, cut(&annotation(&value), ANNOTATION))).collect::<BTreeMap<_, _>>(),
        "endsAt": ends.map(|at| at.to_string()),
        "generatorURL": text.console_url,
    });
    if let Some(alert) = alert.as_object_mut() {
        // Without a start, Alertmanager keeps that of the alert that it has. One of later than the end is refused.
        alert.retain(|_, value| !value.is_null());
        if message.state != State::Resolved {
            alert.insert("startsAt".to_owned(), Value::String(message.time.to_string()));
        }
    }
    alert
}
