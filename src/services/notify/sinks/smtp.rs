//! Mail: one message to each recipient, as text and HTML.

use std::time::{Duration, SystemTime};

use lettre::{
    Address as Mailaddress, Message as Mail,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt, Rset},
        extension::ClientId,
    },
};
use sha2::{Digest as _, Sha256};

use crate::notify::{
    escape::{html, line},
    guard::Guard,
    http::CONNECT,
    message::{Address, Delivery, Failure, Reason},
    secrets::Secrets,
    sending::Sending,
    settings::{Smtp, SmtpTls},
    text::{COMMAND, FOOTER, OPEN, Text},
};

/// The longest time for a message to all recipients.
const TOTAL: Duration = Duration::from_secs(30);
/// The longest subject in characters: with its encoding it stays below the limit of a header.
const SUBJECT: usize = 200;
/// What is quoted of an answer.
const MOST_QUOTED: usize = 200;

fn settings_invalid(why: String) -> Failure {
    Failure::refused(Reason::SettingsInvalid, why)
}

pub(crate) fn check(settings: &Smtp, guard: &Guard, secrets: &Secrets) -> Result<(), Failure> {
    guard.host(&settings.host, settings.tls != SmtpTls::Plain)?;
    mailbox("from", &settings.from)?;
    settings.reply_to.as_deref().map(|text| mailbox("replyTo", text)).transpose()?;
    credentials(secrets).map(drop)
}

pub(crate) async fn send(settings: &Smtp, sending: &Sending<'_>) -> Result<Delivery, Failure> {
    check(settings, sending.guard, sending.secrets)?;
    if sending.message.recipients.is_empty() {
        return Err(Failure::refused(Reason::NoRecipient, "the message has no recipient with a mail address"));
    }
    let mut progress = Progress { left: sending.message.recipients.clone(), later: Vec::new(), refused: Vec::new(), delivered: 0 };
    let stopped = match tokio::time::timeout(TOTAL, session(settings, sending, &mut progress)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::retry("the mail server did not answer in time")),
    };
    progress.outcome(stopped)
}

/// What became of the recipients.
struct Progress {
    /// Those that were not tried yet, the current one first.
    left: Vec<Address>,
    /// Those for which the server asked for a later attempt.
    later: Vec<Address>,
    refused: Vec<String>,
    delivered: usize,
}

impl Progress {
    fn outcome(self, stopped: Result<(), Failure>) -> Result<Delivery, Failure> {
        match stopped {
            Err(Failure::Retry { after, why, .. }) => Err(Failure::Retry { after, why, left: [self.left, self.later].concat() }),
            Err(refused) if self.delivered == 0 => Err(refused),
            Err(refused) => Ok(Delivery { reference: None, notes: self.refused.into_iter().chain([refused.to_string()]).collect() }),
            Ok(()) if self.delivered == 0 => Err(Failure::refused(Reason::Rejected, self.refused.join("; "))),
            Ok(()) => Ok(Delivery { reference: None, notes: self.refused }),
        }
    }
}

async fn session(settings: &Smtp, sending: &Sending<'_>, progress: &mut Progress) -> Result<(), Failure> {
    let mut connection = connect(settings, sending).await?;
    let mut last = None;
    while let Some(recipient) = progress.left.first().cloned() {
        match deliver(&mut connection, settings, sending, &recipient).await? {
            Ok(()) => progress.delivered += 1,
            Err(Failure::Refused { why, .. }) => progress.refused.push(format!("{}: {why}", line(&recipient.email, SUBJECT))),
            Err(retry) => {
                progress.later.push(recipient);
                last = Some(retry);
            }
        }
        progress.left.remove(0);
    }
    // The messages are accepted; what the server answers to the end of the session does not matter.
    let _ = connection.quit().await;
    last.map_or(Ok(()), Err)
}

