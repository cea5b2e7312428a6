//! The reports on policies: whether they can be used as they are written.

use std::sync::Arc;

use kube::Api;
use tracing::warn;

use super::{
    context::Context,
    owed,
    ready::{self, author_of},
};
use crate::queue::Next;
use api::{
    ApprovalPolicy, ApprovalPolicySpec, ApprovalPolicyStatus, Reason,
    conditions::{self, EVIDENCE_OBSERVED, Set},
};
use domain::{
    Refusal, convert, evidence, policy,
    timeline::{self, Written},
};
use kube_io::{
    cache::Key,
    call::{CallError, read},
};

/// Reports on one policy. Only the leader does this.
pub async fn work(context: &Arc<Context>, key: Key) -> Next {
    if !context.leadership.held() {
        return Next::Done;
    }
    match report(context, &key).await {
        Ok(()) => Next::Done,
        Err(error) => {
            warn!(policy = %key, %error, "cannot reconcile the policy, retrying");
            Next::Retry
        }
    }
}

async fn report(context: &Arc<Context>, key: &Key) -> Result<(), CallError> {
    let api: Api<ApprovalPolicy> = Api::all(context.client.clone());
    let Some(stored) = read(|| format!("policy '{key}'"), api.get_opt(&key.name)).await? else { return Ok(()) };
    let before = stored.status.clone().unwrap_or_default();
    let generation = stored.metadata.generation;
    let unguarded = context.guards.check_policy(&convert::object(&stored.metadata, ()));
    let removed = || match convert::deletion(&stored.metadata) {
        Some(deletion) => Err(Refusal::new(Reason::PolicyRemoved, format!("the policy {deletion}"))),
        None => Ok(()),
    };
    let mut sets = ready::of_policy(&removed().and(unguarded).and_then(|()| policy::check(&stored.spec, &context.settings)));
    let evidence_observed = observed(context, &stored.spec, &before);
    sets.extend(evidence_condition(&stored.spec, &evidence_observed));
    let written = Written {
        created: stored.metadata.creation_timestamp.as_ref().map(conditions::from_time).unwrap_or_default(),
        observed_generation: before.observed_generation,
        generation: generation.unwrap_or_default(),
        author: author_of(&stored.metadata),
        suspended: false,
        ended_at: None,
        message: &timeline::describe_policy(&stored.spec),
    };
    let status = ApprovalPolicyStatus {
        observed_generation: generation,
        conditions: conditions::merge(&before.conditions, &sets, generation, context.now()),
        reviews_owed: owed::left(context, &stored).await?,
        evidence_observed,
        timeline: timeline::of_written(&before.timeline, written, context.now()),
    };
    Ok(ready::report(&context.client, &stored, &before, &status).await?)
}

/// Returns the keys that the policy requires and that a request has contained, now or before.
fn observed(context: &Context, spec: &ApprovalPolicySpec, before: &ApprovalPolicyStatus) -> Vec<String> {
    let was_observed = |key: &str| before.evidence_observed.iter().any(|observed| observed == key);
    evidence::keys(spec).into_iter().filter(|key| context.evidence.has(key) || was_observed(key)).map(ToOwned::to_owned).collect()
}

/// Returns the condition whether the evidence that a policy requires was ever observed. Some clusters cannot deliver it, and then no
/// request can be granted.
fn evidence_condition(spec: &ApprovalPolicySpec, observed: &[String]) -> Option<Set> {
    let keys = evidence::keys(spec);
    if keys.is_empty() {
        return None;
    }
    let quoted = |keys: Vec<&str>| keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    let missing: Vec<&str> = keys.iter().copied().filter(|key| !observed.iter().any(|observed| observed == key)).collect();
    Some(if missing.is_empty() {
        Set {
            kind: EVIDENCE_OBSERVED,
            status: Some(true),
            reason: Reason::EvidenceObserved,
            message: format!("sign-ins contained {}", quoted(keys.into_iter().collect())),
        }
    } else {
        let message = format!(
            "no request has contained {} yet; if none can, the cluster's authentication does not pass it on (claimMappings.extra), and \
             nothing is granted under this policy",
            quoted(missing)
        );
        Set { kind: EVIDENCE_OBSERVED, status: Some(false), reason: Reason::EvidenceNotObserved, message }
    })
}
