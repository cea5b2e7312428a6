//! The stamps of the mutating webhook: requester, decider and author. They are overwritten and never appended, so that a second call
//! changes nothing, and values of clients are removed (T1). The module does no I/O.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, jsonptr::PointerBuf};
use k8s_openapi::{api::authentication::v1::UserInfo, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, api::ObjectMeta, core::DynamicObject};
use serde_json::{Map, Value, json};

use api::{
    ApprovalPolicySpec, Reason, RoleActivationRequest, RoleEligibilitySpec, Stamp, SubjectKind,
    identity::{MAX_STAMPED_GROUPS, PrincipalName},
    names,
};
use domain::{Refusal, RequestFacts, author_check::AuthorCheck};

/// Key of `userInfo.extra` that ties an action to one credential of its user; always stamped.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// Most keys of `extra` in a stamp, and most values of one key.
const MAX_EXTRA: usize = 16;
/// Longest value of `extra`, in characters.
const MAX_EXTRA_VALUE: usize = 1024;
/// Size limit of all groups in a stamp, and of all values of `extra`, in bytes: a stamp is part of an object whose size is limited.
const MAX_TEXT: usize = 24 << 10;

/// The groups and extra attributes of a user that are stamped: those that eligibilities and policies name. "Near" are the objects that the
/// write itself refers to; their groups come first when there are too many.
#[derive(Debug)]
pub struct Chosen<'u> {
    user: &'u UserInfo,
    member_of: HashSet<&'u str>,
    near: Named<'u>,
    far: Named<'u>,
}

#[derive(Debug, Default)]
struct Named<'u> {
    groups: BTreeSet<&'u str>,
    keys: BTreeSet<String>,
}

impl<'u> Chosen<'u> {
    /// Returns an empty selection for this user.
    #[must_use]
    pub fn of(user: &'u UserInfo) -> Self {
        let member_of = user.groups.iter().flatten().map(String::as_str).collect();
        Self { user, member_of, near: Named::default(), far: Named::default() }
    }

    /// Adds the groups that an eligibility names.
    pub fn eligibility(&mut self, spec: &RoleEligibilitySpec, near: bool) {
        let groups = spec.subjects.iter().filter(|subject| subject.kind == SubjectKind::Group).map(|subject| subject.name.as_str());
        self.groups(groups, near);
    }

    /// Adds the groups and the keys of `extra` that a policy names.
    pub fn policy(&mut self, spec: &ApprovalPolicySpec, near: bool) {
        self.groups(spec.people().flat_map(|people| people.groups.iter().map(PrincipalName::as_str)), near);
        let rule = spec.requirements.as_ref().and_then(|requirements| requirements.authentication.as_ref());
        let claims = rule.iter().flat_map(|rule| rule.claims.iter().map(|claim| claim.key.to_string()));
        let max_age = rule.iter().filter_map(|rule| rule.max_age.as_ref().map(|age| age.key.to_string()));
        self.named(near).keys.extend(claims.chain(max_age));
    }