async fn connect(settings: &Smtp, sending: &Sending<'_>) -> Result<AsyncSmtpConnection, Failure> {
    let port = settings.port.unwrap_or(match settings.tls {
        SmtpTls::Implicit => 465,
        SmtpTls::StartTls => 587,
        SmtpTls::Plain => 25,
    });
    let addresses = sending.guard.resolve(&settings.host, port).await.map_err(|error| Failure::from(&error))?;
    let tls = || {
        let mut builder = TlsParameters::builder(settings.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
        for pem in &sending.authorities {
            builder = builder.add_root_certificate(Certificate::from_pem(pem.as_bytes()).map_err(|error| failure(&error))?);
        }
        builder.build().map_err(|error| failure(&error))
    };
    let own = sender_domain(settings)?;
    let hello = ClientId::Domain(own);
    let first = if settings.tls == SmtpTls::Implicit { Some(tls()?) } else { None };
    let mut connection = AsyncSmtpConnection::connect_tokio1(addresses.as_slice(), Some(CONNECT), &hello, first, None)
        .await
        .map_err(|error| failure(&error))?;
    if settings.tls == SmtpTls::StartTls {
        if !connection.can_starttls() {
            return Err(settings_invalid("the mail server does not offer STARTTLS".to_owned()));
        }
        connection.starttls(tls()?, &hello).await.map_err(|error| failure(&error))?;
    }
    if let Some(credentials) = credentials(sending.secrets)? {
        connection.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(|error| match failure(&error) {
            Failure::Refused { why, .. } => Failure::refused(Reason::Unauthorized, why),
            retry @ Failure::Retry { .. } => retry,
        })?;
    }
    Ok(connection)
}

fn credentials(secrets: &Secrets) -> Result<Option<Credentials>, Failure> {
    let Some(user) = secrets.get("username") else { return Ok(None) };
    Ok(Some(Credentials::new(user.to_owned(), secrets.required("password")?.to_owned())))
}

/// Sends the message to one recipient. The outer failure ends the session, the inner one is that of the recipient.
async fn deliver(
    connection: &mut AsyncSmtpConnection,
    settings: &Smtp,
    sending: &Sending<'_>,
    recipient: &Address,
) -> Result<Result<(), Failure>, Failure> {
    let rejected = |why: &str| Ok(Err(Failure::refused(Reason::Rejected, why)));
    let Ok(to) = recipient.email.parse::<Mailaddress>() else { return rejected("is not a mail address") };
    if !recipient.email.is_ascii() {
        return rejected("has characters outside of ASCII");
    }
    let from = mailbox("from", &settings.from)?.email;
    let mail = mail(settings, sending, recipient, to.clone())?.formatted();
    let exchange = async {
        connection.command(MailFrom::new(Some(from), Vec::new())).await?;
        connection.command(Rcpt::new(to, Vec::new())).await?;
        connection.command(Data).await?;
        connection.message(&mail).await
    };
    match exchange.await {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.status().is_none() => Err(failure(&error)),
        Err(error) => {
            // The next recipient begins with a new transaction. If the server no longer answers, that fails.
            let _ = connection.command(Rset).await;
            Ok(Err(failure(&error)))
        }
    }
}

/// Describes an error of a session: an answer 5yz refuses, everything else may pass.
fn failure(error: &Error) -> Failure {
    let mut why = error.to_string();
    if let Some(source) = std::error::Error::source(error)
        && !why.contains(&source.to_string())
    {
        why = format!("{why}: {source}");
    }
    let why = line(&why, MOST_QUOTED);
    if error.is_permanent() {
        Failure::refused(Reason::Rejected, why)
    } else if error.is_client() {
        // Such as a server without a login, or without one of a known kind.
        settings_invalid(why)
    } else {
        Failure::retry(why)
    }
}

fn mailbox(field: &str, text: &str) -> Result<Mailbox, Failure> {
    text.parse().map_err(|_| settings_invalid(format!("'{field}': '{}' is not a mail address", line(text, SUBJECT))))
}

fn sender_domain(settings: &Smtp) -> Result<String, Failure> {
    Ok(mailbox("from", &settings.from)?.email.domain().to_owned())
}

/// Returns a message id of this domain, always the same one for the same parts.
fn message_id(domain: &str, parts: &[&str]) -> String {
    let digest = parts.iter().fold(Sha256::new(), |digest, part| digest.chain_update(part.len().to_be_bytes()).chain_update(part));
    let number = digest.finalize().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
    format!("<{number:032x}@{domain}>")
}

pub(crate) fn mail(settings: &Smtp, sending: &Sending<'_>, recipient: &Address, to: Mailaddress) -> Result<Mail, Failure> {
    let (message, text) = (sending.message, sending.text);
    let domain = sender_domain(settings)?;
    // The first message of a thread is unknown here: the one that a recipient gets first may be a reminder. So all answer to one that nobody has.
    let thread = message_id(&domain, &[&message.thread.key]);
    let name = recipient.name.as_deref().map(|name| line(name, SUBJECT));
    let mut builder = Mail::builder()
        .message_id(Some(message_id(&domain, &[&message.id, &recipient.email])))
        .in_reply_to(thread.clone())
        .references(thread)
        .date(SystemTime::from(message.time))
        .from(mailbox("from", &settings.from)?)
        .to(Mailbox::new(name, to))
        .subject(line(&text.title, SUBJECT));
    if let Some(reply_to) = &settings.reply_to {
        builder = builder.reply_to(mailbox("replyTo", reply_to)?);
    }
    // No server answers with a notice of absence, RFC 3834.
    for (name, value) in [("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")] {
        if let Ok(name) = HeaderName::new_from_ascii(name.to_owned()) {
            builder = builder.raw_header(HeaderValue::new(name, value.to_owned()));
        }
    }
    builder
        .multipart(MultiPart::alternative_plain_html(plain_body(text), html_body(text)))
        .map_err(|error| Failure::refused(Reason::SettingsInvalid, format!("the mail cannot be written: {error}")))
}

fn plain_body(text: &Text) -> String {
    let mut parts = vec![text.title.clone(), text.plain()];
    parts.extend(text.command.as_ref().map(|command| format!("{COMMAND}:\n\n    {command}")));
    parts.extend(text.console_url.as_ref().map(|url| format!("{OPEN}: {url}")));
    // The separator of a signature.
    parts.push(format!("-- \n{FOOTER}"));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

pub(crate) fn html_body(text: &Text) -> String {
    let heading = format!("<h2 style=\"font-size:18px\">{}</h2>", html(&text.title));
    let lines = text.lines.iter().fold(String::new(), |lines, line| lines + "<p>" + &html(line) + "</p>");
    let row = |(label, value): &(String, String)| {
        let (label, value) = (html(label), html(value));
        format!(
            r#"<tr><th style="text-align:left;vertical-align:top;padding:2px 16px 2px 0">{label}</th><td style="padding:2px 0">{value}</td></tr>"#
        )
    };
    let facts: String = text.facts.iter().map(row).collect();
    let command = text.command.as_ref().map_or_else(String::new, |command| {
        format!(r#"<p>{COMMAND}:</p><pre style="background:#f2f2f2;padding:8px;white-space:pre-wrap">{}</pre>"#, html(command))
    });
    let console = text.console_url.as_ref().map_or_else(String::new, |url| format!(r#"<p><a href="{}">{OPEN}</a></p>"#, html(url)));
    format!(
        r#"<!doctype html><html><body style="font-family:sans-serif;font-size:14px">{heading}{lines}<table style="border-collapse:collapse">{facts}</table>{command}{console}<p style="color:#666">{FOOTER}</p></body></html>"#
    )
}
