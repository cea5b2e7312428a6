//! The webhook's server: two paths over TLS. Handlers only parse the review, limit the time and log denials.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Extension, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::StreamExt;
use kube::core::admission::Operation;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, ResolvesServerCert},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::timeout_at,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    answer::{Answer, Asked, UNEXAMINED, Unopened, Unread},
    class::Class,
    client_authority::ClientAuthority,
    error::AdmissionError,
    fair::{Fair, Permits},
    handler::{AdmissionHandler, Phase, UNKNOWN, kind_of, kinds},
};
use crate::observe::metrics::{AdmissionMetrics, Review};
use api::text::printable;
use process::http_server::{HttpServer, Peer, Stay};

/// Size limit of a body: the largest that the API server itself accepts.
const MAX_BODY: usize = 3 << 20;
/// Size limit of a short body, of which any number is read concurrently. Few reviews are longer, and only some of those are read at a time.
const SHORT_BODY: usize = 64 << 10;
/// Most long bodies that are read concurrently, in total and per address. Short bodies never wait for them, and a client that sends long
/// bodies slowly does not block others.
const LONG_BODIES: u32 = 8;
const LONG_BODIES_OF_ONE: u32 = 4;
/// Time limit of a review, below the API server's time-out of five seconds.
const EXAMINATION: Duration = Duration::from_secs(4);
/// Time limit of an HTTP request, including the reading of its body.
const STAY: Duration = Duration::from_secs(6);
/// Time limit for requests in progress at shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// Most connections at a time. An API server keeps up to 25 of them open for its next reviews.
const CONNECTIONS: usize = 256;
/// Time limit from the opening of a connection to the end of its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Idle time-out of a connection. API servers close theirs after 90 seconds. If the webhook closed it before, a review in transit would be
/// lost, and the write would be denied.
const IDLE: Duration = Duration::from_secs(100);

/// The handler and its metrics.
#[derive(Clone)]
struct Counter {
    handler: Arc<AdmissionHandler>,
    metrics: AdmissionMetrics,
    long_bodies: Arc<Fair>,
}

/// Returns the routes of both webhooks.
pub fn router(handler: Arc<AdmissionHandler>, metrics: AdmissionMetrics) -> Router {
    for kind in kinds() {
        metrics.may_refuse(kind, UNEXAMINED);
    }
    Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .layer(middleware::from_fn(bounded))
        .with_state(Counter { handler, metrics, long_bodies: Arc::new(Fair::new(LONG_BODIES, LONG_BODIES_OF_ONE)) })
}

/// Serves until `shutdown`, then completes the requests in progress.
pub async fn serve(
    listener: TcpListener,
    certificates: Arc<dyn ResolvesServerCert>,
    clients: Option<Arc<ClientAuthority>>,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), AdmissionError> {
    let server = server(certificates, clients, router)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(AdmissionError::Serve)?;
    server.serve(listener, shutdown, GRACE).await;
    Ok(())
}

