//! Questions to the API server about what somebody may do. They go to all of its authorizers, not to RBAC's objects (T48).

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};

use super::answer::Answer;
use crate::{
    domain::author::Question,
    gather::{GatherError, read},
};

/// What the API server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// He may.
    Yes,
    /// He may not.
    No,
    /// An authorizer failed, and may have been the one that denies: as good as no.
    Unclear(String),
}

impl Access {
    /// The answer to a write that hangs on a question nobody could answer.
    pub fn unclear(what: &str, error: &str) -> Answer {
        Answer::Unexamined(format!("cannot tell {what}: {error}; try again"))
    }
}

/// Asks whether somebody may do something.
pub(super) async fn ask(client: &Client, what: impl FnOnce() -> String, spec: SubjectAccessReviewSpec) -> Result<Access, GatherError> {
    let question = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let status = read(what, api.create(&PostParams::default(), &question)).await?.status.unwrap_or_default();
    Ok(match status.evaluation_error.filter(|error| !error.is_empty()) {
        _ if status.denied.unwrap_or(false) => Access::No,
        Some(error) => Access::Unclear(error),
        None if status.allowed => Access::Yes,
        None => Access::No,
    })
}

/// What a question is about, as the API server wants it.
pub(super) fn attributes(question: &Question<'_>) -> ResourceAttributes {
    ResourceAttributes {
        verb: Some(question.verb.to_owned()),
        group: Some(question.group.to_owned()),
        resource: Some(question.resource.to_owned()),
        name: Some(question.name.to_owned()),
        namespace: question.namespace.map(ToOwned::to_owned),
        ..ResourceAttributes::default()
    }
}
