//! The HTTP client of the sinks: no redirects, no proxies of the environment, limits for time and size, and the egress guard.

use std::{error::Error as _, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore};

use super::{
    guard::{Guard, Unresolved},
    message::{Failure, Reason},
    secrets::Secrets,
};

/// The longest time to connect, with TLS.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// The longest time for a whole call.
const TOTAL: Duration = Duration::from_secs(15);
/// What is read of an answer in bytes.
const MOST_READ: usize = 64 * 1024;
/// What is quoted of an answer in characters.
const MOST_QUOTED: usize = 200;
/// The longest delay of a `Retry-After` that is respected.
const LONGEST_DELAY: Duration = Duration::from_hours(24);

/// The client, with its own connections.
pub(crate) struct Http {
    guard: Arc<Guard>,
    client: Client,
}

/// An answer of a server.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
    is_cut: bool,
}

/// The resolver of the client: it returns the addresses that the client connects to, so nothing is resolved a second time.
struct Guarded(Arc<Guard>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            // The client replaces the port 0.
            let addresses = guard.resolve(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl Http {
    /// Creates a client that trusts `roots`.
    pub(crate) fn new(guard: Arc<Guard>, roots: RootCertStore) -> Result<Self, Failure> {
        let failed = |error: String| Failure::refused(Reason::SettingsInvalid, format!("the HTTP client cannot be created: {error}"));
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(Guarded(Arc::clone(&guard))))
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .user_agent(concat!("jit-rbac/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { guard, client })
    }

    /// Checks an address as [`Http::post`] does, without a connection.
    pub(crate) fn allowed(&self, url: &str) -> Result<Url, Failure> {
        self.guard.url(url)
    }

    /// Sends `body` and returns the answer, whatever its status is.
    pub(crate) async fn post(&self, url: &str, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, Failure> {
        let url = self.guard.url(url)?;
        let sent = self.client.post(url).headers(headers).body(body).send().await;
        let mut response = sent.map_err(|error| failure(&error))?;
        let mut answer = Answer {
            status: response.status(),
            retry_after: response.headers().get(header::RETRY_AFTER).and_then(|value| delay(value, Timestamp::now())),
            body: Vec::new(),
            is_cut: false,
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            let left = MOST_READ.saturating_sub(answer.body.len());
            answer.body.extend(chunk.iter().take(left));
            if chunk.len() > left {
                // The connection is closed together with `response`.
                answer.is_cut = true;
                break;
            }
        }
        Ok(answer)
    }
}

/// Describes an error of the client, without the address: it may be secret.
fn failure(error: &reqwest::Error) -> Failure {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(unresolved) = cause.downcast_ref::<Unresolved>() {
            return unresolved.into();
        }
        causes.push(cause.to_string());
        source = cause.source();
    }
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the connection failed"
    };
    // The last cause is the specific one.
    Failure::retry(causes.last().map_or_else(|| what.to_owned(), |cause| format!("{what}: {}", api::text::printable(cause))))
}

/// Reads a `Retry-After`: seconds, or a date of HTTP.
fn delay(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => LONGEST_DELAY,
        Err(_) => {
            let at = DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(delay.min(LONGEST_DELAY))
}

impl Answer {
    /// Returns the answer if its status is 2xx, and otherwise the failure that the status means.
    pub(crate) fn accepted(self, secrets: &Secrets) -> Result<Self, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        let quoted = self.quoted(secrets);
        let why = if quoted.is_empty() { format!("HTTP status {}", self.status) } else { format!("HTTP status {}: {quoted}", self.status) };
        let is_transient = self.status.is_server_error()
            || matches!(self.status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
        Err(match self.status {
            _ if is_transient => Failure::Retry { after: self.retry_after, why, left: Vec::new() },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::refused(Reason::Unauthorized, why),
            status if status.is_redirection() => {
                Failure::refused(Reason::Rejected, format!("HTTP status {status}: redirects are not followed"))
            }
            _ => Failure::refused(Reason::Rejected, why),
        })
    }

    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Result<serde_json::Value, Failure> {
        let invalid = |why: &str| Failure::refused(Reason::AnswerInvalid, format!("the answer {why}"));
        if self.is_cut {
            return Err(invalid("is longer than 64 KiB"));
        }
        serde_json::from_slice(&self.body).map_err(|_| invalid("is not JSON"))
    }

    /// The delay that the server asked for.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    fn quoted(&self, secrets: &Secrets) -> String {
        let text = secrets.masked(&String::from_utf8_lossy(&self.body));
        api::text::printable(text.trim()).chars().take(MOST_QUOTED).collect()
    }
}

/// Returns the headers of a call with a JSON body, and the credentials of the Secret: `token`, or `username` and `password`.
pub(crate) fn headers(content_type: &'static str, secrets: &Secrets) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    let credentials = match (secrets.get("token"), secrets.get("username")) {
        (Some(token), _) => Some(("token", format!("Bearer {token}"))),
        (None, Some(user)) => {
            let pair = format!("{user}:{}", secrets.required("password")?);
            Some(("password", format!("Basic {}", BASE64_STANDARD.encode(pair))))
        }
        (None, None) => None,
    };
    if let Some((key, value)) = credentials {
        let mut value =
            HeaderValue::try_from(value).map_err(|_| super::secrets::invalid(key, "has characters that a header cannot have"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}
