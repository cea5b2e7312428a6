//! The latest time at which a request can be granted, and notices before and at the end of the access of `run`.

use std::{convert::Infallible, time::Duration};

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt as _, watcher},
};

use super::{
    follow,
    read::{full_name, state},
    session::Session,
    times::short,
    words,
};
use api::{ApprovalPolicySpec, RoleActivationRequest, RoleEligibility, State};
use domain::{convert, policy, start};

/// How long after its end a request is still waited for: the operator's clock may differ.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// The API server's clock, known from the creation of a request: the local one may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    ahead: SignedDuration,
}

impl Clock {
    /// Sets it from the creation time of an object and the local time directly after that.
    #[must_use]
    pub fn set_by(servers: Timestamp, own: Timestamp) -> Self {
        let ahead = own.duration_since(servers);
        // Creation times have whole seconds, and the response takes some time.
        Self { ahead: if ahead.abs() < SignedDuration::from_secs(2) { SignedDuration::ZERO } else { ahead } }
    }

    /// The current time of the API server.
    #[must_use]
    pub fn now(self) -> Timestamp {
        Timestamp::now().checked_sub(self.ahead).unwrap_or_else(|_| Timestamp::now())
    }

    fn until(self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or_default()
    }
}

/// The time after which a request can no longer be granted: its end has passed (api rule 3), or the approval timeout. None if it is not
/// known yet.
#[must_use]
pub fn latest_end(
    request: &RoleActivationRequest,
    eligibility: Option<&RoleEligibility>,
    policy: Option<&ApprovalPolicySpec>,
) -> Option<Timestamp> {
    let status = request.status.clone().unwrap_or_default();
    if let Some(awaiting) = &status.awaiting {
        return awaiting.deadline.checked_add(SLACK).ok();
    }
    // The duration of an extension starts at the end of another request.
    if request.spec.base().is_some() || state(request) != State::Pending {
        return None;
    }
    let eligibility = &eligibility?.spec;
    let longest = eligibility.default_duration.unwrap_or(eligibility.max_duration);
    let duration = request.spec.duration.unwrap_or(longest);
    let approved = status.approvals.iter().map(|approval| approval.time).max();
    let begins = match approved {
        Some(at) => start::planned(&convert::request(request)).max(at),
        None if request.spec.emergency || policy.is_some_and(policy::is_automatic) => start::planned(&convert::request(request)),
        None => return None,
    };
    begins.checked_add(SignedDuration::from(duration) + SLACK).ok()
}

/// Prints a notice before the access ends and when it ends, including an early end; extensions count. Never returns: the command keeps
/// running after the end of its access.
pub async fn notify(session: &Session, program: &str, granted: &RoleActivationRequest, before: Duration, clock: Clock) -> Infallible {
    let mut current = granted.clone();
    let mut warned = before.is_zero();
    let place = granted.namespace().unwrap_or_default();
    let role = words::role_name(granted).to_owned();
    while let Some(end) = current.status.as_ref().and_then(|status| status.expires_at) {
        let left = clock.until(end);
        let wait = if warned { left } else { left.saturating_sub(before.min(left / 2)) };
        let ended = tokio::select! {
            ended = until_over(session, &current) => Some(ended),
            () = tokio::time::sleep(wait) => None,
        };
        match session.still_active(&current).await {
            Ok(Some(later)) if later.name_any() != current.name_any() => {
                current = later;
                warned = before.is_zero();
                continue;
            }
            _ => {}
        }
        match ended {
            Some(ended) => {
                let how = ended
                    .as_ref()
                    .map_or_else(|| "its request was deleted".to_owned(), |ended| words::outcome(ended, &session.screen.times));
                session.screen.notice(&format!("the access to {role} in {place} has ended ({how}); '{program}' continues without it"));
                break;
            }
            None if warned => {
                session.screen.notice(&format!("the access to {role} in {place} has ended (Expired); '{program}' continues without it"));
                break;
            }
            None => {
                warned = true;
                let left = SignedDuration::try_from(clock.until(end)).unwrap_or_default();
                let at = session.screen.times.clock(end);
                let (name, namespace) = (current.name_any(), current.namespace().unwrap_or_default());
                session.screen.notice(&format!(
                    "the access to {role} in {place} ends at {at}, in {}; to extend it: kubectl jit extend {name} -n {namespace}",
                    short(left)
                ));
            }
        }
    }
    std::future::pending().await
}

