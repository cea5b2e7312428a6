//! The validating webhook for requests and decisions. It gathers the facts, and `domain` decides.

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use kube::{Resource, core::admission::Operation};
use serde::de::DeserializeOwned;

use super::{
    answer::{Answer, audit},
    handler::{AdmissionHandler, Write},
    stamp,
};
use crate::gather::{
    caches::Source,
    debts, live,
    peers::{self, Bindings, From},
};
use api::{ActivationDecision, ActivationDecisionSpec, Reason, RoleActivationRequest, Stamp};
use domain::{
    Guards, Lookup, Record, Refusal, RequestFacts, Snapshot, Verdict, acting, admit_decision,
    author::Question,
    bounds,
    convert::{self, attributes},
    decide::decide,
    person,
};
use kube_io::{
    access::{Access, ask},
    cache::Key,
    call::ReadError,
    consistency::Consistency,
};

/// Most concurrent access reviews of one decision.
const AT_ONCE: usize = 16;

impl AdmissionHandler {
    /// Reviews a request. It is accepted when it would be granted or would wait for approval in the present state.
    pub(super) async fn review_request(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        if let Some(answer) = unchanged(write, "a request cannot be changed: create another one") {
            return answer;
        }
        let request: RoleActivationRequest = created(write)?;
        stamp::check("spec.requester", request.spec.requester.as_ref(), &write.asked.user_info)?;
        // The API server drops the status of a new object, so it must not count here either.
        let request = RequestFacts { namespace: write.namespace().to_owned(), record: Record::default(), ..convert::request(&request) };
        let now = request.object.created;
        let snapshot = arriving(Box::pin(self.snapshot(request, Source::Cache)).await?);
        let verdict = decide(&snapshot, &self.settings, now);
        if verdict.refusal().is_none() {
            return Ok(accepted(&snapshot, &verdict));
        }
        // A cache may not have an admin's latest change yet, and no request may be denied because of that.
        let snapshot = arriving(Box::pin(self.snapshot(snapshot.request, Source::Server)).await?);
        let verdict = decide(&snapshot, &self.settings, now);
        verdict.refusal().map_or_else(|| Ok(accepted(&snapshot, &verdict)), |refusal| Err(refusal.into()))
    }

    /// Reviews a decision. It is accepted when it has an effect or repeats what has already happened. The result depends on no cache.
    pub(super) async fn review_decision(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        if let Some(answer) = unchanged(write, "a decision cannot be changed: create another one") {
            return answer;
        }
        let decision: ActivationDecision = created(write)?;
        stamp::check("spec.decider", decision.spec.decider.as_ref(), &write.asked.user_info)?;
        let request = self.request(write.namespace(), &decision.spec.request_ref.name).await?.facts;
        belongs(&decision, &request)?;
        let decision = convert::object(&decision.metadata, decision.spec);
        // A repeated decision without effect causes no further reads.
        admit_decision::review_alone(&request, &decision, &self.settings)?;
        // The cached policy limits the number of decisions. One more than that is read, which shows that there are too many.
        let policy = self.caches.policy_of(&request.object.spec.eligibility_ref.name).map(Key::cluster);
        let policy = policy.and_then(|key| self.caches.policies.get(&key));
        let most = bounds::most_decisions(policy.as_ref().and_then(Lookup::found).map(|policy| &policy.spec));
        let Some(_place) = self.lists.acquire().await.ok() else { return Err(Answer::unclear("what was decided", "this replica ends")) };
        let ((said, unread), mut snapshot) = tokio::try_join!(
            live::decisions(&self.client, &request, Consistency::Latest, Some(most)),
            Box::pin(self.snapshot(request.clone(), Source::Server))
        )?;
        (snapshot.decisions, snapshot.unread) = (said, unread);
        admit_decision::review(&snapshot, &decision, &self.settings, decision.created)?;
        self.acts_as_the_decider(&request, &decision.spec).await?;
        Ok(Answer::allowed().noting([
            (audit::REQUEST_UID, request.object.uid),
            (audit::DECISION, decision.spec.decision.as_str().to_owned()),
            (audit::DIGEST, decision.spec.digest.unwrap_or_default()),
        ]))
    }

    /// Denies a `ServiceAccount` that decides on the request of a user who could act as it. An unclear result counts against
    /// the decision.
    async fn acts_as_the_decider(&self, request: &RequestFacts, said: &ActivationDecisionSpec) -> Result<(), Answer> {
        let (Some(requester), Some(decider)) = (&request.object.spec.requester, &said.decider) else { return Ok(()) };
        let Ok(account) = person::account(decider) else { return Ok(()) };
        let questions = acting::questions(said.decision, decider, &account);
        let asked: Vec<_> = questions.iter().map(|question| self.may_requester(requester, question)).collect();
        let answers: Vec<Access> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        for (question, access) in questions.iter().zip(answers) {
            match access {
                Access::No => {}
                Access::Yes => return Err(acting::refusal(requester, &request.object.name, decider, question).into()),
                Access::Unclear(error) => {
                    let what = format!("whether '{}' can act as '{}'", requester.username, decider.username);
                    return Err(Answer::unclear(&what, &error));
                }
            }
        }
        Ok(())
    }

