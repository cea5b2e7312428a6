//! The controllers of one replica: what they watch, what they work on, and in which order they start.

pub mod context;
mod eligibilities;
mod ended;
pub mod known;
#[cfg(test)]
mod kstatus_tests;
pub mod lease;
mod owed;
mod policies;
mod quiet;
mod ready;
pub mod requests;
mod status;

use std::{collections::HashSet, sync::Arc, time::Duration};

use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    context::{Bindable, Context, Evidence, Reviews},
    ended::EndedRequests,
    lease::{Elector, Leadership},
    requests::Requests,
};
use crate::{
    config::Config,
    gather::{
        live,
        surroundings::{Change, LiveRequest, World},
    },
    guards::Guards,
    observe::{
        events::Events,
        health::Health,
        metrics::{ControllerMetrics, Metrics},
        watches,
    },
    queue::{Lane, Limits, Queue, Worker, queue},
    revoker::{Revoker, Sight, Tell, index::Known, sweep::Sweep},
};
use api::{ActivationDecision, ApprovalPolicySpec, State, Verb, eligibility::RoleKind, names::binding_name, request::ReviewState};
use domain::{Lookup, RequestFacts, evidence, guards::expected::Expected, namespace};
use kube_io::{
    backoff::Backoff,
    cache::{Cache, Changed, Key},
    clock::Clock,
    horizon::{AsOf, Horizon},
    kept::DecisionMark,
    watch::Event,
    watches::PutBack,
};

/// What a replica needs before it is ready.
pub const NEEDS: [&str; 4] = ["sweep", "caches", watches::NEED, GUARDS];
/// What readiness calls it that requests can be decided.
const GUARDS: &str = "guards";

/// Most requests that are worked on at a time. Those that have a grant, which may have to end, have workers of their own: whatever is asked
/// for meanwhile never delays a revocation.
const REQUESTS_AT_ONCE: Limits = Limits { ordinary: 32, urgent: 16 };
/// Most eligibilities, and most policies, that are worked on at a time.
const REPORTS_AT_ONCE: usize = 4;
/// Most ended requests that are looked at a time. Each mostly waits for lists as of now: of four at a time eighteen a second went.
const ENDED_AT_ONCE: usize = 8;
/// Delays after failures.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
/// How often all bindings are looked through again for what the watch cannot see.
const SWEEP_EVERY: Duration = Duration::from_mins(5);
/// Pause between attempts at the first sweep.
const SWEEP_AGAIN: Duration = Duration::from_millis(500);
/// Changes of namespaces and roles come in swarms; what they mean for an eligibility is told once.
const SWARM: Duration = Duration::from_millis(200);

/// The queues of one replica.
#[derive(Clone)]
struct Queues {
    requests: Queue<Key>,
    eligibilities: Queue<Key>,
    policies: Queue<Key>,
    ended: Queue<Key>,
}

/// The other ends of the queues.
struct Workers {
    requests: Worker<Key>,
    eligibilities: Worker<Key>,
    policies: Worker<Key>,
    ended: Worker<Key>,
}

fn queues(clock: &Clock) -> (Queues, Workers) {
    let new = || queue(clock.clone(), BACKOFF);
    let ((requests, requests_worker), (eligibilities, eligibilities_worker)) = (new(), new());
    let ((policies, policies_worker), (ended, ended_worker)) = (new(), new());
    (
        Queues { requests, eligibilities, policies, ended },
        Workers { requests: requests_worker, eligibilities: eligibilities_worker, policies: policies_worker, ended: ended_worker },
    )
}

/// What a replica is started with.
pub struct Setup {
    /// The chart's values.
    pub config: Config,
    /// What the guards must say.
    pub expected: Vec<Expected>,
    /// Name of this replica in the Lease and in Events.
    pub identity: String,
    /// When to look.
    pub clock: Clock,
    /// What is missing before it is ready.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
}