/// Waits without output until a request is completed. None if it was deleted.
async fn until_over(session: &Session, request: &RoleActivationRequest) -> Option<RoleActivationRequest> {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let Ok(api) = session.api::<RoleActivationRequest>(&namespace) else { return std::future::pending().await };
    let mut changes = watcher::watch_object(api, &name).default_backoff().boxed();
    while let Some(change) = changes.next().await {
        match change {
            Ok(Some(request)) if state(&request).is_terminal() => return Some(request),
            Ok(None) => return None,
            // Without the permission to watch, the clock tells the end.
            Err(error) if follow::refused_for_good(&error).is_some() => break,
            Ok(Some(_)) | Err(_) => {}
        }
    }
    tracing::debug!(request = full_name(request), "not watched any more");
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(spec: &Value, status: &Value) -> RoleActivationRequest {
        let mut whole = json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleActivationRequest",
            "metadata": {"name": "r", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-11-02T10:00:00Z"},
            "spec": {"eligibilityRef": {"name": "edit"}, "duration": "10s"}, "status": status,
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            whole["spec"][key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn f42_a_request_is_given_up_once_its_time_would_be_up() {
        let eligibility: RoleEligibility = serde_json::from_value(json!({
            "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": "edit"},
            "spec": {"subjects": [], "roleRef": {"kind": "ClusterRole", "name": "edit"}, "namespaces": {"names": ["shop"]},
                "policyRef": {"name": "p"}, "maxDuration": "1h"},
        }))
        .unwrap();
        let automatic: ApprovalPolicySpec = serde_json::from_value(json!({"approval": {"automatic": {}}})).unwrap();
        let staged: ApprovalPolicySpec =
            serde_json::from_value(json!({"approval": {"stages": [{"name": "s", "approvers": {"groups": ["g"]}}]}})).unwrap();
        let approved = json!({"state": "Pending", "approvals": [
            {"stage": "s", "approver": "a", "decision": "Approve", "time": "2026-11-02T10:07:00Z"}]});
        let awaiting = json!({"state": "AwaitingApproval", "awaiting": {
            "stage": "s", "have": 0, "required": 1, "deadline": "2026-11-02T11:00:00Z", "approvers": {}}});
        for (spec, status, policy, until) in [
            (json!({}), Value::Null, &automatic, Some("10:00:15")),
            (json!({}), json!({"state": "Pending"}), &automatic, Some("10:00:15")),
            (json!({"duration": null}), Value::Null, &automatic, Some("11:00:05")),
            (json!({"startTime": "2026-11-02T10:05:00Z"}), Value::Null, &automatic, Some("10:05:15")),
            (json!({"emergency": true}), Value::Null, &staged, Some("10:00:15")),
            (json!({}), Value::Null, &staged, None),
            (json!({}), approved, &staged, Some("10:07:15")),
            (json!({}), awaiting, &staged, Some("11:00:05")),
            (json!({"extends": {"name": "b"}}), Value::Null, &automatic, None),
            (json!({}), json!({"state": "Active"}), &automatic, None),
        ] {
            let found = latest_end(&request(&spec, &status), Some(&eligibility), Some(policy));
            let wanted = until.map(|time| format!("2026-11-02T{time}Z").parse::<Timestamp>().unwrap());
            assert_eq!(found, wanted, "{spec} {status}");
        }
        assert_eq!(latest_end(&request(&json!({}), &Value::Null), None, None), None, "nobody knows");
    }

    #[test]
    fn f43_a_clock_that_is_wrong_is_set_by_the_api_servers() {
        let now = Timestamp::now();
        let hour = SignedDuration::from_hours(1);
        assert!(Clock::set_by(now - hour, now).now() <= now - hour + SignedDuration::from_secs(5));
        assert!(Clock::set_by(now - SignedDuration::from_secs(1), now).now() >= now);
    }
}
