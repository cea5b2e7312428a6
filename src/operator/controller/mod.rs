//! The controllers of one replica: their watches, their queues, and the order in which they start.

pub mod context;
mod elector_task;
mod eligibilities;
mod ended;
mod follower;
pub mod known;
#[cfg(test)]
mod kstatus_tests;
mod owed;
mod policies;
mod queues;
mod quiet;
mod ready;
pub mod requests;

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    context::{Bindable, Context, Evidence, Reviews},
    ended::EndedRequests,
    follower::Follower,
    queues::Queues,
    requests::Requests,
};
use crate::{
    config::Config,
    election::{Elector, Leadership},
    gather::caches::{Caches, LiveRequest},
    guards::Guards,
    observe::{events::Events, metrics::ControllerMetrics, queues::QueuesMetrics},
    queue::{Lane, Limits},
    revoker::{Observation, Revoker, Tell, index::Known, sweep::Sweep},
};
use api::{State, names::binding_name};
use domain::{Lookup, guards::expected::Expected};
use kube_io::{
    cache::{Cache, Key},
    clock::Clock,
    consistency::NewestVersion,
    watches::StoreRestored,
};
use process::{health::Health, metrics::Metrics, watches};

/// The conditions for the readiness of a replica.
pub const NEEDS: [&str; 4] = ["sweep", "caches", watches::NEED, GUARDS];
/// The readiness condition that requests can be decided.
const GUARDS: &str = "guards";

/// The most requests that are reconciled at a time. Requests with a grant, which may have to end, have workers of their own, so that new
/// requests never delay a revocation.
const REQUESTS_AT_ONCE: Limits = Limits { ordinary: 32, urgent: 16 };
/// The most eligibilities, and the most policies, that are reconciled at a time.
const REPORTS_AT_ONCE: usize = 4;
/// The most completed requests that are checked at a time. A check mostly waits for consistent (quorum) lists: four at a time reached only
/// eighteen a second.
const ENDED_AT_ONCE: usize = 8;
/// The interval between sweeps over all bindings, which find what the watch does not deliver.
const SWEEP_EVERY: Duration = Duration::from_mins(5);
/// The delay between attempts at the first sweep.
const SWEEP_AGAIN: Duration = Duration::from_millis(500);

/// The parameters of a replica.
pub struct Setup {
    /// The chart's values.
    pub config: Config,
    /// The expected admission guards.
    pub expected: Vec<Expected>,
    /// The name of this replica in the Lease and in Events.
    pub identity: String,
    /// The source of the present time.
    pub clock: Clock,
    /// The readiness conditions.
    pub health: Health,
    /// The registry of the metrics.
    pub metrics: Metrics,
}

