//! The reports on policies: whether they can be used as they are written.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use tracing::warn;

use super::{context::Context, owed, ready};
use crate::queue::Next;
use api::{
    ApprovalPolicy, ApprovalPolicySpec, ApprovalPolicyStatus, Reason,
    conditions::{self, EVIDENCE_SEEN, Set},
};
use domain::{Refusal, convert, evidence, policy};
use kube_io::{cache::Key, call::read};

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

async fn report(context: &Arc<Context>, key: &Key) -> Result<(), ready::ReportError> {
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
    sets.extend(evidence_seen(context, &stored.spec, &before));
    let status = ApprovalPolicyStatus {
        observed_generation: generation,
        conditions: conditions::merge(&before.conditions, &sets, generation, context.now()),
        reviews_owed: owed::left(context, &stored).await?,
    };
    Ok(ready::report(&context.client, &stored, &before, &status).await?)
}

/// Returns the condition whether the evidence that a policy requires was ever observed. Some clusters cannot deliver it, and then no
/// request can be granted. For the same keys the condition stays true once it was.
fn evidence_seen(context: &Context, spec: &ApprovalPolicySpec, before: &ApprovalPolicyStatus) -> Option<Set> {
    let keys = evidence::keys(spec);
    if keys.is_empty() {
        return None;
    }
    let named = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    let seen_before = |c: &&Condition| c.type_ == EVIDENCE_SEEN && c.status == "True" && c.message.contains(&named);
    let unseen: Vec<String> = keys.iter().filter(|key| !context.evidence.has(key)).map(|key| format!("'{key}'")).collect();
    let seen = unseen.is_empty() || before.conditions.iter().any(|c| seen_before(&c));
    Some(if seen {
        Set { kind: EVIDENCE_SEEN, status: Some(true), reason: Reason::EvidenceObserved, message: format!("sign-ins contained {named}") }
    } else {
        let message = format!(
            "no request has contained {} yet; if none can, the cluster's authentication does not pass it on (claimMappings.extra), and \
             nothing is granted under this policy",
            unseen.join(", ")
        );
        Set { kind: EVIDENCE_SEEN, status: Some(false), reason: Reason::EvidenceNotObserved, message }
    })
}
