//! Gathering and deciding: which reads a verdict may rest on, and which requests must not be decided concurrently.

use jiff::SignedDuration;
use tokio::time::Instant;
use tracing::error;

use super::{
    gather,
    permits::{self, HeldPermits},
    reconciler::{RequestError, Requests},
};
use crate::{
    gather::{
        caches::Source,
        live::{self, StoredRequest},
    },
    queue::Next,
};
use api::{ApprovalPolicySpec, Reason, State};
use domain::{BindingAction, Lookup, Object, Record, RequestFacts, Snapshot, Verdict, decide, person::Identity, policy};
use kube_io::{cache::Key, consistency::Consistency};

/// The maximum age of a new request. Its creation timestamp is in whole seconds.
const NEW_FOR: SignedDuration = SignedDuration::from_secs(3);

/// A verdict and the snapshot that it rests on.
pub(super) struct Evaluated {
    pub(super) snapshot: Snapshot,
    pub(super) verdict: Verdict,
}

impl Evaluated {
    pub(super) fn removes(&self) -> bool {
        self.verdict.binding == BindingAction::Remove
    }
}

/// The permits that a request holds while it is decided.
pub(super) struct Permits<'t> {
    /// The permit among all requests of the user, where the policy limits how many they may have.
    pub(super) user: HeldPermits<'t, Identity>,
    /// The permit among the requests of the user for the same eligibility.
    _eligibility: HeldPermits<'t, (String, String, Identity)>,
}

/// A request that was decided and is to be applied.
pub(super) struct Decided<'t> {
    pub(super) found: StoredRequest,
    pub(super) evaluated: Evaluated,
    /// The consistency of the list of decisions that the verdict rests on.
    pub(super) consistency: Consistency,
    pub(super) permits: Permits<'t>,
}

/// The outcome of gathering and deciding.
pub(super) enum Step<'t> {
    /// There is a verdict to apply.
    Decided(Box<Decided<'t>>),
    /// There is nothing to apply.
    Finished(Next),
}

