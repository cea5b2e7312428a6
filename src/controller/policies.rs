//! Policies: whether they can be used as they are written.

use std::sync::Arc;

use kube::{Api, Resource};
use serde_json::json;
use tracing::warn;

use super::{
    context::{Context, FIELD_MANAGER},
    ready,
};
use crate::{
    api::{ApprovalPolicy, ApprovalPolicyStatus},
    domain::policy,
    gather::{WriteError, cache::Key, read, write},
    queue::Next,
};

/// Reports on one policy. Only the holder of the Lease does.
pub async fn work(context: &Arc<Context>, key: Key) -> Next {
    if !context.leadership.held() {
        return Next::Done;
    }
    match report(context, &key).await {
        Ok(()) => Next::Done,
        Err(error) => {
            warn!(policy = %key, %error, "the policy must wait");
            Next::Retry
        }
    }
}

async fn report(context: &Arc<Context>, key: &Key) -> Result<(), ready::ReportError> {
    let api: Api<ApprovalPolicy> = Api::all(context.client.clone());
    let Some(stored) = read(|| format!("policy '{key}'"), api.get_opt(&key.name)).await? else { return Ok(()) };
    let before = stored.status.clone().unwrap_or_default();
    let generation = stored.metadata.generation;
    let judged = policy::check(&stored.spec, &context.settings).map(|()| "it can be used".to_owned());
    let status = ApprovalPolicyStatus {
        observed_generation: generation,
        conditions: ready::conditions(&before.conditions, judged, generation, context.now()),
    };
    if ready::same(&before, &status) {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": ApprovalPolicy::api_version(&()),
        "kind": ApprovalPolicy::kind(&()),
        "metadata": {"name": key.name, "uid": stored.metadata.uid},
        "status": status,
    });
    ready::forgive(
        write(
            || format!("report on policy '{key}'"),
            api.patch_status(&key.name, &kube::api::PatchParams::apply(FIELD_MANAGER).force(), &kube::api::Patch::Apply(patch)),
        )
        .await,
    )
    .map_err(WriteError::into)
}
