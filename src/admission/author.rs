//! Whether the author of an eligibility or a policy may bind every role that people become eligible for by it. The API server is
//! asked about him with everything that it said about him, at every creation and every change of a spec (T15, T16).

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;

use super::{
    answer::Answer,
    desk::{Desk, Write},
};
use crate::{
    api::RoleEligibilitySpec,
    domain::{
        author::{self, Demand, Offer, Question, Written},
        facts::Object,
    },
    gather::{
        GatherError,
        access::{Access, ask, attributes},
        offers,
    },
};

/// Most questions about one write that are on their way at the same time.
const AT_ONCE: usize = 16;

impl Desk {
    /// The answer to an eligibility whose author may not bind its role wherever it says.
    pub(super) async fn author_of_eligibility(
        &self,
        write: &Write<'_>,
        eligibility: &Object<RoleEligibilitySpec>,
    ) -> Result<Option<Answer>, GatherError> {
        let spec = &eligibility.spec;
        let offer = Offer { eligibility: eligibility.name.clone(), role: spec.role_ref.clone(), namespaces: spec.namespaces.clone() };
        self.may_bind(write, Written::Eligibility, &author::demands(&[offer])).await
    }

    /// The answer to a policy whose author may neither administer it nor bind every role of the eligibilities that refer to it. One
    /// that is created is a change too: eligibilities may have waited for its name.
    pub(super) async fn author_of_policy(&self, write: &Write<'_>, policy: &str) -> Result<Option<Answer>, GatherError> {
        // Unclear is no yes; the roles may still say yes.
        if self.may(write, &author::administer(policy)).await? == Access::Yes {
            return Ok(None);
        }
        let offers = offers::under(&self.client, policy).await?;
        if let Some(eligibility) = offers.unreadable.first() {
            return Ok(Some(author::unreadable(write.username(), policy, eligibility).into()));
        }
        self.may_bind(write, Written::Policy(policy), &author::demands(&offers.readable)).await
    }

    async fn may_bind(&self, write: &Write<'_>, written: Written<'_>, demands: &[Demand]) -> Result<Option<Answer>, GatherError> {
        // The whole cluster first: who may bind there may bind in each of its namespaces.
        let mut left = Vec::new();
        let questions: Vec<_> = demands.iter().map(|demand| author::bind(&demand.role, None)).collect();
        let answers = self.all(write, &questions).await?;
        for (demand, access) in demands.iter().zip(answers) {
            match access {
                Access::Yes => {}
                Access::Unclear(error) if demand.everywhere.is_some() => return Ok(Some(unclear(write, demand, &error))),
                _ if demand.everywhere.is_some() => {
                    return Ok(Some(author::may_not_bind(write.username(), written, demand, &[]).into()));
                }
                _ => left.push(demand),
            }
        }
        if let Err(refusal) = author::askable(write.username(), written, left.iter().copied()) {
            return Ok(Some(refusal.into()));
        }
        for demand in left {
            let questions: Vec<_> = demand.namespaces.keys().map(|name| author::bind(&demand.role, Some(name))).collect();
            let mut missing = Vec::new();
            for (namespace, access) in demand.namespaces.keys().zip(self.all(write, &questions).await?) {
                match access {
                    Access::Yes => {}
                    Access::Unclear(error) => return Ok(Some(unclear(write, demand, &error))),
                    Access::No => missing.push(namespace.as_str()),
                }
            }
            if !missing.is_empty() {
                return Ok(Some(author::may_not_bind(write.username(), written, demand, &missing).into()));
            }
        }
        Ok(None)
    }

    /// The answers to these questions, in their order: all of them or none.
    async fn all(&self, write: &Write<'_>, questions: &[Question<'_>]) -> Result<Vec<Access>, GatherError> {
        // Futures first: the closure of an asynchronous stream would have to hold for every lifetime.
        let asked: Vec<_> = questions.iter().map(|question| self.may(write, question)).collect();
        stream::iter(asked).buffered(AT_ONCE).try_collect().await
    }

    /// Asks about whoever writes, as the API server knows him.
    async fn may(&self, write: &Write<'_>, question: &Question<'_>) -> Result<Access, GatherError> {
        let who = &write.asked.user_info;
        let spec = SubjectAccessReviewSpec {
            user: who.username.clone(),
            uid: who.uid.clone(),
            groups: who.groups.clone(),
            extra: who.extra.clone(),
            resource_attributes: Some(attributes(question)),
            ..SubjectAccessReviewSpec::default()
        };
        let what = || format!("whether '{}' may {} {} '{}'", write.username(), question.verb, question.resource, question.name);
        ask(&self.client, what, spec).await
    }
}

fn unclear(write: &Write<'_>, demand: &Demand, error: &str) -> Answer {
    Answer::unclear(&format!("whether '{}' may bind {} '{}'", write.username(), demand.role.kind, demand.role.name), error)
}
