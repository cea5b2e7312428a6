//! The end of every grant before jit-rbac is uninstalled (subcommand `revoke-all`).
//!
//! The order is what counts: first no replica grants any more, then every binding is removed, then no binding is left. On a failure the
//! replicas grant again, and nothing has to be restored.

mod hold;

use std::{collections::HashMap, time::Duration};

use api::{RoleActivationRequest, RoleActivationRequestStatus, State, names, selectors::in_state};
use domain::Binding;
use futures::{StreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::Config,
    controller::requests::report,
    gather::live,
    revoker::{
        end::{Ended, Proof, end},
        sweep::each_of_ours,
    },
};
use hold::{Held, HoldError};
use kube_io::{
    backoff::Backoff,
    cache::Key,
    call::{CallError, ReadError, WriteError, read, write},
    clock::Clock,
    status_patch,
};

/// The most bindings that are removed, and requests that are written, at the same time.
const AT_ONCE: usize = 16;
/// How often a binding that cannot be removed is tried, with this backoff.
const ATTEMPTS: u32 = 6;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(8));
/// The page size of the list of active requests.
const PAGE: u32 = 50;
/// The most bindings that an error names.
const NAMED: usize = 5;

/// Why the uninstallation must not continue.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The replicas could not be kept from granting.
    #[error("new grants cannot be stopped: {0}")]
    Hold(#[from] HoldError),
    /// The bindings could not be listed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Bindings could not be removed.
    #[error("RoleBindings that are left: {count}, among them {named}")]
    Left {
        /// Their number.
        count: usize,
        /// The names of some of them, with the cause.
        named: String,
    },
    /// The process was stopped.
    #[error("stopped before every grant was revoked")]
    Stopped,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The number of bindings that were removed.
    pub removed: usize,
    /// The bindings that a foreign finalizer keeps. They have no subjects and grant nothing.
    pub emptied: Vec<Key>,
    /// The number of requests whose end was recorded.
    pub recorded: usize,
    /// The number of requests whose end could not be recorded.
    pub unrecorded: usize,
}

/// Stops new grants, revokes every grant, and records the ends. After a success no replica of this installation grants any more.
pub async fn run(
    client: &Client,
    config: &Config,
    identity: &str,
    clock: &Clock,
    stop: &CancellationToken,
) -> Result<Done, UninstallError> {
    let held = Held::take(client, &config.operator_namespace, &config.controller.lease, identity).await?;
    let outcome = tokio::select! {
        outcome = revoke_all(client, &held, clock) => outcome,
        () = stop.cancelled() => Err(UninstallError::Stopped),
    };
    if outcome.is_err() {
        held.release().await;
    }
    outcome
}

async fn revoke_all(client: &Client, held: &Held, clock: &Clock) -> Result<Done, UninstallError> {
    let mut bindings = Bindings::default();
    // Before that, an earlier leader would record that someone else removed them.
    held.lost_by_others().await;
    bindings.remove(client).await?;
    held.settled().await?;
    bindings.remove(client).await?;
    // A missing record lets nobody keep access, so it does not stop the uninstallation.
    let (recorded, unrecorded) = record(client, clock).await.unwrap_or_else(|error| {
        warn!(%error, "the ends of the grants are not recorded");
        (0, 0)
    });
    Ok(Done { removed: bindings.removed, emptied: bindings.emptied.into_keys().collect(), recorded, unrecorded })
}

#[derive(Default)]
struct Bindings {
    removed: usize,
    /// By key, with their UIDs.
    emptied: HashMap<Key, String>,
}

