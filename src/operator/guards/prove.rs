//! One check of all guards: reads and compares each, has each policy deny a probe, and reads the API server's clock.

use std::collections::BTreeMap;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Resource,
    api::{DynamicObject, ListParams, ObjectMeta, PostParams},
    core::PartialObjectMeta,
};
use serde::de::DeserializeOwned;

use super::{
    Guards, harmless,
    probe::{self, Finding},
    skew::Skew,
    watch::pair,
};
use api::{ApprovalPolicy, RoleEligibility, conditions};
use domain::{
    Refusal,
    guards::{
        DIFFERS,
        compare::{difference, served_by},
        expected::{Expected, GuardKind},
        ledger::{Kind, Known, Pair, Stored},
    },
    namespace::SYSTEM_NAMESPACES,
};
use kube_io::{
    call::{ReadError, read, write},
    errors::one_line,
    resource,
};

/// The result for each guard.
pub(super) type Found = BTreeMap<String, (Option<Pair>, Finding)>;

impl Guards {
    /// Reads all guards and, where `asks` is true, has each policy deny a probe.
    pub(super) async fn look(&self, asks: bool) -> Found {
        let looks = self.expected.iter().map(async |guard| {
            let (read, proven) = tokio::join!(self.read_guard(guard), self.prove_guard(guard, asks));
            let (pair, finding) = match (read, proven) {
                // A difference in content explains more than a missing denial.
                ((pair, Finding::Holds), Some(proven)) => (pair, proven),
                (read, _) => read,
            };
            (guard.key(), (pair, finding))
        });
        join_all(looks).await.into_iter().collect()
    }

    /// Reads only which server serves our kinds.
    pub(super) async fn look_at_who_serves(&self) -> Found {
        let served = self.expected.iter().filter(|guard| guard.kind == GuardKind::APIService);
        join_all(served.map(async |guard| (guard.key(), self.read_guard(guard).await))).await.into_iter().collect()
    }

