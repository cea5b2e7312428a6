//! Gathers everything that one decision rests on.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::reconciler::{RequestError, Requests};
use crate::gather::{
    caches::{DecisionContext, Source},
    debts,
    live::{self, Said, Wanted},
    peers::{self, Bindings, From},
};
use api::{State, names::binding_name};
use domain::{Base, Binding, Debt, Lookup, Peer, RequestFacts, Snapshot};
use kube_io::{cache::Key, call::ReadError, consistency::Consistency};

/// How much longer than the read of a request's context the parallel reads may take. After that the context is read again, because a grant
/// rests on what is stored right before it.
pub(super) const BESIDE: Duration = Duration::from_millis(50);

/// The facts that are read by the request's own name: its decisions, the request that it extends, and its binding.
type Own = (Said, Option<Lookup<Box<Base>>>, Binding);

impl Requests {
    /// Returns the snapshot of a request. Its decisions are always listed. Its binding is read unless nothing hints at one: then its
    /// creation shows whether one exists. Only the context of an active request may come from caches.
    pub(super) async fn gather(&self, facts: &RequestFacts, source: Source, consistency: Consistency) -> Result<Snapshot, RequestError> {
        if facts.record.state == Some(State::Active) {
            Box::pin(self.gather_active(facts, source, consistency)).await
        } else {
            Box::pin(self.gather_before_grant(facts, source, consistency)).await
        }
    }

    /// Returns the snapshot of an active request, whose context may come from caches.
    async fn gather_active(&self, facts: &RequestFacts, source: Source, consistency: Consistency) -> Result<Snapshot, RequestError> {
        let context = self.context.caches.decision_context(&facts.object.spec.eligibility_ref.name, &facts.namespace, source);
        let (context, own) = tokio::try_join!(context, self.own(facts, source, consistency))?;
        let (.., binding) = &own;
        let peers = self.peers_of_active(facts, binding).await?;
        Ok(self.snapshot(facts, context, peers, Vec::new(), own))
    }

    /// Returns the snapshot of a request that may be granted. Its context is read last, or at most [`BESIDE`] before all else.
    async fn gather_before_grant(&self, facts: &RequestFacts, source: Source, consistency: Consistency) -> Result<Snapshot, RequestError> {
        let own = Box::pin(self.own(facts, source, consistency));
        let context = || Box::pin(self.afresh_with_peers(facts, source));
        let ((context, mut peers), own) = if consistency == Consistency::Latest {
            // A consistent list of decisions may take a tenth of a second, so it comes first.
            let own = own.await?;
            (context().await?, own)
        } else {
            let timed = async { context().await.map(|read| (read, Instant::now())) };
            let ((read, at), own) = tokio::try_join!(timed, own)?;
            (if at.elapsed() > BESIDE { context().await? } else { read }, own)
        };
        let (client, caches, identities) = (&self.context.client, &self.context.caches, &self.context.settings.identities);
        let debts = debts::of_requester(client, caches, identities, facts, &context, &mut peers).await?;
        Ok(self.snapshot(facts, context, peers, debts, own))
    }

    async fn own(&self, facts: &RequestFacts, source: Source, consistency: Consistency) -> Result<Own, ReadError> {
        let client = &self.context.client;
        let decisions = live::decisions(client, facts, consistency, None);
        tokio::try_join!(decisions, peers::base(client, facts, Bindings::Readable), self.binding(facts, source))
    }

    fn snapshot(&self, facts: &RequestFacts, context: DecisionContext, peers: Vec<Peer>, debts: Vec<Debt>, own: Own) -> Snapshot {
        let ((decisions, unread), base, binding) = own;
        let guards = self.context.guards.facts(context.eligibility.found().map(AsRef::as_ref), context.policy.found().map(AsRef::as_ref));
        Snapshot { decisions, unread, peers, debts, base, binding, ..context.snapshot(facts.clone(), guards) }
    }

    /// Returns the context of a request that may be granted, as it is stored now, and its peers. A grant never rests on a stale cache.
    async fn afresh_with_peers(&self, facts: &RequestFacts, source: Source) -> Result<(DecisionContext, Vec<Peer>), ReadError> {
        let (caches, eligibility) = (&self.context.caches, &facts.object.spec.eligibility_ref.name);
        // This costs no call where the caches contain all of it.
        let before = caches.decision_context(eligibility, &facts.namespace, Source::Cache).await?;
        let peers = self.peers(facts, &before, source);
        let (peers, stored) = tokio::try_join!(peers, caches.afresh(eligibility, &facts.namespace))?;
        // Eligibility and policy determine which of the peers count.
        if before.eligibility == stored.eligibility && before.policy == stored.policy {
            return Ok((stored, peers));
        }
        let peers = self.peers(facts, &stored, source).await?;
        Ok((stored, peers))
    }

    /// Returns the other requests of the same user that an active request depends on: those of its extension chain.
    async fn peers_of_active(&self, facts: &RequestFacts, binding: &Binding) -> Result<Vec<Peer>, ReadError> {
        let (caches, client) = (&self.context.caches, &self.context.client);
        let time_is_up = facts.record.expires_at.is_some_and(|end| end <= self.context.now());
        let mut requests = Vec::new();
        if !time_is_up && *binding == Binding::Absent {
            // The binding was removed before its deadline, maybe because the request that extends it has ended.
            let wanted = Wanted::Ended { namespace: &facts.namespace, eligibility: &facts.object.spec.eligibility_ref.name };
            requests = live::requests(client, wanted, Consistency::Latest).await?;
        }
        requests.extend(peers::cached(caches, &self.context.settings.identities, facts, None).requests);
        Ok(peers::peers(caches, requests, facts))
    }

    /// Returns the other requests of the same user that the grant of a request depends on.
    async fn peers(&self, facts: &RequestFacts, around: &DecisionContext, source: Source) -> Result<Vec<Peer>, ReadError> {
        let context = &self.context;
        let (caches, client) = (&context.caches, &context.client);
        let identities = &context.settings.identities;
        let version = if source == Source::Cache { context.known.since(client, &context.leadership).await? } else { None };
        let from = version.map_or(From::Lists(Consistency::Latest), |version| From::Caches(identities, version, Consistency::Latest));
        let mut peers = peers::others(client, caches, facts, around, from).await?;
        if let From::Lists(_) = from {
            // Lists are by user name. The cache contains the requests under other spellings of it.
            let listed: HashSet<String> = peers.iter().map(|peer| peer.object.uid.clone()).collect();
            let spelled = peers::cached(caches, identities, facts, peers::counting_policy(around)).requests;
            let username = facts.object.spec.requester.as_ref().map(|requester| &requester.username);
            let other = |request: &RequestFacts| request.object.spec.requester.as_ref().map(|requester| &requester.username) != username;
            let spelled = peers::peers(caches, spelled.into_iter().filter(other), facts);
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
