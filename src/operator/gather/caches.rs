//! The context of a request: eligibility, policy, namespace and role, from a cache or from the API server.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, Role},
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::{DeserializeGuard, Request as Path},
};
use tokio::sync::{Semaphore, watch as channel};

use super::{guarded, last_ends::LastEnds, written::Written};
use api::{
    ApprovalPolicy, ApprovalPolicySpec, RoleActivationRequest, RoleEligibility, RoleEligibilitySpec,
    eligibility::{RoleKind, RoleRef},
    names, selectors,
    stored::{StoredNamespace, StoredRole},
};
use domain::{Binding, Guards, Lookup, NamespaceFacts, Object, RequestFacts, RoleFacts, Snapshot, Unread, convert, duration};
use kube_io::{
    cache::{self, Cache, Changed, Key},
    call::{ReadError, read},
    kept::Kept,
    stream::{self, Form},
    watch::Source as Watched,
    watches::Watches,
};

/// An eligibility as the rules read it.
pub type Eligibility = Lookup<Arc<Object<RoleEligibilitySpec>>>;
/// A policy as the rules read it.
pub type Policy = Lookup<Arc<Object<ApprovalPolicySpec>>>;
/// An active or pending request, as far as it can be read.
pub type LiveRequest = Lookup<Arc<RequestFacts>>;

/// The context of a decision about a request in one namespace under one eligibility.
#[derive(Clone, Debug)]
pub struct DecisionContext {
    /// The namespace.
    pub namespace: Lookup<NamespaceFacts>,
    /// The eligibility.
    pub eligibility: Eligibility,
    /// The policy that the eligibility names.
    pub policy: Policy,
    /// The role that the eligibility names.
    pub role: Lookup<RoleFacts>,
}

impl DecisionContext {
    /// Returns the snapshot of a request in this context. Its peers, debts, decisions and binding are left out, and so is the request that
    /// it extends.
    #[must_use]
    pub fn snapshot(self, request: RequestFacts, guards: Guards) -> Snapshot {
        Snapshot {
            request,
            namespace: self.namespace,
            eligibility: self.eligibility,
            policy: self.policy,
            role: self.role,
            decisions: Vec::new(),
            unread: Unread::default(),
            peers: Vec::new(),
            debts: Vec::new(),
            base: None,
            binding: Binding::Unread,
            guards,
        }
    }
}

/// The source of the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The caches. An object that no cache has is read from the API server, so it is absent only when the API server reports that.
    Cache,
    /// The API server.
    Server,
}

/// A changed object that a cache has observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An eligibility.
    Eligibility(Key),
    /// A policy.
    Policy(Key),
    /// A namespace.
    Namespace(Box<Changed<NamespaceFacts>>),
    /// A `ClusterRole`.
    ClusterRole(Key),
    /// A Role.
    Role(Key),
    /// An active or pending request, or one that was until this change.
    Request(Key),
}

/// The memory limit for the cached roles of each kind, in bytes. A user who may write Roles in many namespaces can fill it. Roles beyond
/// the limit are read for each decision.
const ROOM_FOR_ROLES: usize = 16 << 20;
/// The most roles that are read from the API server at a time. One takes some megabytes while its rules are read.
const ROLES_AT_ONCE: usize = 4;

/// The caches of eligibilities, policies, namespaces, roles, and the requests that limits count.
pub struct Caches {
    client: Client,
    /// The state of the watches that fill the caches.
    pub watches: Watches,
    kept: fn(RequestFacts) -> RequestFacts,
    /// Restarts the watches of the kinds of jit-rbac.
    relist: channel::Sender<u64>,
    reading: Semaphore,
    /// All eligibilities.
    pub eligibilities: Cache<Eligibility>,
    /// All policies.
    pub policies: Cache<Policy>,
    /// All namespaces.
    pub namespaces: Cache<NamespaceFacts>,
    /// The `ClusterRole`s that eligibilities name, within the memory limit.
    pub cluster_roles: Cache<Lookup<RoleFacts>>,
    /// The Roles that eligibilities name, within the memory limit.
    pub roles: Cache<Lookup<RoleFacts>>,
    /// The requests that are active or pending.
    pub requests: Arc<Cache<LiveRequest>>,
    /// The last ends of grants, for cooldowns.
    pub last_ends: LastEnds,
    /// The recent writes of this process to requests.
    pub written: Written,
}

