//! The reads before a stamp: which eligibilities and policies name the user's groups, and which request a decision refers to.

use kube::core::DynamicObject;

use super::{
    answer::Answer,
    handler::{AdmissionHandler, Write},
    stamp::{self, Chosen},
};
use crate::gather::{
    caches::{Eligibility, Policy, Source},
    live::{self, StoredRequest},
};
use api::{Reason, Stamp, names};
use domain::{Lookup, Refusal, admit_decision, person};
use kube_io::call::ReadError;

impl AdmissionHandler {
    /// Stamps the author of an eligibility and the basis of the author check. A write that keeps the spec keeps both.
    pub(super) async fn stamp_author_of_eligibility(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        Ok(Answer::patched(match write.kept_spec() {
            Some(old) => stamp::same_author(write.object, old),
            None => stamp::author(write.object, write.username(), &self.stamp_of_eligibility(write).await?),
        }))
    }

    /// Stamps the author of a policy and the basis of the author check, in the same way.
    pub(super) async fn stamp_author_of_policy(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        Ok(Answer::patched(match write.kept_spec() {
            Some(old) => stamp::same_author(write.object, old),
            None => stamp::author(write.object, write.username(), &self.stamp_of_policy(write).await?),
        }))
    }

    /// Stamps the requester. An update keeps the stored stamp and never stamps the updater.
    pub(super) async fn stamp_request(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        if write.old.is_some() {
            return Ok(Answer::allowed());
        }
        let user = &write.asked.user_info;
        let mut chosen = Chosen::of(user);
        if let Some(name) = reference(write.object, "eligibilityRef") {
            let everything = stamp::everything(user);
            let is_subject =
                |eligibility: &Eligibility, _: &Policy| everything.as_ref().is_some_and(|user| names_subject(eligibility, user));
            self.choose_near(&mut chosen, name, is_subject).await?;
        }
        self.choose_far(&mut chosen);
        Ok(Answer::patched(stamp::requester(write.object, chosen.stamp())))
    }

    /// Stamps the decider and the request that the decision refers to. An update keeps the stored stamp.
    pub(super) async fn stamp_decision(&self, write: &Write<'_>) -> Result<Answer, Answer> {
        let name = reference(write.object, "requestRef");
        let (None, Some(name)) = (write.old, name) else {
            // The schema rejects a decision without a request.
            return Ok(Answer::allowed());
        };
        let request = self.request(write.namespace(), name).await?;
        // A decision is for the object that its author reviewed, and never applies to a later one of the same name (T3).
        let named = write.object.data.pointer("/spec/requestRef/uid").and_then(serde_json::Value::as_str).filter(|uid| !uid.is_empty());
        if let Some(uid) = named.filter(|uid| *uid != request.facts.object.uid) {
            return Err(admit_decision::another_request(&request.facts, Some(uid)).into());
        }
        let user = &write.asked.user_info;
        let everything = stamp::everything(user);
        let is_requester =
            request.facts.object.spec.requester.as_ref().is_some_and(|requester| requester.username.as_str() == write.username());
        let is_listed = |_: &Eligibility, policy: &Policy| is_requester || everything.as_ref().is_some_and(|user| lists(policy, user));
        let mut chosen = Chosen::of(user);
        let eligibility = &request.facts.object.spec.eligibility_ref.name;
        self.choose_near(&mut chosen, eligibility, is_listed).await?;
        self.choose_far(&mut chosen);
        Ok(Answer::patched(stamp::decision(write.object, chosen.stamp(), &request.facts)))
    }

    /// Returns the request that a decision refers to, read from the API server. Without the refusal here an admission policy would deny the
    /// decision, and could only report that the stamp is missing.
    pub(super) async fn request(&self, namespace: &str, name: &str) -> Result<StoredRequest, Answer> {
        let (reason, why) = match live::request(&self.client, namespace, name).await? {
            Lookup::Found(request) => return Ok(request),
            Lookup::Absent | Lookup::Deleting(_) => (
                Reason::RequestNotFound,
                format!(
                    "there is no request '{name}' in namespace '{namespace}'; 'kubectl get roleactivationrequests -n {namespace}' lists them"
                ),
            ),
            Lookup::Unreadable(why) => (Reason::Unreadable, format!("request '{name}' cannot be read: {why}")),
        };
        Err(Refusal::new(reason, why).into())
    }

    /// Adds the groups and attributes that eligibility and policy of the write name. They come from the caches, unless the caches do not
    /// list the user, who may have been added a moment ago.
    async fn choose_near(
        &self,
        chosen: &mut Chosen<'_>,
        name: &str,
        enough: impl Fn(&Eligibility, &Policy) -> bool,
    ) -> Result<(), ReadError> {
        let mut near = self.near(name, Source::Cache).await?;
        if !enough(&near.0, &near.1) {
            near = self.near(name, Source::Server).await?;
        }
        if let Some(eligibility) = near.0.found() {
            chosen.eligibility(&eligibility.spec, true);
        }
        if let Some(policy) = near.1.found() {
            chosen.policy(&policy.spec, true);
        }
        Ok(())
    }

    async fn near(&self, name: &str, source: Source) -> Result<(Eligibility, Policy), ReadError> {
        let eligibility = self.caches.eligibility(name, source).await?;
        let policy = match eligibility.found() {
            Some(found) => self.caches.policy(&found.spec.policy_ref.name, source).await?,
            None => Lookup::Absent,
        };
        Ok((eligibility, policy))
    }

    fn choose_far(&self, chosen: &mut Chosen<'_>) {
        self.caches.eligibilities.pick(|_, found| -> Option<()> {
            found.found().iter().for_each(|eligibility| chosen.eligibility(&eligibility.spec, false));
            None
        });
        self.caches.policies.pick(|_, found| -> Option<()> {
            found.found().iter().for_each(|policy| chosen.policy(&policy.spec, false));
            None
        });
    }
}

/// Returns the name in `spec.<field>.name`, if it is a valid object name. The object is not validated yet.
fn reference<'a>(object: &'a DynamicObject, field: &str) -> Option<&'a str> {
    object.data.get("spec")?.get(field)?.get("name")?.as_str().filter(|name| names::is_object_name(name))
}

fn names_subject(eligibility: &Eligibility, user: &Stamp) -> bool {
    let (Some(eligibility), Ok(account)) = (eligibility.found(), person::account(user)) else { return false };
    person::is_subject(user, &account, &eligibility.spec.subjects)
}

fn lists(policy: &Policy, user: &Stamp) -> bool {
    policy.found().is_some_and(|policy| policy.spec.people().any(|people| person::is_listed(user, people)))
}
