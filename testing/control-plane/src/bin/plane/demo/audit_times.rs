use std::time::Duration;

use control_plane::{AuditEvent, AuditLog, Result, wait_for};
use jiff::Timestamp;

/// How long the audit log may take to contain a call.
const LIMIT: Duration = Duration::from_secs(20);

/// Reads the times of calls from the API server's audit log, by one clock and to the microsecond.
pub(super) struct AuditTimes {
    log: AuditLog,
    seen: Vec<AuditEvent>,
}

impl AuditTimes {
    pub(super) fn new(log: AuditLog) -> Self {
        Self { log, seen: Vec::new() }
    }

    /// Returns when a successful call of this kind ended: the object is created, changed or deleted.
    pub(super) async fn when(&mut self, verb: &str, resource: &str, name: &str) -> Result<Timestamp> {
        self.find(&format!("{verb} of {resource} {name}"), |event| {
            let named = event.object_ref.as_ref().is_some_and(|object| object.name == name);
            event.verb == verb && event.resource() == resource && named && event.code() < 300
        })
        .await
    }

    /// Returns when the first successful create of a kind by a user after `since` ended.
    pub(super) async fn created_by(&mut self, user: &str, resource: &str, since: Timestamp) -> Result<Timestamp> {
        self.find(&format!("create of {resource} by {user}"), |event| {
            event.verb == "create"
                && event.resource() == resource
                && event.user.username == user
                && event.code() < 300
                && event.stage_timestamp > since
        })
        .await
    }

    async fn find(&mut self, what: &str, wanted: impl Fn(&AuditEvent) -> bool) -> Result<Timestamp> {
        wait_for(what, LIMIT, async || {
            self.seen.extend(self.log.read().unwrap_or_default());
            self.seen.iter().find(|event| event.is_complete() && wanted(event)).map(|event| event.stage_timestamp)
        })
        .await
    }
}
