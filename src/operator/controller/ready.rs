//! The reports on eligibilities and policies: their conditions, and how a status is written.

use std::fmt::Debug;

use k8s_openapi::{ClusterResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use api::{
    Reason,
    conditions::{READY, RECONCILING, STALLED, Set, USABLE},
    names::{self, FIELD_MANAGER},
};
use domain::{
    Refusal,
    eligibility::{Progress, Standing},
};
use kube_io::{
    call::{WriteError, unless_gone, write},
    status_patch,
};

/// Returns the conditions of an eligibility. `note` is the message for one that can be activated.
#[must_use]
pub fn of_eligibility(standing: &Standing, note: Option<&str>) -> Vec<Set> {
    let ready = judged(READY, &standing.ready, "the spec is valid");
    let usable = judged(USABLE, &standing.usable, note.unwrap_or("the eligibility can be activated"));
    let [reconciling, stalled] = progress(&ready, standing.progress);
    vec![ready, usable, reconciling, stalled]
}

/// Returns the conditions of a policy that was checked. It depends on no other object.
#[must_use]
pub fn of_policy(checked: &Result<(), Refusal>) -> Vec<Set> {
    let ready = judged(READY, checked, "the policy can be used");
    let [reconciling, stalled] = progress(&ready, if checked.is_ok() { Progress::Settled } else { Progress::Stalled });
    vec![ready, reconciling, stalled]
}

fn judged(kind: &'static str, judged: &Result<(), Refusal>, message: &str) -> Set {
    match judged {
        Ok(()) => Set { kind, status: Some(true), reason: Reason::Valid, message: message.to_owned() },
        Err(refusal) => Set { kind, status: Some(false), reason: refusal.reason, message: refusal.message.clone() },
    }
}

/// Returns the conditions for kstatus, which prints the message of the one that is True.
fn progress(ready: &Set, progress: Progress) -> [Set; 2] {
    [(RECONCILING, Progress::Waits), (STALLED, Progress::Stalled)].map(|(kind, when)| {
        let is = progress == when;
        Set { kind, status: Some(is), reason: ready.reason, message: if is { ready.message.clone() } else { String::new() } }
    })
}

/// Writes the whole status if it has changed, so that nothing of an earlier report remains. The write applies only to the object that was
/// read, not to another one of the same name. An object that was deleted needs no report.
///
/// # Errors
///
/// The API server denied the write, for instance after another write, or did not answer.
pub async fn report<K, S>(client: &Client, stored: &K, before: &S, wanted: &S) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    if same(before, wanted) {
        return Ok(());
    }
    unless_gone(write_status(client, stored, before, wanted).await)
}

/// Writes a status to the object that was read, and returns what the API server stored.
///
/// # Errors
///
/// The API server denied the write, did not answer, or the object does not exist any more.
pub async fn write_status<K, S>(client: &Client, stored: &K, before: &S, wanted: &S) -> Result<K, WriteError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let name = stored.name_any();
    let meta = stored.meta();
    let patch = json!({
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        "status": status_patch::patch(before, wanted),
    });
    let api: Api<K> = Api::all(client.clone());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    write(|| format!("report on {} '{name}'", K::kind(&())), api.patch_status(&name, &params, &Patch::Merge(patch))).await
}

/// Returns true when two statuses are equal. Transition times change only with the status of their conditions.
fn same<T: Serialize>(a: &T, b: &T) -> bool {
    matches!((serde_json::to_value(a), serde_json::to_value(b)), (Ok(a), Ok(b)) if a == b)
}

/// Returns the user who wrote the spec of an eligibility or a policy, as admission stamped it.
pub fn author_of(meta: &ObjectMeta) -> Option<&str> {
    Some(meta.annotations.as_ref()?.get(names::AUTHOR)?.as_str())
}