    async fn read_guard(&self, guard: &Expected) -> (Option<Pair>, Finding) {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource::v1(guard.kind.names()));
        match read(|| guard.key(), api.get_opt(&guard.name)).await {
            Err(error) => (None, Finding::Unknown(one_line(&error))),
            Ok(None) => (None, Finding::Weak("is missing".to_owned())),
            Ok(Some(stored)) if stored.metadata.deletion_timestamp.is_some() => (None, Finding::Weak("is being deleted".to_owned())),
            Ok(Some(stored)) if guard.kind == GuardKind::APIService => {
                let finding = served_by(&stored.data).map_or(Finding::Holds, |who| {
                    Finding::Weak(format!("lets {who} serve the kinds of jit-rbac instead of the API server"))
                });
                (pair(guard.kind, &stored.metadata), finding)
            }
            Ok(Some(stored)) => {
                let mut says = stored.data;
                if let Some(fields) = says.as_object_mut() {
                    fields.remove("status");
                }
                harmless::set_aside(&guard.says, &mut says, |namespace| self.is_never_granted_in(namespace));
                let finding = difference(&guard.says, &says).map_or(Finding::Holds, |what| Finding::Weak(format!("{DIFFERS}: {what}")));
                (pair(guard.kind, &stored.metadata), finding)
            }
        }
    }

    /// Returns why nothing may be granted, after reading again which server serves our kinds. If no `APIService` was written since all
    /// guards were proven, what the decision read before came from the API server itself (T57).
    pub async fn confirm(&self) -> Result<Option<Refusal>, ReadError> {
        for guard in self.expected.iter().filter(|guard| guard.kind == GuardKind::APIService) {
            let kind = resource::v1(guard.kind.names());
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
            let found = read(|| guard.key(), api.get_metadata_opt(&guard.name)).await?;
            let seen = found.and_then(|found| pair(guard.kind, &found.metadata));
            self.saw(guard, seen);
        }
        Ok(self.hold())
    }

    async fn prove_guard(&self, guard: &Expected, asks: bool) -> Option<Finding> {
        let short = guard.probe.as_deref()?;
        if asks { probe::prove(&self.client, &self.config, short, &guard.name).await } else { Some(Finding::NotAsked) }
    }

    fn is_never_granted_in(&self, namespace: &str) -> bool {
        let system = SYSTEM_NAMESPACES.contains(&namespace) && !self.config.system_namespaces.iter().any(|allowed| allowed == namespace);
        system || namespace == self.config.operator_namespace
    }

    /// Returns the API server's time, from the dry-run creation of a Lease. Every `creationTimestamp` comes from the same clock.
    pub(super) async fn servers_time(&self) -> Result<(Timestamp, Skew), String> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.config.operator_namespace);
        let name = format!("{}-clock-", self.config.controller.lease);
        let lease = Lease { metadata: ObjectMeta { generate_name: Some(name), ..ObjectMeta::default() }, spec: None };
        let before = self.clock.own();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let made =
            write(|| "read the API server's clock".to_owned(), api.create(&params, &lease)).await.map_err(|error| one_line(&error))?;
        let after = self.clock.own();
        let at = made.metadata.creation_timestamp.as_ref().map(conditions::from_time).ok_or("the API server returned no time")?;
        Ok((at, Skew::new(at, before, after)))
    }

    /// Returns the resource versions of the last writes of eligibilities and of policies. Every later write has a higher one.
    pub(super) async fn versions(&self) -> Result<BTreeMap<Kind, u64>, String> {
        let lists = self.lists(&ListParams::default().limit(1)).await?;
        Ok(lists.into_iter().map(|(kind, version, _)| (kind, version)).collect())
    }

    /// Returns all stored eligibilities and policies, and the resource versions of the last writes.
    pub(super) async fn exists(&self) -> Result<(Vec<Stored>, BTreeMap<Kind, u64>), String> {
        let lists = self.lists(&ListParams::default()).await?;
        let versions = lists.iter().map(|(kind, version, _)| (*kind, *version)).collect();
        let stored = |kind: Kind, meta: &ObjectMeta| -> Result<Stored, String> {
            let version = number(meta.resource_version.as_deref())?;
            let pair = Pair { uid: meta.uid.clone().unwrap_or_default(), generation: meta.generation.unwrap_or_default() };
            Ok(Stored { kind, name: meta.name.clone().unwrap_or_default(), pair, version })
        };
        let all = lists.iter().flat_map(|(kind, _, found)| found.iter().map(move |meta| stored(*kind, meta)));
        Ok((all.collect::<Result<_, _>>()?, versions))
    }

    /// Returns both kinds, each with the resource version of its list and the listed objects.
    async fn lists(&self, params: &ListParams) -> Result<[(Kind, u64, Vec<ObjectMeta>); 2], String> {
        let lists =
            tokio::try_join!(self.list::<RoleEligibility>("eligibilities", params), self.list::<ApprovalPolicy>("policies", params));
        let (eligibilities, policies) = lists.map_err(|error| error.to_string())?;
        Ok([(Kind::RoleEligibility, eligibilities.0?, eligibilities.1), (Kind::ApprovalPolicy, policies.0?, policies.1)])
    }

    /// Returns the metadata of all objects of a kind by a consistent (quorum) read, and the resource version of the list.
    async fn list<K>(&self, what: &str, params: &ListParams) -> Result<(Result<u64, String>, Vec<ObjectMeta>), ReadError>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let list = read(|| format!("all {what}"), api.list_metadata(params)).await?;
        let version = number(list.metadata.resource_version.as_deref());
        Ok((version, list.items.into_iter().map(|item: PartialObjectMeta<K>| item.metadata).collect()))
    }

    /// Returns eligibilities and policies from the caches.
    pub(super) fn known(&self) -> Known {
        let eligibilities = self.caches.eligibilities.pick(|_, found| found.found().map(|o| (o.uid.clone(), o.generation)));
        let policies = self.caches.policies.pick(|_, found| found.found().map(|o| (o.uid.clone(), o.generation)));
        eligibilities.into_iter().chain(policies).collect()
    }
}

fn number(version: Option<&str>) -> Result<u64, String> {
    let version = version.unwrap_or_default();
    version.parse().map_err(|_| format!("the API server returned the resourceVersion '{version}', which is not a number"))
}
