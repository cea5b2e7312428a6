//! The history of an object in its status.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::text::Line;

/// Most entries of a timeline.
pub const MAX_TIMELINE: usize = 128;

/// One entry in the history of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// Time of the event.
    pub time: Timestamp,
    /// Who acted: a user name, or `jit-rbac` for the operator.
    pub actor: Line<256>,
    /// The event in one word.
    #[schemars(length(max = 63))]
    pub event: String,
    /// The event in one sentence.
    pub message: Line<1024>,
}