/// Runs the controllers of this replica until `stop`, or until an old copy of the API server's store was put back: then it must be
/// started anew.
pub async fn run(client: Client, setup: Setup, stop: CancellationToken) -> Result<(), PutBack> {
    let Setup { config, expected, identity, clock, health, metrics } = setup;
    let counted = ControllerMetrics::registered(&metrics);
    let (queues, workers) = queues(&clock);
    let world = Arc::new(World::new(client.clone()));
    let events = Events::new(client.clone(), &identity);
    let guards = Arc::new(Guards::new(client.clone(), clock.clone(), config.clone(), expected, world.clone(), events.clone()));
    let (elector, leadership, leading) = Elector::new(identity, config.controller.lease.clone(), guards.clone());
    let requests = world.requests.clone();
    let watches = world.watches.clone();
    let (begun, has_begun) = tokio::sync::watch::channel(false);
    let revoker = Arc::new(Revoker::new(
        client.clone(),
        clock.clone(),
        leading.clone(),
        tell(&queues, &leading, &requests, has_begun),
        watches.clone(),
        counted.clone(),
    ));
    watches::show(&watches, &metrics);
    let reviews = Arc::new(Reviews::default());
    show(&metrics, &clock, &revoker, &leadership, &guards, &reviews);
    let context = Arc::new(Context {
        client: client.clone(),
        clock,
        settings: config.settings(),
        world,
        requests,
        revoker: revoker.clone(),
        leadership,
        guards: guards.clone(),
        events,
        evidence: Evidence::default(),
        bindable: Bindable::default(),
        decisions: Horizon::default(),
        known: known::Known::default(),
        reviews,
        recording: tokio::sync::Mutex::default(),
        waiting: queues.requests.clone(),
        policies: queues.policies.clone(),
        ended: queues.ended.clone(),
        metrics: counted,
        config,
    });

    // What takes access away starts first and stops last, and nothing below is waited for before it.
    let mut revoking = tokio::spawn({
        let (revoker, stop) = (revoker.clone(), stop.clone());
        async move { revoker.run(stop).await }
    });
    let follower =
        Follower { context: context.clone(), queues: queues.clone(), leading: leading.clone(), turns: quiet::Turns::default(), begun };
    let work = async {
        first_sweep(&revoker, &health).await;
        context.world.synced().await;
        health.set("caches", true);
        follower.begin();
        let requests = Requests::new(context.clone());
        let ended = EndedRequests::new(context.clone());
        // Only now may this replica become the one that grants: what is overdue is gone, and it knows what there is (invariant 2).
        let electing = elector.run_in_task(client.clone(), context.config.operator_namespace.clone(), stop.clone());
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
        // Everything else runs in this task, so that a panic of it ends the process; this one must not end alone either.
        () = ends_alone(&mut revoking, &stop) => {
            error!("nothing takes access away any more: this replica ends, to be started anew");
            Ok(())
        }
        () = follower.follow() => Ok(()),
        () = watches::tell(&watches, &health) => Ok(()),
        outcome = work => outcome,
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(5)).await } => {
            warn!("some work did not end in time");
            Ok(())
        }
    };
    if !revoking.is_finished() {
        let _ = revoking.await;
    }
    outcome
}

/// Has what this replica knows looked up whenever somebody scrapes.
fn show(metrics: &Metrics, clock: &Clock, revoker: &Arc<Revoker>, leadership: &Leadership, guards: &Arc<Guards>, reviews: &Arc<Reviews>) {
    ControllerMetrics::looked_up(
        metrics,
        {
            let revoker = revoker.clone();
            move || revoker.index().count()
        },
        {
            let (revoker, clock) = (revoker.clone(), clock.clone());
            move || revoker.index().overdue(clock.now())
        },
        {
            let leadership = leadership.clone();
            move || leadership.held()
        },
    );
    ControllerMetrics::watched(
        metrics,
        {
            let guards = guards.clone();
            move || guards.states()
        },
        {
            let guards = guards.clone();
            move || guards.skew()
        },
        {
            let reviews = reviews.clone();
            move || reviews.count()
        },
    );
}

