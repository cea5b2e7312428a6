//! Verifies that the author of an eligibility or a policy may bind every role that users become eligible for by it. The API server reviews
//! the author's access, with all attributes of the user, at every creation and every change of a spec (T15, T16).
//!
//! The mutating webhook stamps the basis of the check, and the validating webhook compares the stamp with its own check. Both read
//! namespaces, policies and eligibilities before they review access, so that a stamp is never newer than the results.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    answer::Answer,
    handler::{AdmissionHandler, Write},
};
use crate::gather::{caches::Source, offers};
use api::{ApprovalPolicy, Reason, RoleEligibility, RoleEligibilitySpec, eligibility::RoleRef, names};
use domain::{
    Lookup, Refusal,
    author::{self, Demand, Offer, Question, Written},
    author_check::{AuthorCheck, CheckedRole, SeenPolicy},
    convert::attributes,
    facts::Object,
};
use kube_io::{
    access::{Access, ask},
    call::ReadError,
};

/// Most concurrent access reviews of one write.
const AT_ONCE: usize = 8;

/// The UIDs of existing namespaces, by name.
type Uids = BTreeMap<String, String>;

impl AdmissionHandler {
    /// Returns the basis of the author check of an eligibility, for its stamp.
    pub(super) async fn stamp_of_eligibility(&self, write: &Write<'_>) -> Result<AuthorCheck, ReadError> {
        let generation = next_generation(write);
        let Ok(stored) = write.typed::<RoleEligibility>() else { return Ok(AuthorCheck { generation, ..AuthorCheck::default() }) };
        let spec = &stored.spec;
        let policy = self.seen_policy(spec).await?;
        let demands = author::demands(&[offer(&stored.name_any(), spec)]);
        Ok(AuthorCheck { policy, ..self.stamp_of(write, generation, &demands).await? })
    }

    /// Returns the basis of the author check of a policy, for its stamp.
    pub(super) async fn stamp_of_policy(&self, write: &Write<'_>) -> Result<AuthorCheck, ReadError> {
        let generation = next_generation(write);
        let Ok(stored) = write.typed::<ApprovalPolicy>() else { return Ok(AuthorCheck { generation, ..AuthorCheck::default() }) };
        // With `generateName` a policy has no name yet. Its author then needs the right to administer all policies.
        let name = stored.metadata.name.as_deref().unwrap_or_default();
        if self.may(write, &author::administer(name)).await? == Access::Yes {
            return Ok(AuthorCheck { generation, administers: true, ..AuthorCheck::default() });
        }
        let offers = offers::under(&self.client, name).await?;
        self.stamp_of(write, generation, &author::demands(&offers.readable)).await
    }

    async fn stamp_of(&self, write: &Write<'_>, generation: i64, demands: &[Demand]) -> Result<AuthorCheck, ReadError> {
        let everywhere: Vec<bool> = self.everywhere(write, demands).await?.into_iter().map(|access| access == Access::Yes).collect();
        let left: Vec<&Demand> =
            demands.iter().zip(&everywhere).filter(|(_, everywhere)| !**everywhere).map(|(demand, _)| demand).collect();
        let uids = self.uids(&left, &Uids::new()).await?;
        let roles = demands.iter().zip(everywhere).map(|(demand, everywhere)| checked_role(demand, everywhere, &uids)).collect();
        Ok(AuthorCheck { generation, roles, ..AuthorCheck::default() })
    }

    /// Denies an eligibility whose author may not bind its role in all of its namespaces.
    pub(super) async fn author_of_eligibility(
        &self,
        write: &Write<'_>,
        eligibility: &Object<RoleEligibilitySpec>,
        stamp: Option<&AuthorCheck>,
    ) -> Result<(), Answer> {
        let spec = &eligibility.spec;
        let demands = author::demands(&[offer(&eligibility.name, spec)]);
        let policy = self.seen_policy(spec).await?;
        let roles = self.may_bind(write, Written::Eligibility, &demands, stamp).await?;
        holds(stamp, &AuthorCheck { generation: eligibility.generation, policy, administers: false, roles })
    }

