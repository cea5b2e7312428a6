//! The retention of completed requests: they are kept as long as their policy requires, and then deleted with their decisions.
//!
//! No cache contains them, so that years of them need no memory. A request that completes while this replica runs gets a timer if it may be
//! deleted soon. The leader finds all others in its rounds, at the start of its term and every hour. A round lists only metadata, and keeps
//! of each checked request only until when it is kept.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Preconditions},
    core::DeserializeGuard,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    context::Context,
    requests::{RequestError, delete_decisions},
};
use crate::{
    gather::{
        caches::Source,
        live::{self, StoredRequest},
        recorded,
    },
    queue::Next,
};
use api::{RoleActivationRequest, conditions, request::ReviewState, selectors};
use domain::{
    Lookup, RequestFacts, duration,
    retention::{Kept, Past, kept, retention},
};
use kube_io::{
    cache::{Key, version},
    call::{ReadError, read, write},
    consistency::Consistency,
};

/// How often the leader goes through all completed requests.
const ROUND: Duration = Duration::from_hours(1);
/// Requests that are kept longer than this get no timer, so that no timer runs for months. The rounds find them.
const SOON: SignedDuration = SignedDuration::from_hours(2);
/// The delay before a failed round is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// The delay before a request that is not in the audit log yet is checked again. The record writes a checkpoint every 10 seconds.
const RECORDED_AGAIN: SignedDuration = SignedDuration::from_secs(15);
/// The page size of the list of requests. It is small, so that a round over years of them needs little memory at once.
const PAGE: u32 = 100;
/// The longest extension chain that is followed. Behind a longer one a record is kept.
const LONGEST_CHAIN: usize = 64;

/// The reconciler of completed requests.
pub struct EndedRequests {
    context: Arc<Context>,
    looked_at: Mutex<LookedAt>,
}

/// The results of earlier checks.
#[derive(Default)]
struct LookedAt {
    /// The hash of the retention settings of all eligibilities and policies. With another hash the results are no longer valid.
    said: u64,
    /// Until when a request is kept, by the hash of its UID. A collision of two hashes only costs another check.
    until: HashMap<u64, Timestamp>,
}

