//! What stands around a request: eligibility, policy, namespace and role, from a cache or from the API server.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, Role},
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{WatchStreamExt, utils::Backoff, watcher},
};
use serde::de::DeserializeOwned;

use super::{
    GatherError,
    cache::{self, Cache, Key},
    convert,
    last_ends::LastEnds,
    read,
    written::Written,
};
use crate::{
    api::{
        ApprovalPolicy, ApprovalPolicySpec, RoleActivationRequest, RoleEligibility, RoleEligibilitySpec,
        eligibility::{RoleKind, RoleRef},
        names, selectors,
    },
    domain::{Lookup, NamespaceFacts, Object, RequestFacts, RoleFacts, duration},
};

/// An eligibility as the rules see it.
pub type Eligibility = Lookup<Arc<Object<RoleEligibilitySpec>>>;
/// A policy as the rules see it.
pub type Policy = Lookup<Arc<Object<ApprovalPolicySpec>>>;
/// A request that is active or pending, as far as it can be read.
pub type LiveRequest = Lookup<Arc<RequestFacts>>;

/// What a decision about a request in one namespace under one eligibility rests on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The namespace.
    pub namespace: Lookup<NamespaceFacts>,
    /// The eligibility.
    pub eligibility: Eligibility,
    /// The policy that the eligibility names.
    pub policy: Policy,
    /// The role that the eligibility names.
    pub role: Lookup<RoleFacts>,
}

/// Where facts are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The caches; what is in none of them is fetched, so that an object is absent only when the API server says so.
    Cache,
    /// The API server.
    Server,
}

/// An object that a cache saw change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An eligibility.
    Eligibility(Key),
    /// A policy.
    Policy(Key),
    /// A namespace.
    Namespace(Key),
    /// A `ClusterRole`.
    ClusterRole(Key),
    /// A Role.
    Role(Key),
    /// A request that is active or pending, or was until now.
    Request(Key),
}

/// Caches of eligibilities, policies, namespaces, roles, and the requests that limits look at.
pub struct World {
    client: Client,
    kept: fn(RequestFacts) -> RequestFacts,
    /// All eligibilities.
    pub eligibilities: Cache<Eligibility>,
    /// All policies.
    pub policies: Cache<Policy>,
    /// All namespaces.
    pub namespaces: Cache<NamespaceFacts>,
    /// All `ClusterRole`s.
    pub cluster_roles: Cache<Lookup<RoleFacts>>,
    /// All Roles.
    pub roles: Cache<Lookup<RoleFacts>>,
    /// The requests that are active or pending.
    pub requests: Arc<Cache<LiveRequest>>,
    /// The last ends of grants, for cooldowns.
    pub last_ends: LastEnds,
    /// What this process wrote of requests a moment ago.
    pub written: Written,
}

