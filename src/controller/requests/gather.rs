//! Everything that one decision rests on.

use super::{RequestError, Requests};
use crate::{
    api::{State, names::binding_name},
    domain::{Binding, Guards, Peer, RequestFacts, Snapshot},
    gather::{convert, live, surroundings::Source},
};

impl Requests {
    /// The snapshot of a request. Its decisions, and the requests beside it, are always read anew; what surrounds it may come from
    /// caches. Its binding is read unless nothing hints at one: then creating it will tell.
    pub(super) async fn gather(&self, facts: &RequestFacts, source: Source) -> Result<Snapshot, RequestError> {
        let context = &self.context;
        let object = &facts.object;
        let surroundings = context.world.surroundings(&object.spec.eligibility_ref.name, &facts.namespace, source);
        let decisions = live::decisions(&context.client, &facts.namespace, &object.name);
        let (surroundings, decisions, peers, binding) =
            tokio::try_join!(surroundings, decisions, self.peers(facts), self.binding(facts, source))?;
        Ok(Snapshot {
            request: facts.clone(),
            namespace: surroundings.namespace,
            eligibility: surroundings.eligibility,
            policy: surroundings.policy,
            role: surroundings.role,
            decisions,
            peers,
            binding,
            guards: Guards::Unasked,
        })
    }

    /// The live requests for the same eligibility in the same namespace: those under the same user name as the API server lists them,
    /// those of other spellings as the cache has seen them.
    async fn peers(&self, facts: &RequestFacts) -> Result<Vec<Peer>, crate::gather::GatherError> {
        let object = &facts.object;
        let (Some(requester), false) = (&object.spec.requester, facts.record.state == Some(State::Active)) else { return Ok(Vec::new()) };
        let eligibility = &object.spec.eligibility_ref.name;
        let listed = live::live_requests(&self.context.client, &facts.namespace, requester.username.as_str(), eligibility).await?;
        let others = self.context.requests.pick(|key, cached| {
            let cached = cached.found().filter(|_| key.namespace == facts.namespace)?;
            let same = cached.object.spec.eligibility_ref.name == *eligibility;
            (same && !listed.iter().any(|l| l.object.uid == cached.object.uid)).then(|| RequestFacts::clone(cached))
        });
        // The list is newer than the cache for the user name that it is about.
        let others = others.into_iter().filter(|o| o.object.spec.requester.as_ref().is_some_and(|r| r.username != requester.username));
        Ok(listed.iter().cloned().chain(others).filter(|p| p.object.uid != object.uid).filter_map(|p| convert::peer(&p)).collect())
    }

    async fn binding(&self, facts: &RequestFacts, source: Source) -> Result<Binding, crate::gather::GatherError> {
        let name = binding_name(&facts.object.uid);
        let hinted = facts.record.state == Some(State::Active)
            || source == Source::Server
            || self.context.revoker.index().get(&crate::gather::cache::Key::new(&facts.namespace, &name)).is_some();
        if hinted { live::binding(&self.context.client, &facts.namespace, &name).await } else { Ok(Binding::Unread) }
    }
}
