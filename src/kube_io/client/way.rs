//! Middleware around every call: renews the credential of a plugin, and adds the server's address to errors.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as Task, Poll, ready},
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tower::{BoxError, Service};

use super::{
    address,
    credentials::{Credential, CredentialError, Plugin},
    tls,
};
use crate::errors::{causes, one_line};

/// The server that is called.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) server: Uri,
    pub(super) proxied: bool,
}

/// A call that did not reach the API server, or that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(String);

impl Context {
    fn explained(&self, error: &(dyn Error + 'static)) -> Unreachable {
        let server = address::shown(&self.server);
        let through = if self.proxied { " (through a proxy)" } else { "" };
        let refused = causes(error)
            .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused));
        Unreachable(match tls::of_handshake(error) {
            Some(why) => format!("cannot connect to the server {server}{through}: {why}"),
            None if refused => {
                format!("the connection to the server {server} was refused{through}: is it the right address, and is the server running?")
            }
            None => format!("cannot connect to the server {server}{through}: {}", one_line(error)),
        })
    }
}

/// A bearer token that a credential plugin returned.
#[derive(Clone)]
pub(super) struct Bearer {
    plugin: Arc<Plugin>,
    held: Arc<Mutex<Held>>,
    /// The API server rejected the token.
    refused: Arc<AtomicBool>,
    /// Why the token could not be renewed.
    failed: Arc<Mutex<Option<String>>>,
}

/// Delay after a failure before the plugin runs again.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

struct Held {
    header: HeaderValue,
    expires: Option<Timestamp>,
}

impl Held {
    fn of(token: &str, expires: Option<Timestamp>) -> Result<Self, CredentialError> {
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| CredentialError::Unfit)?;
        header.set_sensitive(true);
        Ok(Self { header, expires })
    }
}

impl Bearer {
    pub(super) fn new(plugin: Plugin, token: &str, expires: Option<Timestamp>) -> Result<Self, CredentialError> {
        let held = Held::of(token, expires)?;
        Ok(Self { plugin: Arc::new(plugin), held: Arc::new(Mutex::new(held)), refused: Arc::default(), failed: Arc::default() })
    }

    /// True where the token must be renewed before the next call.
    fn is_due(&self) -> bool {
        let expires = self.held.lock().expires;
        self.refused.load(Ordering::Relaxed) || expires.is_some_and(|at| at <= Timestamp::now())
    }

    fn renew(&self) -> Renewal {
        let plugin = self.plugin.clone();
        Box::pin(async move {
            let run = tokio::task::spawn_blocking(move || plugin.run()).await;
            run.unwrap_or(Err(CredentialError::Interrupted))
        })
    }

    fn hold(&self, credential: &Credential) -> Result<(), CredentialError> {
        // A token that has already expired is used once, and not renewed in a loop.
        let expires = credential.expires.filter(|at| *at > Timestamp::now());
        let fresh = Held::of(credential.token.as_deref().unwrap_or_default(), expires)?;
        *self.held.lock() = fresh;
        Ok(())
    }

    /// Records the result of a renewal. A failure does not stop the client: it sends the call as before, and the rejection reports the
    /// reason.
    fn renewed(&self, outcome: Result<Credential, CredentialError>) {
        let failed = outcome.and_then(|credential| self.hold(&credential)).err();
        if let Some(error) = &failed {
            tracing::warn!(%error, "cannot renew the credential");
            self.held.lock().expires = Timestamp::now().checked_add(PAUSE).ok();
        }
        *self.failed.lock() = failed.map(|error| error.to_string());
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Records that the API server rejected the token. Returns why it could not be renewed, if that was tried.
    fn not_accepted(&self) -> Option<String> {
        let why = self.failed.lock().clone();
        self.refused.store(why.is_none(), Ordering::Relaxed);
        why
    }

    fn header(&self) -> HeaderValue {
        self.held.lock().header.clone()
    }
}

type Renewal = BoxFuture<'static, Result<Credential, CredentialError>>;

/// The outermost layer of a client.
pub struct Way<S> {
    inner: S,
    bearer: Option<Bearer>,
    renewal: Option<Renewal>,
    context: Arc<Context>,
}

impl<S> Way<S> {
    pub(super) const fn new(inner: S, bearer: Option<Bearer>, context: Arc<Context>) -> Self {
        Self { inner, bearer, renewal: None, context }
    }
}

impl<S, B, A> Service<Request<B>> for Way<S>
where
    S: Service<Request<B>, Response = Response<A>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        if let Some(bearer) = &self.bearer {
            if self.renewal.is_none() && bearer.is_due() {
                self.renewal = Some(bearer.renew());
            }
            if let Some(renewal) = &mut self.renewal {
                let outcome = ready!(renewal.as_mut().poll(task));
                self.renewal = None;
                bearer.renewed(outcome);
            }
        }
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.header());
        }
        let (bearer, context) = (self.bearer.clone(), self.context.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            match answer.await {
                Ok(answer) => {
                    let refused = bearer.filter(|_| answer.status() == StatusCode::UNAUTHORIZED);
                    match refused.and_then(|bearer| bearer.not_accepted()) {
                        Some(why) => Err(Unreachable(format!("the credential is no longer accepted: {why}")).into()),
                        None => Ok(answer),
                    }
                }
                Err(error) => Err(context.explained(error.as_ref()).into()),
            }
        })
    }
}
