//! The watches. Rules, receivers, eligibilities and policies are listed before requests: what a request means depends on them.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace, rbac::v1::RoleBinding};
use kube::{Api, Client, Resource, core::DeserializeGuard};
use parking_lot::Mutex;
use tokio::sync::watch as channel;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    cluster::Cluster,
    worker::{self, Shared},
};
use crate::notify::config::Config;
use api::{ApprovalPolicy, NotificationReceiver, NotificationRule, RoleActivationRequest, RoleEligibility, stored::StoredNamespace};
use kube_io::{
    kept::{Kept, LabeledPolicy},
    watch::{self, Event, Source},
    watches::Watches,
};

/// The watches, and the tasks of receivers that they start.
pub struct Watching {
    client: Client,
    watches: Watches,
    shared: Shared,
    tasks: TaskTracker,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// What a change does. The flag is true for an object of a list.
type Applied<K> = Box<dyn Fn(K, bool) + Send + Sync>;

impl Watching {
    /// Returns watches that are not started.
    #[must_use]
    pub fn new(client: Client, watches: Watches, shared: Shared, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { client, watches, shared, tasks, stop, ended: CancellationToken::new() }
    }

    /// Ends all watches.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// Starts all watches, and returns when everything was listed once.
    pub async fn start(&self, config: &Config) {
        let known = || Arc::clone(&self.shared.cluster);
        self.rules().await;
        self.receivers().await;
        let (applied, gone) = (known(), known());
        let policies = Source::all::<ApprovalPolicy>(&Api::all(self.client.clone()), &());
        self.follow(
            "policies",
            policies,
            Box::new(move |policy: LabeledPolicy, listed| applied.policy(policy.0, listed)),
            Gone::Name(Box::new(move |name| gone.policy_gone(name))),
        )
        .await;
        let (applied, gone) = (known(), known());
        let eligibilities = Source::all::<RoleEligibility>(&Api::all(self.client.clone()), &());
        self.follow(
            "eligibilities",
            eligibilities,
            Box::new(move |eligibility: RoleEligibility, listed| applied.eligibility(eligibility, listed)),
            Gone::Name(Box::new(move |name| gone.eligibility_gone(name))),
        )
        .await;
        let (applied, gone) = (known(), known());
        let requests = Source::all::<RoleActivationRequest>(&Api::all(self.client.clone()), &());
        self.follow(
            "requests",
            requests,
            Box::new(move |request: RoleActivationRequest, listed| applied.request(request, listed)),
            Gone::Uid(Box::new(move |uid| gone.request_gone(uid))),
        )
        .await;
        let leases = Api::<Lease>::namespaced(self.client.clone(), &config.operator_namespace);
        let applied = known();
        let source = Source::all(&leases, &()).name(&config.lease);
        self.run("lease", source, move |lease: Lease, listed| applied.lease(&lease, listed), Gone::Nothing).await;
        if config.active_assignments {
            self.assignments().await;
        }
    }

    async fn rules(&self) {
        let (applied, gone) = (Arc::clone(&self.shared.cluster), Arc::clone(&self.shared.cluster));
        let rules = Source::all::<NotificationRule>(&Api::all(self.client.clone()), &());
        let apply = Box::new(move |rule: NotificationRule, _| applied.rule(&rule));
        self.follow("rules", rules, apply, Gone::Name(Box::new(move |name| gone.rule_gone(name)))).await;
    }

    async fn receivers(&self) {
        let gone = Arc::clone(&self.shared.cluster);
        let (shared, tasks, stop) = (self.shared.clone(), self.tasks.clone(), self.stop.clone());
        let receivers = Source::all::<NotificationReceiver>(&Api::all(self.client.clone()), &());
        let apply = Box::new(move |receiver: NotificationReceiver, _| {
            if let Some(handle) = shared.cluster.receiver(&receiver) {
                tasks.spawn(worker::send(shared.clone(), Arc::clone(&handle), stop.clone()));
                tasks.spawn(worker::report(shared.clone(), handle, stop.clone()));
            }
        });
        self.follow("receivers", receivers, apply, Gone::Name(Box::new(move |name| gone.receiver_gone(name)))).await;
    }

    async fn assignments(&self) {
        let known: Arc<Cluster> = Arc::clone(&self.shared.cluster);
        let (applied, gone) = (Arc::clone(&known), Arc::clone(&known));
        let namespaces = Source::all::<Namespace>(&Api::all(self.client.clone()), &());
        let apply = move |namespace: StoredNamespace, _| applied.namespace(namespace);
        self.run("namespaces", namespaces, apply, Gone::Name(Box::new(move |name| gone.namespace_gone(name)))).await;
        let (applied, gone) = (Arc::clone(&known), known);
        let bindings = Source::all::<RoleBinding>(&Api::all(self.client.clone()), &());
        let apply = move |binding: RoleBinding, listed| applied.binding(&binding, listed);
        self.run("bindings", bindings, apply, Gone::Uid(Box::new(move |uid| gone.binding_gone(uid)))).await;
    }

    /// Follows a kind whose objects may be unreadable. Those are left out: the operator reports them.
    async fn follow<K>(&self, what: &'static str, source: Source, apply: Applied<K>, gone: Gone)
    where
        K: Resource + Send + 'static,
        DeserializeGuard<K>: Kept + Send,
    {
        let readable = move |guarded: DeserializeGuard<K>, listed| {
            if let Ok(object) = guarded.0 {
                apply(object, listed);
            }
        };
        self.run(what, source, readable, gone).await;
    }

    /// Starts a watch, and returns once its list is complete.
    async fn run<K: Kept + Send + 'static>(
        &self,
        what: &'static str,
        source: Source,
        apply: impl Fn(K, bool) + Send + Sync + 'static,
        gone: Gone,
    ) {
        let (client, place, ended) = (self.client.clone(), self.watches.place(what), self.ended.clone());
        let (done, mut is_done) = channel::channel(false);
        let known: Mutex<HashSet<String>> = Mutex::default();
        let task = async move {
            let mut listed = HashSet::new();
            let key = |object: &K| gone.key(object.meta());
            watch::run(&client, source, &place, |event: Event<K>| match event {
                Event::Init(_) => listed = HashSet::new(),
                Event::InitApply(object) => {
                    listed.insert(key(&object));
                    apply(object, true);
                }
                Event::InitDone(_) => {
                    let mut known = known.lock();
                    known.difference(&listed).for_each(|key| gone.tell(key));
                    *known = std::mem::take(&mut listed);
                    done.send_replace(true);
                }
                Event::Apply(object) => {
                    known.lock().insert(key(&object));
                    apply(object, false);
                }
                Event::Delete(object) => {
                    let key = key(&object);
                    known.lock().remove(&key);
                    gone.tell(&key);
                }
                Event::Interrupted => {}
            })
            .await;
        };
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = ended.cancelled() => {}
            }
        });
        // The sender is dropped only when the process ends.
        let _ = is_done.wait_for(|done| *done).await;
    }
}

/// What happens when an object is deleted, by its name or by its UID.
enum Gone {
    Nothing,
    Name(Box<dyn Fn(&str) + Send + Sync>),
    Uid(Box<dyn Fn(&str) + Send + Sync>),
}

impl Gone {
    fn key(&self, meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> String {
        match self {
            Self::Uid(_) => meta.uid.clone().unwrap_or_default(),
            Self::Name(_) | Self::Nothing => meta.name.clone().unwrap_or_default(),
        }
    }

    fn tell(&self, key: &str) {
        match self {
            Self::Nothing => {}
            Self::Name(tell) | Self::Uid(tell) => tell(key),
        }
    }
}
