//! The peers of a request: other requests of the same person, and the activation that it extends.
//!
//! Only what the policy's limits need is read, from the caches where they are complete enough. A list costs as much as a grant, and more
//! with every completed request.

use std::collections::HashSet;

use kube::Client;

use super::{
    caches::{Caches, DecisionContext, Eligibility, LiveRequest},
    live::{self, Wanted},
};
use api::{State, names::binding_name, request::ReviewState};
use domain::{Base, Binding, Lookup, Peer, RequestFacts, convert, person::Identities};
use kube_io::{cache::Key, call::ReadError, consistency::Consistency};

/// Whether bindings may be read. The webhook may not read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bindings {
    /// Bindings may be read.
    Readable,
    /// Bindings may not be read.
    Closed,
}

/// The source of the peers. The duration of a list grows with the number of completed requests, that of a cache read does not.
#[derive(Clone, Copy, Debug)]
pub enum From<'a> {
    /// Lists from the API server, of at least this version.
    Lists(Consistency),
    /// The caches, where they contain everything that was stored up to this `resourceVersion`, and lists for the rest.
    Caches(&'a Identities, u64, Consistency),
}

/// Returns the other requests that matter to this one: those of the same person.
pub async fn others(
    client: &Client,
    caches: &Caches,
    facts: &RequestFacts,
    around: &DecisionContext,
    from: From<'_>,
) -> Result<Vec<Peer>, ReadError> {
    let spec = &facts.object.spec;
    let Some(requester) = &spec.requester else { return Ok(Vec::new()) };
    let (namespace, username, eligibility) = (facts.namespace.as_str(), requester.username.as_str(), spec.eligibility_ref.name.as_str());
    let limits = around.policy.found().and_then(|policy| policy.spec.limits.as_ref());
    let cools_down = limits.and_then(|limits| limits.cooldown).is_some_and(|pause| !pause.is_zero());
    let everywhere = counting_policy(around).is_some();
    let (live, ended, consistency) = match from {
        From::Lists(consistency) => (None, None, consistency),
        From::Caches(identities, version, consistency) => {
            let from_caches = cached(caches, identities, facts, counting_policy(around));
            let live = from_caches.known.is_some_and(|known| known >= version).then_some(from_caches.requests);
            (live, if cools_down { caches.last_ends.under(eligibility, namespace, version) } else { None }, consistency)
        }
    };
    let mut wanted = Vec::new();
    if live.is_none() {
        wanted.push(if everywhere { Wanted::LiveOf(username) } else { Wanted::Live { namespace, username, eligibility } });
    }
    if cools_down && ended.is_none() {
        wanted.push(Wanted::Ended { namespace, eligibility });
    }
    if spec.emergency {
        wanted.extend([Wanted::Review(ReviewState::Owed), Wanted::Review(ReviewState::Overdue)]);
    }
    let lists = futures::future::try_join_all(wanted.into_iter().map(|wanted| live::requests(client, wanted, consistency))).await?;
    let known = live.into_iter().chain(ended).flatten();
    // The lists come first: a recorded end lacks the review that an emergency requires.
    Ok(peers(caches, lists.into_iter().flatten().chain(known), facts))
}

/// The active and pending requests that the cache contains.
#[derive(Debug)]
pub struct Cached {
    /// The requests.
    pub requests: Vec<RequestFacts>,
    /// The `resourceVersion` up to which no request is missing. None where one may be missing.
    pub known: Option<u64>,
}

/// Returns the other active and pending requests of the same person, in any spelling of their name. They are those under the same
/// eligibility in the same namespace and, where a policy's limits count them, those under `policy` in every namespace.
#[must_use]
pub fn cached(caches: &Caches, identities: &Identities, facts: &RequestFacts, policy: Option<&str>) -> Cached {
    // The version is read first, so that it is never newer than what the cache contains.
    let observed = Some(caches.requests.observed()).filter(|_| caches.requests.is_synced());
    let written = caches.written.after(observed.unwrap_or_default());
    let under: HashSet<String> = match policy {
        None => HashSet::new(),
        Some(policy) => {
            let names = |key: &Key, found: &Eligibility| (found.found()?.spec.policy_ref.name == policy).then(|| key.name.clone());
            caches.eligibilities.pick(names).into_iter().collect()
        }
    };
    let requester = facts.object.spec.requester.as_ref();
    let matters = |other: &RequestFacts| {
        let named = &other.object.spec.eligibility_ref;
        let near = other.namespace == facts.namespace && *named == facts.object.spec.eligibility_ref;
        let person = || Some(identities.same(other.object.spec.requester.as_ref()?, requester?));
        (near || under.contains(&named.name)) && other.object.uid != facts.object.uid && person().unwrap_or(false)
    };
    let mut unreadable = false;
    let mut pick = |_: &Key, other: &LiveRequest| match other {
        Lookup::Found(other) => matters(other).then(|| RequestFacts::clone(other)),
        // An unreadable request may be one of this person.
        Lookup::Absent | Lookup::Deleting(_) | Lookup::Unreadable(_) => {
            unreadable = true;
            None
        }
    };
    let mut requests = match policy {
        None => caches.requests.pick_in(&facts.namespace, &mut pick),
        Some(_) => caches.requests.pick(&mut pick),
    };
    let known = observed.filter(|_| written.is_some() && !unreadable);
    for later in written.into_iter().flatten().filter(matters) {
        requests.retain(|other| other.object.uid != later.object.uid);
        requests.push(later);
    }
    Cached { requests, known }
}

/// Returns the policy, where it limits how many requests a person may have under it.
#[must_use]
pub fn counting_policy(around: &DecisionContext) -> Option<&str> {
    let policy = around.policy.found()?;
    let limits = policy.spec.limits.as_ref()?;
    limits.max_active_per_user.or(limits.max_pending_per_user).map(|_| policy.name.as_str())
}

/// Converts requests to peers of this one, each once.
pub fn peers(caches: &Caches, requests: impl IntoIterator<Item = RequestFacts>, facts: &RequestFacts) -> Vec<Peer> {
    let mut seen = std::collections::HashSet::from([facts.object.uid.clone()]);
    let mut others: Vec<RequestFacts> = Vec::new();
    for request in requests {
        if seen.insert(request.object.uid.clone()) {
            others.push(request);
        }
    }
    // A request whose eligibility cannot be read may be under the policy in question.
    let policy = |request: &RequestFacts| {
        let name = Some(&request.object.spec.eligibility_ref.name).filter(|name| !name.is_empty());
        caches.policy_of(name.unwrap_or(&facts.object.spec.eligibility_ref.name))
    };
    others
        .into_iter()
        .filter_map(|request| {
            let policy = policy(&request);
            convert::peer(request, policy)
        })
        .collect()
}

/// Returns the activation that a request extends, or none where it extends none.
pub async fn base(client: &Client, facts: &RequestFacts, bindings: Bindings) -> Result<Option<Lookup<Box<Base>>>, ReadError> {
    let Some(name) = facts.object.spec.base() else { return Ok(None) };
    Ok(Some(match live::request(client, &facts.namespace, name).await? {
        Lookup::Absent | Lookup::Deleting(_) => Lookup::Absent,
        Lookup::Unreadable(why) => Lookup::Unreadable(why),
        Lookup::Found(found) => {
            let reads = bindings == Bindings::Readable && found.facts.record.state == Some(State::Active);
            let binding = if reads {
                live::binding(client, &facts.namespace, &binding_name(&found.facts.object.uid)).await?
            } else {
                Binding::Unread
            };
            Lookup::Found(Box::new(Base { request: found.facts, binding }))
        }
    }))
}
