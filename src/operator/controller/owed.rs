//! The reviews of emergencies in the status of their policies.
//!
//! A request is removed with its namespace, and so is its own record of the owed review. The record of the policy stays until the review is
//! done, or until an admin settles it where no reviewer can do it any more.

use kube::Api;
use tracing::info;

use super::{context::Context, ready};
use crate::gather::debts;
use api::{
    ApprovalPolicy, ApprovalPolicyStatus, names,
    policy::{MAX_REVIEWS_OWED, OwedReview},
};
use domain::emergency::{self, Standing};
use kube_io::call::{ReadError, WriteError, read};

/// How often a write is tried again at once after a conflict with another writer.
const ATTEMPTS: usize = 3;

/// Why a review is not recorded. Then the emergency that owes it is not granted.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The policy could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The policy's status could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The policy does not exist.
    #[error("policy '{0}' no longer exists")]
    Gone(String),
    /// The policy lists the maximum number of reviews.
    #[error("policy '{0}' has {MAX_REVIEWS_OWED} of at most {MAX_REVIEWS_OWED} outstanding reviews (status.reviewsOwed)")]
    Full(String),
    /// The API server did not store the field, as with an older schema.
    #[error("the API server did not store status.reviewsOwed of policy '{0}'; apply the CRDs of this version")]
    Dropped(String),
}

/// Records this review in the policy's status.
///
/// # Errors
///
/// The review is not recorded, as far as is known.
pub async fn record(context: &Context, policy: &str, owed: &OwedReview) -> Result<(), RecordError> {
    // One write at a time, so that the writes of this process do not conflict.
    let _turn = context.recording.lock().await;
    let api: Api<ApprovalPolicy> = Api::all(context.client.clone());
    let is_recorded = |status: &ApprovalPolicyStatus| status.reviews_owed.iter().any(|other| other.request_uid == owed.request_uid);
    let mut attempt = 1;
    loop {
        let stored = read(|| format!("policy '{policy}'"), api.get_opt(policy)).await?;
        let stored = stored.ok_or_else(|| RecordError::Gone(policy.to_owned()))?;
        let before = stored.status.clone().unwrap_or_default();
        if is_recorded(&before) {
            return Ok(());
        }
        if before.reviews_owed.len() >= MAX_REVIEWS_OWED {
            return Err(RecordError::Full(policy.to_owned()));
        }
        let mut wanted = before.clone();
        wanted.reviews_owed.push(owed.clone());
        match ready::write_status(&context.client, &stored, &before, &wanted).await {
            Ok(written) if written.status.as_ref().is_some_and(is_recorded) => return Ok(()),
            Ok(_) => return Err(RecordError::Dropped(policy.to_owned())),
            Err(error) if attempt < ATTEMPTS && error.answer().is_some_and(kube::core::Status::is_conflict) => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the reviews of a policy's status that are still owed according to the requests that exist.
///
/// # Errors
///
/// A request cannot be read.
pub async fn left(context: &Context, stored: &ApprovalPolicy) -> Result<Vec<OwedReview>, ReadError> {
    let settled = stored.metadata.annotations.as_ref().and_then(|all| all.get(names::SETTLED_REVIEWS)).map(String::as_str);
    let mut left = Vec::new();
    for owed in stored.status.iter().flat_map(|status| &status.reviews_owed) {
        let found = debts::request(&context.client, &owed.request).await?;
        match emergency::standing(owed, found.as_ref(), settled) {
            Standing::Owed(owed) => left.push(owed),
            Standing::Done => {}
            Standing::Settled => {
                let policy = stored.metadata.name.as_deref().unwrap_or_default();
                info!(policy, request = owed.request, user = %owed.requester.username, "an admin settled a review of a deleted request");
            }
        }
    }
    Ok(left)
}
