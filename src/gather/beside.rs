//! What stands beside a request: others of the same person, and the activation that it prolongs.
//!
//! Only what the policy's limits ask for is read: most policies have none, and a list costs as much as a grant.

use kube::Client;

use super::{
    GatherError, convert,
    horizon::AsOf,
    live::{self, Wanted},
    surroundings::{Surroundings, World},
};
use crate::{
    api::{State, names::binding_name, request::ReviewState},
    domain::{Base, Binding, Lookup, Peer, RequestFacts},
};

/// Whether bindings may be read: the webhook may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bindings {
    /// They may.
    Readable,
    /// They may not.
    Closed,
}

/// The other requests that matter to this one, as the API server lists them.
pub async fn listed(
    client: &Client,
    world: &World,
    facts: &RequestFacts,
    around: &Surroundings,
    as_of: AsOf,
) -> Result<Vec<Peer>, GatherError> {
    let spec = &facts.object.spec;
    let Some(requester) = &spec.requester else { return Ok(Vec::new()) };
    let (namespace, username, eligibility) = (facts.namespace.as_str(), requester.username.as_str(), spec.eligibility_ref.name.as_str());
    let limits = around.policy.found().and_then(|policy| policy.spec.limits.clone()).unwrap_or_default();
    let everywhere = limits.max_active_per_user.is_some() || limits.max_pending_per_user.is_some();
    let mut wanted = vec![if everywhere { Wanted::LiveOf(username) } else { Wanted::Live { namespace, username, eligibility } }];
    if limits.cooldown.is_some_and(|pause| !pause.is_zero()) {
        wanted.push(Wanted::Ended { namespace, eligibility });
    }
    if spec.emergency {
        wanted.extend([Wanted::Review(ReviewState::Owed), Wanted::Review(ReviewState::Overdue)]);
    }
    let lists = futures::future::try_join_all(wanted.into_iter().map(|wanted| live::requests(client, wanted, as_of))).await?;
    Ok(peers(world, lists.into_iter().flatten(), facts))
}

/// Requests as peers of this one, each once.
pub fn peers(world: &World, requests: impl IntoIterator<Item = RequestFacts>, facts: &RequestFacts) -> Vec<Peer> {
    let mut seen = std::collections::HashSet::from([facts.object.uid.clone()]);
    let mut others: Vec<RequestFacts> = Vec::new();
    for request in requests {
        if seen.insert(request.object.uid.clone()) {
            others.push(request);
        }
    }
    let policy = |request: &RequestFacts| world.policy_of(&request.object.spec.eligibility_ref.name);
    others
        .into_iter()
        .filter_map(|request| {
            let policy = policy(&request);
            convert::peer(request, policy)
        })
        .collect()
}

/// The activation that a request prolongs; none where it prolongs none.
pub async fn base(client: &Client, facts: &RequestFacts, bindings: Bindings) -> Result<Option<Lookup<Box<Base>>>, GatherError> {
    let Some(name) = facts.object.spec.base() else { return Ok(None) };
    Ok(Some(match live::request(client, &facts.namespace, name).await? {
        Lookup::Absent => Lookup::Absent,
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