impl EndedRequests {
    /// Returns a reconciler that uses `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, looked_at: Mutex::default() }
    }

    /// Deletes one completed request, or returns when to check it again.
    pub async fn work(&self, key: Key) -> Next {
        // Without any retention setting nothing is read. The next round applies a setting that a policy gets later.
        if !self.context.leadership.held() || self.shortest().is_none() {
            return Next::Done;
        }
        match self.look(&key).await {
            Ok(Some(at)) if self.is_soon(at) => Next::At(at),
            Ok(_) => Next::Done,
            Err(error) => {
                warn!(request = %key, %error, "cannot check the retention of a completed request, retrying");
                Next::Retry
            }
        }
    }

    /// Goes through all completed requests when this replica becomes the leader, and periodically while it is.
    pub async fn rounds(&self, mut leading: watch::Receiver<bool>, stop: CancellationToken) {
        loop {
            let holds = *leading.borrow_and_update();
            let outcome = if holds { self.round().await } else { Ok(()) };
            let pause = outcome.map_or_else(
                |error| {
                    warn!(%error, "cannot check the completed requests, retrying");
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

    /// Queues all requests whose retention may have passed.
    async fn round(&self) -> Result<(), ReadError> {
        let Some(shortest) = self.shortest() else {
            self.looked_at.lock().until.clear();
            return Ok(());
        };
        let said = self.said();
        let known = {
            let mut known = self.looked_at.lock();
            if known.said != said {
                *known = LookedAt { said, until: HashMap::new() };
            }
            known.until.clone()
        };
        let mut there = HashSet::new();
        let api: Api<RoleActivationRequest> = Api::all(self.context.client.clone());
        let mut page = ListParams::default().fields(&selectors::ended_states()).limit(PAGE);
        loop {
            let list = read(|| "the completed requests".to_owned(), api.list_metadata(&page)).await?;
            for meta in list.items.into_iter().map(|found| found.metadata) {
                let uid = hash(&meta.uid);
                there.insert(uid);
                // A request cannot have completed before it was created.
                let made = meta.creation_timestamp.as_ref().map(conditions::from_time).unwrap_or_default();
                let at = known.get(&uid).copied().unwrap_or_else(|| made.checked_add(shortest).unwrap_or(made));
                if self.is_soon(at) {
                    self.context.ended.add_at(Key::new(meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default()), at);
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        self.looked_at.lock().until.retain(|uid, _| there.contains(uid));
        Ok(())
    }

    /// Deletes a request whose retention has passed. Otherwise returns until when it is kept, if that is known.
    async fn look(&self, key: &Key) -> Result<Option<Timestamp>, RequestError> {
        let Lookup::Found(found) = live::request(&self.context.client, &key.namespace, &key.name).await? else { return Ok(None) };
        // A request that is being deleted needs no second delete.
        if found.facts.object.deleting {
            return Ok(None);
        }
        let uid = hash(&found.stored.metadata.uid);
        let is_due = |kept: Kept| matches!(kept, Kept::Until(at) if at <= self.context.now());
        let mut kept = self.kept(&found, Source::Cache).await?;
        if is_due(kept) {
            // The check is repeated without caches, so that a stale cache loses no record.
            kept = self.kept(&found, Source::Server).await?;
        }
        match kept {
            Kept::Until(at) if at <= self.context.now() => {
                self.delete(key, &found).await?;
                self.looked_at.lock().until.remove(&uid);
                Ok(None)
            }
            Kept::Until(at) => {
                self.looked_at.lock().until.insert(uid, at);
                Ok(Some(at))
            }
            Kept::ForEver => {
                self.looked_at.lock().until.insert(uid, Timestamp::MAX);
                Ok(None)
            }
            // A later state, review or end of an extension queues this request again, and the rounds check it as well.
            Kept::Meanwhile => Ok(None),
            Kept::UntilRecorded => Ok(self.context.now().checked_add(RECORDED_AGAIN).ok()),
        }
    }

    /// Returns how long a request is kept. The caches do not contain whether another request extends it.
    async fn kept(&self, found: &StoredRequest, source: Source) -> Result<Kept, ReadError> {
        let (facts, status) = (&found.facts, found.stored.status.clone().unwrap_or_default());
        let reviewed = status.review.as_ref().is_some_and(|review| review.state == ReviewState::Done);
        let past = Past {
            state: status.state,
            ended_at: status.ended_at,
            granted: status.granted_at.is_some(),
            // A granted emergency must be reviewed until its status shows that it was.
            review_owed: facts.object.spec.emergency && status.granted_at.is_some() && !reviewed,
            prolonged: false,
            unrecorded: false,
        };
        let caches = &self.context.caches;
        let eligibility = caches.eligibility(&facts.object.spec.eligibility_ref.name, source).await?;
        let policy = match eligibility.found() {
            Some(eligibility) => caches.policy(&eligibility.spec.policy_ref.name, source).await?,
            None => Lookup::Absent,
        };
        let policy = policy.found().map(|policy| &policy.spec);
        match kept(past, policy) {
            // This read comes last and is made once, because it costs most. Caches alone never cause a deletion.
            Kept::Until(at) if at <= self.context.now() && source == Source::Server => {
                let (prolonged, unrecorded) = (self.prolonged(facts).await?, self.unrecorded(found).await?);
                Ok(kept(Past { prolonged, unrecorded, ..past }, policy))
            }
            otherwise => Ok(otherwise),
        }
    }

    /// Returns true while an active or pending request extends this one, directly or through a chain, or where that is unknown.
    async fn prolonged(&self, facts: &RequestFacts) -> Result<bool, ReadError> {
        let client = &self.context.client;
        let api: Api<DeserializeGuard<RoleActivationRequest>> = Api::namespaced(client.clone(), &facts.namespace);
        // A request can extend only one under the same eligibility.
        let live = format!("{},{}", selectors::under_eligibility(&facts.object.spec.eligibility_ref.name), selectors::live_states());
        let what = || format!("the active and pending requests in '{}'", facts.namespace);
        let list = read(what, api.list(&ListParams::default().fields(&live))).await?;
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

    /// Returns true while the audit log, where there is one, may not have every transition of a request. Each transition is a change of the
    /// stored request, so its version says whether the record has read it (T91).
    async fn unrecorded(&self, found: &StoredRequest) -> Result<bool, ReadError> {
        let mark = recorded::mark(&self.context.client, &self.context.config).await?;
        let version = version(&found.stored.metadata);
        Ok(mark.is_some_and(|mark| version == 0 || version > mark.version))
    }

    /// Deletes the request that was checked, with its decisions. It deletes no other request of the same name.
    async fn delete(&self, key: &Key, found: &StoredRequest) -> Result<(), RequestError> {
        let meta = &found.stored.metadata;
        let api: Api<RoleActivationRequest> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let only_this = Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
        let params = DeleteParams::background().preconditions(only_this);
        match write(|| format!("delete request '{key}'"), api.delete(&key.name, &params)).await {
            Ok(_) => {
                info!(request = %key, "completed request deleted: its retention has passed");
                self.context.metrics.record_deleted();
            }
            Err(error) if error.answer().is_some_and(kube::core::Status::is_not_found) => {}
            Err(error) => return Err(error.into()),
        }
        // The garbage collector deletes the decisions too, for instance where this replica stops here.
        let mut pages = live::decision_pages(&self.context.client, &key.namespace, &key.name, Consistency::Latest, None);
        while let Some(page) = pages.next().await? {
            let mine = page.iter().filter(|decision| decision.request_uid() == meta.uid.as_deref());
            delete_decisions(&self.context.client, &key.namespace, mine).await?;
        }
        Ok(())
    }

    fn is_soon(&self, at: Timestamp) -> bool {
        at.duration_since(self.context.now()) < SOON
    }

    /// Returns the shortest retention of any policy, or none where no policy sets one.
    fn shortest(&self) -> Option<SignedDuration> {
        let policies = &self.context.caches.policies;
        policies.pick(|_, policy| retention(&policy.found()?.spec)).into_iter().min().map(SignedDuration::from)
    }

    /// Returns a hash of the retention settings of all eligibilities and policies.
    fn said(&self) -> u64 {
        let caches = &self.context.caches;
        let policies: BTreeMap<String, _> = caches
            .policies
            .pick(|key, policy| {
                let spec = &policy.found()?.spec;
                Some((key.name.clone(), (retention(spec), duration::limits(spec).cooldown)))
            })
            .into_iter()
            .collect();
        let mut said = caches.eligibilities.pick(|key, eligibility| {
            let policy = &eligibility.found()?.spec.policy_ref.name;
            Some((key.name.clone(), policies.get(policy).copied()))
        });
        said.sort();
        hash(&said)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
