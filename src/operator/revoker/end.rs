//! Ending one binding, and being sure of it.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::response::StatusSummary,
};
use serde_json::json;

use kube_io::{
    cache::Key,
    call::{ReadError, WriteError, read, write},
};

/// How far a binding's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is none any more, or one with another UID: it grants nothing and never will.
    Gone,
    /// The same, and the API server said so to the delete: somebody else has ended it.
    WasGone,
    /// It is held by somebody's finalizer; its subjects are empty and it grants nothing (**T28**).
    Emptied,
}

/// Why a binding could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Who looks by GET whether a binding is gone, which must be known before its end is recorded (api rule 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The caller is about to record it: the look is part of the end.
    Now,
    /// The holder's look at the request, before it records. It suffices meanwhile that the delete was answered with a Status: as
    /// long as a finalizer keeps an object, the answer is the object.
    ByTheRecord,
}

/// Ends the binding with this UID. A delete alone proves nothing: a finalizer keeps the object, and RBAC goes on granting by it, so
/// the finalizers are stripped, and where that is refused the subjects are taken out.
pub async fn end(client: &Client, key: &Key, uid: &str, proof: Proof) -> Result<Ended, EndError> {
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), &key.namespace);
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let delete = DeleteParams::background().preconditions(only_this);
    // A refusal is not the last word: maybe it is gone, maybe it can be emptied. The look at it decides.
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
        // With the last finalizer the API server removes what was deleted before.
        if present(&api, key, uid).await?.is_none() {
            return Ok(Ended::Gone);
        }
    }
    empty(&api, key, uid).await?;
    match (present(&api, key, uid).await?, refused) {
        (None, _) => Ok(Ended::Gone),
        (Some(_), None) => Ok(Ended::Emptied),
        // Emptied, but the delete was refused for a reason worth telling.
        (Some(_), Some(error)) => Err(error.into()),
    }
}

/// True when GET by name shows none, or one with another UID.
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
    match write(|| format!("empty RoleBinding '{key}'"), api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch))).await {
        Ok(_) => Ok(()),
        Err(error) if error.answer().is_some_and(kube::core::Status::is_not_found) => Ok(()),
        Err(error) => Err(error),
    }
}
