//! Everything that one decision rests on.

use super::{RequestError, Requests};
use crate::{
    api::{State, names::binding_name},
    domain::{Binding, Peer, RequestFacts, Snapshot},
    gather::{
        GatherError,
        beside::{self, Bindings},
        cache::Key,
        live::{self, Wanted},
        surroundings::{Source, Surroundings},
    },
};

impl Requests {
    /// The snapshot of a request. Its decisions, and the requests beside it, are always read anew; what surrounds it may come from
    /// caches. Its binding is read unless nothing hints at one: then creating it will tell.
    pub(super) async fn gather(&self, facts: &RequestFacts, source: Source) -> Result<Snapshot, RequestError> {
        let context = &self.context;
        let object = &facts.object;
        let around = context.world.surroundings(&object.spec.eligibility_ref.name, &facts.namespace, source);
        let decisions = live::decisions(&context.client, &facts.namespace, &object.name);
        let base = beside::base(&context.client, facts, Bindings::Readable);
        let (around, decisions, base, binding) = tokio::try_join!(around, decisions, base, self.binding(facts, source))?;
        let peers = self.peers(facts, &around, &binding).await?;
        let guards = context.guards.facts(around.eligibility.found().map(AsRef::as_ref), around.policy.found().map(AsRef::as_ref));
        Ok(Snapshot {
            request: facts.clone(),
            namespace: around.namespace,
            eligibility: around.eligibility,
            policy: around.policy,
            role: around.role,
            decisions,
            peers,
            base,
            binding,
            guards,
        })
    }

    /// The requests beside this one: those under the same user name as the API server lists them, those of other spellings as the cache
    /// has seen them. What runs already needs to know of its chain only.
    async fn peers(&self, facts: &RequestFacts, around: &Surroundings, binding: &Binding) -> Result<Vec<Peer>, GatherError> {
        let context = &self.context;
        let spec = &facts.object.spec;
        let runs = facts.record.state == Some(State::Active);
        let mut listed = match (runs, binding) {
            (false, _) => beside::listed(&context.client, &context.world, facts, around).await?,
            // Somebody took it away; maybe because what prolongs it ended.
            (true, Binding::Absent) => {
                let wanted = Wanted::Ended { namespace: &facts.namespace, eligibility: &spec.eligibility_ref.name };
                beside::peers(&context.world, live::requests(&context.client, wanted).await?, facts)
            }
            (true, Binding::Present(_) | Binding::Unread) => Vec::new(),
        };
        // The list is newer than the cache for the user name that it is about.
        let newer = |other: &RequestFacts| {
            !runs && other.object.spec.requester.as_ref().map(|r| &r.username) == spec.requester.as_ref().map(|r| &r.username)
        };
        let near = |other: &RequestFacts| other.namespace == facts.namespace && other.object.spec.eligibility_ref == spec.eligibility_ref;
        let policy = around.policy.found().map(|policy| policy.name.as_str());
        let limited = around
            .policy
            .found()
            .and_then(|p| p.spec.limits.as_ref())
            .is_some_and(|l| l.max_active_per_user.or(l.max_pending_per_user).is_some());
        let matters = |other: &RequestFacts| {
            near(other) || (limited && !runs && context.world.policy_of(&other.object.spec.eligibility_ref.name).as_deref() == policy)
        };
        let cached = context
            .requests
            .pick(|_, cached| cached.found().filter(|other| matters(other) && !newer(other)).map(|other| RequestFacts::clone(other)));
        let known: std::collections::HashSet<String> = listed.iter().map(|peer| peer.object.uid.clone()).collect();
        listed.extend(beside::peers(&context.world, cached, facts).into_iter().filter(|peer| !known.contains(&peer.object.uid)));
        Ok(listed)
    }

    async fn binding(&self, facts: &RequestFacts, source: Source) -> Result<Binding, GatherError> {
        let name = binding_name(&facts.object.uid);
        let hinted = facts.record.state == Some(State::Active)
            || source == Source::Server
            || self.context.revoker.index().get(&Key::new(&facts.namespace, &name)).is_some();
        if hinted { live::binding(&self.context.client, &facts.namespace, &name).await } else { Ok(Binding::Unread) }
    }
}
