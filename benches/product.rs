//! The product: the same figures, with rules, record and two replicas.

use std::time::Duration;

use api::{ActivationDecision, RoleActivationRequest, instant::whole_seconds, names};
use control_plane::{AuditEvent, AuditLog, wait_for};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    Failure,
    baseline::{WORKERS, a_second, spread},
    cluster_fixture::ClusterFixture,
    common::{AtOnce, OURS},
    figures::{Spread, ms, pace},
    places::Place,
};

/// The maximum that the chart allows, so that active grants stay active during the whole measurement.
pub const LASTING: &str = "24h";
/// The duration of short grants: longer than the creation of a grant takes, or there would be none.
const PASSING: &str = "10s";
/// The number of concurrent short grants.
const PASSING_AT_ONCE: usize = 512;
/// A request that is sent later within a second than this may be stamped with the next second.
const LATE_IN_A_SECOND: Duration = Duration::from_millis(950);

/// The latencies of automatic activations, one after the other.
pub struct Automatic {
    /// From the response to the request's creation until the binding is observed: the controller's part.
    pub created_to_seen: Spread,
    /// The same from the call that creates the request: what a requester waits.
    pub asked_to_seen: Spread,
    /// The creation alone: the part of admission.
    pub create: Spread,
}

/// A rate.
pub struct Rate {
    /// Activations per second, until the last one's status is Active.
    pub a_second: f64,
    /// The cost of each of them.
    pub cost: Cost,
}

/// Calls of the product for the whole life of one grant.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Writes, except Events and the Lease.
    pub writes: f64,
    /// Events.
    pub events: f64,
}

impl Cost {
    /// Computes it from the API server's audit log, for this many grants.
    fn new(log: &mut AuditLog, times: usize) -> Result<Self, Failure> {
        let calls: Vec<AuditEvent> =
            log.read()?.into_iter().filter(|call| call.user.username.starts_with(OURS) && call.is_write()).collect();
        let of = |wanted: &dyn Fn(&AuditEvent) -> bool| share(calls.iter().filter(|call| wanted(call)).count(), times);
        let ours = |call: &AuditEvent| {
            matches!(call.resource().as_str(), "rolebindings" | "roleactivationrequests" | "roleactivationrequests/status")
        };
        Ok(Self { writes: of(&|call| ours(call) && !call.request_uri.contains("dryRun")), events: of(&|call| call.resource() == "events") })
    }
}

/// Grants that end within the same second, and the cost of each.
pub struct Together {
    /// When they were deleted.
    pub ends: AtOnce,
    /// The cost of each.
    pub cost: Cost,
}

/// Automatic activations one after the other.
pub async fn automatic(fixture: &ClusterFixture, times: usize) -> Result<Automatic, Failure> {
    // No figure includes the connections of a hundred users.
    for _ in 0..100 {
        activate(fixture, &fixture.places.lasting()?, LASTING).await?;
    }
    one_by_one(fixture, times, LASTING, || fixture.places.lasting()).await
}

/// Automatic activations one after the other, until their status is written, each for the next user, eligibility and namespace.
pub async fn one_by_one(
    fixture: &ClusterFixture,
    times: usize,
    duration: &str,
    place: impl Fn() -> Result<Place, Failure>,
) -> Result<Automatic, Failure> {
    let (mut created_to_seen, mut asked_to_seen, mut create) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = pace();
    for _ in 0..times {
        let place = place()?;
        next.tick().await;
        let start = Timestamp::now();
        let (request, binding) = ask(&place, duration).await?;
        let created = Timestamp::now();
        let came = fixture.bindings.comes(&binding).await?.came;
        fixture.active()?.comes(&request).await?;
        create.push(ms(created.duration_since(start)));
        created_to_seen.push(ms(came.duration_since(created)));
        asked_to_seen.push(ms(came.duration_since(start)));
    }
    let [created_to_seen, asked_to_seen, create] = [created_to_seen, asked_to_seen, create].map(Spread::new);
    Ok(Automatic { created_to_seen, asked_to_seen, create })
}