    /// Denies a policy whose author may neither administer it nor bind every role of the eligibilities that refer to it. A
    /// creation counts as a change too: eligibilities may already refer to its name.
    pub(super) async fn author_of_policy(
        &self,
        write: &Write<'_>,
        policy: &str,
        generation: i64,
        stamp: Option<&AuthorCheck>,
    ) -> Result<(), Answer> {
        let checked = AuthorCheck { generation, ..AuthorCheck::default() };
        // An unclear result is not an approval, but the roles may still suffice.
        if self.may(write, &author::administer(policy)).await? == Access::Yes {
            return holds(stamp, &AuthorCheck { administers: true, ..checked });
        }
        let offers = offers::under(&self.client, policy).await?;
        if let Some(eligibility) = offers.unreadable.first() {
            return Err(author::unreadable(write.username(), policy, eligibility).into());
        }
        let demands = author::demands(&offers.readable);
        let roles = self.may_bind(write, Written::Policy(policy), &demands, stamp).await?;
        holds(stamp, &AuthorCheck { roles, ..checked })
    }

    async fn may_bind(
        &self,
        write: &Write<'_>,
        written: Written<'_>,
        demands: &[Demand],
        stamp: Option<&AuthorCheck>,
    ) -> Result<Vec<CheckedRole>, Answer> {
        // Cluster-wide access first: it includes every namespace.
        let (mut left, mut checked) = (Vec::new(), Vec::new());
        for (demand, access) in demands.iter().zip(self.everywhere(write, demands).await?) {
            match access {
                Access::Yes => checked.push(checked_role(demand, true, &Uids::new())),
                Access::Unclear(error) if demand.everywhere.is_some() => return Err(unclear(write, demand, &error)),
                _ if demand.everywhere.is_some() => return Err(author::may_not_bind(write.username(), written, demand, &[]).into()),
                _ => left.push(demand),
            }
        }
        author::askable(write.username(), written, left.iter().copied())?;
        let said = stamp.iter().flat_map(|stamp| stamp.roles.iter().flat_map(|role| role.namespaces.clone())).collect();
        let uids = self.uids(&left, &said).await?;
        for demand in left {
            checked.push(checked_role(demand, false, &uids));
            let questions: Vec<_> = demand.namespaces.keys().map(|name| author::bind(&demand.role, Some(name))).collect();
            let mut missing = Vec::new();
            for (namespace, access) in demand.namespaces.keys().zip(self.all(write, &questions).await?) {
                match access {
                    Access::Yes => {}
                    Access::Unclear(error) => return Err(unclear(write, demand, &error)),
                    Access::No => missing.push(namespace.as_str()),
                }
            }
            if !missing.is_empty() {
                return Err(author::may_not_bind(write.username(), written, demand, &missing).into());
            }
        }
        Ok(checked)
    }

    async fn everywhere(&self, write: &Write<'_>, demands: &[Demand]) -> Result<Vec<Access>, ReadError> {
        let questions: Vec<_> = demands.iter().map(|demand| author::bind(&demand.role, None)).collect();
        self.all(write, &questions).await
    }

    /// Returns the policy of an eligibility by a read from the API server.
    async fn seen_policy(&self, spec: &RoleEligibilitySpec) -> Result<Option<SeenPolicy>, ReadError> {
        let found = self.caches.policy(&spec.policy_ref.name, Source::Server).await?;
        Ok(found.found().map(|policy| SeenPolicy { uid: policy.uid.clone(), generation: policy.generation }))
    }