    fn groups<'n>(&mut self, names: impl Iterator<Item = &'n str>, near: bool) {
        let mine: Vec<&'u str> = names.filter_map(|name| self.member_of.get(name).copied()).collect();
        self.named(near).groups.extend(mine);
    }

    fn named(&mut self, near: bool) -> &mut Named<'u> {
        if near { &mut self.near } else { &mut self.far }
    }

    /// Returns the stamp.
    #[must_use]
    pub fn stamp(&self) -> Value {
        let mut stamp = Map::from_iter([("username".to_owned(), Value::from(self.user.username.as_deref().unwrap_or_default()))]);
        if let Some(uid) = self.user.uid.as_deref().filter(|uid| !uid.is_empty()) {
            stamp.insert("uid".to_owned(), uid.into());
        }
        let others = self.far.groups.difference(&self.near.groups);
        let mut room = MAX_TEXT;
        let fits = |group: &&str| takes(&mut room, group);
        let groups: Vec<&str> = self.near.groups.iter().chain(others).copied().filter(fits).take(MAX_STAMPED_GROUPS).collect();
        if !groups.is_empty() {
            stamp.insert("groups".to_owned(), groups.into());
        }
        let extra = self.extra();
        if !extra.is_empty() {
            stamp.insert("extra".to_owned(), json!(extra));
        }
        Value::Object(stamp)
    }

    fn extra(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut extra = BTreeMap::new();
        let mut room = MAX_TEXT;
        let named = self.near.keys.iter().chain(&self.far.keys).map(String::as_str);
        for key in std::iter::once(CREDENTIAL_ID).chain(named) {
            let values = self.user.extra.as_ref().and_then(|all| all.get(key));
            // A value is stamped whole or not at all: the API server did not authenticate a part of it.
            let fitting = values.into_iter().flatten().map(String::as_str).filter(|value| value.chars().count() <= MAX_EXTRA_VALUE);
            if extra.len() >= MAX_EXTRA {
                break;
            }
            let fitting: Vec<&str> = fitting.filter(|value| takes(&mut room, value)).take(MAX_EXTRA).collect();
            if !fitting.is_empty() {
                extra.insert(key, fitting);
            }
        }
        extra
    }
}

/// Reserves room for a text; false where there is not enough.
fn takes(room: &mut usize, text: &str) -> bool {
    let left = room.checked_sub(text.len());
    *room = left.unwrap_or(*room);
    left.is_some()
}

/// Returns the user with every group that a stamp could hold, for the evaluation of rules. `None` if the user name is invalid.
#[must_use]
pub fn everything(user: &UserInfo) -> Option<Stamp> {
    let line = |text: &str| text.to_owned().try_into().ok();
    Some(Stamp {
        username: line(user.username.as_deref().unwrap_or_default())?,
        uid: user.uid.as_deref().filter(|uid| !uid.is_empty()).and_then(|uid| uid.to_owned().try_into().ok()),
        groups: user.groups.iter().flatten().filter_map(|group| line(group)).collect(),
        extra: BTreeMap::new(),
    })
}

/// Refuses a stamp unless all of it is in `user`: name and UID are equal, and the rest is a subset (T1). The admission policies enforce the
/// same; this check applies when a later webhook overwrote the stamp.
pub fn check(field: &str, stamp: Option<&Stamp>, user: &UserInfo) -> Result<(), Refusal> {
    let refuse = |what: &str| Err(Refusal::new(Reason::UserInfoMissing, format!("{field} {what}; omit it, it is set automatically")));
    let username = user.username.as_deref().unwrap_or_default();
    let Some(stamp) = stamp.filter(|stamp| !stamp.username.is_empty()) else {
        return refuse("is missing, although jit-rbac's webhook sets it");
    };
    if stamp.username.as_str() != username {
        return refuse(&format!("names '{}', but you are '{username}'", stamp.username));
    }
    if stamp.uid.as_ref().map_or("", |uid| uid.as_str()) != user.uid.as_deref().unwrap_or_default() {
        return refuse("has a UID that is not yours");
    }
    let member_of: HashSet<&str> = user.groups.iter().flatten().map(String::as_str).collect();
    if let Some(group) = stamp.groups.iter().find(|group| !member_of.contains(group.as_str())) {
        return refuse(&format!("names the group '{group}', of which you are not a member"));
    }
    let has =
        |key: &String, value: &String| user.extra.as_ref().and_then(|extra| extra.get(key)).is_some_and(|values| values.contains(value));
    match stamp.extra.iter().find(|(key, values)| !values.iter().all(|value| has(key, value))) {
        Some((key, _)) => refuse(&format!("has a value for '{key}' that your credentials do not have")),
        None => Ok(()),
    }
}

/// Returns the only owner of a decision: its request, whose deletion deletes the decision. It does not block the deletion.
#[must_use]
pub fn owner(request: &RequestFacts) -> OwnerReference {
    OwnerReference {
        api_version: RoleActivationRequest::api_version(&()).into_owned(),
        kind: RoleActivationRequest::kind(&()).into_owned(),
        name: request.object.name.clone(),
        uid: request.object.uid.clone(),
        controller: None,
        block_owner_deletion: None,
    }
}

