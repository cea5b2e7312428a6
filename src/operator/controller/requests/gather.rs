//! Everything that one decision rests on.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::{RequestError, Requests};
use crate::gather::{
    beside::{self, Bindings, From},
    debts,
    live::{self, Wanted},
    surroundings::{Source, Surroundings},
};
use api::{State, names::binding_name};
use domain::{Binding, Peer, RequestFacts, Snapshot};
use kube_io::{cache::Key, call::ReadError, horizon::AsOf};

/// How much longer than what surrounds a request all else may take that is read beside it. Then it is read once more: a grant rests on what
/// is stored right before it.
pub(super) const BESIDE: Duration = Duration::from_millis(50);

impl Requests {
    /// The snapshot of a request. Its decisions are always listed. Its binding is read unless nothing hints at one: then creating it
    /// will tell. Only what surrounds a grant that runs may come from caches.
    pub(super) async fn gather(&self, facts: &RequestFacts, source: Source, as_of: AsOf) -> Result<Snapshot, RequestError> {
        let context = &self.context;
        let object = &facts.object;
        let runs = facts.record.state == Some(State::Active);
        let decisions = live::decisions(&context.client, facts, as_of, None);
        let base = beside::base(&context.client, facts, Bindings::Readable);
        let binding = self.binding(facts, source);
        let eligibility = &object.spec.eligibility_ref.name;
        let (around, peers, (decisions, unread), base, binding) = if runs {
            let around = context.world.surroundings(eligibility, &facts.namespace, source);
            let (around, decisions, base, binding) = tokio::try_join!(around, decisions, base, binding)?;
            let peers = self.peers(facts, &around, &binding, source).await?;
            (around, peers, decisions, base, binding)
        } else {
            let others = Box::pin(async { tokio::try_join!(decisions, base, binding) });
            let ((around, peers), (decisions, base, binding)) = if as_of == AsOf::Now {
                // Such a list may take a tenth of a second, and what surrounds the request is to be the last that is read.
                let others = others.await?;
                (Box::pin(self.afresh_with_peers(facts, source)).await?, others)
            } else {
                let read = async {
                    let read = Box::pin(self.afresh_with_peers(facts, source)).await?;
                    Ok((read, Instant::now()))
                };
                let ((read, at), others) = tokio::try_join!(read, others)?;
                let read = if at.elapsed() > BESIDE { Box::pin(self.afresh_with_peers(facts, source)).await? } else { read };
                (read, others)
            };
            (around, peers, decisions, base, binding)
        };
        let mut peers = peers;
        let debts = if runs {
            Vec::new()
        } else {
            debts::of_requester(&context.client, &context.world, &context.settings.identities, facts, &around, &mut peers).await?
        };
        let guards = context.guards.facts(around.eligibility.found().map(AsRef::as_ref), around.policy.found().map(AsRef::as_ref));
        Ok(Snapshot {
            request: facts.clone(),
            namespace: around.namespace,
            eligibility: around.eligibility,
            policy: around.policy,
            role: around.role,
            decisions,
            unread,
            peers,
            debts,
            base,
            binding,
            guards,
        })
    }

    /// What surrounds a request that may be granted, as it is stored now, and the requests beside it: a grant rests on that, never on what
    /// a cache has missed.
    async fn afresh_with_peers(&self, facts: &RequestFacts, source: Source) -> Result<(Surroundings, Vec<Peer>), ReadError> {
        let (world, eligibility) = (&self.context.world, &facts.object.spec.eligibility_ref.name);
        // No call where the caches know all of it.
        let told = world.surroundings(eligibility, &facts.namespace, Source::Cache).await?;
        let peers = self.peers(facts, &told, &Binding::Unread, source);
        let (peers, stored) = tokio::try_join!(peers, world.afresh(eligibility, &facts.namespace))?;
        // Which of them count is for eligibility and policy to say.
        if told.eligibility == stored.eligibility && told.policy == stored.policy {
            return Ok((stored, peers));
        }
        let peers = self.peers(facts, &stored, &Binding::Unread, source).await?;
        Ok((stored, peers))
    }

    /// The other requests of the same person. What runs already needs to know of its chain only.
    async fn peers(&self, facts: &RequestFacts, around: &Surroundings, binding: &Binding, source: Source) -> Result<Vec<Peer>, ReadError> {
        let context = &self.context;
        let (world, client) = (&context.world, &context.client);
        let identities = &context.settings.identities;
        let runs = facts.record.state == Some(State::Active);
        let time_is_up = facts.record.expires_at.is_some_and(|end| end <= context.now());
        if runs {
            let mut requests = Vec::new();
            if !time_is_up && *binding == Binding::Absent {
                // Somebody took it away before its time; maybe because what prolongs it ended.
                let wanted = Wanted::Ended { namespace: &facts.namespace, eligibility: &facts.object.spec.eligibility_ref.name };
                requests = live::requests(client, wanted, AsOf::Now).await?;
            }
            requests.extend(beside::cached(world, identities, facts, None).requests);
            return Ok(beside::peers(world, requests, facts));
        }
        let version = if source == Source::Cache { context.known.since(client, &context.leadership).await? } else { None };
        let from = version.map_or(From::Lists(AsOf::Now), |version| From::Caches(identities, version, AsOf::Now));
        let mut peers = beside::others(client, world, facts, around, from).await?;
        if let From::Lists(_) = from {
            // Lists are by user name: of other spellings the cache knows.
            let listed: HashSet<String> = peers.iter().map(|peer| peer.object.uid.clone()).collect();
            let spelled = beside::cached(world, identities, facts, beside::counting_policy(around)).requests;
            let username = facts.object.spec.requester.as_ref().map(|requester| &requester.username);
            let other = |request: &RequestFacts| request.object.spec.requester.as_ref().map(|requester| &requester.username) != username;
            let spelled = beside::peers(world, spelled.into_iter().filter(other), facts);
            peers.extend(spelled.into_iter().filter(|peer| !listed.contains(&peer.object.uid)));
        }
        Ok(peers)
    }

    async fn binding(&self, facts: &RequestFacts, source: Source) -> Result<Binding, ReadError> {
        let name = binding_name(&facts.object.uid);
        let hinted = facts.record.state == Some(State::Active)
            || source == Source::Server
            || self.context.revoker.index().get(&Key::new(&facts.namespace, &name)).is_some();
        if hinted { live::binding(&self.context.client, &facts.namespace, &name).await } else { Ok(Binding::Unread) }
    }
}
