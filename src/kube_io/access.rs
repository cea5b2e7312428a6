//! Access reviews: asks the API server what a user may do. All of its authorizers answer, not only RBAC's objects (T48).

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
};
use kube::{Api, Client, api::PostParams};

use crate::call::{ReadError, read};

/// The result of an access review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The access is allowed.
    Yes,
    /// The access is not allowed.
    No,
    /// An authorizer failed, and it may have been the one that denies. Treated as a denial.
    Unclear(String),
}

impl From<Option<SubjectAccessReviewStatus>> for Access {
    fn from(status: Option<SubjectAccessReviewStatus>) -> Self {
        let status = status.unwrap_or_default();
        match status.evaluation_error.filter(|error| !error.is_empty()) {
            _ if status.denied.unwrap_or(false) => Self::No,
            Some(error) => Self::Unclear(error),
            None if status.allowed => Self::Yes,
            None => Self::No,
        }
    }
}

/// Reviews whether another user may do something (`SubjectAccessReview`).
///
/// # Errors
///
/// The API server did not answer.
pub async fn ask(client: &Client, what: impl FnOnce() -> String, spec: SubjectAccessReviewSpec) -> Result<Access, ReadError> {
    let question = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    Ok(read(what, api.create(&PostParams::default(), &question)).await?.status.into())
}

/// Reviews whether this process itself may do something (`SelfSubjectAccessReview`).
///
/// # Errors
///
/// The API server did not answer.
pub async fn ask_of_us(client: &Client, what: impl FnOnce() -> String, about: ResourceAttributes) -> Result<Access, ReadError> {
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(about), ..SelfSubjectAccessReviewSpec::default() };
    let question = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    Ok(read(what, api.create(&PostParams::default(), &question)).await?.status.into())
}

/// Returns the UID of the user that this process is to the API server: for a ServiceAccount, that of the object (`SelfSubjectReview`).
///
/// # Errors
///
/// The API server did not answer.
pub async fn our_uid(client: &Client) -> Result<Option<String>, ReadError> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = read(|| "the user of this process".to_owned(), api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(answer.status.and_then(|status| status.user_info).and_then(|user| user.uid).filter(|uid| !uid.is_empty()))
}