fn server(
    certificates: Arc<dyn ResolvesServerCert>,
    clients: Option<Arc<ClientAuthority>>,
    router: Router,
) -> Result<HttpServer, AdmissionError> {
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    let mut tls = match clients {
        None => tls.with_no_client_auth().with_cert_resolver(certificates),
        Some(clients) => {
            let mut tls = tls.with_client_cert_verifier(clients).with_cert_resolver(certificates);
            // A resumed session would be accepted without a look at the client's certificate, also after the CA has changed.
            tls.session_storage = Arc::new(NoServerSessionStorage {});
            tls.send_tls13_tickets = 0;
            tls
        }
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stay = Stay::Kept { handshake: HANDSHAKE, idle: IDLE };
    Ok(HttpServer { connections: CONNECTIONS, stay, tls: Some(TlsAcceptor::from(Arc::new(tls))), router })
}

async fn bounded(request: Request, next: Next) -> Response {
    let Ok(response) = tokio::time::timeout(STAY, next.run(request)).await else {
        return (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response();
    };
    response
}

async fn mutate(State(counter): State<Counter>, peer: Option<Extension<Peer>>, body: Body) -> Response {
    answer(&counter, Phase::Mutate, peer.map(|Extension(peer)| peer), body).await
}

async fn validate(State(counter): State<Counter>, peer: Option<Extension<Peer>>, body: Body) -> Response {
    answer(&counter, Phase::Validate, peer.map(|Extension(peer)| peer), body).await
}

async fn answer(counter: &Counter, phase: Phase, peer: Option<Peer>, body: Body) -> Response {
    let (body, place) = match whole(body, peer, &counter.long_bodies).await {
        Ok(whole) => whole,
        Err(refused) => return refused.into_response(),
    };
    let start = Instant::now();
    let end = tokio::time::Instant::now() + EXAMINATION;
    let count = |kind, operation, answer: &Answer| {
        let code = answer.code();
        let review = Review { webhook: phase.as_str(), kind, operation, allowed: code.is_none() };
        counter.metrics.answered(&review, code, start.elapsed());
    };
    let question = question(&body, peer, &counter.handler, end).await;
    match question {
        Ok((asked, _permits)) => {
            // Releases the body, which is no longer needed once it is parsed.
            drop((body, place));
            let examined = timeout_at(end, counter.handler.examine(phase, &asked)).await;
            let answer = examined.unwrap_or_else(|_| late());
            log(&asked, peer, &answer);
            count(kind_of(&asked), word(&asked.operation), &answer);
            Json(answer.into_review(&asked.uid)).into_response()
        }
        Err(Unread::Question { uid, answer }) => {
            count(UNKNOWN, UNKNOWN, &answer);
            Json(answer.into_review(&uid)).into_response()
        }
        Err(Unread::NoReview(why)) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

/// The response to a body that is not accepted.
type Said = (StatusCode, String);

/// Reads a whole body. Returns it with the permit of a long one.
async fn whole(body: Body, peer: Option<Peer>, long_bodies: &Fair) -> Result<(Vec<u8>, Option<Permits<'_>>), Said> {
    let mut whole: Vec<u8> = Vec::new();
    let mut place = None;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| {
            let why = printable(&error.to_string());
            (StatusCode::BAD_REQUEST, format!("the body cannot be read: {why}\n"))
        })?;
        let length = whole.len() + part.len();
        if length > MAX_BODY {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {MAX_BODY} bytes, the limit\n")));
        }
        if length > SHORT_BODY && place.is_none() {
            place = Some(long_bodies.acquire(peer, 1).await);
        }
        whole.extend_from_slice(&part);
    }
    Ok((whole, place))
}

/// Parses the review of a body once it has its permits, which must be acquired before `end`.
async fn question<'a>(
    body: &[u8],
    peer: Option<Peer>,
    handler: &'a AdmissionHandler,
    end: tokio::time::Instant,
) -> Result<(Asked, Permits<'a>), Unread> {
    let unopened = beside_others(body, || Unopened::new(body))?;
    let class = unopened.class();
    let Ok(permits) = timeout_at(end, handler.permits(class, peer, unopened.permits())).await else {
        return Err(unopened.refused(late()));
    };
    let asked = beside_others(body, || unopened.question())?;
    if Class::of(&asked.resource.resource) != class {
        let answer = Box::new(Answer::Malformed("the review names two resources".to_owned()));
        return Err(Unread::Question { uid: asked.uid, answer });
    }
    Ok((asked, permits))
}

/// Runs work on a body. Work on a long body takes a while, and as many of them as there are processors would block all other tasks. The
/// runtime therefore moves the other tasks to another thread.
fn beside_others<T>(body: &[u8], work: impl FnOnce() -> T) -> T {
    let may_block = Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if body.len() > SHORT_BODY && may_block { tokio::task::block_in_place(work) } else { work() }
}

fn late() -> Answer {
    Answer::Unexamined(format!("the review took longer than {EXAMINATION:?}; try again"))
}

const fn word(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// Logs one line for each denial. Text of users is a field, printable and quoted, so that it cannot pass for another line or field (T13).
/// The webhook does not authenticate callers, so the user is the one that the caller claims. The API server's audit log has the
/// authenticated user.
fn log(asked: &Asked, peer: Option<Peer>, answer: &Answer) {
    let Some((reason, message)) = answer.refusal() else { return };
    let generated = asked.object.as_ref().and_then(|object| object.metadata.generate_name.clone());
    let name = if asked.name.is_empty() { generated.unwrap_or_default() } else { asked.name.clone() };
    let namespace = asked.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    info!(
        claimed_user = printable(asked.user_info.username.as_deref().unwrap_or_default()),
        kind = printable(&asked.kind.kind),
        object = printable(&namespace.map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"))),
        reason = reason.as_str(),
        why = message.as_str(),
        dry_run = asked.dry_run,
        peer = peer.map(|Peer(address)| address.to_string()),
        "refused"
    );
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