/// Stamps the requester. An object without a spec is left to the schema, which rejects it.
#[must_use]
pub fn requester(object: &DynamicObject, stamp: Value) -> Patch {
    if spec(object).is_none() { Patch::default() } else { Patch(vec![add(["spec", "requester"], stamp)]) }
}

/// Stamps the decider, the request that the decision refers to, and its owner.
#[must_use]
pub fn decision(object: &DynamicObject, stamp: Value, request: &RequestFacts) -> Patch {
    if spec(object).and_then(|spec| spec.get("requestRef")).is_none_or(|reference| !reference.is_object()) {
        return Patch::default();
    }
    let requester = request.object.spec.requester.as_ref().map_or("", |requester| requester.username.as_str());
    Patch(vec![
        add(["spec", "decider"], stamp),
        add(["spec", "requestRef", "uid"], request.object.uid.as_str().into()),
        add(["spec", "requestRef", "requester"], requester.into()),
        add(["metadata", "ownerReferences"], json!([owner(request)])),
    ])
}

/// Stamps the author of a new or changed spec, and the basis of the author check.
#[must_use]
pub fn author(object: &DynamicObject, username: &str, check: &AuthorCheck) -> Patch {
    annotated(object, [(names::AUTHOR, Some(username.to_owned())), (names::AUTHOR_CHECK, Some(check.write()))])
}

/// Restores the recorded author and check for an unchanged spec.
#[must_use]
pub fn same_author(object: &DynamicObject, old: &DynamicObject) -> Patch {
    annotated(object, [names::AUTHOR, names::AUTHOR_CHECK].map(|key| (key, recorded(old, key).cloned())))
}

fn recorded<'o>(object: &'o DynamicObject, key: &str) -> Option<&'o String> {
    object.metadata.annotations.as_ref()?.get(key)
}

/// Returns the patch after which the annotations have these values.
fn annotated<const N: usize>(object: &DynamicObject, due: [(&str, Option<String>); N]) -> Patch {
    let mut patch = Vec::new();
    if object.metadata.annotations.is_none() && due.iter().any(|(_, value)| value.is_some()) {
        patch.push(add(["metadata", "annotations"], json!({})));
    }
    for (key, value) in due.into_iter().filter(|(key, value)| recorded(object, key) != value.as_ref()) {
        let annotation = ["metadata", "annotations", key];
        patch.push(match value {
            Some(value) => add(annotation, value.into()),
            None => PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(annotation) }),
        });
    }
    Patch(patch)
}

/// True when the spec is unchanged.
#[must_use]
pub fn same_spec(object: &DynamicObject, old: &DynamicObject) -> bool {
    object.data.get("spec") == old.data.get("spec")
}

/// True when the metadata is unchanged, except for fields that the API server itself manages and for finalizers that are removed during
/// deletion.
#[must_use]
pub fn same_metadata(object: &DynamicObject, old: &DynamicObject) -> bool {
    let lasting = |metadata: &ObjectMeta| ObjectMeta {
        managed_fields: None,
        resource_version: None,
        generation: None,
        finalizers: None,
        ..metadata.clone()
    };
    let finalizers = |metadata: &ObjectMeta| metadata.finalizers.clone().unwrap_or_default();
    let (now, before) = (finalizers(&object.metadata), finalizers(&old.metadata));
    let fewer = || old.metadata.deletion_timestamp.is_some() && now.iter().all(|finalizer| before.contains(finalizer));
    lasting(&object.metadata) == lasting(&old.metadata) && (now == before || fewer())
}

fn spec(object: &DynamicObject) -> Option<&Map<String, Value>> {
    object.data.get("spec").and_then(Value::as_object)
}

fn add<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
}

#[cfg(test)]
#[path = "stamp_tests.rs"]
mod tests;