impl Caches {
    /// Returns empty caches. [`Caches::follow`] fills them.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let weigh: fn(&Lookup<RoleFacts>) -> usize =
            |role| role.found().map_or(0, |role| role.name.len() + role.uid.len() + role.rules.weight());
        Self {
            client,
            kept: std::convert::identity,
            watches: Watches::default(),
            relist: channel::Sender::new(0),
            reading: Semaphore::new(ROLES_AT_ONCE),
            eligibilities: Cache::new("eligibilities"),
            policies: Cache::reporting("policies", is_another_policy),
            namespaces: Cache::new("namespaces"),
            cluster_roles: Cache::new("clusterroles").within((ROOM_FOR_ROLES, weigh)),
            roles: Cache::new("roles").within((ROOM_FOR_ROLES, weigh)),
            requests: Arc::new(Cache::reporting("requests", is_another)),
            last_ends: LastEnds::default(),
            written: Written::default(),
        }
    }

    /// Returns empty caches that keep only the part of each request that the decision about another request reads.
    #[must_use]
    pub fn for_admission(client: Client) -> Self {
        Self { kept: convert::slim, ..Self::new(client) }
    }

    /// Records a request that this process has just written.
    pub fn wrote(&self, request: &RoleActivationRequest) {
        let facts = convert::request(request);
        self.last_ends.note(&facts);
        self.written.note(cache::version(&request.metadata), facts);
    }

    /// Lists all objects of the kinds of jit-rbac again, because they may have come from a server other than the cluster's own (T57).
    pub fn list_anew(&self) {
        self.relist.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Returns a watch on all objects of one kind of jit-rbac, which [`Caches::list_anew`] restarts.
    #[must_use]
    pub fn ours<K: Resource<DynamicType = ()>>(&self, api: &Api<K>) -> Watched {
        Watched::all(api, &()).relist(self.relist.subscribe())
    }

    /// Keeps the caches current and reports changes. It never returns.
    pub async fn follow(&self, changed: impl Fn(Change)) {
        let (client, changed) = (&self.client, &changed);
        let on = (client, &self.watches);
        let eligibilities: Api<RoleEligibility> = Api::all(client.clone());
        let policies: Api<ApprovalPolicy> = Api::all(client.clone());
        let requests: Api<RoleActivationRequest> = Api::all(client.clone());
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let cluster_roles: Api<ClusterRole> = Api::all(client.clone());
        let roles: Api<Role> = Api::all(client.clone());
        tokio::join!(
            self.eligibilities.follow(
                on,
                self.ours(&eligibilities),
                |stored: DeserializeGuard<RoleEligibility>| Some(guarded::guarded(stored)),
                |change| changed(Change::Eligibility(change.key)),
            ),
            self.policies.follow(
                on,
                self.ours(&policies),
                |stored: DeserializeGuard<ApprovalPolicy>| Some(guarded::guarded_policy(stored)),
                |change| {
                    self.last_ends.set_longest_cooldown(self.longest_cooldown());
                    changed(Change::Policy(change.key));
                },
            ),
            self.requests.follow(
                on,
                self.ours(&requests).fields(&selectors::live_states()),
                |stored: DeserializeGuard<RoleActivationRequest>| Some(self.live_request(stored)),
                |change| changed(Change::Request(change.key)),
            ),
            self.last_ends.follow(client, &self.watches, self.ours(&requests)),
            self.namespaces.follow(
                on,
                Watched::all(&namespaces, &()),
                |stored: StoredNamespace| Some(convert::namespace(stored)),
                |change| changed(Change::Namespace(Box::new(change))),
            ),
            async {
                // The eligibilities determine which roles are cached.
                self.eligibilities.synced().await;
                tokio::join!(
                    self.cluster_roles.follow(
                        on,
                        Watched::all(&cluster_roles, &()),
                        |stored: StoredRole| self.named_role(RoleKind::ClusterRole, stored),
                        |change| changed(Change::ClusterRole(change.key)),
                    ),
                    self.roles.follow(
                        on,
                        Watched::all(&roles, &()),
                        |stored: StoredRole| self.named_role(RoleKind::Role, stored),
                        |change| changed(Change::Role(change.key)),
                    ),
                );
            },
        );
    }

    /// Returns the facts of a role that an eligibility names, and none for any other role.
    fn named_role(&self, kind: RoleKind, stored: StoredRole) -> Option<Lookup<RoleFacts>> {
        let name = stored.metadata.name.as_deref().unwrap_or_default();
        let names = |found: &Eligibility| match found {
            Lookup::Found(eligibility) => eligibility.spec.role_ref.kind == kind && eligibility.spec.role_ref.name == name,
            Lookup::Absent | Lookup::Deleting(_) | Lookup::Unreadable(_) => false,
        };
        self.eligibilities.any(|_, found| names(found)).then(|| convert::role(kind, stored, None))
    }

    /// Returns when all caches contain everything that existed at the start.
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

    /// Returns the longest cooldown of any policy, or none where no policy has one.
    fn longest_cooldown(&self) -> Option<SignedDuration> {
        let cooldown = |policy: &Policy| duration::limits(&policy.found()?.spec).cooldown.filter(|pause| !pause.is_zero());
        self.policies.pick(|_, policy| cooldown(policy)).into_iter().max().map(SignedDuration::from)
    }

    /// Returns one eligibility.
    pub async fn eligibility(&self, name: &str, source: Source) -> Result<Eligibility, ReadError> {
        match cached(&self.eligibilities, &Key::cluster(name), source) {
            Some(found) => Ok(found),
            None => self.own::<RoleEligibility>("eligibility", name).await.map(|found| found.map_or(Lookup::Absent, guarded::guarded)),
        }
    }

    /// Returns one policy.
    pub async fn policy(&self, name: &str, source: Source) -> Result<Policy, ReadError> {
        match cached(&self.policies, &Key::cluster(name), source) {
            Some(found) => Ok(found),
            None => self.own::<ApprovalPolicy>("policy", name).await.map(|found| found.map_or(Lookup::Absent, guarded::guarded_policy)),
        }
    }

    /// Returns the name of the policy that an eligibility refers to, as far as the cache contains the eligibility.
    #[must_use]
    pub fn policy_of(&self, eligibility: &str) -> Option<String> {
        let found = self.eligibilities.get(&Key::cluster(eligibility))?;
        found.found().map(|eligibility| eligibility.spec.policy_ref.name.clone())
    }

    async fn own<K>(&self, what: &str, name: &str) -> Result<Option<DeserializeGuard<K>>, ReadError>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>,
        DeserializeGuard<K>: Kept,
    {
        // kube inserts a name into the path without escaping, so an invalid name must not lead to another path.
        if !names::is_object_name(name) {
            return Ok(None);
        }
        let api: Api<K> = Api::all(self.client.clone());
        let path = Path::new(api.resource_url());
        read(|| format!("{what} '{name}'"), stream::get(&self.client, &path, name)).await
    }

    /// Returns one namespace.
    pub async fn namespace(&self, name: &str, source: Source) -> Result<Lookup<NamespaceFacts>, ReadError> {
        if let Some(found) = cached(&self.namespaces, &Key::cluster(name), source) {
            return Ok(Lookup::Found(found));
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let path = Path::new(api.resource_url());
        let found: Option<StoredNamespace> = read(|| format!("namespace '{name}'"), stream::get(&self.client, &path, name)).await?;
        Ok(found.map_or(Lookup::Absent, |found| Lookup::Found(convert::namespace(found))))
    }

    /// Returns the role that an eligibility refers to in a namespace.
    pub async fn role(&self, role: &RoleRef, namespace: &str, source: Source) -> Result<Lookup<RoleFacts>, ReadError> {
        if !names::is_role_name(&role.name) {
            return Ok(Lookup::Absent);
        }
        let (cache, key, path) = match role.kind {
            RoleKind::ClusterRole => {
                let api: Api<ClusterRole> = Api::all(self.client.clone());
                (&self.cluster_roles, Key::cluster(&role.name), Path::new(api.resource_url()))
            }
            RoleKind::Role => {
                let api: Api<Role> = Api::namespaced(self.client.clone(), namespace);
                (&self.roles, Key::new(namespace, &role.name), Path::new(api.resource_url()))
            }
        };
        if let Some(found) = cached(cache, &key, source) {
            return Ok(found);
        }
        let changes = cache.changes();
        let _turn = self.reading.acquire().await;
        let what = || format!("{} '{}'", role.kind, role.name);
        let found: Option<StoredRole> = read(what, stream::get(&self.client, &path, &role.name)).await?;
        let Some(found) = found.map(|found| convert::role(role.kind, found, cache.get(&key).as_ref())) else { return Ok(Lookup::Absent) };
        if source == Source::Cache {
            cache.fill(key, found.clone(), changes);
        }
        Ok(found)
    }

    /// Calls `each` with the Roles of this name in all namespaces, from a list of the API server. No cache has the Roles that no
    /// eligibility names yet.
    pub async fn roles_named(&self, name: &str, mut each: impl FnMut(&str, &RoleFacts)) -> Result<(), ReadError> {
        /// The page size of the list.
        const PAGE: u32 = 100;
        if !names::is_role_name(name) {
            return Ok(());
        }
        let api: Api<Role> = Api::all(self.client.clone());
        let path = Path::new(api.resource_url());
        let mut params = ListParams::default().fields(&format!("metadata.name={name}")).limit(PAGE);
        let _turn = self.reading.acquire().await;
        loop {
            let found = |stored: StoredRole| {
                let namespace = stored.metadata.namespace.clone().unwrap_or_default();
                if let Lookup::Found(role) = convert::role(RoleKind::Role, stored, None) {
                    each(&namespace, &role);
                }
            };
            let page = stream::page(&self.client, &path, &params, Form::Whole, found);
            match read(|| format!("the Roles '{name}'"), page).await?.next.filter(|next| !next.is_empty()) {
                Some(next) => params.continue_token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Returns the context of a request in `namespace` under `eligibility`, by a consistent (quorum) read. The caches only determine which
    /// objects to read, so that all are read in parallel. Where the caches were stale, the objects are read again.
    pub async fn afresh(&self, eligibility: &str, namespace: &str) -> Result<DecisionContext, ReadError> {
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
                return Ok(DecisionContext { namespace, eligibility: found, policy: policy_found, role: role_found });
            }
        }
        self.decision_context(eligibility, namespace, Source::Server).await
    }

    /// Returns the context of a request, where the caches contain all of it.
    #[must_use]
    pub fn cached_context(&self, eligibility: &str, namespace: &str) -> Option<DecisionContext> {
        let eligibility = self.eligibilities.get(&Key::cluster(eligibility))?;
        let spec = &eligibility.found()?.spec;
        let policy = self.policies.get(&Key::cluster(&spec.policy_ref.name))?;
        let role = match spec.role_ref.kind {
            RoleKind::ClusterRole => self.cluster_roles.get(&Key::cluster(&spec.role_ref.name))?,
            RoleKind::Role => self.roles.get(&Key::new(namespace, &spec.role_ref.name))?,
        };
        let namespace = Lookup::Found(self.namespaces.get(&Key::cluster(namespace))?);
        Some(DecisionContext { namespace, eligibility, policy, role })
    }

    /// Returns the context of a request in `namespace` under `eligibility`.
    pub async fn decision_context(&self, eligibility: &str, namespace: &str, source: Source) -> Result<DecisionContext, ReadError> {
        let (eligibility, namespace_facts) = tokio::try_join!(self.eligibility(eligibility, source), self.namespace(namespace, source))?;
        let Lookup::Found(found) = &eligibility else {
            return Ok(DecisionContext { namespace: namespace_facts, eligibility, policy: Lookup::Absent, role: Lookup::Absent });
        };
        let spec = &found.spec;
        let (policy, role) = tokio::try_join!(self.policy(&spec.policy_ref.name, source), self.role(&spec.role_ref, namespace, source))?;
        Ok(DecisionContext { namespace: namespace_facts, eligibility, policy, role })
    }
}

fn cached<F: Clone + PartialEq>(cache: &Cache<F>, key: &Key, source: Source) -> Option<F> {
    match source {
        Source::Cache => cache.get(key),
        Source::Server => None,
    }
}

/// Returns true if a change of a request needs a reconciliation. A report on a request is no news to the controller that wrote it.
fn is_another(before: &LiveRequest, now: &LiveRequest) -> bool {
    match (before, now) {
        (Lookup::Found(before), Lookup::Found(now)) => before.object != now.object,
        (before, now) => before != now,
    }
}

/// Returns true if a change of a policy needs a reconciliation. The reviews in its status are the controller's own report.
fn is_another_policy(before: &Policy, now: &Policy) -> bool {
    let reported = |policy: &Object<ApprovalPolicySpec>| {
        let settled = policy.owed.as_ref().and_then(|owed| owed.settled.clone());
        (settled, Object { owed: None, ..policy.clone() })
    };
    match (before, now) {
        (Lookup::Found(before), Lookup::Found(now)) => reported(before) != reported(now),
        (before, now) => before != now,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn f21_no_role_is_kept_that_no_eligibility_names() {
        let service = tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let caches = Caches::new(Client::new(service, "default"));
        let named = json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": "edit-payments"},
            "spec": {
                "roleRef": {"kind": "ClusterRole", "name": "edit"}, "namespaces": {"names": ["payments"]}, "policyRef": {"name": "short"},
                "subjects": [{"kind": "User", "name": "alice"}], "maxDuration": "1h",
            },
        });
        let named: RoleEligibility = serde_json::from_value(named).unwrap();
        let facts = Lookup::Found(Arc::new(convert::object(&named.metadata, named.spec)));
        caches.eligibilities.fill(Key::cluster("edit-payments"), facts, caches.eligibilities.changes());
        let kept = |kind, name: &str| {
            let stored = json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
            caches.named_role(kind, serde_json::from_value(stored).unwrap()).is_some()
        };
        assert!(kept(RoleKind::ClusterRole, "edit"));
        assert!(!kept(RoleKind::ClusterRole, "admin"), "nobody is eligible for it");
        assert!(!kept(RoleKind::Role, "edit"), "a Role of that name is another one");
    }
}
