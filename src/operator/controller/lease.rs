//! The Lease that says which replica grants. Revocation never asks for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::guards::Guards;
use api::names::GUARDS;
use kube_io::{
    call::{ReadError, WriteError, read, write},
    watches::PutBack,
};

/// How long a holder holds it without a sign of life.
const HELD: Duration = Duration::from_secs(6);
/// How often the holder gives that sign.
const RENEWED: Duration = Duration::from_secs(2);
/// How often the others look.
const LOOKED_AT: Duration = Duration::from_secs(1);
/// How long the holder itself believes that it holds it: less than the others do.
const BELIEVED: Duration = Duration::from_secs(5);

/// Whether this replica may grant. Asked at each grant, with the monotonic clock: a holder that could not renew stops by itself.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: watch::Receiver<Option<Instant>>,
    terms: Arc<AtomicU64>,
}

impl Leadership {
    /// True while this replica holds the Lease for certain.
    #[must_use]
    pub fn held(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// The number of this replica's term, while it holds the Lease for certain: another one whenever somebody else could have held it
    /// in between.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        self.held().then(|| self.terms.load(Ordering::Acquire))
    }
}

/// The other end of a [`Leadership`], and a plain flag for those who only need a hint.
pub struct Elector {
    identity: String,
    name: String,
    guards: Arc<Guards>,
    until: watch::Sender<Option<Instant>>,
    leading: watch::Sender<bool>,
    terms: Arc<AtomicU64>,
}

/// What this replica saw of somebody else's Lease, and since when it has not changed.
#[derive(Debug, Default)]
struct Seen {
    version: Option<String>,
    since: Option<Instant>,
    highest: u64,
    /// What it said about the guards when it was last read.
    record: String,
    /// It was renewed while this replica looked on, so its holder lives.
    renewed: bool,
}

impl Seen {
    fn read(&mut self, lease: &Lease) {
        let annotations = lease.metadata.annotations.as_ref();
        self.record = annotations.and_then(|all| all.get(GUARDS)).cloned().unwrap_or_default();
        if self.version != lease.metadata.resource_version || self.since.is_none() {
            self.renewed |= self.since.is_some();
            (self.version, self.since) = (lease.metadata.resource_version.clone(), Some(Instant::now()));
        }
    }

    /// Takes note of a version as the API server stores it now; false if it is lower than one before. That only happens when somebody
    /// puts an old copy of the store back.
    fn goes_on(&mut self, version: Option<&str>) -> bool {
        // What is no number tells nothing.
        let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) else { return true };
        let goes_on = version >= self.highest;
        self.highest = version;
        goes_on
    }
}

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Write it: nobody else holds it.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// Judges by how long this replica has watched the Lease stand still, never by another machine's clock.
fn judge(holder: Option<&str>, me: &str, still: Duration) -> Step {
    match holder {
        Some(holder) if !holder.is_empty() && holder != me && still < HELD => Step::Wait,
        _ => Step::Take,
    }
}

impl Elector {
    /// An elector for the Lease `name` and the two ways to ask whether it holds it.
    #[must_use]
    pub fn new(identity: String, name: String, guards: Arc<Guards>) -> (Self, Leadership, watch::Receiver<bool>) {
        let (until, seen) = watch::channel(None);
        let (leading, hint) = watch::channel(false);
        let terms = Arc::<AtomicU64>::default();
        (Self { identity, name, guards, until, leading, terms: terms.clone() }, Leadership { until: seen, terms }, hint)
    }