    /// Returns the UIDs of the namespaces that these demands list. A cached namespace is no newer than any later answer. Where its UID
    /// differs from `said`, the cache may be behind that of another replica, so the API server is asked.
    async fn uids(&self, demands: &[&Demand], said: &Uids) -> Result<Uids, ReadError> {
        let listed: BTreeSet<&String> = demands.iter().flat_map(|demand| demand.namespaces.keys()).collect();
        let listed: Vec<&String> = listed.into_iter().filter(|name| names::is_object_name(name)).take(author::MOST_QUESTIONS).collect();
        let reads: Vec<_> = listed.into_iter().map(|name| self.uid(name, said.get(name))).collect();
        let found: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn uid(&self, name: &str, said: Option<&String>) -> Result<Option<(String, String)>, ReadError> {
        let uid = |found: Lookup<domain::NamespaceFacts>| found.found().map(|found| found.uid.clone());
        let mut found = uid(self.caches.namespace(name, Source::Cache).await?);
        if said.is_some() && said != found.as_ref() {
            found = uid(self.caches.namespace(name, Source::Server).await?);
        }
        Ok(found.map(|uid| (name.to_owned(), uid)))
    }

    /// Returns the results of these access reviews, in their order: all of them or none.
    async fn all(&self, write: &Write<'_>, questions: &[Question<'_>]) -> Result<Vec<Access>, ReadError> {
        // The futures come first: the closure of an asynchronous stream would have to hold for every lifetime.
        let asked: Vec<_> = questions.iter().map(|question| self.may(write, question)).collect();
        stream::iter(asked).buffered(AT_ONCE).try_collect().await
    }

    /// Reviews the access of the writing user, with the attributes that the API server reported.
    async fn may(&self, write: &Write<'_>, question: &Question<'_>) -> Result<Access, ReadError> {
        let who = &write.asked.user_info;
        let spec = SubjectAccessReviewSpec {
            user: who.username.clone(),
            uid: who.uid.clone(),
            groups: who.groups.clone(),
            extra: who.extra.clone(),
            resource_attributes: Some(attributes(question)),
            ..SubjectAccessReviewSpec::default()
        };
        // The semaphore is never closed; if it were, no call would have to wait.
        let _permit = self.questions.acquire().await;
        let what = || format!("whether '{}' may {} {} '{}'", write.username(), question.verb, question.resource, question.name);
        ask(&self.client, what, spec).await
    }
}

fn offer(eligibility: &str, spec: &RoleEligibilitySpec) -> Offer {
    Offer { eligibility: eligibility.to_owned(), role: spec.role_ref.clone(), namespaces: spec.namespaces.clone() }
}

fn checked_role(demand: &Demand, everywhere: bool, uids: &Uids) -> CheckedRole {
    let RoleRef { kind, name } = demand.role.clone();
    let pinned = |name: &String| uids.get(name).map(|uid| (name.clone(), uid.clone()));
    let namespaces = if everywhere { BTreeMap::new() } else { demand.namespaces.keys().filter_map(pinned).collect() };
    CheckedRole { kind, name, everywhere, namespaces }
}

/// Returns the generation that the API server will set for the written spec: it increments after the mutating webhooks.
fn next_generation(write: &Write<'_>) -> i64 {
    write.old.map_or(1, |old| old.metadata.generation.unwrap_or_default().saturating_add(1))
}

/// Returns the stamp of a new spec, or the refusal of one that cannot be parsed.
pub(super) fn stamped(object: &DynamicObject) -> Result<AuthorCheck, Refusal> {
    let text = object.annotations().get(names::AUTHOR_CHECK);
    let missing = || {
        let why = format!(
            "the annotation {} is missing, although jit-rbac's webhook sets it; omit it, it is set automatically",
            names::AUTHOR_CHECK
        );
        Refusal::new(Reason::UserInfoMissing, why)
    };
    text.map(|text| AuthorCheck::read(text, object.metadata.generation.unwrap_or_default())).ok_or_else(missing)
}

/// Denies where a stamp differs from the check: a later webhook overwrote it, or something changed between the two.
fn holds(stamp: Option<&AuthorCheck>, checked: &AuthorCheck) -> Result<(), Answer> {
    let Some(stamp) = stamp else { return Ok(()) };
    let same = stamp.generation == checked.generation && stamp.policy == checked.policy;
    if same && stamp.is_within(checked) && checked.is_within(stamp) {
        return Ok(());
    }
    let what = "policy, eligibilities, namespaces or permissions that the author check rests on changed during the check";
    Err(Answer::Unexamined(format!("{what}, or the annotation {} was overwritten; try again", names::AUTHOR_CHECK)))
}

fn unclear(write: &Write<'_>, demand: &Demand, error: &str) -> Answer {
    Answer::unclear(&format!("whether '{}' may bind {} '{}'", write.username(), demand.role.kind, demand.role.name), error)
}
