//! The state of the guards over time, as the Lease stores it: when they were proven, and what was written in between.
//!
//! Pure: times, objects and resource versions are parameters. All times are the API server's, in whole seconds, since they are compared
//! with `creationTimestamp`s.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Span;

/// The format version of the annotation that this version writes and reads.
const VERSION: u32 = 1;
/// Maximum number of closed spans that are kept. Requests that were created before the oldest must be created again.
const MOST_SPANS: usize = 32;
/// Maximum number of quarantined objects.
const MOST_QUARANTINED: usize = 1_000;
/// Maximum size of the record in bytes. The API server accepts 256 KiB of annotations in total, and a Lease that it refuses has no holder.
/// Names may have 253 characters.
const MOST_BYTES: usize = 200_000;

/// The kinds whose present spec can have been written unguarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A `RoleEligibility`.
    RoleEligibility,
    /// An `ApprovalPolicy`.
    ApprovalPolicy,
}

/// The identity of an object and of its content. The API server raises the generation with each change of the spec, so an edit and its
/// reversal raise it by two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// UID.
    pub uid: String,
    /// Generation.
    pub generation: i64,
}

/// An eligibility or policy as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// UID and generation.
    pub pair: Pair,
    /// The resource version of its last write, of any part.
    pub version: u64,
}

/// An eligibility or policy whose present spec was written unguarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// UID and generation. The quarantine does not apply to another pair.
    #[serde(flatten)]
    pub pair: Pair,
}

/// A span of proven time that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Closed {
    from: Timestamp,
    until: Timestamp,
}

/// The time of the last probe that every policy refused, and the last writes before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    at: Timestamp,
    versions: BTreeMap<Kind, u64>,
}

/// UIDs and generations that a replica observed when it last verified the guards.
pub type Known = HashMap<String, i64>;

/// The result of a proof of all guards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Every guard, as it was stored.
    pub guards: BTreeMap<String, Pair>,
    /// The API server's time after the proof.
    pub at: Timestamp,
    /// The resource versions of the last write of each kind before the proof.
    pub versions: BTreeMap<Kind, u64>,
}

/// Why proven time cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} eligibilities and policies were written while the guards were not verified, more than can be recorded ({MOST_QUARANTINED}, in \
     {MOST_BYTES} bytes with their names): delete those of unknown origin, or delete the others and recreate them from their source"
)]
pub struct TooMany(usize);

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    version: u32,
    /// True on a new installation without grants: objects that exist at the first proof are accepted, since an admin had to install them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    first: bool,
    /// Start of the open span.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// Time of the last proof of all guards.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Timestamp>,
    /// The guards at that time.
    guards: BTreeMap<String, Pair>,
    /// The last writes before that time. A higher resource version was written later.
    versions: BTreeMap<Kind, u64>,
    /// The last probe that every policy refused, if that was before `verified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
    #[serde(default)]
    spans: Vec<Closed>,
    #[serde(default)]
    quarantined: Vec<Quarantined>,
}

impl Ledger {
    /// Returns the record of a new installation without grants.
    #[must_use]
    pub fn first() -> Self {
        Self { first: true, ..Self::lost() }
    }

    /// Returns the record for an installation whose record was lost. The gap has an unknown length, so every existing object counts as
    /// written unguarded.
    #[must_use]
    pub const fn lost() -> Self {
        Self {
            version: VERSION,
            first: false,
            since: None,
            verified: None,
            guards: BTreeMap::new(),
            versions: BTreeMap::new(),
            asked: None,
            spans: Vec::new(),
            quarantined: Vec::new(),
        }
    }

    /// Parses the record of an annotation. `None` if it is missing or not of this version.
    #[must_use]
    pub fn read(annotation: Option<&str>) -> Option<Self> {
        serde_json::from_str(annotation?).ok().filter(|ledger: &Self| ledger.version == VERSION)
    }

    /// Returns the value of the annotation.
    #[must_use]
    pub fn write(&self) -> String {
        // Maps with text keys and plain values always serialize to JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns true until the first span begins.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.first
    }

    /// Returns true while a span is open.
    #[must_use]
    pub const fn lasts(&self) -> bool {
        self.since.is_some()
    }

    /// Returns the guards at the last proof.
    #[must_use]
    pub const fn guards(&self) -> &BTreeMap<String, Pair> {
        &self.guards
    }

