//! A card for a workflow of Microsoft Teams with the trigger "When a Teams webhook request is received".
//!
//! What users wrote is only in `TextRun` elements, in which Teams reads no Markdown.

use serde_json::{Value, json};

use crate::notify::{
    escape::card,
    http::{Http, headers},
    message::{Delivery, Failure, Severity},
    secrets::Secrets,
    sending::Sending,
    text::{COMMAND, FOOTER, OPEN, Text},
};

/// The newest version of the schema that Teams shows everywhere.
const VERSION: &str = "1.4";
/// The longest text of all details in units of UTF-16: with it, the message stays below the 28 KB that Teams accepts.
const DETAILS: usize = 5_000;
/// The key of the Secret with the address of the workflow. It has a signature, so it is not a field of the receiver.
const URL: &str = "url";

pub(crate) fn check(http: &Http, secrets: &Secrets) -> Result<(), Failure> {
    http.allowed(secrets.required(URL)?).map(drop)
}

pub(crate) async fn send(sending: &Sending<'_>) -> Result<Delivery, Failure> {
    let url = sending.secrets.required(URL)?;
    let headers = headers("application/json; charset=utf-8", sending.secrets)?;
    let body = envelope(sending.text, sending.message.severity).to_string().into_bytes();
    sending.http.post(url, headers, body).await?.accepted(sending.secrets)?;
    Ok(Delivery::default())
}

fn envelope(text: &Text, severity: Severity) -> Value {
    json!({
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": content(text, severity)}],
    })
}

pub(crate) fn content(text: &Text, severity: Severity) -> Value {
    let text = text.within(DETAILS);
    let color = match severity {
        Severity::Info => "Default",
        Severity::Warning => "Warning",
        Severity::Critical => "Attention",
    };
    let run = |text: &str| json!({"type": "TextRun", "text": card(text)});
    let bold = |text: &str| json!({"type": "TextRun", "text": card(text), "weight": "Bolder"});
    let block = |inlines: Vec<Value>| json!({"type": "RichTextBlock", "inlines": inlines, "spacing": "Small"});
    let mut body =
        vec![block(vec![json!({"type": "TextRun", "text": card(&text.title), "weight": "Bolder", "size": "Medium", "color": color})])];
    body.extend(text.lines.iter().map(|line| block(vec![run(line)])));
    body.extend(text.facts.iter().map(|(label, value)| block(vec![bold(&format!("{label}: ")), run(value)])));
    if let Some(command) = &text.command {
        let command = json!({"type": "TextRun", "text": card(command), "fontType": "Monospace"});
        body.push(block(vec![bold(&format!("{COMMAND}: ")), command]));
    }
    body.push(block(vec![json!({"type": "TextRun", "text": FOOTER, "isSubtle": true, "size": "Small"})]));
    let mut content = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "fallbackText": card(&text.title),
        "msteams": {"width": "Full"},
        "body": body,
    });
    if let (Some(url), Some(content)) = (&text.console_url, content.as_object_mut()) {
        content.insert("actions".to_owned(), json!([{"type": "Action.OpenUrl", "title": OPEN, "url": url}]));
    }
    content
}
