//! Ended requests: kept as long as their policy says, then deleted with the decisions on them.
//!
//! They are in no cache, so that years of them cost no memory. What ends while this replica runs gets a timer if it may go soon; all
//! else the holder of the Lease finds on its rounds, at the start of its term and every hour: they list no more than metadata, and
//! of each request that was looked at it is remembered only until when it is kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Preconditions},
    core::DeserializeGuard,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    context::Context,
    requests::{RequestError, delete_decisions},
};
use crate::{
    gather::{
        live::{self, StoredRequest},
        surroundings::Source,
    },
    queue::Next,
};
use api::{RoleActivationRequest, conditions, request::ReviewState, selectors};
use domain::{
    Lookup, RequestFacts, duration,
    retention::{Kept, Past, kept, retention},
};
use kube_io::{
    cache::Key,
    call::{ReadError, read, write},
    horizon::AsOf,
};

/// How often the holder goes through all ended requests.
const ROUND: Duration = Duration::from_hours(1);
/// What may go later than this is left to the rounds, so that no timer is held for months.
const SOON: TimeDelta = TimeDelta::hours(2);
/// Pause before another attempt at a round that failed.
const AGAIN: Duration = Duration::from_secs(30);
/// Requests that are listed at a time: few, so that a round over years of them needs little memory at once.
const PAGE: u32 = 100;
/// Longest chain of prolongations that is followed; behind it a record is kept.
const LONGEST_CHAIN: usize = 64;

/// Works on ended requests.
pub struct EndedRequests {
    context: Arc<Context>,
    looked_at: Mutex<LookedAt>,
}

/// What is known of requests that were looked at.
#[derive(Default)]
struct LookedAt {
    /// Hash of what eligibilities and policies said of retention then; with another one the rest counts no longer.
    said: u64,
    /// By the hash of its UID until when a request is kept. Two of one hash cost one of them time and nothing else.
    until: HashMap<u64, DateTime<Utc>>,
}

