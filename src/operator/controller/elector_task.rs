//! The task of the election.

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::election::{Elector, LeaseRecord};
use kube_io::watches::PutBack;

/// Runs the elector in a task of its own, so that no other work of this process delays a renewal, until `stop`.
///
/// However the election ends, this cancels `stop`: a replica must not go on without it. Only then the Lease is given up.
pub async fn run<R: LeaseRecord>(elector: Elector<R>, client: Client, namespace: String, stop: CancellationToken) -> Result<(), PutBack> {
    let task = tokio::spawn({
        let stop = stop.clone();
        async move {
            // A child token: the elector can wait for the end of the process and not cause it.
            let outcome = elector.run(&client, &namespace, &stop.child_token()).await;
            stop.cancel();
            elector.release(&client, &namespace).await;
            outcome
        }
    });
    let outcome = task.await;
    // The task panicked.
    if !stop.is_cancelled() {
        error!("the election has ended: this replica ends, to be started anew");
        stop.cancel();
    }
    outcome.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;

    struct NoRecord;

    impl LeaseRecord for NoRecord {
        const ANNOTATION: &'static str = "record";

        fn load(&self, _: Option<&str>) {}

        fn save(&self) -> Option<String> {
            Some(String::new())
        }

        fn for_new_lease(&self, _: Option<&str>) -> String {
            String::new()
        }

        async fn changed(&self) {
            std::future::pending().await
        }

        fn held_by_another(&self) {}

        fn release(&self) {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn f05_a_replica_whose_work_never_rests_renews_its_lease() {
        // An API server that knows nothing but one Lease, and counts how often it was renewed.
        let (stored, renewals) = (Arc::new(Mutex::new(None::<Value>)), Arc::new(AtomicUsize::new(0)));
        let service = {
            let (stored, renewals) = (stored.clone(), renewals.clone());
            tower::service_fn(move |request: Request<Body>| {
                let (stored, renewals) = (stored.clone(), renewals.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let written: Option<Value> = body.collect_bytes().await.ok().and_then(|body| serde_json::from_slice(&body).ok());
                    let mut stored = stored.lock().unwrap();
                    if let Some(mut lease) = written.filter(|_| parts.method != Method::GET) {
                        let writes = renewals.fetch_add(usize::from(parts.method == Method::PUT), Ordering::Relaxed);
                        lease["metadata"]["resourceVersion"] = json!((writes + 10).to_string());
                        *stored = Some(lease);
                    }
                    let missing = json!({"kind": "Status", "status": "Failure", "message": "none", "reason": "NotFound", "code": 404});
                    let code = if stored.is_some() { 200 } else { 404 };
                    let answer = stored.clone().unwrap_or(missing).to_string();
                    Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(answer.into_bytes())).unwrap())
                }
            })
        };
        let client = Client::new(service, "default");
        let (elector, leadership, _leading) = Elector::new("me".to_owned(), "lease".to_owned(), Arc::new(NoRecord));
        let stop = CancellationToken::new();
        let busy = async {
            let since = Instant::now();
            while renewals.load(Ordering::Relaxed) < 2 && since.elapsed() < Duration::from_secs(30) {
                std::thread::yield_now();
            }
            let held = leadership.held();
            stop.cancel();
            held
        };
        let (outcome, held) = tokio::join!(run(elector, client, "default".to_owned(), stop.clone()), busy);
        assert_eq!(outcome, Ok(()));
        assert!(held, "it was renewed {} times", renewals.load(Ordering::Relaxed));
    }
}
