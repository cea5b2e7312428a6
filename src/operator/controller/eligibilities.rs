//! The reports on eligibilities: whether they can be used, what their role allows, and which namespaces they cover.

use std::sync::Arc;

use kube::Api;
use tracing::warn;

use super::{
    context::Context,
    ready::{self, author_of},
};
use crate::{
    gather::caches::{Policy, Source},
    queue::Next,
};
use api::{
    ApprovalPolicySpec, Reason, RoleEligibility, RoleEligibilitySpec, RoleEligibilityStatus, conditions,
    eligibility::{MAX_SHOWN_NAMESPACES, NamespacesStatus, RoleKind, RoleRef, RoleStatus},
    names,
};
use domain::{
    Lookup, Object, Refusal, author, checked, convert, eligibility, namespace,
    timeline::{self, Written},
    usable::{self, Check, Failed, Input},
};
use kube_io::{
    access::{self, Access},
    cache::Key,
    call::{CallError, read},
};

/// Reports on one eligibility. Only the leader does this.
pub async fn work(context: &Arc<Context>, key: Key) -> Next {
    if !context.leadership.held() {
        return Next::Done;
    }
    match report(context, &key).await {
        Ok(next) => next,
        Err(error) => {
            warn!(eligibility = %key, %error, "cannot reconcile the eligibility, retrying");
            Next::Retry
        }
    }
}

async fn report(context: &Arc<Context>, key: &Key) -> Result<Next, CallError> {
    let api: Api<RoleEligibility> = Api::all(context.client.clone());
    let Some(stored) = read(|| format!("eligibility '{key}'"), api.get_opt(&key.name)).await? else { return Ok(Next::Done) };
    let before = stored.status.clone().unwrap_or_default();
    let generation = stored.metadata.generation;
    let object = convert::object(&stored.metadata, stored.spec.clone());
    let role = cluster_role(context, &object.spec.role_ref).await?;
    let checked = match convert::deletion(&stored.metadata) {
        Some(deletion) => Err(Refusal::new(Reason::EligibilityRemoved, format!("the eligibility {deletion}"))),
        None => check(context, &object, &role).await?,
    };
    let note = checked.as_ref().ok().cloned().flatten();
    let standing = eligibility::standing(&object, checked.map(drop), context.now());
    let now = context.now();
    let written = Written {
        created: object.created,
        observed_generation: before.observed_generation,
        generation: object.generation,
        author: author_of(&stored.metadata),
        suspended: object.spec.suspended,
        ended_at: object.spec.end_time.filter(|end| *end <= now),
        message: &timeline::describe(&object.spec),
    };
    let status = RoleEligibilityStatus {
        observed_generation: generation,
        conditions: conditions::merge(&before.conditions, &ready::of_eligibility(&standing, note.as_deref()), generation, context.now()),
        role: Some(role_status(&object.spec.role_ref, &role)),
        namespaces: Some(namespaces(context, &object.spec)),
        timeline: timeline::of_written(&before.timeline, written, now),
    };
    ready::report(&context.client, &stored, &before, &status).await?;
    // `Usable` changes at the start and the end time without a change of the object.
    let spec = &object.spec;
    let ahead = [spec.start_time, spec.end_time].into_iter().flatten().filter(|at| *at > context.now()).min();
    Ok(ahead.map_or(Next::Done, Next::At))
}

type ClusterRole = Option<Lookup<domain::RoleFacts>>;

/// Returns the `ClusterRole`, or none for a Role, which differs between namespaces.
async fn cluster_role(context: &Arc<Context>, role: &RoleRef) -> Result<ClusterRole, CallError> {
    match role.kind {
        RoleKind::ClusterRole => Ok(Some(context.caches.role(role, "", Source::Cache).await?)),
        RoleKind::Role => Ok(None),
    }
}