impl World {
    /// Empty caches; [`World::follow`] fills them.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            kept: std::convert::identity,
            eligibilities: Cache::new("eligibilities"),
            policies: Cache::new("policies"),
            namespaces: Cache::new("namespaces"),
            cluster_roles: Cache::new("clusterroles"),
            roles: Cache::new("roles"),
            requests: Arc::new(Cache::reporting("requests", is_another)),
            last_ends: LastEnds::default(),
            written: Written::default(),
        }
    }

    /// The same, with only as much of each request as the decision about another one reads.
    #[must_use]
    pub fn for_admission(client: Client) -> Self {
        Self { kept: convert::slim, ..Self::new(client) }
    }

    /// Takes note of a request that this process has just written.
    pub fn wrote(&self, request: &RoleActivationRequest) {
        let facts = convert::request(request);
        self.last_ends.note(&facts);
        self.written.note(cache::version(request), facts);
    }

    /// Keeps the caches current for ever and reports what changes.
    pub async fn follow(&self, changed: impl Fn(Change)) {
        let client = &self.client;
        tokio::join!(
            self.eligibilities.follow(
                watch(Api::all(client.clone()), watcher::Config::default()),
                convert::guarded::<RoleEligibility>,
                |key| {
                    changed(Change::Eligibility(key));
                }
            ),
            self.policies.follow(watch(Api::all(client.clone()), watcher::Config::default()), convert::guarded::<ApprovalPolicy>, |key| {
                self.last_ends.set_longest_cooldown(self.longest_cooldown());
                changed(Change::Policy(key));
            }),
            self.requests.follow(
                watch(Api::all(client.clone()), watcher::Config::default().fields(&selectors::live_states())),
                |guard| self.live_request(guard),
                |key| changed(Change::Request(key)),
            ),
            self.last_ends.follow(client),
            self.namespaces.follow(
                watch(Api::all(client.clone()), watcher::Config::default()),
                |namespace: PartialObjectMeta<Namespace>| convert::namespace(&namespace.metadata),
                |key| changed(Change::Namespace(key)),
            ),
            self.cluster_roles.follow(
                watch(Api::all(client.clone()), watcher::Config::default()),
                |role: ClusterRole| cluster_role(&role),
                |key| {
                    changed(Change::ClusterRole(key));
                }
            ),
            self.roles.follow(
                watch(Api::all(client.clone()), watcher::Config::default()),
                |role: Role| namespaced_role(&role),
                |key| {
                    changed(Change::Role(key));
                }
            ),
        );
    }

    /// Returns when all caches have seen everything that existed at the start.
    pub async fn synced(&self) {
        tokio::join!(
            self.eligibilities.synced(),
            self.policies.synced(),
            self.namespaces.synced(),
            self.cluster_roles.synced(),
            self.roles.synced(),
            self.requests.synced(),
        );
    }

    fn live_request(&self, guard: DeserializeGuard<RoleActivationRequest>) -> LiveRequest {
        match guard {
            DeserializeGuard(Ok(stored)) => Lookup::Found(Arc::new((self.kept)(convert::request(&stored)))),
            DeserializeGuard(Err(invalid)) => Lookup::Unreadable(invalid.error),
        }
    }

    /// The longest cooldown of any policy; none where no policy has one.
    fn longest_cooldown(&self) -> Option<TimeDelta> {
        let cooldown = |policy: &Policy| duration::limits(&policy.found()?.spec).cooldown.filter(|pause| !pause.is_zero());
        self.policies.pick(|_, policy| cooldown(policy)).into_iter().max().map(TimeDelta::from)
    }

    /// One eligibility.
    pub async fn eligibility(&self, name: &str, source: Source) -> Result<Eligibility, GatherError> {
        match cached(&self.eligibilities, &Key::cluster(name), source) {
            Some(found) => Ok(found),
            None => self.own::<RoleEligibility>("eligibility", name).await.map(|found| found.map_or(Lookup::Absent, convert::guarded)),
        }
    }

    /// One policy.
    pub async fn policy(&self, name: &str, source: Source) -> Result<Policy, GatherError> {
        match cached(&self.policies, &Key::cluster(name), source) {
            Some(found) => Ok(found),
            None => self.own::<ApprovalPolicy>("policy", name).await.map(|found| found.map_or(Lookup::Absent, convert::guarded)),
        }
    }

    /// Name of the policy that an eligibility names, as far as the cache has seen it.
    #[must_use]
    pub fn policy_of(&self, eligibility: &str) -> Option<String> {
        let found = self.eligibilities.get(&Key::cluster(eligibility))?;
        found.found().map(|eligibility| eligibility.spec.policy_ref.name.clone())
    }

    async fn own<K>(&self, what: &str, name: &str) -> Result<Option<DeserializeGuard<K>>, GatherError>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        // kube puts a name into the path as it is: what is no name must not lead anywhere else.
        if !names::is_object_name(name) {
            return Ok(None);
        }
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        read(|| format!("{what} '{name}'"), api.get_opt(name)).await
    }

    /// One namespace.
    pub async fn namespace(&self, name: &str, source: Source) -> Result<Lookup<NamespaceFacts>, GatherError> {
        if let Some(found) = cached(&self.namespaces, &Key::cluster(name), source) {
            return Ok(Lookup::Found(found));
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = read(|| format!("namespace '{name}'"), api.get_metadata_opt(name)).await?;
        Ok(found.map_or(Lookup::Absent, |found| Lookup::Found(convert::namespace(&found.metadata))))
    }

    /// The role that an eligibility means in a namespace.
    pub async fn role(&self, role: &RoleRef, namespace: &str, source: Source) -> Result<Lookup<RoleFacts>, GatherError> {
        if !names::is_role_name(&role.name) {
            return Ok(Lookup::Absent);
        }
        let what = || format!("{} '{}'", role.kind, role.name);
        let found = match role.kind {
            RoleKind::ClusterRole => match cached(&self.cluster_roles, &Key::cluster(&role.name), source) {
                None => read(what, Api::<ClusterRole>::all(self.client.clone()).get_opt(&role.name)).await?.as_ref().map(cluster_role),
                found => found,
            },
            RoleKind::Role => match cached(&self.roles, &Key::new(namespace, &role.name), source) {
                None => read(what, Api::<Role>::namespaced(self.client.clone(), namespace).get_opt(&role.name))
                    .await?
                    .as_ref()
                    .map(namespaced_role),
                found => found,
            },
        };
        Ok(found.unwrap_or(Lookup::Absent))
    }

    /// Everything around a request in `namespace` under `eligibility`, as the API server stores it now. The caches tell no more than what to
    /// ask for, so that all of it is asked for at once; where they were wrong about that, it is asked for again.
    pub async fn afresh(&self, eligibility: &str, namespace: &str) -> Result<Surroundings, GatherError> {
        let told = self.eligibilities.get(&Key::cluster(eligibility));
        if let Some(told) = told.as_ref().and_then(Lookup::found) {
            let (policy, role) = (&told.spec.policy_ref, &told.spec.role_ref);
            let (found, namespace, policy_found, role_found) = tokio::try_join!(
                self.eligibility(eligibility, Source::Server),
                self.namespace(namespace, Source::Server),
                self.policy(&policy.name, Source::Server),
                self.role(role, namespace, Source::Server),
            )?;
            if found.found().is_some_and(|found| found.spec.policy_ref == *policy && found.spec.role_ref == *role) {
                return Ok(Surroundings { namespace, eligibility: found, policy: policy_found, role: role_found });
            }
        }
        self.surroundings(eligibility, namespace, Source::Server).await
    }

    /// Everything around a request in `namespace` under `eligibility`.
    pub async fn surroundings(&self, eligibility: &str, namespace: &str, source: Source) -> Result<Surroundings, GatherError> {
        let (eligibility, namespace_facts) = tokio::try_join!(self.eligibility(eligibility, source), self.namespace(namespace, source))?;
        let Lookup::Found(found) = &eligibility else {
            return Ok(Surroundings { namespace: namespace_facts, eligibility, policy: Lookup::Absent, role: Lookup::Absent });
        };
        let spec = &found.spec;
        let (policy, role) = tokio::try_join!(self.policy(&spec.policy_ref.name, source), self.role(&spec.role_ref, namespace, source))?;
        Ok(Surroundings { namespace: namespace_facts, eligibility, policy, role })
    }
}

