//! The task of the election.

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::election::{Elector, LeaseRecord};
use kube_io::watches::StoreRestored;

/// Runs the elector in a task of its own until `stop`, so that no other work of this process delays a renewal.
///
/// When the election ends for any reason, this cancels `stop`, because a replica must not continue without it. The Lease is given up only
/// after that.
pub async fn run<R: LeaseRecord>(
    elector: Elector<R>,
    client: Client,
    namespace: String,
    stop: CancellationToken,
) -> Result<(), StoreRestored> {
    let task = tokio::spawn({
        let stop = stop.clone();
        async move {
            // A child token: the elector can wait for the end of the process but cannot cause it.
            let outcome = elector.run(&client, &namespace, &stop.child_token()).await;
            stop.cancel();
            elector.release(&client, &namespace).await;
            outcome
        }
    });
    let outcome = task.await;
    // The task panicked.
    if !stop.is_cancelled() {
        error!("the election ended unexpectedly: exiting so that the pod restarts");
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

    /// A fake API server that stores only one Lease and counts its renewals.
    #[derive(Clone, Default)]
    struct Server {
        stored: Arc<Mutex<Option<Value>>>,
        renewals: Arc<AtomicUsize>,
    }

    impl Server {
        /// Returns a client of this server. `version` maps a number of renewals to a version.
        fn client(&self, version: fn(usize) -> usize) -> Client {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let written: Option<Value> = body.collect_bytes().await.ok().and_then(|body| serde_json::from_slice(&body).ok());
                    let mut stored = server.stored.lock().unwrap();
                    if let Some(mut lease) = written.filter(|_| parts.method != Method::GET) {
                        let renewals = server.renewals.fetch_add(usize::from(parts.method == Method::PUT), Ordering::Relaxed);
                        lease["metadata"]["resourceVersion"] = json!(version(renewals).to_string());
                        *stored = Some(lease);
                    }
                    let missing = json!({"kind": "Status", "status": "Failure", "message": "none", "reason": "NotFound", "code": 404});
                    let code = if stored.is_some() { 200 } else { 404 };
                    let answer = stored.clone().unwrap_or(missing).to_string();
                    Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(answer.into_bytes())).unwrap())
                }
            });
            Client::new(service, "default")
        }
    }

    /// A record that is always empty, or panics when it is saved.
    struct Record {
        panics: bool,
    }

    impl LeaseRecord for Record {
        const ANNOTATION: &'static str = "record";

        fn load(&self, _: Option<&str>) {}

        fn save(&self) -> Option<String> {
            assert!(!self.panics, "a panic of the elector");
            Some(String::new())
        }

        fn for_new_lease(&self, _: Option<&str>) -> String {
            String::new()
        }

        async fn changed(&self) {
            std::future::pending::<()>().await;
        }

        fn held_by_another(&self) {}

        fn release(&self) {}
    }

    fn elector(panics: bool) -> (Elector<Record>, crate::election::Leadership, tokio::sync::watch::Receiver<bool>) {
        Elector::new("me".to_owned(), "lease".to_owned(), Arc::new(Record { panics }))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn f05_a_replica_whose_work_never_rests_renews_its_lease() {
        let server = Server::default();
        let (elector, leadership, _leading) = elector(false);
        let (stop, renewals) = (CancellationToken::new(), server.renewals.clone());
        let busy = async {
            let since = Instant::now();
            while renewals.load(Ordering::Relaxed) < 2 && since.elapsed() < Duration::from_secs(30) {
                std::thread::yield_now();
            }
            let held = leadership.held();
            stop.cancel();
            held
        };
        let client = server.client(|renewals| renewals + 10);
        let (outcome, held) = tokio::join!(run(elector, client, "default".to_owned(), stop.clone()), busy);
        assert_eq!(outcome, Ok(()));
        assert!(held, "it was renewed {} times", renewals.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn t36_a_restored_store_stops_the_process_and_the_lease_is_given_up() {
        let (server, stop) = (Server::default(), CancellationToken::new());
        let (elector, leadership, leading) = elector(false);
        let client = server.client(|renewals| 100 - renewals);
        assert_eq!(run(elector, client, "default".to_owned(), stop.clone()).await, Err(StoreRestored));
        assert!(stop.is_cancelled() && !leadership.held() && !*leading.borrow());
        let stored = server.stored.lock().unwrap().clone().unwrap();
        assert!(stored["spec"]["holderIdentity"].is_null(), "{stored}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_the_elector_stops_the_process() {
        let (server, stop) = (Server::default(), CancellationToken::new());
        let (elector, ..) = elector(true);
        let outcome = run(elector, server.client(|renewals| renewals + 10), "default".to_owned(), stop.clone()).await;
        assert!(outcome == Ok(()) && stop.is_cancelled());
    }
}