impl Bindings {
    /// Removes bindings until a list has none. Every round lists again, so this also verifies the one before.
    async fn remove(&mut self, client: &Client) -> Result<(), UninstallError> {
        let (mut backoff, mut causes) = (BACKOFF, HashMap::new());
        for attempt in 0.. {
            let mut left: Vec<(Key, String)> = Vec::new();
            each_of_ours(client, |meta| left.push((Key::of(&meta), meta.uid.unwrap_or_default()))).await?;
            left.retain(|(key, uid)| self.emptied.get(key) != Some(uid));
            if left.is_empty() {
                break;
            }
            if attempt == ATTEMPTS {
                return Err(describe(&left, &causes));
            }
            if attempt > 0 {
                tokio::time::sleep(backoff.next_delay()).await;
            }
            let removals = stream::iter(left).map(async |(key, uid)| (end(client, &key, &uid, Proof::Now).await, key, uid));
            for (ended, key, uid) in removals.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
                match ended {
                    Ok(Ended::Gone) => {
                        info!(binding = %key, "grant revoked: binding removed");
                        self.removed += 1;
                    }
                    Ok(Ended::WasGone) => {}
                    Ok(Ended::Emptied) => {
                        warn!(binding = %key, "a foreign finalizer keeps the binding; it has no subjects any more and grants nothing");
                        self.emptied.insert(key, uid);
                    }
                    Err(error) => {
                        warn!(binding = %key, %error, "cannot remove the binding yet");
                        causes.insert(key, error);
                    }
                }
            }
        }
        Ok(())
    }
}

fn describe(left: &[(Key, String)], causes: &HashMap<Key, CallError>) -> UninstallError {
    let named = left.iter().take(NAMED).map(|(key, _)| match causes.get(key) {
        Some(cause) => format!("'{key}' ({cause})"),
        None => format!("'{key}'"),
    });
    UninstallError::Left { count: left.len(), named: named.collect::<Vec<_>>().join(", ") }
}

/// Records the end of every active request that has no binding any more. Returns how many were recorded, and how many were not.
async fn record(client: &Client, clock: &Clock) -> Result<(usize, usize), ReadError> {
    let api: Api<DeserializeGuard<RoleActivationRequest>> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE).fields(&in_state(|state| state == State::Active));
    let (mut recorded, mut unrecorded) = (0, 0);
    loop {
        let page = read(|| "the active requests".to_owned(), api.list(&params)).await?;
        let written: Vec<_> =
            stream::iter(page.items).map(|request| record_one(client, clock, request)).buffer_unordered(AT_ONCE).collect().await;
        for outcome in written {
            match outcome {
                Ok(true) => recorded += 1,
                Ok(false) => {}
                Err(error) => {
                    warn!(%error, "cannot record the end of a grant");
                    unrecorded += 1;
                }
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok((recorded, unrecorded)),
        }
    }
}

/// Returns false for a request that is not active.
async fn record_one(client: &Client, clock: &Clock, request: DeserializeGuard<RoleActivationRequest>) -> Result<bool, CallError> {
    let Ok(stored) = request.0 else {
        warn!("a request cannot be read, and its end is not recorded");
        return Ok(false);
    };
    let before = stored.status.clone().unwrap_or_default();
    let (namespace, name) = (stored.namespace().unwrap_or_default(), stored.name_any());
    let binding = live::binding(client, &namespace, &names::binding_name(&stored.uid().unwrap_or_default())).await?;
    let grants = matches!(&binding, Binding::Present(found) if !found.subjects.is_empty());
    if before.state != Some(State::Active) || grants {
        return Ok(false);
    }
    let after = report::uninstalled(&before, stored.metadata.generation, clock.now());
    write_status(client, &stored, &namespace, &name, &before, &after).await?;
    Ok(true)
}

async fn write_status(
    client: &Client,
    stored: &RoleActivationRequest,
    namespace: &str,
    name: &str,
    before: &RoleActivationRequestStatus,
    after: &RoleActivationRequestStatus,
) -> Result<(), WriteError> {
    let api: Api<RoleActivationRequest> = Api::namespaced(client.clone(), namespace);
    let patch = json!({
        "metadata": {"uid": stored.metadata.uid, "resourceVersion": stored.metadata.resource_version},
        "status": status_patch::patch(before, after),
    });
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    write(|| format!("report on request '{namespace}/{name}'"), api.patch_status(name, &params, &Patch::Merge(patch))).await?;
    Ok(())
}
