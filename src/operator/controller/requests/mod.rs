//! Requests: gather, decide, apply, report.
//!
//! The holder of the Lease decides every request. The other replicas only take away, and only where the holder has not.

mod apply;
mod gather;
pub mod report;
mod turns;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use self::turns::{Turn, Turns};
use super::{context::Context, owed::RecordError};
use crate::{
    gather::{
        live::{self, StoredRequest},
        surroundings::Source,
    },
    queue::Next,
    revoker::end::EndError,
};
use api::{ApprovalPolicySpec, Reason, State, request::ReviewState};
pub(super) use apply::delete_decisions;
use domain::{
    Binding, BindingAction, Lookup, Object, Record, Refusal, RequestFacts, Snapshot, Unread, Verdict, decide, person::Identity, policy,
};
use kube_io::{
    cache::Key,
    call::{ReadError, WriteError},
    horizon::AsOf,
};

/// How long after a deadline the request is looked at even if nobody said that the binding went.
const MAKING_SURE: TimeDelta = TimeDelta::seconds(5);
/// How long a replica without the Lease leaves a change to the holder before it looks itself.
pub const HOLDERS_TIME: TimeDelta = TimeDelta::milliseconds(500);
/// How long the record of an end waits at most for others whose time is up, and how long until it looks whether it must.
const OTHERS_FIRST: TimeDelta = TimeDelta::seconds(2);
const OTHERS_MEANWHILE: Duration = Duration::from_millis(100);
/// How soon an end is tried again that failed: it is somebody's access, and must not wait longer the longer it fails.
const END_AGAIN: Duration = Duration::from_secs(1);
/// How old a request may be that was made a moment ago. Its creation is told in whole seconds.
const MOMENT: TimeDelta = TimeDelta::seconds(3);

