//! The sweep over all bindings: at the start, before anything is granted, and periodically after that.
//!
//! A sweep finds what the watch does not deliver. A binding whose label was removed while no replica ran still has a name that only the
//! operator gives.

use futures::{StreamExt, stream};
use k8s_openapi::{api::rbac::v1::RoleBinding, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::ListParams, core::Request as Path};
use tracing::{info, warn};

use super::{
    Observation, Revoker,
    end::{Ended, Proof},
    front::AT_ONCE,
    index::Known,
    milliseconds,
};
use api::names;
use domain::{binding::deadline_of, convert};
use kube_io::{call::ReadError, kept::BindingMark, stream as answers, stream::Form};

/// The page size of the list of bindings.
const PAGE: u32 = 250;

/// Which sweep it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// The first sweep. Nothing is granted before every expired binding is removed.
    First,
    /// A later sweep. It leaves the bindings that the leader is about to remove to the leader.
    Again,
}

impl Revoker {
    /// Removes expired bindings now, and sets the timers of the others. Fails only when the bindings cannot be listed. A binding that
    /// cannot be removed yet stays in the queue.
    pub async fn sweep(&self, sweep: Sweep) -> Result<(), ReadError> {
        let is_due = |known: &Known| known.deadline <= self.clock.now() && (sweep == Sweep::First || self.wait(known.deadline).is_none());
        let mut due = Vec::new();
        each_of_ours(&self.client, |binding| {
            // No watch delivers a binding without the label, so what the index has of it may be stale (T56).
            let sight = if convert::is_managed(&binding) { Observation::Swept } else { Observation::News };
            let key = self.seen(&binding, sight);
            due.extend(self.index.get(&key).filter(is_due));
        })
        .await?;
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |known| async move {
                match self.attempt(&known.key, &known.uid, Proof::ByTheRecord).await {
                    Ok(Ended::Gone | Ended::WasGone) => {
                        let late = self.clock.now().duration_since(known.deadline);
                        self.metrics.removed(late);
                        info!(binding = %known.key, request = %known.request, late_ms = milliseconds(late), "overdue binding removed");
                        self.gone(&known);
                    }
                    Ok(Ended::Emptied) => {
                        warn!(binding = %known.key, "a foreign finalizer keeps an overdue binding; it has no subjects any more");
                    }
                    Err(error) => warn!(binding = %known.key, %error, "cannot remove an overdue binding yet"),
                }
            })
            .await;
        Ok(())
    }
}

/// Calls `each` with the metadata of every binding of jit-rbac.
pub async fn each_of_ours(client: &Client, mut each: impl FnMut(ObjectMeta)) -> Result<(), ReadError> {
    let api: Api<RoleBinding> = Api::all(client.clone());
    let path = Path::new(api.resource_url());
    let mut params = ListParams::default().limit(PAGE);
    loop {
        // Any user's binding may have a megabyte of labels. The bindings are read one at a time, and unmanaged ones are dropped at once
        // (T26).
        let page = answers::page(client, &path, &params, Form::Metadata, |binding: BindingMark| {
            if is_ours(&binding.metadata) {
                each(binding.metadata);
            }
        });
        let meta = page.await.map_err(|error| ReadError { what: "the RoleBindings".to_owned(), source: error.into() })?;
        match meta.next.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Returns true for a managed binding, and for one without the label that has a name and a deadline of jit-rbac.
fn is_ours(meta: &ObjectMeta) -> bool {
    let named = meta.name.as_deref().is_some_and(|name| names::request_uid_of(name).is_some());
    let dated = meta.annotations.as_ref().is_some_and(|annotations| deadline_of(annotations).is_some());
    convert::is_managed(meta) || (named && dated)
}
