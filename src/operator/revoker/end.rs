//! The verified removal of one binding.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::response::StatusSummary,
};
use serde_json::json;

use kube_io::{
    cache::Key,
    call::{CallError, ReadError, WriteError, read, unless_gone, write},
};

/// The result of the removal of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No binding with this UID exists any more. It grants nothing and never will.
    Gone,
    /// Like `Gone`, and the API server reported it in its answer to the delete: another client removed the binding.
    WasGone,
    /// A finalizer keeps the binding. Its subjects are empty and it grants nothing (**T28**).
    Emptied,
}

/// Which GET verifies that a binding is gone. This must be verified before the end of a grant is recorded (api rule 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The GET is part of the removal, because the caller is about to record the end.
    Now,
    /// The leader verifies it before it records the end. Until then a Status as the answer to the delete is sufficient: as long as a
    /// finalizer keeps an object, the answer is the object.
    ByTheRecord,
}

/// Removes the binding with this UID. A successful delete alone proves nothing: as long as a finalizer keeps the binding, RBAC grants by
/// it. Therefore the finalizers are removed and, where that is denied, the subjects.
pub async fn end(client: &Client, key: &Key, uid: &str, proof: Proof) -> Result<Ended, CallError> {
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), &key.namespace);
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let delete = DeleteParams::background().preconditions(only_this);
    // The delete may fail although the binding is gone or can be emptied. The read below decides.
    let (refused, gone) = match write(|| format!("delete RoleBinding '{key}'"), api.delete(&key.name, &delete)).await {
        Ok(answer) => {
            let removed = answer.right().is_some_and(|status| status.status == Some(StatusSummary::Success));
            if removed && proof == Proof::ByTheRecord {
                return Ok(Ended::Gone);
            }
            (None, Ended::Gone)
        }
        Err(error) if error.answer().is_some_and(|status| status.is_not_found() || status.is_conflict()) => (None, Ended::WasGone),
        Err(error) => (Some(error), Ended::Gone),
    };
    let Some(held) = present(&api, key, uid).await? else { return Ok(gone) };
    if held.metadata.finalizers.as_ref().is_some_and(|f| !f.is_empty()) && strip(&api, key, uid).await.is_ok() {
        // The API server removes an object that was deleted before when its last finalizer is removed.
        if present(&api, key, uid).await?.is_none() {
            return Ok(Ended::Gone);
        }
    }
    empty(&api, key, uid).await?;
    match (present(&api, key, uid).await?, refused) {
        (None, _) => Ok(Ended::Gone),
        (Some(_), None) => Ok(Ended::Emptied),
        // The binding grants nothing, but the caller must learn why the delete was denied.
        (Some(_), Some(error)) => Err(error.into()),
    }
}

/// Returns true when a GET by name finds no binding, or one with another UID.
pub async fn is_gone(client: &Client, key: &Key, uid: &str) -> Result<bool, ReadError> {
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), &key.namespace);
    Ok(present(&api, key, uid).await?.is_none())
}

async fn present(api: &Api<RoleBinding>, key: &Key, uid: &str) -> Result<Option<RoleBinding>, ReadError> {
    let found = read(|| format!("RoleBinding '{key}'"), api.get_opt(&key.name)).await?;
    Ok(found.filter(|binding| binding.metadata.uid.as_deref() == Some(uid)))
}

async fn strip(api: &Api<RoleBinding>, key: &Key, uid: &str) -> Result<(), WriteError> {
    let patch = json!({"metadata": {"uid": uid, "finalizers": null}});
    write(|| format!("strip the finalizers of RoleBinding '{key}'"), api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)))
        .await?;
    Ok(())
}

async fn empty(api: &Api<RoleBinding>, key: &Key, uid: &str) -> Result<(), WriteError> {
    let patch = json!({"metadata": {"uid": uid}, "subjects": null});
    let (options, patch) = (PatchParams::default(), Patch::Merge(patch));
    let call = api.patch(&key.name, &options, &patch);
    unless_gone(write(|| format!("empty RoleBinding '{key}'"), call).await)
}