fn cached<F: Clone + PartialEq>(cache: &Cache<F>, key: &Key, source: Source) -> Option<F> {
    match source {
        Source::Cache => cache.get(key),
        Source::Server => None,
    }
}

/// A request that is another one than before to those who must act: a report on it is not news to its writer.
fn is_another(before: &LiveRequest, now: &LiveRequest) -> bool {
    match (before, now) {
        (Lookup::Found(before), Lookup::Found(now)) => before.object != now.object,
        (before, now) => before != now,
    }
}

fn cluster_role(role: &ClusterRole) -> Lookup<RoleFacts> {
    convert::role(RoleKind::ClusterRole, &role.metadata, role.rules.as_ref())
}

fn namespaced_role(role: &Role) -> Lookup<RoleFacts> {
    convert::role(RoleKind::Role, &role.metadata, role.rules.as_ref())
}

/// Pauses between attempts to watch: doubled from the first to the longest, and back to the first after a success. While a watch is
/// away, decisions and edits are not seen, so they are much shorter than kube's own.
struct Pauses {
    next: Duration,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(4);
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        // Up to a quarter more, so that not all watches of all replicas come at once.
        Some(pause + pause.mul_f64(f64::from(chrono::Utc::now().timestamp_subsec_micros() % 1_000) / 4_000.0))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

/// How long one watch lasts before the next goes on where it ended. It bounds how long a machine that went away without a word, whose
/// connection nobody closes, is believed to be silent only: some seconds longer than this.
const WATCH_SECONDS: u32 = 30;

/// All events of a kind, with growing pauses after errors and without the fields that nobody here reads.
pub fn watch<K>(api: Api<K>, config: watcher::Config) -> impl futures::Stream<Item = watcher::Result<watcher::Event<K>>>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    watcher(api, config.timeout(WATCH_SECONDS))
        .backoff(Pauses { next: Pauses::FIRST })
        .modify(|object| object.meta_mut().managed_fields = None)
        .boxed()
}