/// Runs the controllers of this replica until `stop`, or until a restored copy of the API server's store is detected: then the process must
/// restart.
pub async fn run(client: Client, setup: Setup, stop: CancellationToken) -> Result<(), StoreRestored> {
    let Setup { config, expected, identity, clock, health, metrics } = setup;
    let counted = ControllerMetrics::registered(&metrics);
    let queues_metrics = QueuesMetrics::registered(&metrics);
    let (queues, workers) = queues::new(&clock, &queues_metrics);
    let caches = Arc::new(Caches::new(client.clone()));
    let events = Events::new(client.clone(), &identity);
    let guards = Arc::new(Guards::new(client.clone(), clock.clone(), config.clone(), expected, caches.clone(), events.clone()));
    let (elector, leadership, leading) = Elector::new(identity, config.controller.lease.clone(), guards.clone());
    let requests = caches.requests.clone();
    let watches = caches.watches.clone();
    let (begun, has_begun) = tokio::sync::watch::channel(false);
    let revoker = Arc::new(Revoker::new(
        client.clone(),
        clock.clone(),
        leading.clone(),
        tell(&queues, &leading, &requests, has_begun),
        watches.clone(),
        counted.clone(),
        queues_metrics.of("revocations"),
    ));
    watches::show(&watches, &metrics);
    let reviews = Arc::new(Reviews::default());
    show(&metrics, &clock, &revoker, &leadership, &guards, &reviews);
    let context = Arc::new(Context {
        client: client.clone(),
        clock,
        settings: config.settings(),
        caches,
        requests,
        revoker: revoker.clone(),
        leadership,
        guards: guards.clone(),
        events,
        evidence: Evidence::default(),
        bindable: Bindable::default(),
        decisions: NewestVersion::default(),
        known: known::Known::default(),
        reviews,
        recording: tokio::sync::Mutex::default(),
        waiting: queues.requests.clone(),
        policies: queues.policies.clone(),
        ended: queues.ended.clone(),
        metrics: counted,
        config,
    });

    // The revoker starts first and stops last, and does not wait for anything below.
    let mut revoking = tokio::spawn({
        let (revoker, stop) = (revoker.clone(), stop.clone());
        async move { revoker.run(stop).await }
    });
    let follower = Follower {
        context: context.clone(),
        queues: queues.clone(),
        leading: leading.clone(),
        schedule: quiet::Schedule::default(),
        begun,
    };
    let work = async {
        first_sweep(&revoker, &health).await;
        context.caches.synced().await;
        health.set("caches", true);
        follower.begin();
        let requests = Requests::new(context.clone());
        let ended = EndedRequests::new(context.clone());
        // The election starts only now, when expired bindings are removed and the caches are filled (invariant 2).
        let electing = elector_task::run(elector, client.clone(), context.config.operator_namespace.clone(), stop.clone());
        let lane = |key: &Key| lane(&context, key);
        let (outcome, ..) = tokio::join!(
            electing,
            guards.run(stop.clone()),
            show_readiness(&guards, &health, stop.clone()),
            follower.leadership(stop.clone()),
            sweep_now_and_then(&revoker, stop.clone()),
            workers.requests.run_in_lanes(REQUESTS_AT_ONCE, stop.clone(), lane, |key| requests.work(key)),
            workers.eligibilities.run(REPORTS_AT_ONCE, stop.clone(), |key| eligibilities::work(&context, key)),
            ended.rounds(leading.clone(), stop.clone()),
            workers.ended.run(ENDED_AT_ONCE, stop.clone(), |key| ended.work(key)),
            workers.policies.run(REPORTS_AT_ONCE, stop.clone(), |key| policies::work(&context, key)),
        );
        outcome
    };
    let outcome = tokio::select! {
        // All else runs in this task, so that a panic ends the process. A panic of the revoker's task must end the process too.
        () = ends_alone(&mut revoking, &stop) => {
            error!("the revoker ended unexpectedly: exiting so that the pod restarts");
            Ok(())
        }
        () = follower.follow() => Ok(()),
        () = watches::tell(&watches, &health) => Ok(()),
        outcome = work => outcome,
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(5)).await } => {
            warn!("some tasks did not end in time");
            Ok(())
        }
    };
    if !revoking.is_finished() {
        let _ = revoking.await;
    }
    outcome
}

/// Registers the metrics that are read at each scrape.
fn show(metrics: &Metrics, clock: &Clock, revoker: &Arc<Revoker>, leadership: &Leadership, guards: &Arc<Guards>, reviews: &Arc<Reviews>) {
    let (active, overdue, clock, leadership) = (revoker.clone(), revoker.clone(), clock.clone(), leadership.clone());
    let (proven, skewed, reviews) = (guards.clone(), guards.clone(), reviews.clone());
    let overdue = move || overdue.index().overdue(clock.now());
    ControllerMetrics::looked_up(metrics, move || active.index().count(), overdue, move || leadership.held());
    ControllerMetrics::watched(metrics, move || proven.states(), move || skewed.skew(), move || reviews.count());
}

/// Returns the urgent lane for a request that has a grant or a known binding, because its grant may have to end at once.
fn lane(context: &Context, key: &Key) -> Lane {
    let active = matches!(context.requests.get(key), Some(Lookup::Found(facts)) if facts.record.state == Some(State::Active));
    if active || !context.revoker.index().of_request(key).is_empty() { Lane::Urgent } else { Lane::Ordinary }
}