/// Activations that need an approval, one after the other: from the approval's creation until the binding is observed.
pub async fn approved(fixture: &ClusterFixture, times: usize) -> Result<Spread, Failure> {
    let (mut samples, mut next) = (Vec::new(), pace());
    for _ in 0..times {
        next.tick().await;
        let place = Place { offer: "approved".to_owned(), ..fixture.places.lasting()? };
        let (request, binding) = ask(&place, LASTING).await?;
        let requests: Api<RoleActivationRequest> = Api::namespaced(fixture.admin.clone(), &place.namespace);
        let digest = wait_for("a request to wait for its approval", Duration::from_secs(30), async || {
            requests.get(&request).await.ok()?.status?.digest.filter(|digest| !digest.is_empty())
        });
        let decision: ActivationDecision = serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "ActivationDecision", "metadata": {"generateName": "approve-"},
            "spec": {"requestRef": {"name": request}, "decision": "Approve", "digest": digest.await?},
        }))?;
        let decisions: Api<ActivationDecision> = Api::namespaced(fixture.lead.clone(), &place.namespace);
        decisions.create(&PostParams::default(), &decision).await?;
        let start = Timestamp::now();
        samples.push(ms(fixture.bindings.comes(&binding).await?.came.duration_since(start)));
    }
    Ok(Spread::new(samples))
}

/// Short activations, sixteen at once, to their ends.
pub async fn rate(fixture: &ClusterFixture, times: usize) -> Result<Rate, Failure> {
    let mut log = settled_log(fixture).await?;
    let start = Timestamp::now();
    let all = (0..times).map(async |_| {
        let (request, binding) = ask(&fixture.places.lasting()?, "45s").await?;
        fixture.bindings.comes(&binding).await?;
        Ok::<_, Failure>((request, binding))
    });
    let made: Vec<(String, String)> = stream::iter(all).buffer_unordered(WORKERS).try_collect().await?;
    for (request, _) in &made {
        fixture.active()?.comes(request).await?;
    }
    let a_second = a_second(times, start);
    for (request, binding) in &made {
        fixture.bindings.goes(binding).await?;
        fixture.active()?.goes(request).await?;
    }
    fixture.settle().await?;
    Ok(Rate { a_second, cost: Cost::new(&mut log, times)? })
}

/// The log from now on, without the calls for grants that ended before.
async fn settled_log(fixture: &ClusterFixture) -> Result<AuditLog, Failure> {
    fixture.settle().await?;
    Ok(fixture.plane.cluster().audit_from_now()?)
}

/// The cost of this many grants, one after the other, until they end.
pub async fn cost_of(fixture: &ClusterFixture, times: usize) -> Result<Cost, Failure> {
    let mut log = settled_log(fixture).await?;
    pass(fixture, times).await?;
    fixture.settle().await?;
    Cost::new(&mut log, times)
}

/// Automatic activations under one eligibility, one after the other.
pub async fn under(fixture: &ClusterFixture, times: usize, offer: &str) -> Result<Automatic, Failure> {
    one_by_one(fixture, times, LASTING, || Ok(Place { offer: offer.to_owned(), ..fixture.places.lasting()? })).await
}

/// Grants whose ends are spread: from the deadline until the deletion is observed.
pub async fn lateness(fixture: &ClusterFixture, times: usize) -> Result<Spread, Failure> {
    let from = whole_seconds(Timestamp::now()) + SignedDuration::from_secs(10);
    let gone = end_all(fixture, (0..times).map(|number| from + spread(number)).collect()).await?;
    Ok(Spread::new(gone.into_iter().map(|(deadline, gone)| ms(gone.duration_since(deadline))).collect()))
}

/// Grants with one deadline.
pub async fn at_once(fixture: &ClusterFixture, times: usize) -> Result<Together, Failure> {
    let mut log = settled_log(fixture).await?;
    // All bindings must exist before the first ends: a slow machine creates twenty per second.
    let ahead = SignedDuration::from_secs(10 + i64::try_from(times / 20)?);
    let deadline = whole_seconds(Timestamp::now()) + ahead;
    let made = times + times / 10;
    let mut gone = end_all(fixture, vec![deadline; made]).await?;
    // The records of the ends are written afterwards.
    fixture.settle().await?;
    let cost = Cost::new(&mut log, made)?;
    // A request that was stamped a second later than it was sent ends a second later.
    gone.retain(|(at, _)| *at == deadline);
    gone.truncate(times);
    if gone.len() < times {
        return Err(format!("only {} of {times} end in the same second", gone.len()).into());
    }
    Ok(Together { ends: AtOnce::new(&gone), cost })
}