    /// The same in a task of its own, so that no other work of this process delays a renewal. It must not end alone: then it cancels `stop`.
    pub async fn run_in_task(self, client: Client, namespace: String, stop: CancellationToken) -> Result<(), PutBack> {
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { self.run(client, &namespace, stop).await }
        });
        let outcome = task.await;
        if !stop.is_cancelled() {
            error!("the election has ended: this replica ends, to be started anew");
            stop.cancel();
        }
        outcome.unwrap_or(Ok(()))
    }

    /// Takes part until `stop`, then gives the Lease back. Where the store was put back it cancels `stop` itself.
    pub async fn run(self, client: Client, namespace: &str, stop: CancellationToken) -> Result<(), PutBack> {
        let api: Api<Lease> = Api::namespaced(client, namespace);
        let mut seen = Seen::default();
        let mut outcome = Ok(());
        loop {
            let started = Instant::now();
            // A renewal that hangs must not outlive what it renews.
            let round = tokio::time::timeout(BELIEVED, self.round(&api, &mut seen)).await;
            match round {
                Ok(Ok(true)) => self.hold(started),
                Ok(Ok(false)) => {
                    self.lose("somebody else holds the Lease");
                    if seen.renewed {
                        self.guards.follow_holder();
                    }
                }
                Ok(Err(LeaseError::PutBack(put_back))) => {
                    error!(why = %put_back, "cannot go on");
                    outcome = Err(put_back);
                    stop.cancel();
                }
                Ok(Err(error)) => warn!(%error, "cannot renew the Lease"),
                Err(_) => warn!("cannot renew the Lease: no answer"),
            }
            let still_held = self.until.borrow().is_some_and(|until| Instant::now() < until);
            if !still_held {
                self.lose("the Lease could not be renewed in time");
            }
            let pause = if still_held { RENEWED } else { LOOKED_AT };
            tokio::select! {
                () = tokio::time::sleep_until(started + pause) => {}
                // What is known of the guards should outlive this process as soon as it changes.
                () = self.guards.unsaved(), if still_held => {}
                () = stop.cancelled() => break,
            }
        }
        if *self.leading.borrow() {
            self.lose("this replica stops");
            if let Err(error) = self.give_back(&api).await {
                warn!(%error, "cannot give the Lease back");
            }
        }
        outcome
    }

    fn hold(&self, since: Instant) {
        // What came in after the time was over, and before it was renewed, was left alone: to the followers that is a new term.
        let lapsed = self.until.borrow().is_none_or(|until| until <= Instant::now());
        if lapsed {
            self.terms.fetch_add(1, Ordering::AcqRel);
        }
        self.until.send_replace(Some(since + BELIEVED));
        let was_leading = *self.leading.borrow();
        if lapsed || !was_leading {
            self.leading.send_replace(true);
        }
        if !was_leading {
            info!(identity = self.identity, "this replica grants now");
        }
    }

    fn lose(&self, why: &str) {
        self.until.send_replace(None);
        self.guards.release();
        if self.leading.send_replace(false) {
            info!(identity = self.identity, why, "this replica grants no longer");
        }
    }

    /// One look at the Lease and, where it is free or ours, one write that fails if anybody was faster. True when we hold it.
    async fn round(&self, api: &Api<Lease>, seen: &mut Seen) -> Result<bool, LeaseError> {
        let found = read(|| format!("Lease '{}'", self.name), api.get_opt(&self.name)).await?;
        let Some(found) = found else {
            // A Lease that somebody deleted is not the first one, and whoever has read it still knows what it said.
            let record = self.guards.record_of_new_lease(seen.version.is_some().then_some(seen.record.as_str()));
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                annotations: Some([(GUARDS.to_owned(), record.clone())].into()),
                ..ObjectMeta::default()
            };
            let new = self.renewed(Lease { metadata, spec: None });
            let created = won(write(|| format!("create Lease '{}'", self.name), api.create(&PostParams::default(), &new)).await)?;
            if created && self.guards.record().is_none() {
                self.guards.take_over(Some(&record));
            }
            return Ok(created);
        };
        if !seen.goes_on(found.metadata.resource_version.as_deref()) {
            return Err(PutBack.into());
        }
        seen.read(&found);
        let still = seen.since.map(|since| since.elapsed()).unwrap_or_default();
        let holder = found.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        match judge(holder, &self.identity, still) {
            Step::Wait => Ok(false),
            // The resourceVersion that was read goes along: of two who take it at once, one gets a conflict.
            Step::Take => {
                // What another holder wrote is read before anything is written over it.
                let mine = holder == Some(self.identity.as_str());
                let record = self.guards.record().filter(|_| mine);
                let (renews, stored) = (record.is_some(), found.metadata.annotations.as_ref().and_then(|all| all.get(GUARDS)).cloned());
                let mut lease = self.renewed(found);
                if let Some(record) = record {
                    lease.metadata.annotations.get_or_insert_default().insert(GUARDS.to_owned(), record);
                }
                let taken =
                    won(write(|| format!("renew Lease '{}'", self.name), api.replace(&self.name, &PostParams::default(), &lease)).await)?;
                if taken && !renews {
                    self.guards.take_over(stored.as_deref());
                }
                Ok(taken)
            }
        }
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        let mine = before.holder_identity.as_deref() == Some(self.identity.as_str());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(HELD.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: if mine { before.acquire_time } else { Some(now) },
            lease_transitions: if mine { before.lease_transitions } else { Some(before.lease_transitions.unwrap_or(0).saturating_add(1)) },
            ..before
        });
        lease
    }

    async fn give_back(&self, api: &Api<Lease>) -> Result<(), LeaseError> {
        let found = read(|| format!("Lease '{}'", self.name), api.get_opt(&self.name)).await?;
        let Some(mut lease) = found else { return Ok(()) };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(self.identity.as_str())) else {
            return Ok(());
        };
        spec.holder_identity = None;
        won(write(|| format!("give Lease '{}' back", self.name), api.replace(&self.name, &PostParams::default(), &lease)).await)?;
        Ok(())
    }
}

