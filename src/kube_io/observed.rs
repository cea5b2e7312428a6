//! The calls of a client, as its metrics count them: verb, resource, status and latency.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use tower::Service;

/// The resources that the operator calls. A fixed list bounds the number of series.
const RESOURCES: [&str; 24] = [
    "activationdecisions",
    "apiservices",
    "approvalpolicies",
    "approvalpolicies/status",
    "clusterroles",
    "customresourcedefinitions",
    "events",
    "leases",
    "mutatingwebhookconfigurations",
    "namespaces",
    "roleactivationrequests",
    "roleactivationrequests/status",
    "rolebindings",
    "roleeligibilities",
    "roleeligibilities/status",
    "roles",
    "secrets",
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "subjectaccessreviews",
    "validatingadmissionpolicies",
    "validatingadmissionpolicies/status",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];
/// Every other path, such as `/version`.
const OTHER: &str = "other";

/// One call to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// The verb as RBAC names it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// The plural, with a subresource as in `roleactivationrequests/status`; `other` for all that the operator does not usually call.
    pub resource: &'static str,
    /// The status of the answer; none if there was no answer, or if the caller stopped waiting for one.
    pub status: Option<StatusCode>,
    /// The time until the headers of the answer, or until there was none.
    pub took: Duration,
}

/// The callback after each call.
pub type Observe = Arc<dyn Fn(ApiCall) + Send + Sync>;

/// Returns a callback that does nothing, for a program without metrics.
#[must_use]
pub fn unobserved() -> Observe {
    Arc::new(drop)
}

/// Layer that reports each call to a callback. The retries of the layers below it belong to the call.
#[derive(Clone)]
pub(crate) struct Observing<S> {
    pub(crate) inner: S,
    pub(crate) observe: Observe,
}

impl<S, B, A> Service<Request<B>> for Observing<S>
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
        let mut running = Running::new(request.method(), request.uri(), self.observe.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            running.answered(answer.status());
            Ok(answer)
        })
    }
}

/// A call until its answer. Dropping it reports the call: a caller that stops waiting drops the future, and with it this.
struct Running {
    verb: &'static str,
    resource: &'static str,
    status: Option<StatusCode>,
    start: Instant,
    observe: Observe,
}

impl Running {
    fn new(method: &Method, uri: &Uri, observe: Observe) -> Self {
        let (verb, resource) = target(method, uri);
        Self { verb, resource, status: None, start: Instant::now(), observe }
    }

    /// Records the answer. A method, so that the future holds all of this and not only the field.
    fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        (self.observe)(ApiCall { verb: self.verb, resource: self.resource, status: self.status, took: self.start.elapsed() });
    }
}

/// Returns the verb and the resource of a call.
fn target(method: &Method, uri: &Uri) -> (&'static str, &'static str) {
    let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
    let before = match segments.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return (verb(method, uri, true), OTHER),
    };
    let rest: Vec<&str> = segments.skip(before).collect();
    let rest = match rest.as_slice() {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let (resource, subresource) = match rest {
        [resource] | [resource, _] => (*resource, ""),
        [resource, _, subresource, ..] => (*resource, *subresource),
        [] => ("", ""),
    };
    let is_it = |known: &&'static str| match known.split_once('/') {
        Some((plural, below)) => plural == resource && below == subresource,
        None => *known == resource && subresource.is_empty(),
    };
    (verb(method, uri, rest.len() > 1), RESOURCES.into_iter().find(is_it).unwrap_or(OTHER))
}

fn verb(method: &Method, uri: &Uri, is_named: bool) -> &'static str {
    let watches = || uri.query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
    match (method.as_str(), is_named) {
        ("GET", _) if watches() => "watch",
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use parking_lot::Mutex;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[test]
    fn a_call_has_a_verb_and_one_of_the_known_resources() {
        let of = |method: &str, uri: &str| target(&method.parse().unwrap(), &uri.parse().unwrap());
        for (method, uri, expected) in [
            ("GET", "https://a:6443/version", ("get", OTHER)),
            ("GET", "/api/v1/namespaces?limit=1", ("list", "namespaces")),
            ("GET", "/api/v1/namespaces/payments", ("get", "namespaces")),
            ("GET", "/api/v1/namespaces?&watch=true&timeoutSeconds=9", ("watch", "namespaces")),
            ("GET", "/api/v1/namespaces/payments/secrets/tls", ("get", "secrets")),
            ("GET", "/apis/rbac.authorization.k8s.io/v1/rolebindings", ("list", "rolebindings")),
            ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings?", ("create", "rolebindings")),
            ("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings/b", ("delete", "rolebindings")),
            ("DELETE", "/apis/jitrbac.dev/v1alpha1/namespaces/a/activationdecisions", ("deletecollection", "activationdecisions")),
            (
                "PATCH",
                "/apis/jitrbac.dev/v1alpha1/namespaces/a/roleactivationrequests/b/status",
                ("patch", "roleactivationrequests/status"),
            ),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", ("update", "leases")),
            ("GET", "/api/v1/namespaces/a/pods/of-another", ("get", OTHER)),
            ("GET", "/apis/jitrbac.dev/v1alpha1", ("list", OTHER)),
            ("GET", "/api/v1/namespaces/a/secrets/b/anything", ("get", OTHER)),
            ("TRACE", "/", (OTHER, OTHER)),
        ] {
            assert_eq!(of(method, uri), expected, "{method} {uri}");
        }
    }

    #[tokio::test]
    async fn an_answer_an_error_and_an_abandoned_call_are_each_reported_once() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let observe: Observe = {
            let calls = calls.clone();
            Arc::new(move |call: ApiCall| calls.lock().push((call.verb, call.status.map(|status| status.as_u16()))))
        };
        let request = || Request::get("/api/v1/namespaces").body(()).unwrap();
        let denied = service_fn(|_| ready(Ok::<_, &str>(Response::builder().status(403).body(()).unwrap())));
        Observing { inner: denied, observe: observe.clone() }.oneshot(request()).await.unwrap();
        let lost = service_fn(|_| ready(Err::<Response<()>, _>("lost")));
        Observing { inner: lost, observe: observe.clone() }.oneshot(request()).await.unwrap_err();
        let hangs = service_fn(|_| pending::<Result<Response<()>, &str>>());
        let hanging = Observing { inner: hangs, observe: observe.clone() }.oneshot(request());
        tokio::time::timeout(Duration::from_millis(5), hanging).await.unwrap_err();
        assert_eq!(*calls.lock(), [("list", Some(403)), ("list", None), ("list", None)]);
    }
}