/// A request that has a grant, or whose binding is known, may have to end at once.
fn lane(context: &Context, key: &Key) -> Lane {
    let active = matches!(context.requests.get(key), Some(Lookup::Found(facts)) if facts.record.state == Some(State::Active));
    if active || !context.revoker.index().of_request(key).is_empty() { Lane::Urgent } else { Lane::Ordinary }
}

/// Returns when a task has ended that should go on until `stop`.
async fn ends_alone(task: &mut JoinHandle<()>, stop: &CancellationToken) {
    let _ = task.await;
    if stop.is_cancelled() {
        std::future::pending::<()>().await;
    }
}

/// Has the request of a binding looked at when there is something new about it.
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
        // Looking at each of thousands of grants every few minutes would cost more than all that is granted meanwhile.
        if sight == Sight::News || !is_accounted_for(known, requests.get(&known.request).as_ref()) {
            queues.request(known.request.clone(), *leading.borrow());
        }
    })
}

/// True for a binding that is its request's own, while that is active: nothing about it is new.
fn is_accounted_for(known: &Known, request: Option<&LiveRequest>) -> bool {
    let Some(Lookup::Found(facts)) = request else { return false };
    facts.record.state == Some(State::Active) && !facts.object.deleting && binding_name(&facts.object.uid) == known.key.name
}

async fn first_sweep(revoker: &Revoker, health: &Health) {
    while let Err(error) = revoker.sweep(Sweep::First).await {
        warn!(%error, "the first sweep failed and is tried again");
        tokio::time::sleep(SWEEP_AGAIN).await;
    }
    info!(bindings = revoker.index().all().len(), "first sweep done: nothing overdue is left");
    health.set("sweep", true);
}

/// Keeps readiness at what the guards say of it.
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
            warn!(%error, "a sweep failed; the watch goes on");
        }
    }
}

impl Queues {
    /// Has a request looked at: at once by the holder of the Lease, by another replica only when the holder had time for it.
    fn request(&self, key: Key, leading: bool) {
        let pause = if leading { Duration::ZERO } else { requests::HOLDERS_TIME.to_std().unwrap_or_default() };
        self.requests.add_in(key, pause);
    }
}

/// Turns what the watches see into keys to work on.
struct Follower {
    context: Arc<Context>,
    queues: Queues,
    leading: tokio::sync::watch::Receiver<bool>,
    turns: quiet::Turns,
    /// True once this replica has looked through what there was at its start.
    begun: tokio::sync::watch::Sender<bool>,
}

impl Follower {
    async fn follow(&self) {
        let context = &self.context;
        tokio::join!(context.guards.follow(), context.world.follow(|change| self.changed(&change)), self.decisions());
    }

    fn request(&self, key: Key) {
        // What comes before is looked through at once, and not one after the other.
        if *self.begun.borrow() {
            self.queues.request(key, *self.leading.borrow());
        }
    }

    /// A request changed, and with it what prolongs it.
    fn request_changed(&self, key: Key) {
        self.note_evidence(&key);
        self.requests_in(&key.namespace, |facts| facts.object.spec.base() == Some(key.name.as_str()));
        self.request(key);
    }

    /// Remembers in which keys somebody has shown evidence, for the policies that look there.
    fn note_evidence(&self, key: &Key) {
        let Some(Lookup::Found(facts)) = self.context.requests.get(key) else { return };
        let shown = facts.object.spec.requester.iter().flat_map(|requester| requester.extra.keys());
        let asked_for = || {
            let keys = |policy: &ApprovalPolicySpec| evidence::keys(policy).into_iter().map(str::to_owned).collect::<Vec<_>>();
            let keys = self.context.world.policies.pick(|_, found| found.found().map(|policy| keys(&policy.spec)));
            keys.into_iter().flatten().collect()
        };
        if self.context.evidence.note(shown.map(String::as_str), asked_for) {
            for key in self.context.world.policies.pick(|key, _| Some(key.clone())) {
                self.queues.policies.add(key);
            }
        }
    }