impl Requests {
    /// Gathers and decides. A verdict that must not rest on caches is evaluated again with consistent reads.
    pub(super) async fn gather_and_decide(&self, key: &Key) -> Result<Step<'_>, RequestError> {
        let step = match Box::pin(self.evaluate_new(key)).await? {
            Some(step) => step,
            None => Box::pin(self.evaluate_stored(key)).await?,
        };
        match step {
            Step::Decided(decided) => self.verify(key, decided).await,
            Step::Finished(next) => Ok(Step::Finished(next)),
        }
    }

    /// Returns the verdict on a new request under an automatic policy. The stored request and its context are read in parallel.
    ///
    /// Returns none for every other request. Returns none also if the stored request differs from the cached one, or if the context was
    /// read too long ago. Then [`Self::evaluate_stored`] decides.
    async fn evaluate_new(&self, key: &Key) -> Result<Option<Step<'_>>, RequestError> {
        let Some(Lookup::Found(cached)) =
            self.context.requests.get(key).filter(|cached| cached.found().is_some_and(|facts| self.is_new(facts)))
        else {
            return Ok(None);
        };
        let consistency = self.decisions_as_of(key, &cached);
        if consistency == Consistency::Latest {
            return Ok(None);
        }
        let Some(permits) = self.take_permits(&cached, key) else { return Ok(Some(Step::Finished(Next::In(permits::AT_LEAST)))) };
        let request = live::request(&self.context.client, &key.namespace, &key.name);
        let evaluate = async { (self.evaluate(&cached, Source::Cache, consistency).await, Instant::now()) };
        let (found, (evaluated, at)) = tokio::join!(request, evaluate);
        match found? {
            Lookup::Found(found) if found.facts == *cached && at.elapsed() <= gather::BESIDE => {
                self.remove_strays(key, &found.facts).await?;
                let evaluated = evaluated?;
                Ok(Some(Step::Decided(Box::new(Decided { found, evaluated, consistency, permits }))))
            }
            _ => Ok(None),
        }
    }

    /// Returns the verdict on any request. The stored request is read first, and then the facts that the verdict rests on.
    async fn evaluate_stored(&self, key: &Key) -> Result<Step<'_>, RequestError> {
        // The cached request is enough to detect that it must wait, and costs no call.
        if let Some(Lookup::Found(cached)) = self.context.requests.get(key)
            && (self.permits.must_wait(&self.turn(&cached), key) || self.people.must_wait(&self.turn_of_person(&cached), key))
        {
            return Ok(Step::Finished(Next::In(permits::AT_LEAST)));
        }
        let found = match live::request(&self.context.client, &key.namespace, &key.name).await? {
            Lookup::Found(found) => found,
            Lookup::Absent | Lookup::Deleting(_) => return self.without_request(key, None).await.map(Step::Finished),
            Lookup::Unreadable(why) => {
                error!(request = %key, why, "the request cannot be read: not granted");
                return Ok(Step::Finished(Next::Done));
            }
        };
        if found.facts.object.deleting {
            self.without_request(key, Some(&found.facts)).await?;
            return Ok(Step::Finished(Next::Done));
        }
        self.remove_strays(key, &found.facts).await?;
        if found.facts.record.state.is_some_and(State::is_terminal) {
            return self.review(&found).await.map(Step::Finished);
        }
        let Some(permits) = self.take_permits(&found.facts, key) else { return Ok(Step::Finished(Next::In(permits::AT_LEAST))) };
        let consistency = self.decisions_as_of(key, &found.facts);
        let evaluated = self.evaluate(&found.facts, Source::Cache, consistency).await?;
        Ok(Step::Decided(Box::new(Decided { found, evaluated, consistency, permits })))
    }

    /// Gathers and decides once.
    pub(super) async fn evaluate(&self, facts: &RequestFacts, source: Source, decisions: Consistency) -> Result<Evaluated, RequestError> {
        let snapshot = Box::pin(self.gather(facts, source, decisions)).await?;
        let verdict = decide(&snapshot, &self.context.settings, self.context.now());
        Ok(Evaluated { snapshot, verdict })
    }

    /// Evaluates a verdict again if it rests on facts that may be stale and must not.
    async fn verify<'t>(&'t self, key: &Key, mut decided: Box<Decided<'t>>) -> Result<Step<'t>, RequestError> {
        // A continuing grant may rest on caches: an object that they lack revokes it when its watch delivers the object. A denial may not,
        // and a new grant rests on what was read just now.
        if !may_rest_on_caches(&decided.evaluated.verdict) {
            decided.consistency = Consistency::Latest;
            decided.evaluated = self.evaluate(&decided.found.facts, Source::Server, Consistency::Latest).await?;
        }
        // The stored policy limits requests per user, and the cached policy did not. Without the permit of the user, the listed requests
        // may be outdated.
        if decided.evaluated.verdict.binding == BindingAction::Create
            && !decided.permits.user.has_name()
            && is_limited(decided.evaluated.snapshot.policy.found().map(AsRef::as_ref))
        {
            let Some(user) = self.people.take(self.person(&decided.found.facts), key) else {
                return Ok(Step::Finished(Next::In(permits::AT_LEAST)));
            };
            decided.permits.user = user;
            decided.evaluated = self.evaluate(&decided.found.facts, Source::Server, decided.consistency).await?;
        }
        Ok(Step::Decided(decided))
    }

    /// Takes both permits of a request, or none.
    fn take_permits(&self, facts: &RequestFacts, key: &Key) -> Option<Permits<'_>> {
        let eligibility = self.permits.take(self.turn(facts), key)?;
        let user = self.people.take(self.turn_of_person(facts), key)?;
        Some(Permits { user, _eligibility: eligibility })
    }

    /// Returns the consistency that the list of a request's decisions needs.
    ///
    /// A consistent list may take a tenth of a second. A grant rests on one, so that a stale cache cannot grant what was denied earlier.
    /// Two cases need less. For an active request, the watch delivers what a cached list lacks, as it would have without this
    /// reconciliation. For a new request under an automatic policy, a Deny that the cache lacks is at most as old as the request. Such a
    /// Deny could as well have come after the grant, so the consistent list follows right after the grant.
    fn decisions_as_of(&self, key: &Key, facts: &RequestFacts) -> Consistency {
        let goes_on = facts.record.state == Some(State::Active);
        if (goes_on || self.is_new(facts)) && !self.unlisted.lock().contains(key) {
            self.context.decisions.consistency()
        } else {
            Consistency::Latest
        }
    }

    /// Returns true for a recent request that was not reconciled yet and that needs no approval.
    fn is_new(&self, facts: &RequestFacts) -> bool {
        let age = self.context.now().duration_since(facts.object.created);
        let untouched = facts.record == Record::default() && !facts.object.deleting && facts.object.spec.start_time.is_none();
        untouched && (SignedDuration::ZERO..NEW_FOR).contains(&age) && self.needs_nobody(facts)
    }

    fn needs_nobody(&self, facts: &RequestFacts) -> bool {
        let caches = &self.context.caches;
        let policy = caches.policy_of(&facts.object.spec.eligibility_ref.name);
        let policy = policy.and_then(|policy| caches.policies.get(&Key::cluster(policy)));
        policy.as_ref().and_then(Lookup::found).is_some_and(|policy| policy::is_automatic(&policy.spec))
    }

    /// Returns the names of the permit among the requests of the same person for the same eligibility and namespace. An active request
    /// needs it too, because the ends of an extension chain depend on each other.
    fn turn(&self, facts: &RequestFacts) -> Vec<(String, String, Identity)> {
        let of = |identity| (facts.namespace.clone(), facts.object.spec.eligibility_ref.name.clone(), identity);
        self.person(facts).into_iter().map(of).collect()
    }

    /// Returns the names of the permit among all requests of a person, where the policy limits how many they may have. An active request
    /// never waits for it, because no other request of that person may delay its end.
    fn turn_of_person(&self, facts: &RequestFacts) -> Vec<Identity> {
        if facts.record.state == Some(State::Active) {
            return Vec::new();
        }
        let caches = &self.context.caches;
        let policy =
            caches.policy_of(&facts.object.spec.eligibility_ref.name).and_then(|policy| caches.policies.get(&Key::cluster(policy)));
        let limited = policy.is_some_and(|policy| is_limited(policy.found().map(AsRef::as_ref)));
        if limited { self.person(facts) } else { Vec::new() }
    }

    fn person(&self, facts: &RequestFacts) -> Vec<Identity> {
        facts.object.spec.requester.as_ref().map(|requester| self.context.settings.identities.identities_of(requester)).unwrap_or_default()
    }
}

/// Returns true where a policy limits how many requests a person may have.
fn is_limited(policy: Option<&Object<ApprovalPolicySpec>>) -> bool {
    let limits = policy.and_then(|policy| policy.spec.limits.as_ref());
    limits.is_some_and(|limits| limits.max_active_per_user.or(limits.max_pending_per_user).is_some())
}

/// Returns true for a verdict that a stale cache can make wrong only until its watch delivers the missing object.
fn may_rest_on_caches(verdict: &Verdict) -> bool {
    // An expired term follows from the record and the clock alone.
    verdict.state == State::Active || (verdict.state == State::Expired && verdict.reason == Reason::Expired)
}