/// Checks whether an eligibility can be used, and returns the note for its status. These are the checks of a request, except those that
/// need a person, a namespace or a time.
async fn check(
    context: &Arc<Context>,
    object: &Object<RoleEligibilitySpec>,
    role: &ClusterRole,
) -> Result<Result<Option<String>, Refusal>, CallError> {
    let found = context.caches.policy(&object.spec.policy_ref.name, Source::Cache).await?;
    let checked = check_stored(context, object, &found, role);
    if checked.is_ok() && !may_bind(context, &object.spec.role_ref).await? {
        return Ok(Err(eligibility::not_bindable(&object.spec.role_ref)));
    }
    let Some(policy) = found.found() else { return Ok(checked.map(|()| None)) };
    Ok(checked.and_then(|()| checked_somewhere(context, object, policy)))
}

/// Checks what is stored. An eligibility that was written while the admission guards were not verified is denied before any other check.
fn check_stored(context: &Context, object: &Object<RoleEligibilitySpec>, policy: &Policy, role: &ClusterRole) -> Result<(), Refusal> {
    context.guards.check_eligibility(object)?;
    let input = Input { policy: Some(policy), role: role.as_ref(), ..Input::new(object, &context.settings) };
    let failed = usable::usable(&input).err();
    let of_policy = |check: Check| !matches!(check, Check::Written | Check::PolicyFound);
    if let Some(policy) = policy.found()
        && failed.as_ref().is_none_or(|failed| of_policy(failed.check))
    {
        context.guards.check_policy(policy)?;
    }
    match failed {
        None => Ok(()),
        Some(Failed { check: Check::PolicyWritten, refusal }) => Err(usable::policy_not_ready(&object.spec, &refusal)),
        Some(Failed { refusal, .. }) => Err(refusal),
    }
}

/// Returns the note for an eligibility that can be activated, or the refusal where the checks on its author pass in none of its namespaces.
fn checked_somewhere(
    context: &Context,
    object: &Object<RoleEligibilitySpec>,
    policy: &Object<ApprovalPolicySpec>,
) -> Result<Option<String>, Refusal> {
    let checked = context.caches.namespaces.pick(|key, facts| {
        let covered = namespace::covers(&object.spec, &key.name, facts) && !facts.terminating;
        covered.then(|| (key.name.clone(), checked::stands(object, policy, &key.name, facts).err()))
    });
    let all = checked.len();
    let mut refused: Vec<_> = checked.into_iter().filter_map(|(name, refusal)| Some((name, refusal?))).collect();
    refused.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    match (refused.len(), refused.into_iter().next()) {
        (many, Some((_, refusal))) if many == all => Err(refusal),
        (_, Some((_, refusal))) => Ok(Some(format!("the eligibility can be activated, but not in all namespaces: {}", refusal.message))),
        (_, None) if object.is_unrecorded() => Ok(Some(format!(
            "the eligibility can be activated; its spec is older than the annotation {}, so a recreated namespace needs no new check of the \
             author: change any field to record the check",
            names::AUTHOR_CHECK
        ))),
        (_, None) => Ok(None),
    }
}

/// Returns whether this process may bind the role: the chart's `bindableRoles` as the API server enforces them (T25).
async fn may_bind(context: &Arc<Context>, role: &RoleRef) -> Result<bool, CallError> {
    if context.bindable.has(role) {
        return Ok(true);
    }
    let what = || format!("whether {} '{}' may be bound", role.kind, role.name);
    let may = access::ask_of_us(&context.client, what, convert::attributes(&author::bind(role, None))).await? == Access::Yes;
    if may {
        context.bindable.note(role);
    }
    Ok(may)
}

fn role_status(role: &RoleRef, found: &ClusterRole) -> RoleStatus {
    match found {
        Some(Lookup::Found(found)) => found.rules.status(role.kind, &role.name, true),
        _ => RoleStatus { kind: Some(role.kind), name: role.name.clone(), ..RoleStatus::default() },
    }
}

fn namespaces(context: &Arc<Context>, spec: &RoleEligibilitySpec) -> NamespacesStatus {
    let mut names = context.caches.namespaces.pick(|key, facts| {
        let covered = namespace::covers(spec, &key.name, facts) && namespace::protected(spec, &key.name, &context.settings).is_ok();
        covered.then(|| key.name.clone())
    });
    names.sort_unstable();
    let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
    names.truncate(MAX_SHOWN_NAMESPACES);
    NamespacesStatus { count, names }
}