    /// Of decisions nothing is kept: each is listed with its request's when that is decided.
    async fn decisions(&self) {
        let context = &self.context;
        // Whether there is something to look at, only complete lists of requests and bindings say.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
        let api: Api<ActivationDecision> = Api::all(context.client.clone());
        let (place, horizon) = (context.world.watches.place("decisions"), &context.decisions);
        kube_io::watch::run(&context.client, context.world.ours(&api), &place, |event: Event<DecisionMark>| match event {
            Event::Apply(decision) | Event::InitApply(decision) => {
                horizon.note_version(decision.metadata.resource_version.as_deref());
                self.decided(decision);
            }
            Event::Init(another_store) if another_store => {
                horizon.distrust();
                context.known.forget();
            }
            Event::InitDone(version) => horizon.trust(version),
            Event::Init(_) | Event::Delete(_) | Event::Interrupted => {}
        })
        .await;
    }

    fn decided(&self, decision: DecisionMark) {
        let key = Key::new(decision.metadata.namespace.unwrap_or_default(), decision.spec.request_ref.name);
        // Decisions on what ended long ago are kept too, and need no look, but for reviews.
        if decision.spec.decision == Verb::Review.as_str()
            || self.context.requests.get(&key).is_some()
            || !self.context.revoker.index().of_request(&key).is_empty()
        {
            self.request(key);
        }
    }

    /// Everything that a change of something around requests can touch.
    fn changed(&self, change: &Change) {
        match change {
            Change::Eligibility(key) => {
                self.queues.eligibilities.add(key.clone());
                self.requests_of(|facts| facts.object.spec.eligibility_ref.name == key.name);
            }
            Change::Policy(key) => {
                self.queues.policies.add(key.clone());
                self.eligibilities_with(|spec| spec.policy_ref.name == key.name, Duration::ZERO);
            }
            Change::ClusterRole(key) => {
                self.eligibilities_with(|spec| spec.role_ref.kind == RoleKind::ClusterRole && spec.role_ref.name == key.name, SWARM);
            }
            Change::Role(key) => {
                let named = self.eligibility_names(|spec| spec.role_ref.kind == RoleKind::Role && spec.role_ref.name == key.name);
                self.requests_in(&key.namespace, |facts| named.contains(&facts.object.spec.eligibility_ref.name));
            }
            Change::Request(key) => self.request_changed(key.clone()),
            Change::Namespace(change) => {
                let Changed { key, before, now } = change.as_ref();
                let changes = |spec: &api::RoleEligibilitySpec| namespace::coverage_changes(spec, &key.name, before.as_ref(), now.as_ref());
                for name in self.eligibility_names(changes) {
                    self.queues.eligibilities.add_in(Key::cluster(name), SWARM);
                }
                self.requests_in(&key.name, |_| true);
            }
        }
    }

    fn eligibility_names(&self, wanted: impl Fn(&api::RoleEligibilitySpec) -> bool) -> Vec<String> {
        self.context.world.eligibilities.pick(|key, found| found.found().filter(|e| wanted(&e.spec)).map(|_| key.name.clone()))
    }

    fn eligibilities_with(&self, wanted: impl Fn(&api::RoleEligibilitySpec) -> bool, pause: Duration) {
        let names = self.eligibility_names(wanted);
        for name in &names {
            self.queues.eligibilities.add_in(Key::cluster(name), pause);
        }
        self.requests_of(|facts| names.contains(&facts.object.spec.eligibility_ref.name));
    }

    fn requests_in(&self, namespace: &str, wanted: impl Fn(&RequestFacts) -> bool) {
        let wanted = |key: &Key, facts: &LiveRequest| facts.found().filter(|f| wanted(f)).map(|_| key.clone());
        for key in self.context.requests.pick_in(namespace, wanted) {
            self.request(key);
        }
    }

    fn requests_of(&self, wanted: impl Fn(&RequestFacts) -> bool) {
        for key in self.context.requests.pick(|key, facts| facts.found().filter(|f| wanted(f)).map(|_| key.clone())) {
            self.request(key);
        }
    }

