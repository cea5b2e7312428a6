//! The calls of one test and their durations, with the API server's timestamps.

use std::{sync::Mutex, time::Duration};

use control_plane::{AuditEvent, AuditLog, wait_for};
use jiff::{SignedDuration, Timestamp};

use crate::{
    ensure,
    env::{Error, Outcome, Scene},
};

static MEASURED: Mutex<Vec<(String, SignedDuration)>> = Mutex::new(Vec::new());

/// Records a duration, for the list at the end of the run.
pub fn measured(what: impl Into<String>, took: SignedDuration) {
    MEASURED.lock().expect("the lock is not poisoned").push((what.into(), took));
}

/// Returns the list, in the order of its records.
pub fn all() -> Vec<(String, SignedDuration)> {
    MEASURED.lock().expect("the lock is not poisoned").clone()
}

/// The calls since some moment, read while the log grows.
#[derive(Clone)]
pub struct Calls {
    log: AuditLog,
    events: Vec<AuditEvent>,
}

impl Calls {
    /// Starts now.
    pub fn from_now(scene: &Scene) -> Result<Self, Error> {
        Ok(Self { log: scene.fixture.cluster().audit_from_now()?, events: Vec::new() })
    }

    /// Returns the `wanted` calls so far that have ended, with any result.
    pub fn so_far(&mut self, wanted: impl Fn(&AuditEvent) -> bool) -> Result<Vec<AuditEvent>, Error> {
        self.events.extend(self.log.read()?.into_iter().filter(|event| event.stage != "ResponseStarted"));
        Ok(self.events.iter().filter(|event| wanted(event)).cloned().collect())
    }

    /// Returns the bindings that were created so far in a namespace.
    pub fn bindings_made(&mut self, namespace: &str) -> Result<Vec<AuditEvent>, Error> {
        let here = |e: &AuditEvent| e.object_ref.as_ref().is_some_and(|object| object.namespace == namespace);
        self.so_far(|e| e.verb == "create" && e.resource() == "rolebindings" && e.code() == 201 && here(e))
    }

    /// Returns the first `wanted` call, now or soon: the log is written just after the response.
    pub async fn first(&mut self, what: &str, wanted: impl Fn(&AuditEvent) -> bool) -> Result<AuditEvent, Error> {
        let looked = wait_for(what, Duration::from_secs(5), async || self.so_far(&wanted).ok()?.into_iter().next());
        Ok(looked.await?)
    }

    /// Fails unless the binding ended no earlier than its deadline, and less than `within` later; records the delay.
    pub async fn ended_on_time(&mut self, binding: &str, deadline: Timestamp, within: SignedDuration, what: &str) -> Outcome {
        let late = self.removed(binding).await?.duration_since(deadline);
        measured(what, late);
        ensure!(late >= SignedDuration::ZERO, "{binding} ended {} ms before its deadline ({what})", -late.as_millis());
        ensure!(late < within, "{binding} ended {} ms after its deadline ({what})", late.as_millis());
        Ok(())
    }

    /// Returns when the API server had removed the binding of this name, regardless of the caller that deleted it.
    pub async fn removed(&mut self, binding: &str) -> Result<Timestamp, Error> {
        self.removal(binding, |e| matches!(e.code(), 200 | 404)).await
    }

    /// The same for a binding that is known to be deleted: the log may never contain the success of a call whose caller died meanwhile.
    pub async fn was_removed(&mut self, binding: &str) -> Result<Timestamp, Error> {
        self.removal(binding, |_| true).await
    }

    async fn removal(&mut self, binding: &str, enough: impl Fn(&AuditEvent) -> bool) -> Result<Timestamp, Error> {
        let what = format!("RoleBinding {binding} to be deleted");
        let deletion = |e: &AuditEvent| e.verb == "delete" && is(e, "rolebindings", binding);
        let seen = self.first(&what, |e| deletion(e) && enough(e)).await;
        let all = self.so_far(deletion)?;
        // The last call is at least as late as the successful one.
        match all.iter().find(|e| e.code() == 200).or(all.last()) {
            Some(event) => Ok(event.stage_timestamp),
            None => seen.map(|event| event.stage_timestamp),
        }
    }
}

/// Returns whether a call was about this object.
pub fn is(event: &AuditEvent, resource: &str, name: &str) -> bool {
    event.resource() == resource && event.object_ref.as_ref().is_some_and(|object| object.name == name)
}
