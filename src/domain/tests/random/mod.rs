//! Properties over random scenarios: the invariants of docs/design/invariants.md, by their numbers.
//!
//! There are few users and few names, so that identities collide. Times are close together, so that limits coincide.

mod cluster;
mod grants;
mod limits;
mod model;
mod order;
mod parts;
mod records;
mod sequences;
mod worlds;

use super::*;
use parts::{Said, said};
use worlds::{Chance as _, fresh_worlds, worlds};

/// Start and length of what would be granted.
fn granted(world: &World) -> Option<(Timestamp, SignedDuration)> {
    let verdict = world.decide();
    (verdict.binding == BindingAction::Create).then_some(())?;
    verdict.grant.map(|grant| (grant.start, grant.deadline.duration_since(grant.start)))
}