/// Why a request could not be worked on. It is tried again; nothing is granted meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Something could not be read.
    #[error(transparent)]
    Gather(#[from] ReadError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The review that an emergency owes could not be recorded.
    #[error("the review of the emergency cannot be recorded, so it is not granted: {0}")]
    Record(#[from] RecordError),
    /// A binding could not be ended.
    #[error(transparent)]
    End(#[from] EndError),
    /// A binding is held by a foreign finalizer; it grants nothing any more.
    #[error("somebody's finalizer holds RoleBinding '{0}'; it has no subjects and grants nothing")]
    Held(Key),
    /// A binding was there and is not any more.
    #[error("the binding went away between two calls")]
    Moved,
    /// The Lease went away between the decision and the grant.
    #[error("this replica lost the Lease before it could grant")]
    NotLeading,
    /// The guards are no longer proven, as the last look before the grant shows.
    #[error("{0}")]
    Unconfirmed(Refusal),
    /// The grant would end as soon as it is made.
    #[error("the grant would be over before it is made")]
    DeadlineExceeded(DateTime<Utc>),
}

/// What is known of a request, and what follows from it.
struct Judged {
    snapshot: Snapshot,
    verdict: Verdict,
}

impl Judged {
    fn removes(&self) -> bool {
        self.verdict.binding == BindingAction::Remove
    }
}

/// Works on requests, one key at a time.
pub struct Requests {
    context: Arc<Context>,
    /// One request of a person under an eligibility in a namespace is decided at a time, so that two at once cannot both be granted (T51).
    turns: Turns<(String, String, Identity)>,
    /// One undecided request of a person at a time where their requests are limited (invariant 27).
    people: Turns<Identity>,
    /// Requests of which the next look lists the decisions as of now, whatever else is known: they were granted before it was done.
    unsure: parking_lot::Mutex<HashSet<Key>>,
    /// Since when something should have been taken away that the holder of the Lease left.
    due: parking_lot::Mutex<HashMap<Key, DateTime<Utc>>>,
}

impl Requests {
    /// Works with what `context` holds.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let (turns, people) = (Turns::new(context.waiting.clone()), Turns::new(context.waiting.clone()));
        Self { context, turns, people, unsure: parking_lot::Mutex::default(), due: parking_lot::Mutex::default() }
    }

    /// Brings one request to where it should be.
    pub async fn work(&self, key: Key) -> Next {
        if self.others_first(&key) {
            return Next::In(OTHERS_MEANWHILE);
        }
        let leading = self.context.leadership.held();
        let outcome = if leading { Box::pin(self.lead(&key)).await } else { Box::pin(self.stand_by(&key)).await };
        match outcome {
            Ok(next) => next,
            Err(RequestError::NotLeading) => Next::Done,
            Err(RequestError::DeadlineExceeded(deadline)) => Next::At(deadline),
            Err(RequestError::End(error)) => {
                warn!(request = %key, %error, "its binding cannot be ended yet");
                Next::In(END_AGAIN)
            }
            Err(error) => {
                warn!(request = %key, %error, "the request must wait");
                Next::Retry
            }
        }
    }

    /// True where only the end of a grant is to be recorded while others have access for longer than they should.
    fn others_first(&self, key: &Key) -> bool {
        let Some(Lookup::Found(told)) = self.context.requests.get(key) else { return false };
        let record = &told.record;
        let since_its_end = record.expires_at.map(|end| self.context.now() - end);
        let is_over =
            record.state == Some(State::Active) && since_its_end.is_some_and(|since| (TimeDelta::zero()..OTHERS_FIRST).contains(&since));
        is_over && self.context.revoker.is_ending() && self.context.revoker.index().of_request(key).is_empty()
    }

    /// The holder's way: gather, decide, apply, report.
    async fn lead(&self, key: &Key) -> Result<Next, RequestError> {
        if let Some(done) = Box::pin(self.lead_at_once(key)).await? {
            return Ok(done);
        }
        // What the cache says of it is enough to see that it must wait, and costs no call.
        if let Some(Lookup::Found(told)) = self.context.requests.get(key)
            && (self.turns.must_wait(&self.turn(&told), key) || self.people.must_wait(&self.turn_of_person(&told), key))
        {
            return Ok(Next::In(turns::AT_LEAST));
        }
        let found = match live::request(&self.context.client, &key.namespace, &key.name).await? {
            Lookup::Found(found) => found,
            Lookup::Absent | Lookup::Deleting(_) => return self.without_request(key, None).await,
            Lookup::Unreadable(why) => {
                error!(request = %key, why, "the request cannot be read: no grant");
                return Ok(Next::Done);
            }
        };
        if found.facts.object.deleting {
            self.without_request(key, Some(&found.facts)).await?;
            return Ok(Next::Done);
        }
        self.remove_strays(key, &found.facts).await?;
        if found.facts.record.state.is_some_and(State::is_terminal) {
            return self.review(&found).await;
        }
        let Some(_turn) = self.turns.take(self.turn(&found.facts), key) else { return Ok(Next::In(turns::AT_LEAST)) };
        let Some(person) = self.people.take(self.turn_of_person(&found.facts), key) else { return Ok(Next::In(turns::AT_LEAST)) };
        let as_of = self.decisions_as_of(key, &found.facts);
        let judged = self.judge(&found.facts, Source::Cache, as_of).await?;
        self.settle(key, &found, judged, as_of, person).await
    }

    /// The same for a request that needs nobody and was seen for the first time: what stands around it is read beside it, not after it.
    /// None where it is another one than the watch told, no such request, or where what was decided on was read too long ago.
    async fn lead_at_once(&self, key: &Key) -> Result<Option<Next>, RequestError> {
        let Some(Lookup::Found(told)) = self.context.requests.get(key).filter(|told| told.found().is_some_and(|told| self.is_new(told)))
        else {
            return Ok(None);
        };
        let as_of = self.decisions_as_of(key, &told);
        if as_of == AsOf::Now {
            return Ok(None);
        }
        let Some(_turn) = self.turns.take(self.turn(&told), key) else { return Ok(Some(Next::In(turns::AT_LEAST))) };
        let Some(person) = self.people.take(self.turn_of_person(&told), key) else { return Ok(Some(Next::In(turns::AT_LEAST))) };
        let request = live::request(&self.context.client, &key.namespace, &key.name);
        let judge = async { (self.judge(&told, Source::Cache, as_of).await, Instant::now()) };
        let (found, (judged, at)) = tokio::join!(request, judge);
        match found? {
            Lookup::Found(found) if found.facts == *told && at.elapsed() <= gather::BESIDE => {
                self.remove_strays(key, &found.facts).await?;
                self.settle(key, &found, judged?, as_of, person).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Gathers and decides.
    async fn judge(&self, facts: &RequestFacts, source: Source, decisions: AsOf) -> Result<Judged, RequestError> {
        let snapshot = Box::pin(self.gather(facts, source, decisions)).await?;
        let verdict = decide(&snapshot, &self.context.settings, self.context.now());
        Ok(Judged { snapshot, verdict })
    }

    /// Applies and reports.
    async fn settle(
        &self,
        key: &Key,
        found: &StoredRequest,
        mut judged: Judged,
        mut as_of: AsOf,
        mut person: Turn<'_, Identity>,
    ) -> Result<Next, RequestError> {
        // What runs on may rest on caches, since whatever they missed revokes it as soon as they see it. A denial may not, and a grant rests
        // on what was read just now.
        if !may_rest_on_caches(&judged.verdict) {
            as_of = AsOf::Now;
            judged = self.judge(&found.facts, Source::Server, as_of).await?;
        }
        // The policy limits what a person may have, and the cache did not say so: what was listed without their turn may be more by now.
        if judged.verdict.binding == BindingAction::Create
            && !person.has_name()
            && is_limited(judged.snapshot.policy.found().map(AsRef::as_ref))
        {
            let Some(turn) = self.people.take(self.person(&found.facts), key) else { return Ok(Next::In(turns::AT_LEAST)) };
            person = turn;
            judged = self.judge(&found.facts, Source::Server, as_of).await?;
        }
        let Judged { snapshot, verdict } = judged;
        let lists_later = verdict.binding == BindingAction::Create && as_of != AsOf::Now;
        if lists_later {
            self.lock_unsure().insert(key.clone());
        } else if as_of == AsOf::Now {
            self.lock_unsure().remove(key);
        }
        let applied = self.apply(snapshot, verdict).await?;
        if lists_later {
            let client = &self.context.client;
            let (reported, decisions) =
                tokio::join!(self.report(&found.stored, &applied), live::decisions(client, &found.facts, AsOf::Now, None));
            reported?;
            let (decisions, unread) = decisions?;
            if !decisions.is_empty() || unread != Unread::default() {
                return Ok(Next::In(Duration::ZERO));
            }
            self.lock_unsure().remove(key);
        } else {
            self.report(&found.stored, &applied).await?;
        }
        drop(person);
        if applied.verdict.state.is_terminal() {
            self.context.has_ended(key, &found.stored);
        }
        Ok(if applied.retry { Next::Retry } else { look_again(&applied) })
    }

    /// The way of the others: take away what the holder should have taken away.
    async fn stand_by(&self, key: &Key) -> Result<Next, RequestError> {
        if self.context.revoker.index().of_request(key).is_empty() {
            self.lock_due().remove(key);
            return Ok(Next::Done);
        }
        // Mostly there is nothing to do, and the caches say so. They take nothing away.
        let as_of = self.context.decisions.as_of();
        if let Some(Lookup::Found(told)) = self.context.requests.get(key)
            && !is_over(&told)
            && self.strays(key, &told).is_empty()
            && !self.judge(&told, Source::Cache, as_of).await?.removes()
        {
            self.lock_due().remove(key);
            return Ok(Next::Done);
        }
        let facts = match live::request(&self.context.client, &key.namespace, &key.name).await? {
            Lookup::Found(found) => found.facts,
            Lookup::Absent | Lookup::Deleting(_) => return self.without_request(key, None).await,
            Lookup::Unreadable(_) => return Ok(Next::Done),
        };
        let mut judged = None;
        if !is_over(&facts) {
            let found = self.judge(&facts, Source::Server, AsOf::Now).await?;
            if !found.removes() {
                self.lock_due().remove(key);
                return self.remove_strays(key, &facts).await.map(|()| Next::Done);
            }
            judged = Some(found);
        }
        let due = *self.lock_due().entry(key.clone()).or_insert_with(|| self.context.now() - HOLDERS_TIME);
        if let Some(wait) = self.context.revoker.wait(due) {
            return Ok(Next::In(wait));
        }
        debug!(request = %key, "taking away what the holder of the Lease did not");
        match judged {
            Some(Judged { snapshot, verdict }) => {
                self.remove(&snapshot).await?;
                self.remove_links(&snapshot, &verdict).await?;
            }
            None if facts.object.deleting => return self.without_request(key, None).await,
            None => self.remove_strays(key, &facts).await?,
        }
        self.lock_due().remove(key);
        Ok(Next::Done)
    }

    /// How new the list of a request's decisions must be.
    ///
    /// A list as of now may take a tenth of a second, and is what a grant rests on: nobody gets what was denied a while ago because
    /// some cache is behind. Two looks need less. One that only goes on with a grant: what it does not know of comes by the watch, as
    /// it would have without this look. And the first at a request that was made a moment ago and needs nobody: a Deny would have had to
    /// come within that moment, in which it could as well have come after the grant; so the list as of now follows right behind.
    fn decisions_as_of(&self, key: &Key, facts: &RequestFacts) -> AsOf {
        let goes_on = facts.record.state == Some(State::Active);
        if (goes_on || self.is_new(facts)) && !self.lock_unsure().contains(key) { self.context.decisions.as_of() } else { AsOf::Now }
    }

    /// True for a request that was made a moment ago, that nobody has looked at yet, and that needs nobody's approval.
    fn is_new(&self, facts: &RequestFacts) -> bool {
        let age = self.context.now() - facts.object.created;
        let untouched = facts.record == Record::default() && !facts.object.deleting && facts.object.spec.start_time.is_none();
        untouched && (TimeDelta::zero()..MOMENT).contains(&age) && self.needs_nobody(facts)
    }

    fn needs_nobody(&self, facts: &RequestFacts) -> bool {
        let world = &self.context.world;
        let policy = world.policy_of(&facts.object.spec.eligibility_ref.name);
        let policy = policy.and_then(|policy| world.policies.get(&Key::cluster(policy)));
        policy.as_ref().and_then(Lookup::found).is_some_and(|policy| policy::is_automatic(&policy.spec))
    }

    fn lock_unsure(&self) -> parking_lot::MutexGuard<'_, HashSet<Key>> {
        self.unsure.lock()
    }

    fn lock_due(&self) -> parking_lot::MutexGuard<'_, HashMap<Key, DateTime<Utc>>> {
        self.due.lock()
    }

    /// The turn of a request among those of the same person for the same thing. What runs needs it too: the two ends of a chain tell
    /// each other why they ended.
    fn turn(&self, facts: &RequestFacts) -> Vec<(String, String, Identity)> {
        let of = |identity| (facts.namespace.clone(), facts.object.spec.eligibility_ref.name.clone(), identity);
        self.person(facts).into_iter().map(of).collect()
    }

    /// The turn among all requests of a person, where the policy limits how many they may have. A running grant never waits for it: no
    /// other request of that person may delay its end.
    fn turn_of_person(&self, facts: &RequestFacts) -> Vec<Identity> {
        if facts.record.state == Some(State::Active) {
            return Vec::new();
        }
        let world = &self.context.world;
        let policy = world.policy_of(&facts.object.spec.eligibility_ref.name).and_then(|policy| world.policies.get(&Key::cluster(policy)));
        let limited = policy.is_some_and(|policy| is_limited(policy.found().map(AsRef::as_ref)));
        if limited { self.person(facts) } else { Vec::new() }
    }

    fn person(&self, facts: &RequestFacts) -> Vec<Identity> {
        facts.object.spec.requester.as_ref().map(|requester| self.context.settings.identities.identities_of(requester)).unwrap_or_default()
    }
}

/// True for a request that may have no binding, whatever else there is.
fn is_over(facts: &RequestFacts) -> bool {
    facts.object.deleting || facts.record.state.is_some_and(State::is_terminal)
}

/// True where a policy limits how many requests a person may have.
fn is_limited(policy: Option<&Object<ApprovalPolicySpec>>) -> bool {
    let limits = policy.and_then(|policy| policy.spec.limits.as_ref());
    limits.is_some_and(|limits| limits.max_active_per_user.or(limits.max_pending_per_user).is_some())
}

/// When to look without being told. At the deadline of a grant the revoker acts and tells; that look only makes sure.
fn look_again(applied: &apply::Applied) -> Next {
    let record = &applied.snapshot.request.record;
    let deadline = applied.verdict.grant.as_ref().map(|grant| grant.deadline).or(record.expires_at);
    if let Some(review) =
        applied.verdict.review.as_ref().filter(|review| applied.verdict.state.is_terminal() && review.state == ReviewState::Owed)
    {
        return Next::At(review.deadline);
    }
    match applied.verdict.look_again {
        None => Next::Done,
        // Where it went a moment too early nobody tells of its end.
        Some(at) if applied.verdict.state == State::Active && Some(at) >= deadline && applied.snapshot.binding != Binding::Absent => {
            Next::At(at + MAKING_SURE)
        }
        Some(at) => Next::At(at),
    }
}

fn may_rest_on_caches(verdict: &Verdict) -> bool {
    // That the time is up, the record and the clock say.
    verdict.state == State::Active || (verdict.state == State::Expired && verdict.reason == Reason::Expired)
}
