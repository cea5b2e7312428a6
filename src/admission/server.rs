//! The webhook's server: two paths over TLS. Handlers only read the question, bound the time and log refusals.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State, rejection::BytesRejection},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use kube::core::admission::Operation;
use rustls::{ServerConfig, crypto::ring, server::ResolvesServerCert};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    AdmissionError,
    answer::{Answer, Asked, Unread, question},
    desk::{Desk, Phase, UNKNOWN, kind_of},
};
use crate::{
    api::text::printable,
    observe::metrics::{AdmissionMetrics, Review},
};

/// Longest body: what the API server itself takes at most.
const MAX_BODY: usize = 3 << 20;
/// Longest examination, below the five seconds after which the API server no longer listens.
const EXAMINATION: Duration = Duration::from_secs(4);
/// Longest stay of a request, with the reading of its body.
const STAY: Duration = Duration::from_secs(6);
/// How long running requests may take when the process ends.
const GRACE: Duration = Duration::from_secs(5);

/// Who answers, and what is counted of it.
#[derive(Clone)]
struct Counter {
    desk: Arc<Desk>,
    metrics: AdmissionMetrics,
}

/// Both webhooks.
pub fn router(desk: Arc<Desk>, metrics: AdmissionMetrics) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(bounded))
        .with_state(Counter { desk, metrics })
}

/// Serves until `shutdown`; then what runs is finished.
pub async fn serve(
    listener: TcpListener,
    certificates: Arc<dyn ResolvesServerCert>,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), AdmissionError> {
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    let mut tls = tls.with_no_client_auth().with_cert_resolver(certificates);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let handle = Handle::new();
    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(tls))).map_err(AdmissionError::Serve)?;
    let server = server.handle(handle.clone()).serve(router.into_make_service());
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => ended,
        () = shutdown.cancelled() => {
            handle.graceful_shutdown(Some(GRACE));
            server.await
        }
    }
    .map_err(AdmissionError::Serve)
}

async fn bounded(request: Request, next: Next) -> Response {
    let Ok(response) = tokio::time::timeout(STAY, next.run(request)).await else {
        return (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response();
    };
    response
}

async fn mutate(State(counter): State<Counter>, body: Result<Bytes, BytesRejection>) -> Response {
    answer(&counter, Phase::Mutate, body).await
}

async fn validate(State(counter): State<Counter>, body: Result<Bytes, BytesRejection>) -> Response {
    answer(&counter, Phase::Validate, body).await
}

async fn answer(counter: &Counter, phase: Phase, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return rejection.into_response(),
    };
    let start = Instant::now();
    let count = |kind, operation, answer: &Answer| {
        let code = answer.code();
        let review = Review { webhook: phase.as_str(), kind, operation, allowed: code.is_none() };
        counter.metrics.answered(&review, code, start.elapsed());
    };
    match question(&body) {
        Ok(asked) => {
            let examined = tokio::time::timeout(EXAMINATION, counter.desk.examine(phase, &asked)).await;
            let answer =
                examined.unwrap_or_else(|_| Answer::Unexamined(format!("the examination took longer than {EXAMINATION:?}; try again")));
            log(&asked, &answer);
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

const fn word(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// One line for each refusal. What people wrote is a field, printable and quoted: it cannot pass for a line or a field of ours (T13).
fn log(asked: &Asked, answer: &Answer) {
    let Some((reason, message)) = answer.refusal() else { return };
    let generated = asked.object.as_ref().and_then(|object| object.metadata.generate_name.clone());
    let name = if asked.name.is_empty() { generated.unwrap_or_default() } else { asked.name.clone() };
    let namespace = asked.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    info!(
        user = printable(asked.user_info.username.as_deref().unwrap_or_default()),
        kind = printable(&asked.kind.kind),
        object = printable(&namespace.map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"))),
        reason = reason.as_str(),
        why = message.as_str(),
        dry_run = asked.dry_run,
        "refused"
    );
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
