//! Conversion of stored objects to facts. Every object is parsed once, here.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        authorization::v1::ResourceAttributes,
        rbac::v1::{PolicyRule, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    BindingFacts, Deletion, Lookup, NamespaceFacts, Object, Owed, Peer, Record, RequestFacts, RoleFacts,
    author::Question,
    author_check::AuthorCheck,
    binding::BindingSubject,
    role::{Rule, Rules},
};
use api::{
    ApprovalPolicy, ApprovalPolicySpec, RoleActivationRequest, RoleActivationRequestStatus, conditions,
    eligibility::{RoleKind, RoleRef},
    names,
    stored::{Limited, StoredNamespace, StoredRole},
};

/// Returns the metadata and spec of a stored object.
#[must_use]
pub fn object<S>(meta: &ObjectMeta, spec: S) -> Object<S> {
    let generation = meta.generation.unwrap_or_default();
    let checked = meta.annotations.as_ref().and_then(|all| all.get(names::AUTHOR_CHECK));
    Object {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(conditions::from_time).unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        generation,
        checked: checked.map(|text| Arc::new(AuthorCheck::read(text, generation))),
        owed: None,
        spec,
    }
}

/// Returns the pending deletion of an object, if there is one. The object counts as removed, whatever its spec.
#[must_use]
pub fn deletion(meta: &ObjectMeta) -> Option<Deletion> {
    meta.deletion_timestamp.as_ref()?;
    Some(Deletion::held_by(meta.finalizers.as_deref().unwrap_or_default()))
}

/// Returns a policy with the reviews that its status lists as owed.
#[must_use]
pub fn policy(stored: &ApprovalPolicy) -> Object<ApprovalPolicySpec> {
    let reviews = stored.status.as_ref().map(|status| status.reviews_owed.clone()).unwrap_or_default();
    let settled = stored.metadata.annotations.as_ref().and_then(|all| all.get(names::SETTLED_REVIEWS)).cloned();
    let owed = (!reviews.is_empty() || settled.is_some()).then(|| Arc::new(Owed { reviews, settled }));
    Object { owed, ..object(&stored.metadata, stored.spec.clone()) }
}

/// Returns a request with its status.
#[must_use]
pub fn request(stored: &RoleActivationRequest) -> RequestFacts {
    RequestFacts {
        namespace: stored.metadata.namespace.clone().unwrap_or_default(),
        object: object(&stored.metadata, stored.spec.clone()),
        record: record(stored.status.clone().unwrap_or_default()),
    }
}

/// Returns the content of a status.
#[must_use]
pub fn record(status: RoleActivationRequestStatus) -> Record {
    let access_hash = status.role.as_ref().map(|role| role.access_hash.clone()).filter(|hash| !hash.is_empty());
    let rules_hash = status.role.as_ref().map(|role| role.rules_hash.clone()).filter(|hash| !hash.is_empty());
    let role = status.role.and_then(|role| role.kind.map(|kind| RoleRef { kind, name: role.name }));
    Record {
        state: status.state,
        reason: status.reason,
        // Statuses from before `extendsFrom` existed have the start of their own term here.
        granted_at: status.extends_from.or(status.granted_at),
        began: status.started_at,
        expires_at: status.expires_at,
        digest: status.digest,
        binding: status.binding_ref,
        role,
        rules_hash,
        access_hash,
        ended_at: status.ended_at,
        review: status.review,
        approvers: status.approvals.into_iter().map(|approval| approval.approver).collect(),
    }
}

/// Returns a request without the fields that only its own decision reads: its justification, its evidence and the groups of its requester.
#[must_use]
pub fn slim(mut request: RequestFacts) -> RequestFacts {
    let spec = &mut request.object.spec;
    (spec.justification, spec.ticket) = (None, None);
    if let Some(requester) = &mut spec.requester {
        (requester.groups, requester.extra) = Default::default();
    }
    let record = &mut request.record;
    (record.role, record.digest, record.rules_hash) = (None, None, None);
    record.approvers = Vec::new();
    request
}

/// Returns a request as a peer of the one that is decided. `policy` is the one that its eligibility names.
#[must_use]
pub fn peer(request: RequestFacts, policy: Option<String>) -> Option<Peer> {
    let requester = request.object.spec.requester.clone()?;
    Some(Peer { namespace: request.namespace, requester, policy, object: request.object, record: request.record })
}

/// Returns a namespace.
#[must_use]
pub fn namespace(stored: StoredNamespace) -> NamespaceFacts {
    let meta = stored.metadata;
    NamespaceFacts {
        terminating: meta.deletion_timestamp.is_some(),
        uid: meta.uid.unwrap_or_default(),
        labels: meta.labels.unwrap_or_default(),
        labels_too_long: stored.labels_too_long,
    }
}

/// Returns a role of a kind. `known` is its earlier state.
#[must_use]
pub fn role(kind: RoleKind, stored: StoredRole, known: Option<&Lookup<RoleFacts>>) -> Lookup<RoleFacts> {
    if let Some(deletion) = deletion(&stored.metadata) {
        return Lookup::Deleting(deletion);
    }
    let known = known.and_then(Lookup::found).map(|known| &known.rules);
    let rules = match stored.rules {
        Some(Limited::Beyond(bytes)) => Arc::new(Rules::too_long(bytes)),
        Some(Limited::Within(rules)) => Rules::known_or_new(rules.into_iter().map(rule), known),
        None => Rules::known_or_new([], known),
    };
    Lookup::Found(RoleFacts { kind, name: stored.metadata.name.unwrap_or_default(), uid: stored.metadata.uid.unwrap_or_default(), rules })
}

fn rule(stored: PolicyRule) -> Rule {
    Rule {
        api_groups: stored.api_groups.unwrap_or_default(),
        resources: stored.resources.unwrap_or_default(),
        resource_names: stored.resource_names.unwrap_or_default(),
        non_resource_urls: stored.non_resource_urls.unwrap_or_default(),
        verbs: stored.verbs,
    }
}

/// Returns a binding, reduced to what the rules read.
#[must_use]
pub fn binding(stored: &RoleBinding) -> BindingFacts {
    let subjects = stored.subjects.iter().flatten().map(|subject| BindingSubject {
        kind: subject.kind.clone(),
        name: subject.name.clone(),
        namespace: subject.namespace.clone(),
    });
    BindingFacts {
        uid: stored.metadata.uid.clone().unwrap_or_default(),
        managed: is_managed(&stored.metadata),
        annotations: stored.metadata.annotations.clone().unwrap_or_default(),
        subjects: subjects.collect(),
        role_kind: stored.role_ref.kind.clone(),
        role_name: stored.role_ref.name.clone(),
    }
}

/// Returns true for an object with the label of a managed binding.
#[must_use]
pub fn is_managed(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().and_then(|labels| labels.get(names::MANAGED_LABEL)).is_some_and(|value| value == names::MANAGED_VALUE)
}

/// Returns the attributes of an access review in the API's form.
#[must_use]
pub fn attributes(question: &Question<'_>) -> ResourceAttributes {
    let (resource, subresource) =
        question.resource.split_once('/').map_or((question.resource, None), |(resource, sub)| (resource, Some(sub)));
    ResourceAttributes {
        verb: Some(question.verb.to_owned()),
        group: Some(question.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(ToOwned::to_owned),
        name: Some(question.name.to_owned()),
        namespace: question.namespace.map(ToOwned::to_owned),
        ..ResourceAttributes::default()
    }
}
