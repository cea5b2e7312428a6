//! Who may create eligibilities while no webhook runs: what the policy on eligibilities can check within the CEL cost limits (T15).

use super::{Fixture, Outcome};
use crate::authors::matrix::{Authors, Guards};

pub async fn t15_inv_23_admission_policy_alone_denies_the_same_within_its_limits(fixture: &Fixture) -> Outcome {
    let authors = Authors::prepare(fixture.cluster(), "floored").await.map_err(|error| error.to_string())?;
    authors.ask(Guards::Policy).await.map_err(|error| error.to_string())
}