    /// Reviews the access of a requester, of whom only the stamp is known.
    async fn may_requester(&self, requester: &Stamp, question: &Question<'_>) -> Result<Access, ReadError> {
        let spec = SubjectAccessReviewSpec {
            user: Some(requester.username.to_string()),
            uid: requester.uid.as_ref().map(ToString::to_string),
            groups: Some(acting::groups(requester)),
            extra: Some(requester.extra.clone()),
            resource_attributes: Some(attributes(question)),
            ..SubjectAccessReviewSpec::default()
        };
        ask(&self.client, || format!("whether '{}' may {} {}", requester.username, question.verb, question.resource), spec).await
    }

    /// Returns the facts around a request, without decisions. The webhook may not read bindings, and needs none.
    async fn snapshot(&self, request: RequestFacts, source: Source) -> Result<Snapshot, ReadError> {
        let name = &request.object.spec.eligibility_ref.name;
        let around = self.caches.decision_context(name, &request.namespace, source);
        let (around, base) = tokio::try_join!(around, peers::base(&self.client, &request, Bindings::Closed))?;
        // The controller reads what a cache does not have yet before it grants.
        let from = match source {
            Source::Cache => From::Caches(&self.settings.identities, 0, Consistency::ANY),
            Source::Server => From::Lists(Consistency::Latest),
        };
        let mut peers = peers::others(&self.client, &self.caches, &request, &around, from).await?;
        let debts = debts::of_requester(&self.client, &self.caches, &self.settings.identities, &request, &around, &mut peers).await?;
        Ok(Snapshot { peers, debts, base, ..around.snapshot(request, Guards::Unasked) })
    }
}

/// Returns the response to an accepted request. The audit log may lack its name because of `generateName`, but has its UID.
fn accepted(snapshot: &Snapshot, verdict: &Verdict) -> Answer {
    let digest = verdict.digest.as_ref().map(ToString::to_string).unwrap_or_default();
    Answer::allowed().noting([(audit::REQUEST_UID, snapshot.request.object.uid.clone()), (audit::DIGEST, digest)])
}

/// Returns the snapshot of a request that is not stored yet. All stored requests precede it, also those of the same second. By UID, it
/// could precede an older request. The older one, which approvers may be deciding on, would then be denied.
fn arriving(mut snapshot: Snapshot) -> Snapshot {
    let before = snapshot.request.object.created.checked_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN);
    snapshot.peers.iter_mut().for_each(|peer| peer.object.created = peer.object.created.min(before));
    snapshot
}

/// Parses a new object. The API server sets its creation time before it calls the webhook.
fn created<K: Resource<DynamicType = ()> + DeserializeOwned>(write: &Write<'_>) -> Result<K, Answer> {
    let object: K = write.typed()?;
    match object.meta().creation_timestamp {
        Some(_) => Ok(object),
        None => Err(Answer::Malformed("the object has no creationTimestamp".to_owned())),
    }
}

/// Returns the response to an update of an immutable object; `None` for a creation. An update that changes nothing is allowed. An example
/// is `kubectl apply --server-side` of the stored object.
fn unchanged(write: &Write<'_>, sentence: &str) -> Option<Result<Answer, Answer>> {
    if write.asked.operation == Operation::Create {
        return None;
    }
    let same = write.old.is_some_and(|old| stamp::same_spec(write.object, old) && stamp::same_metadata(write.object, old));
    Some(if same { Ok(Answer::allowed()) } else { Err(Refusal::new(Reason::InvalidField, sentence).into()) })
}

/// Refuses a decision whose reference differs from the stamped one: a later webhook overwrote it (T1). The rules detect a reference to
/// another request of the same name (T3).
fn belongs(decision: &ActivationDecision, request: &RequestFacts) -> Result<(), Refusal> {
    let reference = &decision.spec.request_ref;
    if reference.uid.as_ref() != Some(&request.object.uid) {
        return Ok(());
    }
    let requester = request.object.spec.requester.as_ref().map_or("", |requester| requester.username.as_str());
    if reference.requester.as_ref().map_or("", |requester| requester.as_str()) != requester {
        return Err(Refusal::new(
            Reason::UserInfoMissing,
            "spec.requestRef.requester is not the author of the request; omit it, it is set automatically",
        ));
    }
    if decision.metadata.owner_references.as_deref() != Some(&[stamp::owner(request)]) {
        return Err(Refusal::new(
            Reason::UserInfoMissing,
            "a decision is owned only by its request; omit metadata.ownerReferences, it is set automatically",
        ));
    }
    Ok(())
}
