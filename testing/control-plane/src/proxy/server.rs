use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::call::{Names, identity};
use super::rules::{Fault, Refusal, Standing};
use super::streams::{Disturbance, Stream};
use super::{Call, InForce};
use crate::{Error, Result};

/// The connection is closed without a response: on purpose, or because the API server is down.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
pub(super) struct Gone;

type Body = UnsyncBoxBody<Bytes, Gone>;
type Upstream = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The state of the proxy and its rules.
#[derive(Debug)]
pub(super) struct ProxyHandler {
    server: String,
    upstream: Upstream,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Arc<Standing>>,
    disturbances: Vec<Arc<Disturbance>>,
    cuts: HashMap<String, watch::Sender<u64>>,
    calls: Vec<Call>,
    names: Names,
}

impl ProxyHandler {
    pub(super) fn new(config: &kube::Config) -> Result<Self> {
        let upstream = Client::builder(hyper_util::rt::TokioExecutor::new()).build(config.rustls_https_connector()?);
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        Ok(Self { server, upstream, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self, rule: Arc<Standing>) -> InForce {
        let mut inner = self.lock();
        inner.rules.retain(|standing| !standing.is_over());
        inner.rules.push(rule.clone());
        InForce { rule }
    }

    pub(super) fn disturb(&self, disturbance: Arc<Disturbance>) {
        let mut inner = self.lock();
        inner.disturbances.retain(|standing| !*standing.over.borrow());
        inner.disturbances.push(disturbance);
    }

    pub(super) fn disturbance(&self, caller: &str, resource: &str) -> Option<Arc<Disturbance>> {
        let of = |standing: &&Arc<Disturbance>| {
            !*standing.over.borrow() && standing.resource == resource && standing.caller.as_ref().is_none_or(|wanted| wanted == caller)
        };
        self.lock().disturbances.iter().find(of).cloned()
    }

    pub(super) fn cut(&self, resource: &str) {
        self.lock().cuts.entry(resource.to_owned()).or_default().send_modify(|count| *count += 1);
    }

    pub(super) fn cuts(&self, resource: &str) -> watch::Receiver<u64> {
        self.lock().cuts.entry(resource.to_owned()).or_default().subscribe()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Records a call, and returns the rule that it meets.
    fn note(&self, call: &Call) -> Option<(Arc<Standing>, Fault)> {
        let mut inner = self.lock();
        inner.calls.push(call.clone());
        inner.rules.iter().find_map(|rule| Some((rule.clone(), rule.meets(call)?)))
    }

    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Gone)?.to_bytes();
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        // The first segment is the caller's name.
        let (caller, rest) = target.trim_start_matches('/').split_once('/').ok_or(Gone)?;
        let call = Call::read(caller, &parts, format!("/{rest}"), body, &self.lock().names);
        let Some((rule, fault)) = self.note(&call) else { return self.forward(&parts, &call).await };
        match fault {
            Fault::Delay(pause) => {
                tokio::time::sleep(pause).await;
                self.forward(&parts, &call).await
            }
            Fault::Hold => {
                rule.released().await;
                self.forward(&parts, &call).await
            }
            Fault::HoldAnswer => {
                let answer = self.forward(&parts, &call).await;
                rule.released().await;
                answer
            }
            Fault::Lose => Err(Gone),
            Fault::LoseAnswer => {
                self.forward(&parts, &call).await?;
                Err(Gone)
            }
            Fault::Twice => {
                self.forward(&parts, &call).await?;
                self.forward(&parts, &call).await
            }
            Fault::Answer(refusal) => answer(refusal),
        }
    }

    /// Forwards a call to the API server. All responses but watches are read completely before any of it is returned.
    async fn forward(self: &Arc<Self>, parts: &http::request::Parts, call: &Call) -> Result<Response<Body>, Gone> {
        let mut request = Request::new(Full::new(call.body()));
        *request.method_mut() = parts.method.clone();
        *request.headers_mut() = parts.headers.clone();
        request.headers_mut().remove(http::header::HOST);
        *request.uri_mut() = format!("{}{}", self.server, call.target).parse::<Uri>().map_err(|_| Gone)?;
        let (head, body) = self.upstream.request(request).await.map_err(|_| Gone)?.into_parts();
        if call.verb == "watch" && head.status == StatusCode::OK {
            let (out, events) = mpsc::unbounded_channel();
            let stream = Stream { handler: self.clone(), caller: call.caller.clone(), resource: call.resource.clone(), out };
            tokio::spawn(stream.run(body));
            let events = futures::stream::unfold(events, async |mut events| events.recv().await.map(|event| (event, events)));
            return Ok(Response::from_parts(head, StreamBody::new(events.map(|event| Ok(Frame::data(event)))).boxed_unsync()));
        }
        let body = body.collect().await.map_err(|_| Gone)?.to_bytes();
        if call.verb == "get"
            && let Some((uid, name)) = identity(&body)
        {
            self.lock().names.insert(uid, name);
        }
        Ok(Response::from_parts(head, whole(body)))
    }
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn answer(refusal: Refusal) -> Result<Response<Body>, Gone> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": refusal.code, "reason": refusal.reason, "message": "an answer of a test",
    });
    let mut response = Response::new(whole(Bytes::from(status.to_string())));
    *response.status_mut() = StatusCode::from_u16(refusal.code).map_err(|_| Gone)?;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, handler: Arc<ProxyHandler>) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("the proxy cannot listen")(error);
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        let (tls, handler) = (tls.clone(), handler.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| handler.clone().serve(request));
            // It ends with an error when the proxy or the caller closes the connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