impl EndedRequests {
    /// Works with what `context` holds.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, looked_at: Mutex::default() }
    }

    /// Deletes one ended request, or says when to look again.
    pub async fn work(&self, key: Key) -> Next {
        // Where nobody says how long to keep anything, nothing is read. Of a policy that says so since, the next round knows.
        if !self.context.leadership.held() || self.shortest().is_none() {
            return Next::Done;
        }
        match self.look(&key).await {
            Ok(Some(at)) if self.is_soon(at) => Next::At(at),
            Ok(_) => Next::Done,
            Err(error) => {
                warn!(request = %key, %error, "an ended request must wait for its deletion");
                Next::Retry
            }
        }
    }

    /// Goes through all ended requests when this replica becomes the holder, and now and then while it is.
    pub async fn rounds(&self, mut leading: watch::Receiver<bool>, stop: CancellationToken) {
        loop {
            let holds = *leading.borrow_and_update();
            let outcome = if holds { self.round().await } else { Ok(()) };
            let pause = outcome.map_or_else(
                |error| {
                    warn!(%error, "cannot go through the ended requests");
                    AGAIN
                },
                |()| ROUND,
            );
            tokio::select! {
                changed = leading.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Has all looked at that may be due.
    async fn round(&self) -> Result<(), ReadError> {
        let Some(shortest) = self.shortest() else {
            self.lock().until.clear();
            return Ok(());
        };
        let said = self.said();
        let known = {
            let mut known = self.lock();
            if known.said != said {
                *known = LookedAt { said, until: HashMap::new() };
            }
            known.until.clone()
        };
        let mut there = HashSet::new();
        let api: Api<RoleActivationRequest> = Api::all(self.context.client.clone());
        let mut page = ListParams::default().fields(&selectors::ended_states()).limit(PAGE);
        loop {
            let list = read(|| "the ended requests".to_owned(), api.list_metadata(&page)).await?;
            for meta in list.items.into_iter().map(|found| found.metadata) {
                let uid = hash(&meta.uid);
                there.insert(uid);
                // It cannot have ended before it was made.
                let made = meta.creation_timestamp.as_ref().map(conditions::from_time).unwrap_or_default();
                let at = known.get(&uid).copied().unwrap_or_else(|| made.checked_add_signed(shortest).unwrap_or(made));
                if self.is_soon(at) {
                    self.context.ended.add_at(Key::new(meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default()), at);
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        self.lock().until.retain(|uid, _| there.contains(uid));
        Ok(())
    }

    /// Deletes a request if it may go. Otherwise: at which instant it may, if anybody knows.
    async fn look(&self, key: &Key) -> Result<Option<DateTime<Utc>>, RequestError> {
        let Lookup::Found(found) = live::request(&self.context.client, &key.namespace, &key.name).await? else { return Ok(None) };
        // What goes already, others see to.
        if found.facts.object.deleting {
            return Ok(None);
        }
        let uid = hash(&found.stored.metadata.uid);
        let is_due = |kept: Kept| matches!(kept, Kept::Until(at) if at <= self.context.now());
        let mut kept = self.kept(&found, Source::Cache).await?;
        if is_due(kept) {
            // No record is lost because a cache is behind.
            kept = self.kept(&found, Source::Server).await?;
        }
        match kept {
            Kept::Until(at) if at <= self.context.now() => {
                self.delete(key, &found).await?;
                self.lock().until.remove(&uid);
                Ok(None)
            }
            Kept::Until(at) => {
                self.lock().until.insert(uid, at);
                Ok(Some(at))
            }
            Kept::ForEver => {
                self.lock().until.insert(uid, DateTime::<Utc>::MAX_UTC);
                Ok(None)
            }
            // A state, a review, a prolongation: whoever ends it has this looked at again, and so do the rounds.
            Kept::Meanwhile => Ok(None),
        }
    }

    /// How long a request is kept. Caches do not tell whether another one prolongs it.
    async fn kept(&self, found: &StoredRequest, source: Source) -> Result<Kept, ReadError> {
        let (facts, status) = (&found.facts, found.stored.status.clone().unwrap_or_default());
        let reviewed = status.review.as_ref().is_some_and(|review| review.state == ReviewState::Done);
        let past = Past {
            state: status.state,
            ended_at: status.ended_at,
            granted: status.granted_at.is_some(),
            // As long as its status does not say that it was, an emergency that was granted must still be reviewed.
            review_owed: facts.object.spec.emergency && status.granted_at.is_some() && !reviewed,
            prolonged: false,
        };
        let world = &self.context.world;
        let eligibility = world.eligibility(&facts.object.spec.eligibility_ref.name, source).await?;
        let policy = match eligibility.found() {
            Some(eligibility) => world.policy(&eligibility.spec.policy_ref.name, source).await?,
            None => Lookup::Absent,
        };
        let policy = policy.found().map(|policy| &policy.spec);
        match kept(past, policy) {
            // Asked for last and once: it costs most, and caches alone never delete anything.
            Kept::Until(at) if at <= self.context.now() && source == Source::Server => {
                Ok(kept(Past { prolonged: self.prolonged(facts).await?, ..past }, policy))
            }
            otherwise => Ok(otherwise),
        }
    }

    /// True while a live request prolongs this one, at once or over others that it prolongs, or where that cannot be told.
    async fn prolonged(&self, facts: &RequestFacts) -> Result<bool, ReadError> {
        let client = &self.context.client;
        let api: Api<DeserializeGuard<RoleActivationRequest>> = Api::namespaced(client.clone(), &facts.namespace);
        // Only under the same eligibility can one prolong another.
        let live = format!("{},{}", selectors::under_eligibility(&facts.object.spec.eligibility_ref.name), selectors::live_states());
        let list = read(|| format!("the live requests in '{}'", facts.namespace), api.list(&ListParams::default().fields(&live))).await?;
        for guard in list.items {
            let Ok(request) = guard.0 else { return Ok(true) };
            let mut base = request.spec.base().map(str::to_owned);
            let mut steps = 0;
            while let Some(name) = base {
                steps += 1;
                if name == facts.object.name || steps > LONGEST_CHAIN {
                    return Ok(true);
                }
                base = match live::request(client, &facts.namespace, &name).await? {
                    Lookup::Found(found) => found.stored.spec.base().map(str::to_owned),
                    Lookup::Absent | Lookup::Deleting(_) => None,
                    Lookup::Unreadable(_) => return Ok(true),
                };
            }
        }
        Ok(false)
    }

    /// Deletes the request that was looked at, and no other, with its decisions.
    async fn delete(&self, key: &Key, found: &StoredRequest) -> Result<(), RequestError> {
        let meta = &found.stored.metadata;
        let api: Api<RoleActivationRequest> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let only_this = Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
        let params = DeleteParams::background().preconditions(only_this);
        match write(|| format!("delete request '{key}'"), api.delete(&key.name, &params)).await {
            Ok(_) => {
                info!(request = %key, "an ended request was deleted: its retention is over");
                self.context.metrics.record_deleted();
            }
            Err(error) if error.answer().is_some_and(kube::core::Status::is_not_found) => {}
            Err(error) => return Err(error.into()),
        }
        // The garbage collector would do it, and does where this replica ends here.
        let mut pages = live::decision_pages(&self.context.client, &key.namespace, &key.name, AsOf::Now, None);
        while let Some(page) = pages.next().await? {
            let mine = page.iter().filter(|decision| decision.request_uid() == meta.uid.as_deref());
            delete_decisions(&self.context.client, &key.namespace, mine).await?;
        }
        Ok(())
    }

    fn is_soon(&self, at: DateTime<Utc>) -> bool {
        at.signed_duration_since(self.context.now()) < SOON
    }

    /// The shortest time for which a policy keeps anything; none where none says how long.
    fn shortest(&self) -> Option<TimeDelta> {
        let policies = &self.context.world.policies;
        policies.pick(|_, policy| retention(&policy.found()?.spec)).into_iter().min().map(TimeDelta::from)
    }

    /// What eligibilities and policies say of how long records are kept, as a hash.
    fn said(&self) -> u64 {
        let world = &self.context.world;
        let policies: BTreeMap<String, _> = world
            .policies
            .pick(|key, policy| {
                let spec = &policy.found()?.spec;
                Some((key.name.clone(), (retention(spec), duration::limits(spec).cooldown)))
            })
            .into_iter()
            .collect();
        let mut said = world.eligibilities.pick(|key, eligibility| {
            let policy = &eligibility.found()?.spec.policy_ref.name;
            Some((key.name.clone(), policies.get(policy).copied()))
        });
        said.sort();
        hash(&said)
    }

    fn lock(&self) -> MutexGuard<'_, LookedAt> {
        self.looked_at.lock()
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
