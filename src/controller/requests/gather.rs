//! Everything that one decision rests on.

use super::{RequestError, Requests};
use crate::{
    api::{State, names::binding_name},
    controller::context::LiveRequest,
    domain::{Binding, Peer, RequestFacts, Snapshot},
    gather::{
        GatherError,
        beside::{self, Bindings},
        cache::Key,
        horizon::AsOf,
        live::{self, Wanted},
        surroundings::{Source, Surroundings},
    },
};

impl Requests {
    /// The snapshot of a request. Its decisions, and the requests beside it, are always listed anew; what surrounds it may come from
    /// caches. Its binding is read unless nothing hints at one: then creating it will tell.
    pub(super) async fn gather(&self, facts: &RequestFacts, source: Source, decisions: AsOf) -> Result<Snapshot, RequestError> {
        let context = &self.context;
        let object = &facts.object;
        let around = context.world.surroundings(&object.spec.eligibility_ref.name, &facts.namespace, source);
        let decisions = live::decisions(&context.client, &facts.namespace, &object.name, decisions);
        let base = beside::base(&context.client, facts, Bindings::Readable);
        let (around, decisions, base, binding) = tokio::try_join!(around, decisions, base, self.binding(facts, source))?;
        let peers = self.peers(facts, &around, &binding, source).await?;
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
    async fn peers(
        &self,
        facts: &RequestFacts,
        around: &Surroundings,
        binding: &Binding,
        source: Source,
    ) -> Result<Vec<Peer>, GatherError> {
        let context = &self.context;
        let spec = &facts.object.spec;
        let runs = facts.record.state == Some(State::Active);
        let time_is_up = facts.record.expires_at.is_some_and(|end| end <= context.now());
        let mut listed = match (runs, binding) {
            (false, _) => {
                // What this replica granted and reported a moment ago counts, so that two at once cannot both be granted (T51).
                let as_of = if source == Source::Server { AsOf::Now } else { context.horizons.requests.as_of() };
                beside::listed(&context.client, &context.world, facts, around, as_of).await?
            }
            // Somebody took it away before its time; maybe because what prolongs it ended.
            (true, Binding::Absent) if !time_is_up => {
                let wanted = Wanted::Ended { namespace: &facts.namespace, eligibility: &spec.eligibility_ref.name };
                beside::peers(&context.world, live::requests(&context.client, wanted, AsOf::Now).await?, facts)
            }
            (true, _) => Vec::new(),
        };
        // The list is newer than the cache for the user name that it is about.
        let newer = |other: &RequestFacts| {
            !runs && other.object.spec.requester.as_ref().map(|r| &r.username) == spec.requester.as_ref().map(|r| &r.username)
        };
        let near = |other: &RequestFacts| other.namespace == facts.namespace && other.object.spec.eligibility_ref == spec.eligibility_ref;
        let limits = around.policy.found().and_then(|policy| policy.spec.limits.as_ref());
        let limited = !runs && limits.is_some_and(|limits| limits.max_active_per_user.or(limits.max_pending_per_user).is_some());
        let cached = if limited {
            let policy = around.policy.found().map(|policy| policy.name.as_str());
            let under = |other: &RequestFacts| context.world.policy_of(&other.object.spec.eligibility_ref.name).as_deref() == policy;
            context.requests.pick(|_, other| copy(other, |other| (near(other) || under(other)) && !newer(other)))
        } else {
            context.requests.pick_in(&facts.namespace, |_, other| copy(other, |other| near(other) && !newer(other)))
        };
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

fn copy(cached: &LiveRequest, wanted: impl Fn(&RequestFacts) -> bool) -> Option<RequestFacts> {
    cached.found().filter(|facts| wanted(facts)).map(|facts| RequestFacts::clone(facts))
}
