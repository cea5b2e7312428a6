//! Applies a verdict, and reports the result.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::{
    api::rbac::v1::{RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use tracing::{info, warn};

use super::{
    reconciler::{RequestError, Requests},
    report,
};
use crate::{
    controller::owed,
    gather::{
        caches::Source,
        live::{self, StoredRequest},
        pages::Stored,
    },
    queue::Next,
    revoker::{end::Ended, index::Known},
};
use api::{
    ActivationDecision, ApprovalPolicySpec, Reason, RoleActivationRequest, RoleActivationRequestStatus, State,
    names::{self, FIELD_MANAGER},
    request::{BindingRef, ReviewState, ReviewStatus},
};
use domain::{Binding, BindingAction, Grant, Lookup, Object, RequestFacts, Snapshot, Verdict, decide, emergency, refused_create};
use kube_io::{
    cache::Key,
    call::{WriteError, write},
    consistency::Consistency,
    status_patch,
};

/// The result of a verdict.
pub(super) struct Applied {
    pub(super) snapshot: Snapshot,
    pub(super) verdict: Verdict,
    pub(super) binding: Option<BindingRef>,
    /// True where the grant failed and is tried again with a backoff.
    pub(super) retry: bool,
}

impl Applied {
    const fn new(snapshot: Snapshot, verdict: Verdict, binding: Option<BindingRef>) -> Self {
        Self { snapshot, verdict, binding, retry: false }
    }
}

/// The cause in the API server's answer when a namespace is being deleted.
const TERMINATING: &str = "NamespaceTerminating";
/// The shortest remaining time of a new grant: longer than the call usually takes. At the deadline the rules report that it came too late.
const LEAST: SignedDuration = SignedDuration::from_millis(200);

impl Requests {
    /// Creates or removes the binding as the verdict requires.
    pub(super) async fn apply(&self, mut snapshot: Snapshot, verdict: Verdict) -> Result<Applied, RequestError> {
        match verdict.binding {
            BindingAction::Keep => {
                let binding = match &snapshot.binding {
                    Binding::Present(found) if verdict.state == State::Active => {
                        Some(BindingRef { name: names::binding_name(&snapshot.request.object.uid), uid: found.uid.clone() })
                    }
                    _ => None,
                };
                if binding.is_some() {
                    self.keep_owed(&snapshot.request, snapshot.policy.found().map(AsRef::as_ref), verdict.review.as_ref()).await;
                }
                Ok(Applied::new(snapshot, verdict, binding))
            }
            BindingAction::Remove => {
                self.remove(&snapshot).await?;
                self.remove_links(&snapshot, &verdict).await?;
                Ok(Applied::new(snapshot, verdict, None))
            }
            BindingAction::Create => {
                let Some(grant) = &verdict.grant else { return Ok(Applied::new(snapshot, verdict, None)) };
                if self.context.now() + LEAST >= grant.deadline {
                    return Err(RequestError::DeadlineExceeded(grant.deadline));
                }
                // The review is recorded before the grant, because the namespace and the request in it may be removed a moment later.
                if let (Some(owed), Some(policy)) = (emergency::debt(&snapshot.request, verdict.review.as_ref()), snapshot.policy.found()) {
                    owed::record(&self.context, &policy.name, &owed).await?;
                }
                match self.create(grant).await? {
                    Created::Made(binding) => {
                        self.context.metrics.granted();
                        info!(request = %key_of(&snapshot), user = grant.requester, role = grant.role.name, until = %grant.deadline, "granted");
                        Ok(Applied::new(snapshot, verdict, Some(binding)))
                    }
                    Created::Exists => {
                        // This operator created it before a crash, or another client did. The rules decide once the binding is read.
                        let request = &snapshot.request;
                        snapshot.binding =
                            live::binding(&self.context.client, &request.namespace, &names::binding_name(&request.object.uid)).await?;
                        let verdict = decide(&snapshot, &self.context.settings, self.context.now());
                        if verdict.binding == BindingAction::Create {
                            return Err(RequestError::Moved);
                        }
                        Box::pin(self.apply(snapshot, verdict)).await
                    }
                    // Near the deadline, the API server's clock may pass it before the clock of this replica does.
                    Created::Refused(_) | Created::NotNow(_) if self.context.now() + LEAST >= grant.deadline => {
                        Err(RequestError::DeadlineExceeded(grant.deadline))
                    }
                    Created::Refused(why) => {
                        warn!(request = %key_of(&snapshot), why, "the API server rejected the binding");
                        Ok(Applied::new(snapshot, refused_create::failed(verdict, &why), None))
                    }
                    Created::NotNow(why) => {
                        warn!(request = %key_of(&snapshot), why, "the binding cannot be created yet, retrying");
                        let deadline = grant.deadline;
                        let waits = refused_create::waits(verdict, &why, deadline);
                        Ok(Applied { retry: true, ..Applied::new(snapshot, waits, None) })
                    }
                }
            }
        }
    }

    async fn create(&self, grant: &Grant) -> Result<Created, RequestError> {
        // The facts must come from the cluster's own API server and not from another server (T57).
        if let Some(hold) = self.context.guards.confirm().await? {
            return Err(RequestError::Unconfirmed(hold));
        }
        // The last check before the one write that widens access.
        if !self.context.leadership.held() {
            return Err(RequestError::NotLeading);
        }
        let key = Key::new(&grant.namespace, &grant.name);
        let api: Api<RoleBinding> = Api::namespaced(self.context.client.clone(), &grant.namespace);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let binding = role_binding(grant);
        let create = write(|| format!("create RoleBinding '{}/{}'", grant.namespace, grant.name), api.create(&params, &binding));
        Ok(match self.context.revoker.create_tracked(key, create).await {
            Ok(made) => Created::Made(BindingRef { name: made.name_any(), uid: made.uid().unwrap_or_default() }),
            Err(error) => match error.answer() {
                Some(status) if status.is_already_exists() => Created::Exists,
                Some(status) if is_final(status) => Created::Refused(status.message.clone()),
                Some(status) => Created::NotNow(format!("{} ({})", status.message, status.code)),
                None => Created::NotNow(error.to_string()),
            },
        })
    }

    /// Removes the binding that has the request's name, if it exists.
    pub(super) async fn remove(&self, snapshot: &Snapshot) -> Result<(), RequestError> {
        let request = &snapshot.request;
        let key = Key::new(&request.namespace, names::binding_name(&request.object.uid));
        let found = match &snapshot.binding {
            Binding::Unread => live::binding(&self.context.client, &key.namespace, &key.name).await?,
            seen => seen.clone(),
        };
        match found {
            Binding::Present(found) => self.end(&key, &found.uid).await,
            Binding::Absent | Binding::Unread => Ok(()),
        }
    }

    /// Removes the other bindings of an extension chain that ended early. The reconciliations of their requests record the ends.
    pub(super) async fn remove_links(&self, snapshot: &Snapshot, verdict: &Verdict) -> Result<(), RequestError> {
        for name in &verdict.links {
            let key = Key::new(&snapshot.request.namespace, name);
            if let Binding::Present(found) = live::binding(&self.context.client, &key.namespace, &key.name).await? {
                info!(binding = %key, request = %key_of(snapshot), "the extension chain ended early: removing its other binding");
                self.end(&key, &found.uid).await?;
            }
        }
        Ok(())
    }

    async fn end(&self, key: &Key, uid: &str) -> Result<(), RequestError> {
        match self.context.revoker.revoke(key, uid).await.map_err(RequestError::End)? {
            Ended::Gone | Ended::WasGone => Ok(()),
            Ended::Emptied => Err(RequestError::Held(key.clone())),
        }
    }

    /// Removes the managed bindings of a request that does not exist or is being deleted, and deletes the decisions on it.
    pub(super) async fn without_request(&self, key: &Key, going: Option<&RequestFacts>) -> Result<Next, RequestError> {
        for known in self.context.revoker.index().of_request(key) {
            info!(binding = %known.key, request = %key, "the request no longer exists: removing its binding");
            self.end(&known.key, &known.uid).await?;
        }
        self.context.reviews.note(key.clone(), None);
        self.unlisted.lock().remove(key);
        if !self.context.leadership.held() {
            return Ok(Next::Done);
        }
        let mut pages = live::decision_pages(&self.context.client, &key.namespace, &key.name, Consistency::Latest, None);
        while let Some(mut page) = pages.next().await? {
            match going {
                Some(going) => page.retain(|decision| decision.request_uid() == Some(going.object.uid.as_str())),
                // They were listed before this read. If there is still no request, they refer to one that never returns: a new request of
                // the same name has another UID.
                None if page.is_empty() => {}
                None => match live::request(&self.context.client, &key.namespace, &key.name).await? {
                    Lookup::Absent | Lookup::Deleting(_) => {}
                    Lookup::Found(_) | Lookup::Unreadable(_) => return Ok(Next::In(Duration::ZERO)),
                },
            }
            delete_decisions(&self.context.client, &key.namespace, &page).await?;
        }
        Ok(Next::Done)
    }

    /// Removes each managed binding that names this request without being its own, or whose request has completed (api rule 8).
    pub(super) async fn remove_strays(&self, key: &Key, facts: &RequestFacts) -> Result<(), RequestError> {
        for known in self.strays(key, facts) {
            warn!(binding = %known.key, request = %key, state = ?facts.record.state, "removing an orphaned binding");
            self.end(&known.key, &known.uid).await?;
        }
        Ok(())
    }

    pub(super) fn strays(&self, key: &Key, facts: &RequestFacts) -> Vec<Known> {
        let ended = facts.record.state.is_some_and(State::is_terminal);
        let own = names::binding_name(&facts.object.uid);
        let mut known = self.context.revoker.index().of_request(key);
        known.retain(|known| ended || known.key.name != own);
        known
    }

    /// Writes the status if it has changed, and publishes an Event.
    pub(super) async fn report(&self, stored: &RoleActivationRequest, applied: &Applied) -> Result<(), WriteError> {
        let Applied { snapshot, verdict, binding, retry } = applied;
        let before = stored.status.clone().unwrap_or_default();
        if let Some(review) = &verdict.review {
            self.context.reviews.note(key_of(snapshot), Some(review.state));
        }
        let status = report::status(&before, snapshot, verdict, binding.clone(), stored.metadata.generation, self.context.now());
        // A failure that is tried again is reported once. The message may differ with each attempt, which is not worth a write.
        let said = *retry && (before.state, before.reason) == (status.state, status.reason);
        if said || report::says_the_same(&before, &status) {
            return Ok(());
        }
        if !self.write_status(stored, &status).await? {
            return Ok(());
        }
        let key = Key::new(stored.namespace().unwrap_or_default(), stored.name_any());
        let review = verdict.review.as_ref().map(|review| review.state);
        if snapshot.request.object.spec.emergency
            && (review == Some(ReviewState::Done) || (review.is_none() && verdict.state.is_terminal()))
        {
            self.context.owes_nothing(&snapshot.request);
        }
        if before.state != status.state {
            self.context.metrics.reported(verdict.state, verdict.reason);
        }
        if before.state != status.state || (before.reason != status.reason && verdict.reason == Reason::RoleChanged) {
            if !report::was_told(&before, verdict) {
                self.context.events.tell(
                    stored.object_ref(&()),
                    report::is_warning(verdict.state, verdict.reason),
                    verdict.reason,
                    verdict.state.as_str(),
                    &verdict.message,
                );
            }
            if verdict.state != State::Active {
                info!(request = %key, state = %verdict.state, reason = %verdict.reason, why = verdict.message, "decided");
            }
        }
        Ok(())
    }

    /// Writes the review of a completed request if it has changed, and returns when to requeue it.
    pub(super) async fn review(&self, found: &StoredRequest) -> Result<Next, RequestError> {
        let before = found.stored.status.clone().unwrap_or_default();
        let facts = &found.facts;
        if !facts.object.spec.emergency || facts.record.granted_at.is_none() {
            return Ok(Next::Done);
        }
        let around = self.context.caches.decision_context(&facts.object.spec.eligibility_ref.name, &facts.namespace, Source::Cache).await?;
        let (said, _) = live::decisions(&self.context.client, facts, Consistency::Latest, None).await?;
        let policy = around.policy.found().map(|policy| &policy.spec);
        let now = self.context.now();
        let guards = self.context.guards.facts(around.eligibility.found().map(AsRef::as_ref), around.policy.found().map(AsRef::as_ref));
        let said = guards.surely_decided(&said);
        let review = emergency::review(facts, facts.record.granted_at, policy, &said, &self.context.settings.identities, now);
        self.context.reviews.note(Key::new(&facts.namespace, &facts.object.name), review.as_ref().map(|review| review.state));
        let Some(review) = review else { return Ok(Next::Done) };
        if before.review.as_ref() != Some(&review) && self.write_status(&found.stored, &report::reviewed(&before, &review, now)).await? {
            info!(request = %Key::new(&facts.namespace, &facts.object.name), why = emergency::describe(&review), "review");
        }
        self.keep_owed(facts, around.policy.found().map(AsRef::as_ref), Some(&review)).await;
        if review.state == ReviewState::Done {
            self.context.owes_nothing(facts);
            self.context.has_ended(&Key::new(&facts.namespace, &facts.object.name), &found.stored);
        }
        Ok(if review.state == ReviewState::Owed { Next::At(review.deadline) } else { Next::Done })
    }

    /// Records the review in the policy. It is missing for a grant from before policies had this list, or before the policy was recreated.
    async fn keep_owed(&self, facts: &RequestFacts, policy: Option<&Object<ApprovalPolicySpec>>, review: Option<&ReviewStatus>) {
        let (Some(owed), Some(policy)) = (emergency::debt(facts, review), policy) else { return };
        let mut listed = policy.owed.iter().flat_map(|owed| &owed.reviews);
        if listed.any(|review| review.request_uid == owed.request_uid) {
            return;
        }
        // A failure does not end the grant. The next leader tries again.
        if let Err(error) = owed::record(&self.context, &policy.name, &owed).await {
            warn!(request = owed.request, %error, "the policy does not list the review of this emergency");
        }
    }

    /// Writes a status. Returns false where the request was deleted meanwhile.
    async fn write_status(&self, stored: &RoleActivationRequest, status: &RoleActivationRequestStatus) -> Result<bool, WriteError> {
        let (namespace, name) = (stored.namespace().unwrap_or_default(), stored.name_any());
        let api: Api<RoleActivationRequest> = Api::namespaced(self.context.client.clone(), &namespace);
        // The UID protects another request of the same name, and the version protects a newer report. A replica that hung between its
        // decision and its report must not write its old "Active" over an end that another replica has recorded.
        let before = stored.status.clone().unwrap_or_default();
        let patch = json!({
            "metadata": {"uid": stored.metadata.uid, "resourceVersion": stored.metadata.resource_version},
            "status": status_patch::patch(&before, status),
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match write(|| format!("report on request '{namespace}/{name}'"), api.patch_status(&name, &params, &Patch::Merge(patch))).await {
            Ok(written) => {
                self.context.caches.wrote(&written);
                Ok(true)
            }
            // The request was deleted, so there is nothing to report on.
            Err(error) if error.answer().is_some_and(kube::core::Status::is_not_found) => Ok(false),
            Err(error) => {
                self.context.known.forget();
                Err(error)
            }
        }
    }
}

/// Deletes these decisions of a namespace. A decision that is gone, or was replaced by another one of its name, is skipped.
pub(crate) async fn delete_decisions(
    client: &Client,
    namespace: &str,
    decisions: impl IntoIterator<Item = &Stored>,
) -> Result<(), WriteError> {
    let api: Api<ActivationDecision> = Api::namespaced(client.clone(), namespace);
    for (name, uid) in decisions.into_iter().map(Stored::identity) {
        let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::default().preconditions(only_this);
        let deleted = write(|| format!("delete decision '{namespace}/{name}'"), api.delete(name, &params)).await;
        if let Err(error) = deleted
            && !error.answer().is_some_and(|status| status.is_not_found() || status.is_conflict())
        {
            return Err(error);
        }
    }
    Ok(())
}

fn key_of(snapshot: &Snapshot) -> Key {
    Key::new(&snapshot.request.namespace, &snapshot.request.object.name)
}

enum Created {
    Made(BindingRef),
    Exists,
    /// The refusal is final until a person changes something.
    Refused(String),
    /// The refusal is temporary, or the outcome is unknown.
    NotNow(String),
}

/// Returns true for a refusal that another attempt does not change: the operator may not bind the role, or a policy or webhook denies the
/// binding. Others can change: the API server's clock, which checks the chart's `maxGrant`, may be behind this one, a quota may be raised,
/// and a namespace may be recreated.
fn is_final(status: &kube::core::Status) -> bool {
    let passes =
        [names::ABOVE_MAX_GRANT, "exceeded quota", "status unknown for quota", "insufficient quota", "because it is being terminated"];
    let terminating = status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == TERMINATING));
    status.is_invalid() || (status.is_forbidden() && !terminating && !passes.iter().any(|text| status.message.contains(text)))
}

/// Returns the binding of a grant. The one call that creates it contains label, owner, deadline and everything else.
fn role_binding(grant: &Grant) -> RoleBinding {
    let subject = &grant.subject;
    RoleBinding {
        metadata: ObjectMeta {
            name: Some(grant.name.clone()),
            namespace: Some(grant.namespace.clone()),
            labels: Some([(names::MANAGED_LABEL.to_owned(), names::MANAGED_VALUE.to_owned())].into()),
            annotations: Some(grant.annotations()),
            owner_references: Some(vec![OwnerReference {
                api_version: RoleActivationRequest::api_version(&()).into_owned(),
                kind: RoleActivationRequest::kind(&()).into_owned(),
                name: grant.request.clone(),
                uid: grant.request_uid.clone(),
                controller: None,
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: names::RBAC_GROUP.to_owned(),
            kind: grant.role.kind.as_str().to_owned(),
            name: grant.role.name.clone(),
        },
        subjects: Some(vec![Subject {
            // A ServiceAccount is in the core group, which is written as "".
            api_group: subject.namespace.is_none().then(|| names::RBAC_GROUP.to_owned()),
            kind: subject.kind.clone(),
            name: subject.name.clone(),
            namespace: subject.namespace.clone(),
        }]),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{Status, response::StatusDetails};
    use serde_json::json;

    use super::*;

    #[test]
    fn f04_what_only_stands_in_the_way_for_now_is_tried_again() {
        let status = |code: u16, reason: &str, message: &str, cause: &str| {
            let details: StatusDetails = serde_json::from_value(json!({"causes": [{"reason": cause, "message": message}]})).unwrap();
            Status { code, reason: reason.to_owned(), message: message.to_owned(), details: Some(details), ..Status::default() }
        };
        let policy = "ValidatingAdmissionPolicy 'jit-rbac-bindings' with binding 'jit-rbac-bindings' denied request: ";
        let above =
            "jitrbac.dev/expires-at is 2026-11-02T12:00:06Z, but a grant made at 2026-11-01T12:00:00Z must end after that and within 24h";
        for (is_refused, code, reason, message, cause) in [
            (false, 403, "Forbidden", format!("{policy}{above} {}", names::ABOVE_MAX_GRANT), ""),
            (false, 403, "Forbidden", "exceeded quota: small, requested: count/rolebindings=1, used: 5, limited: 5".to_owned(), ""),
            (false, 403, "Forbidden", "status unknown for quota: small, resources: count/rolebindings".to_owned(), ""),
            (false, 403, "Forbidden", "unable to create new content in namespace a because it is being terminated".to_owned(), ""),
            (false, 403, "Forbidden", "in other words".to_owned(), "NamespaceTerminating"),
            (false, 404, "NotFound", "namespaces \"a\" not found".to_owned(), ""),
            (false, 500, "InternalError", "etcd is away".to_owned(), ""),
            (false, 429, "TooManyRequests", "later".to_owned(), ""),
            (true, 403, "Forbidden", "user \"o\" is attempting to grant RBAC permissions not currently held".to_owned(), ""),
            (true, 403, "Forbidden", format!("{policy}the ClusterRole admin is not in the chart's value bindableRoles"), ""),
            (true, 403, "Forbidden", "admission webhook \"a.example\" denied the request: no".to_owned(), ""),
            (true, 422, "Invalid", "roleRef is wrong".to_owned(), ""),
        ] {
            assert_eq!(is_final(&status(code, reason, &message, cause)), is_refused, "{message}");
        }
    }
}