    /// Returns the quarantined objects.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }

    /// Returns true if this spec of the object was written unguarded.
    #[must_use]
    pub fn is_quarantined(&self, kind: Kind, uid: &str, generation: i64) -> bool {
        self.quarantined.iter().any(|q| q.kind == kind && q.pair.uid == uid && q.pair.generation == generation)
    }

    /// Returns when the guards were proven, oldest first.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let closed = self.spans.iter().map(|span| Span { from: span.from, until: Some(span.until) });
        closed.chain(self.since.map(|from| Span { from, until: None })).collect()
    }

    /// Returns the part of [`Self::spans`] that no later proof can revoke: an open span is certain only until the last proof.
    #[must_use]
    pub fn certain(&self) -> Vec<Span> {
        let mut ended = self.clone();
        ended.end();
        ended.spans()
    }

    /// Extends the span after a proof that found unchanged guards, without a gap even if no proof ran for some time. Returns false if it
    /// ends.
    pub fn go_on(&mut self, proven: &Proven) -> bool {
        let goes_on = self.since.is_some() && self.guards == proven.guards;
        if goes_on {
            self.verified = self.verified.max(Some(proven.at));
            self.versions.clone_from(&proven.versions);
            self.asked = None;
        }
        goes_on
    }

    /// Extends the span after a proof that compared all guards and sent no probe. Only the last probe shows that they still refuse.
    pub fn go_on_unasked(&mut self, proven: &Proven) -> bool {
        let at = self.verified.unwrap_or(proven.at);
        let asked = self.asked.take().unwrap_or_else(|| Asked { at, versions: self.versions.clone() });
        let goes_on = self.go_on(proven);
        self.asked = Some(asked);
        goes_on
    }

    /// Ends the span after a guard with the expected content accepted a probe. The time of the change is unknown, so the span ends at the
    /// last probe that all refused.
    pub fn end_unasked(&mut self) {
        if let Some(asked) = self.asked.take() {
            (self.verified, self.versions) = (Some(asked.at), asked.versions);
        }
        self.end();
    }

    /// Ends the span at the last proof of all guards, after a guard changed or did not refuse. An object created in that second may be
    /// later than the proof, so the second does not count.
    pub fn end(&mut self) {
        self.asked = None;
        let Some(from) = self.since.take() else { return };
        let until = self.verified.unwrap_or(from).checked_sub(SignedDuration::from_secs(1));
        if let Some(until) = until.ok().filter(|until| from <= *until) {
            self.spans.push(Closed { from, until });
            let over = self.spans.len().saturating_sub(MOST_SPANS);
            self.spans.drain(..over);
        }
    }

    /// Starts a span after a proof of all guards, with the next whole second: an object created in this second may be older than the proof.
    ///
    /// Every object that `exists` now and was written after the last proof before the gap is quarantined. The resource version decides,
    /// unless this replica itself observed the same spec then (`known`), since status writes raise the version too. Quarantined objects
    /// stay quarantined.
    pub fn begin(&mut self, proven: Proven, exists: &[Stored], known: &Known) -> Result<(), TooMany> {
        self.end();
        let late = |stored: &&Stored| {
            let before = self.versions.get(&stored.kind).is_some_and(|last| stored.version <= *last);
            !self.first && !before && known.get(&stored.pair.uid) != Some(&stored.pair.generation)
        };
        let still = |stored: &&Stored| self.is_quarantined(stored.kind, &stored.pair.uid, stored.pair.generation);
        let quarantined: Vec<_> = exists
            .iter()
            .filter(|stored| late(stored) || still(stored))
            .map(|stored| Quarantined { kind: stored.kind, name: stored.name.clone(), pair: stored.pair.clone() })
            .collect();
        let count = quarantined.len();
        let begun = Self {
            version: VERSION,
            first: false,
            since: proven.at.checked_add(SignedDuration::from_secs(1)).ok(),
            verified: Some(proven.at),
            guards: proven.guards,
            versions: proven.versions,
            asked: None,
            spans: self.spans.clone(),
            quarantined,
        };
        if count > MOST_QUARANTINED || begun.write().len() > MOST_BYTES {
            return Err(TooMany(count));
        }
        *self = begun;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