/// Activates until this many grants are active.
pub async fn fill(fixture: &ClusterFixture, to: usize) -> Result<(), Failure> {
    more(fixture, to.saturating_sub(fixture.active()?.there(|_| true))).await
}

/// Activates this many more.
pub async fn more(fixture: &ClusterFixture, times: usize) -> Result<(), Failure> {
    let all = (0..times).map(async |_| activate(fixture, &fixture.places.lasting()?, LASTING).await);
    stream::iter(all).buffer_unordered(WORKERS).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Short grants, until their recorded ends, many at a time. Returns the names of their requests.
pub async fn pass(fixture: &ClusterFixture, times: usize) -> Result<Vec<String>, Failure> {
    // The concurrency is that of a rate; these grants expire by themselves.
    let turns = Semaphore::new(WORKERS);
    let all = (0..times).map(async |_| {
        let turn = turns.acquire().await?;
        let (request, binding) = ask(&fixture.places.passing()?, PASSING).await?;
        fixture.bindings.comes(&binding).await?;
        drop(turn);
        fixture.bindings.goes(&binding).await?;
        fixture.active()?.goes(&request).await?;
        Ok::<_, Failure>(request)
    });
    stream::iter(all).buffer_unordered(PASSING_AT_ONCE).try_collect().await
}

async fn activate(fixture: &ClusterFixture, place: &Place, duration: &str) -> Result<(), Failure> {
    let (request, _) = ask(place, duration).await?;
    fixture.active()?.comes(&request).await?;
    Ok(())
}

/// Creates a request. Returns its name, and that of its future binding.
async fn ask(place: &Place, duration: &str) -> Result<(String, String), Failure> {
    let request: RoleActivationRequest = serde_json::from_value(json!({
        "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest", "metadata": {"generateName": place.prefix()},
        "spec": {"eligibilityRef": {"name": place.offer}, "duration": duration, "justification": "a measurement"},
    }))?;
    let api: Api<RoleActivationRequest> = Api::namespaced(place.client.clone(), &place.namespace);
    let made = api.create(&PostParams::default(), &request).await?;
    Ok((made.name_any(), names::binding_name(&made.uid().unwrap_or_default())))
}

/// Makes a grant for each of these ends and waits for them. Returns the deadlines from the bindings, and the ends.
async fn end_all(fixture: &ClusterFixture, deadlines: Vec<Timestamp>) -> Result<Vec<(Timestamp, Timestamp)>, Failure> {
    let all = deadlines.into_iter().map(|deadline| async move {
        let place = fixture.places.passing()?;
        // A grant's deadline is whole seconds after its request's creation, which is stamped in whole seconds too.
        let passed = Duration::from_nanos(Timestamp::now().subsec_nanosecond().unsigned_abs().into());
        if passed > LATE_IN_A_SECOND {
            tokio::time::sleep(Duration::from_secs(1).saturating_sub(passed)).await;
        }
        let left = deadline.duration_since(whole_seconds(Timestamp::now())).as_secs().max(2);
        let (_, binding) = ask(&place, &format!("{left}s")).await?;
        fixture.bindings.comes(&binding).await?;
        Ok::<_, Failure>(binding)
    });
    let made: Vec<String> = stream::iter(all).buffer_unordered(WORKERS).try_collect().await?;
    let mut ends = Vec::new();
    for binding in made {
        let (sight, gone) = fixture.bindings.goes(&binding).await?;
        ends.push((sight.deadline.ok_or("a binding without a deadline")?, gone));
    }
    Ok(ends)
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn share(of: usize, times: usize) -> f64 {
    of as f64 / times as f64
}
