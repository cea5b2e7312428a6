//! The connection of a process to its API server: by a kubeconfig, or with the account of its pod.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use kube::{Client, Config};
use tower::{Service, layer::layer_fn};
use tracing::{info, warn};

use crate::{
    client::{
        self, Stdin,
        kubeconfig::{self, Target, Wanted},
    },
    clock::Clock,
    errors::one_line,
    kubernetes,
    observed::{Observe, Observing},
};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Who retries when the API server is overloaded or unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskAgain {
    /// The caller, with its own backoff: the queues know which work is urgent. Retries of the client would be silent and would back off up
    /// to minutes.
    Caller,
    /// The client, within the time limit of the call: an admission review is answered only once.
    Client,
}

/// Makes one attempt to reach the API server as user agent `agent`. Returns a client that has received an answer, or the error on one line.
/// `clock` records the API server's time from every answer, and `observe` is called after each call.
///
/// # Errors
///
/// No kubeconfig can be used, or the API server did not answer.
pub async fn attempt(agent: &str, again: AskAgain, clock: &Clock, observe: &Observe) -> Result<Client, String> {
    let mut target = target()?;
    let agent = HeaderValue::from_str(agent).map_err(|error| error.to_string())?;
    target.config.headers.push((http::header::USER_AGENT, agent));
    target.config.default_retry = again == AskAgain::Client;
    let server = target.config.cluster_url.to_string();
    // A credential plugin may need time.
    let built = tokio::task::spawn_blocking(move || client::builder(target, Stdin::Log)).await;
    let built = built.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let listening = layer_fn(|inner| Listening { inner, clock: clock.clone() });
    let observing = layer_fn(|inner| Observing { inner, observe: observe.clone() });
    let client = built.with_layer(&listening).with_layer(&observing).build();
    match tokio::time::timeout(ANSWER_WITHIN, client.apiserver_version()).await {
        Ok(Ok(version)) => {
            info!(server, version = version.git_version, "the API server answers");
            if let Some(why) = kubernetes::doubt(&version) {
                let tried = format!("1.{} to 1.{}", kubernetes::OLDEST, kubernetes::NEWEST);
                warn!(why, version = version.git_version, tried, "not tested with this version of Kubernetes");
            }
            Ok(client)
        }
        Ok(Err(error @ kube::Error::Service(_))) => Err(one_line(&error)),
        Ok(Err(error)) => Err(format!("{server}: {}", one_line(&error))),
        Err(_) => Err(format!("{server}: no answer within {ANSWER_WITHIN:?}")),
    }
}

/// Returns the kubeconfig's current context if there is a kubeconfig, as outside of a cluster; else the pod's own account. Within a cluster
/// no proxy is used: the proxy variables of a pod are meant for destinations outside of the cluster.
fn target() -> Result<Target, String> {
    if let Some(found) = kubeconfig::files()? {
        return kubeconfig::resolve(&found, Wanted::default());
    }
    match Config::incluster() {
        Ok(config) => Ok(Target { config, exec: None }),
        // Outside of a cluster the error about the missing in-cluster configuration is of no use.
        Err(error) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Err(one_line(&error)),
        Err(_) => {
            let looked: Vec<String> = kubeconfig::paths().iter().map(|path| path.display().to_string()).collect();
            Err(format!("there is no kubeconfig ({}), and this is no pod", looked.join(", ")))
        }
    }
}

/// Layer that passes the API server's time to a clock.
#[derive(Clone)]
struct Listening<S> {
    inner: S,
    clock: Clock,
}

impl<S, B, A> Service<Request<B>> for Listening<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clock = self.clock.clone();
        let before = clock.own();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(servers) = kubernetes::time_of_answer(answer.headers()) {
                clock.heard(servers, before, clock.own());
            }
            Ok(answer)
        })
    }
}