/// Returns when a task has ended before `stop`, which it should not.
async fn ends_alone(task: &mut JoinHandle<()>, stop: &CancellationToken) {
    let _ = task.await;
    if stop.is_cancelled() {
        std::future::pending::<()>().await;
    }
}

/// Returns the revoker's callback, which queues the request of a binding when the event is news.
fn tell(
    queues: &Queues,
    leading: &tokio::sync::watch::Receiver<bool>,
    requests: &Arc<Cache<LiveRequest>>,
    begun: tokio::sync::watch::Receiver<bool>,
) -> Tell {
    let (queues, leading, requests) = (queues.clone(), leading.clone(), requests.clone());
    Arc::new(move |known, sight| {
        if !*begun.borrow() {
            return;
        }
        // A reconciliation of each of thousands of grants every few minutes would cost more than all new grants.
        if sight == Observation::News || !is_accounted_for(known, requests.get(&known.request).as_ref()) {
            queues.request(known.request.clone(), *leading.borrow());
        }
    })
}

/// Returns true for the own binding of an active request, which is no news.
fn is_accounted_for(known: &Known, request: Option<&LiveRequest>) -> bool {
    let Some(Lookup::Found(facts)) = request else { return false };
    facts.record.state == Some(State::Active) && !facts.object.deleting && binding_name(&facts.object.uid) == known.key.name
}

async fn first_sweep(revoker: &Revoker, health: &Health) {
    while let Err(error) = revoker.sweep(Sweep::First).await {
        warn!(%error, "the first sweep failed, retrying");
        tokio::time::sleep(SWEEP_AGAIN).await;
    }
    info!(bindings = revoker.index().all().len(), "first sweep completed: no overdue binding is left");
    health.set("sweep", true);
}

/// Keeps readiness equal to the state of the guards.
async fn show_readiness(guards: &Guards, health: &Health, stop: CancellationToken) {
    let mut can_judge = guards.can_judge();
    loop {
        let now = *can_judge.borrow_and_update();
        health.set(GUARDS, now);
        tokio::select! {
            changed = can_judge.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

async fn sweep_now_and_then(revoker: &Revoker, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = revoker.sweep(Sweep::Again).await {
            warn!(%error, "a sweep failed; the watch continues");
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::*;
    use api::{RoleActivationRequest, RoleActivationRequestSpec, RoleActivationRequestStatus};
    use domain::convert;

    #[test]
    fn a_swept_binding_is_looked_at_unless_it_is_that_of_an_active_request() {
        let known = |name: &str| Known {
            key: Key::new("payments", name),
            uid: "b".to_owned(),
            deadline: jiff::Timestamp::UNIX_EPOCH,
            request: Key::new("payments", "inc"),
            unverified: false,
        };
        let request = |state, deleting: bool| {
            let mut stored = RoleActivationRequest::new("inc", RoleActivationRequestSpec::default());
            let gone = deleting.then(|| api::conditions::to_time(jiff::Timestamp::UNIX_EPOCH));
            stored.metadata = ObjectMeta { uid: Some("r".to_owned()), deletion_timestamp: gone, ..stored.metadata };
            stored.status = Some(RoleActivationRequestStatus { state, ..RoleActivationRequestStatus::default() });
            Lookup::Found(Arc::new(convert::request(&stored)))
        };
        let (own, other) = (known(&binding_name("r")), known(&binding_name("another")));
        assert!(is_accounted_for(&own, Some(&request(Some(State::Active), false))));
        for state in State::ALL.into_iter().filter(|state| *state != State::Active).map(Some).chain([None]) {
            assert!(!is_accounted_for(&own, Some(&request(state, false))), "{state:?}");
        }
        assert!(!is_accounted_for(&own, Some(&request(Some(State::Active), true))), "its request is being deleted");
        assert!(!is_accounted_for(&other, Some(&request(Some(State::Active), false))), "it names another request");
        assert!(!is_accounted_for(&own, None) && !is_accounted_for(&own, Some(&Lookup::Unreadable("?".to_owned()))));
    }
}
