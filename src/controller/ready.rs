//! Reports on eligibilities and policies: the Ready condition, and how a status is written.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use k8s_openapi::{ClusterResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::context::FIELD_MANAGER;
use crate::{
    api::{
        Reason,
        conditions::{self, READY, Set},
    },
    domain::Refusal,
    gather::{GatherError, WriteError, write},
};

/// Why a status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] GatherError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The condition for a judgement: usable, with a sentence, or not, with the reason.
#[must_use]
pub fn ready(judged: Result<String, Refusal>) -> Set {
    match judged {
        Ok(message) => Set { kind: READY, status: Some(true), reason: Reason::Valid, message },
        Err(refusal) => Set { kind: READY, status: Some(false), reason: refusal.reason, message: refusal.message },
    }
}

/// The conditions of an object that has no other.
#[must_use]
pub fn conditions(before: &[Condition], judged: Result<String, Refusal>, generation: Option<i64>, now: DateTime<Utc>) -> Vec<Condition> {
    conditions::merge(before, &[ready(judged)], generation, now)
}

/// Writes a status where it says something new. The UID keeps it off another object that took the name meanwhile; an object that went
/// away needs none.
///
/// # Errors
///
/// The API server said no, or nothing.
pub async fn report<K, S>(client: &Client, stored: &K, before: &S, status: &S) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    if same(before, status) {
        return Ok(());
    }
    let name = stored.name_any();
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": stored.meta().uid},
        "status": status,
    });
    let api: Api<K> = Api::all(client.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    forgive(write(|| format!("report on {} '{name}'", K::kind(&())), api.patch_status(&name, &params, &Patch::Apply(patch))).await)
}

/// True when two statuses say the same. Transition times move only with what they are about.
fn same<T: Serialize>(a: &T, b: &T) -> bool {
    matches!((serde_json::to_value(a), serde_json::to_value(b)), (Ok(a), Ok(b)) if a == b)
}

/// Takes it that an object which went away meanwhile needs no report.
fn forgive<T>(written: Result<T, WriteError>) -> Result<(), WriteError> {
    match written {
        Ok(_) => Ok(()),
        Err(error) if error.answer().is_some_and(|status| status.is_not_found() || status.is_conflict()) => Ok(()),
        Err(error) => Err(error),
    }
}
