//! Reports on eligibilities and policies: their conditions, and how a status is written.

use std::fmt::Debug;

use k8s_openapi::ClusterResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::status;
use api::{
    Reason,
    conditions::{READY, RECONCILING, STALLED, Set, USABLE},
    names::FIELD_MANAGER,
};
use domain::{
    Refusal,
    eligibility::{Progress, Standing},
};
use kube_io::call::{ReadError, WriteError, write};

/// Why a status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The conditions of an eligibility; `note` is what is to be told of one that can be activated.
#[must_use]
pub fn of_eligibility(standing: &Standing, note: Option<&str>) -> Vec<Set> {
    let ready = judged(READY, &standing.ready, "it is valid as it is written");
    let usable = judged(USABLE, &standing.usable, note.unwrap_or("it can be activated"));
    let [reconciling, stalled] = progress(&ready, standing.progress);
    vec![ready, usable, reconciling, stalled]
}

/// The conditions of a policy that was checked. It waits for no other object.
#[must_use]
pub fn of_policy(checked: &Result<(), Refusal>) -> Vec<Set> {
    let ready = judged(READY, checked, "it can be used");
    let [reconciling, stalled] = progress(&ready, if checked.is_ok() { Progress::Settled } else { Progress::Stalled });
    vec![ready, reconciling, stalled]
}

fn judged(kind: &'static str, judged: &Result<(), Refusal>, message: &str) -> Set {
    match judged {
        Ok(()) => Set { kind, status: Some(true), reason: Reason::Valid, message: message.to_owned() },
        Err(refusal) => Set { kind, status: Some(false), reason: refusal.reason, message: refusal.message.clone() },
    }
}

/// kstatus prints the message of the condition that is True.
fn progress(ready: &Set, progress: Progress) -> [Set; 2] {
    [(RECONCILING, Progress::Waits), (STALLED, Progress::Stalled)].map(|(kind, when)| {
        let is = progress == when;
        Set { kind, status: Some(is), reason: ready.reason, message: if is { ready.message.clone() } else { String::new() } }
    })
}

/// Writes a status where it says something new: all of it, so that nothing stays that an earlier report said. It is written on what was
/// read, and on no other object that took the name meanwhile; an object that went away needs none.
///
/// # Errors
///
/// The API server refused it, as where somebody else was faster, or did not answer.
pub async fn report<K, S>(client: &Client, stored: &K, before: &S, wanted: &S) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    if same(before, wanted) {
        return Ok(());
    }
    forgive(write_status(client, stored, before, wanted).await)
}

/// Writes a status on what was read, and returns what the API server stored.
///
/// # Errors
///
/// The API server refused it, did not answer, or has no such object any more.
pub async fn write_status<K, S>(client: &Client, stored: &K, before: &S, wanted: &S) -> Result<K, WriteError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let name = stored.name_any();
    let meta = stored.meta();
    let patch = json!({
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        "status": status::patch(before, wanted),
    });
    let api: Api<K> = Api::all(client.clone());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    write(|| format!("report on {} '{name}'", K::kind(&())), api.patch_status(&name, &params, &Patch::Merge(patch))).await
}

/// True when two statuses say the same. Transition times move only with what they are about.
fn same<T: Serialize>(a: &T, b: &T) -> bool {
    matches!((serde_json::to_value(a), serde_json::to_value(b)), (Ok(a), Ok(b)) if a == b)
}

/// Takes it that an object which went away meanwhile needs no report.
fn forgive<T>(written: Result<T, WriteError>) -> Result<(), WriteError> {
    match written {
        Ok(_) => Ok(()),
        Err(error) if error.answer().is_some_and(kube::core::Status::is_not_found) => Ok(()),
        Err(error) => Err(error),
    }
}
