//! Who may make people eligible, with no webhook to ask: what the policy on eligibilities can ask by itself within its cost limits (T15).

use super::{Floor, Outcome};
use crate::authors::matrix::{Authors, Guards};

pub async fn t15_inv_23_the_floor_alone_refuses_the_same_but_for_what_it_cannot_ask(floor: &Floor) -> Outcome {
    let authors = Authors::prepare(floor.cluster(), "floored").await.map_err(|error| error.to_string())?;
    authors.ask(Guards::Floor).await.map_err(|error| error.to_string())
}
