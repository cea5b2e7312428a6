//! A message in a channel of Slack. Once the matter is decided, the same message shows the outcome.
//!
//! What users wrote is only in `plain_text` and `rich_text` elements, in which Slack parses nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::notify::{
    escape::{cut, line, slack},
    http::{Http, headers},
    message::{Delivery, Failure, Reason, State},
    secrets::Secrets,
    sending::Sending,
    settings::Slack,
    text::{COMMAND, FOOTER, OPEN, Text},
};

/// The address of the Web API.
const API: &str = "https://slack.com/api";
/// The longest name or id of a channel.
const CHANNEL: usize = 80;
/// The longest header of a message.
const HEADER: usize = 150;
/// The longest text of all details, far below what Slack accepts in one message.
const DETAILS: usize = 5_000;
/// The delay if Slack limits the rate and names no other.
const LIMITED: Duration = Duration::from_secs(30);

/// Errors of the Web API that may pass, by its documentation of the two methods.
const TRANSIENT: [&str; 10] = [
    "external_channel_migrating",
    "fatal_error",
    "internal_error",
    "org_login_required",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
    "update_failed",
];
/// Errors about the token.
const UNAUTHORIZED: [&str; 13] = [
    "access_denied",
    "accesslimited",
    "account_inactive",
    "ekm_access_denied",
    "invalid_auth",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
];
/// Errors of `chat.update` after which a new message is sent: the earlier one cannot be changed.
const NOT_UPDATED: [&str; 6] =
    ["block_mismatch", "cant_update_message", "channel_not_found", "edit_window_closed", "is_inactive", "message_not_found"];

pub(crate) fn check(settings: &Slack, http: &Http, secrets: &Secrets) -> Result<(), Failure> {
    if settings.channel.is_empty() || line(&settings.channel, CHANNEL) != settings.channel {
        return Err(Failure::refused(Reason::SettingsInvalid, "'channel' must be the id or the name of a channel"));
    }
    secrets.required("token")?;
    headers("", secrets)?;
    http.allowed(&method(settings, "chat.postMessage")).map(drop)
}

pub(crate) async fn send(settings: &Slack, sending: &Sending<'_>) -> Result<Delivery, Failure> {
    check(settings, sending.http, sending.secrets)?;
    let message = sending.message;
    let earlier = message.reference.as_deref().and_then(|reference| reference.split_once('/'));
    let mut body = body(sending.text);
    let Some((channel, ts)) = earlier else { return post(settings, sending, body, None).await };
    if message.state == State::Open {
        // A reminder: below the first message, and visible in the channel.
        set(&mut body, "thread_ts", json!(ts));
        set(&mut body, "reply_broadcast", json!(true));
        return post(settings, sending, body, message.reference.clone()).await;
    }
    let mut update = body.clone();
    set(&mut update, "channel", json!(channel));
    set(&mut update, "ts", json!(ts));
    match call(settings, sending, "chat.update", &update).await? {
        Ok(_) => Ok(Delivery { reference: message.reference.clone(), notes: Vec::new() }),
        Err((error, _)) if NOT_UPDATED.contains(&error.as_str()) => post(settings, sending, body, None).await,
        Err((_, failure)) => Err(failure),
    }
}

/// Posts a message. `reference` is that of the thread, if the message belongs to one.
async fn post(settings: &Slack, sending: &Sending<'_>, mut body: Value, reference: Option<String>) -> Result<Delivery, Failure> {
    set(&mut body, "channel", json!(settings.channel));
    set(&mut body, "mrkdwn", json!(false));
    set(&mut body, "unfurl_links", json!(false));
    set(&mut body, "unfurl_media", json!(false));
    let answer = call(settings, sending, "chat.postMessage", &body).await?.map_err(|(_, failure)| failure)?;
    let part = |name: &str| answer.get(name).and_then(Value::as_str);
    let posted = part("channel").zip(part("ts")).map(|(channel, ts)| format!("{channel}/{ts}"));
    Ok(Delivery { reference: reference.or(posted), notes: Vec::new() })
}

fn method(settings: &Slack, name: &str) -> String {
    format!("{}/{name}", settings.api_url.as_deref().unwrap_or(API).trim_end_matches('/'))
}

fn set(body: &mut Value, field: &str, value: Value) {
    if let Some(body) = body.as_object_mut() {
        body.insert(field.to_owned(), value);
    }
}

/// Calls a method of the Web API. The inner error is the one that Slack names in an answer with status 200, and what it means.
async fn call(settings: &Slack, sending: &Sending<'_>, name: &str, body: &Value) -> Result<Result<Value, (String, Failure)>, Failure> {
    let headers = headers("application/json; charset=utf-8", sending.secrets)?;
    let answer = sending.http.post(&method(settings, name), headers, body.to_string().into_bytes()).await?.accepted(sending.secrets)?;
    let json = answer.json()?;
    if json.get("ok").and_then(Value::as_bool) == Some(true) {
        return Ok(Ok(json));
    }
    let error = json.get("error").and_then(Value::as_str).map(|error| line(error, CHANNEL)).unwrap_or_default();
    let why = format!("Slack answered '{error}' to {name}");
    let failure = if TRANSIENT.contains(&error.as_str()) {
        let limited = matches!(error.as_str(), "ratelimited" | "rate_limited").then_some(LIMITED);
        Failure::Retry { after: answer.retry_after().or(limited), why, left: Vec::new() }
    } else if UNAUTHORIZED.contains(&error.as_str()) {
        Failure::refused(Reason::Unauthorized, why)
    } else if error.is_empty() {
        Failure::refused(Reason::AnswerInvalid, format!("the answer to {name} has neither 'ok' nor 'error'"))
    } else {
        Failure::refused(Reason::Rejected, why)
    };
    Ok(Err((error, failure)))
}

/// Returns the parts that both methods have.
pub(crate) fn body(text: &Text) -> Value {
    let text = text.within(DETAILS);
    let plain = |text: &str| json!({"type": "text", "text": text});
    let bold = |text: &str| json!({"type": "text", "text": text, "style": {"bold": true}});
    // An empty text is refused.
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let section = |elements: Vec<Value>| json!({"type": "rich_text_section", "elements": elements});
    let mut details: Vec<Value> = text.lines.iter().map(|line| section(vec![plain(&shown(line))])).collect();
    details.extend(text.facts.iter().map(|(label, value)| section(vec![bold(&format!("{label}: ")), plain(&shown(value))])));
    if let Some(command) = &text.command {
        details.push(section(vec![bold(&format!("{COMMAND}:"))]));
        details.push(json!({"type": "rich_text_preformatted", "elements": [plain(&shown(command))]}));
    }
    if let Some(url) = &text.console_url {
        details.push(section(vec![json!({"type": "link", "url": url, "text": OPEN})]));
    }
    let mut blocks =
        vec![json!({"type": "header", "text": {"type": "plain_text", "text": shown(&cut(&text.title, HEADER)), "emoji": false}})];
    if !details.is_empty() {
        blocks.push(json!({"type": "rich_text", "elements": details}));
    }
    blocks.push(json!({"type": "context", "elements": [{"type": "plain_text", "text": FOOTER, "emoji": false}]}));
    // The text is for notifications only.
    json!({"text": slack(&shown(&text.title)), "blocks": blocks, "parse": "none", "link_names": false})
}