    /// A replica that becomes the holder looks at everything: nobody may have reported on it. So does the holder when it is told about
    /// guards.
    async fn leadership(&self, stop: CancellationToken) {
        let (mut leading, mut guards) = (self.leading.clone(), self.context.guards.news());
        loop {
            // A change of the Lease first, and only that marks it as seen: news of guards must not swallow it.
            let takes_over = tokio::select! {
                biased;
                changed = leading.changed() => if changed.is_err() { return } else { true },
                changed = guards.changed() => if changed.is_err() { return } else { false },
                () = stop.cancelled() => return,
            };
            if *leading.borrow() {
                // Guards end no grant: to look at thousands that run would only keep those waiting who wait for them.
                self.requests_of(|facts| facts.record.state != Some(State::Active));
                if takes_over {
                    self.context.reviews.forget();
                    // Where something may be due at once, the others in turn.
                    for key in self.grants() {
                        let pause = if self.is_quiet(&key) { self.turns.next() } else { Duration::ZERO };
                        self.queues.requests.add_in(key, pause);
                    }
                }
                for name in self.eligibility_names(|_| true) {
                    self.queues.eligibilities.add(Key::cluster(name));
                }
                for key in self.context.world.policies.pick(|key, _| Some(key.clone())) {
                    self.queues.policies.add(key);
                }
                self.reviews().await;
            }
        }
    }

    /// A replica that has just started has everything looked at of which something may be due. The rest the holder has looked at, and
    /// whoever becomes the holder will.
    fn begin(&self) {
        self.begun.send_replace(true);
        for key in self.grants().into_iter().filter(|key| !self.is_quiet(key)) {
            self.request(key);
        }
    }

    /// The requests that are active, and those that a binding names.
    fn grants(&self) -> HashSet<Key> {
        let active = |key: &Key, facts: &LiveRequest| facts.found().filter(|f| f.record.state == Some(State::Active)).map(|_| key.clone());
        let bindings = self.context.revoker.index().all().into_iter().map(|known| known.request);
        self.context.requests.pick(active).into_iter().chain(bindings).collect()
    }

    fn is_quiet(&self, key: &Key) -> bool {
        let found = self.context.requests.get(key);
        found.as_ref().and_then(Lookup::found).is_some_and(|facts| quiet::is_quiet(&self.context, key, facts))
    }

    /// Has the requests looked at that ended and owe a review: no cache holds them.
    async fn reviews(&self) {
        for state in [ReviewState::Owed, ReviewState::Overdue] {
            match live::requests(&self.context.client, live::Wanted::Review(state), AsOf::Now).await {
                Ok(owed) => owed.into_iter().for_each(|facts| self.request(Key::new(facts.namespace, facts.object.name))),
                Err(error) => warn!(%error, "cannot tell which reviews are owed; the next change of one tells"),
            }
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
            deadline: chrono::DateTime::UNIX_EPOCH,
            request: Key::new("payments", "inc"),
            doubted: false,
        };
        let request = |state, deleting: bool| {
            let mut stored = RoleActivationRequest::new("inc", RoleActivationRequestSpec::default());
            let gone = deleting.then(|| api::conditions::to_time(chrono::DateTime::UNIX_EPOCH));
            stored.metadata = ObjectMeta { uid: Some("r".to_owned()), deletion_timestamp: gone, ..stored.metadata };
            stored.status = Some(RoleActivationRequestStatus { state, ..RoleActivationRequestStatus::default() });
            Lookup::Found(Arc::new(convert::request(&stored)))
        };
        let (own, other) = (known(&binding_name("r")), known(&binding_name("another")));
        assert!(is_accounted_for(&own, Some(&request(Some(State::Active), false))));
        for state in State::ALL.into_iter().filter(|state| *state != State::Active).map(Some).chain([None]) {
            assert!(!is_accounted_for(&own, Some(&request(state, false))), "{state:?}");
        }
        assert!(!is_accounted_for(&own, Some(&request(Some(State::Active), true))), "its request is going");
        assert!(!is_accounted_for(&other, Some(&request(Some(State::Active), false))), "it names somebody else's request");
        assert!(!is_accounted_for(&own, None) && !is_accounted_for(&own, Some(&Lookup::Unreadable("?".to_owned()))));
    }
}