/// Why the Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    PutBack(#[from] PutBack),
}

/// A conflict means that somebody else was faster, which is no error.
fn won<T>(written: Result<T, WriteError>) -> Result<bool, LeaseError> {
    match written {
        Ok(_) => Ok(true),
        Err(error) if error.answer().is_some_and(|s| s.is_conflict() || s.is_already_exists() || s.is_not_found()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http::{Method, Request, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::{config::Config, gather::surroundings::World, observe::events::Events};
    use kube_io::clock::Clock;

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
                    let mut stored = stored.lock();
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
        let config: Config = serde_json::from_value(crate::config::tests::least()).unwrap();
        let (world, events) = (Arc::new(World::new(client.clone())), Events::new(client.clone(), "me"));
        let guards = Arc::new(Guards::new(client.clone(), Clock::system(), config, Vec::new(), world, events));
        let (elector, leadership, _leading) = Elector::new("me".to_owned(), "lease".to_owned(), guards);
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
        let (outcome, held) = tokio::join!(elector.run_in_task(client, "default".to_owned(), stop.clone()), busy);
        assert_eq!(outcome, Ok(()));
        assert!(held, "it was renewed {} times", renewals.load(Ordering::Relaxed));
    }

    #[test]
    fn t36_a_version_that_goes_back_is_an_old_copy() {
        let mut seen = Seen::default();
        for (version, goes_on) in
            [(None, true), (Some("7"), true), (Some("7"), true), (Some("9"), true), (Some("8"), false), (Some("8"), true)]
        {
            assert_eq!(seen.goes_on(version), goes_on, "{version:?}");
        }
        assert!(seen.goes_on(Some("opaque")), "what is no number tells nothing");
    }

    #[test]
    fn f68_a_holder_lives_that_renews_the_lease() {
        let lease = |version: &str| Lease {
            metadata: ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() },
            spec: None,
        };
        let mut seen = Seen::default();
        for (version, renewed) in [("7", false), ("7", false), ("8", true), ("8", true)] {
            seen.read(&lease(version));
            assert_eq!(seen.renewed, renewed, "{version}");
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_nobody_else_keeps_it_alive() {
        let (short, long) = (Duration::from_millis(5_999), HELD);
        assert_eq!(judge(None, "me", Duration::ZERO), Step::Take);
        assert_eq!(judge(Some(""), "me", Duration::ZERO), Step::Take, "given back");
        assert_eq!(judge(Some("me"), "me", Duration::ZERO), Step::Take);
        assert_eq!(judge(Some("other"), "me", short), Step::Wait);
        assert_eq!(judge(Some("other"), "me", long), Step::Take);
    }
}
