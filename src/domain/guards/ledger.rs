//! What is known of the guards over time, as it is kept on the Lease: when they were proven, and what was written meanwhile.
//!
//! Pure: times, objects and resource versions come in as they were read. All times are the API server's, in whole seconds, since
//! they are held against `creationTimestamp`s.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::Span;

/// The form of the annotation that this version writes and understands.
const VERSION: u32 = 1;
/// Most closed spans that are kept. What was created before the oldest must be made again.
const MOST_SPANS: usize = 32;
/// Most quarantined objects that are remembered.
const MOST_QUARANTINED: usize = 1_000;
/// Most bytes of the record: the API server takes 256 KiB of annotations altogether, and a Lease that it refuses has no holder. Names may
/// have 253 characters.
const MOST_BYTES: usize = 200_000;

/// The kinds whose present spec can have been written unguarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A `RoleEligibility`.
    RoleEligibility,
    /// An `ApprovalPolicy`.
    ApprovalPolicy,
}

/// Which object, and which of its contents: the API server raises the generation with each change of what it says, so that an edit
/// and its reversal move it by two.
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
    /// The API server's number of its last write, of whatever part.
    pub version: u64,
}

/// An eligibility or policy whose present spec was written unguarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// UID and generation; another pair is another matter.
    #[serde(flatten)]
    pub pair: Pair,
}

/// A stretch of proven time that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Closed {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// When every policy last refused a probe, and the last writes before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    at: DateTime<Utc>,
    versions: BTreeMap<Kind, u64>,
}

/// UIDs and generations as a replica saw them when it last verified the guards.
pub type Known = HashMap<String, i64>;

/// What a proof of all guards found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Every guard, as it was stored.
    pub guards: BTreeMap<String, Pair>,
    /// The API server's time after the proof.
    pub at: DateTime<Utc>,
    /// The numbers of the last write of each kind before the proof.
    pub versions: BTreeMap<Kind, u64>,
}

/// Why proven time cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} eligibilities and policies were written while the guards were not proven, more than can be remembered ({MOST_QUARANTINED}, in \
     {MOST_BYTES} bytes with their names): delete those that nobody knows, or write the others anew from where you keep them after deleting them"
)]
pub struct TooMany(usize);

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    version: u32,
    /// Nobody has granted here before: what exists at the first proof is taken as it is, since somebody had to install it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    first: bool,
    /// Begin of the span that lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    /// When all guards were last proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<DateTime<Utc>>,
    /// The guards then.
    guards: BTreeMap<String, Pair>,
    /// The last writes before then. What has a higher number was written later.
    versions: BTreeMap<Kind, u64>,
    /// When every policy last refused a probe, if that was before `verified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
    #[serde(default)]
    spans: Vec<Closed>,
    #[serde(default)]
    quarantined: Vec<Quarantined>,
}

impl Ledger {
    /// For an installation on which nobody has granted yet.
    #[must_use]
    pub fn first() -> Self {
        Self { first: true, ..Self::lost() }
    }

    /// For one whose record is gone: a gap of unknown length, so that everything that exists counts as written unguarded.
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

    /// The record in an annotation; none where it is missing or not of this version.
    #[must_use]
    pub fn read(annotation: Option<&str>) -> Option<Self> {
        serde_json::from_str(annotation?).ok().filter(|ledger: &Self| ledger.version == VERSION)
    }

    /// The annotation.
    #[must_use]
    pub fn write(&self) -> String {
        // Maps with text keys and plain values always are JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// True until the first span begins.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.first
    }

    /// True while a span lasts.
    #[must_use]
    pub const fn lasts(&self) -> bool {
        self.since.is_some()
    }

    /// The guards as they were last proven.
    #[must_use]
    pub const fn guards(&self) -> &BTreeMap<String, Pair> {
        &self.guards
    }

    /// What is quarantined.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }

    /// True when this spec of the object was written unguarded.
    #[must_use]
    pub fn is_quarantined(&self, kind: Kind, uid: &str, generation: i64) -> bool {
        self.quarantined.iter().any(|q| q.kind == kind && q.pair.uid == uid && q.pair.generation == generation)
    }

    /// When the guards were proven, oldest first.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let closed = self.spans.iter().map(|span| Span { from: span.from, until: Some(span.until) });
        closed.chain(self.since.map(|from| Span { from, until: None })).collect()
    }

    /// The part of [`Self::spans`] that no later look can take back: what lasts is certain only until the last proof.
    #[must_use]
    pub fn certain(&self) -> Vec<Span> {
        let mut ended = self.clone();
        ended.end();
        ended.spans()
    }

    /// A proof found the guards as they were: the span goes on without a gap, also if nobody looked for a while. False when it does not.
    pub fn go_on(&mut self, proven: &Proven) -> bool {
        let goes_on = self.since.is_some() && self.guards == proven.guards;
        if goes_on {
            self.verified = self.verified.max(Some(proven.at));
            self.versions.clone_from(&proven.versions);
            self.asked = None;
        }
        goes_on
    }

    /// The same of a look that compared all guards and asked none to refuse. That they still do is known from the last probe only.
    pub fn go_on_unasked(&mut self, proven: &Proven) -> bool {
        let at = self.verified.unwrap_or(proven.at);
        let asked = self.asked.take().unwrap_or_else(|| Asked { at, versions: self.versions.clone() });
        let goes_on = self.go_on(proven);
        self.asked = Some(asked);
        goes_on
    }

    /// A guard says what it must and let a probe through: nobody knows since when, so the span ended when all last refused one.
    pub fn end_unasked(&mut self) {
        if let Some(asked) = self.asked.take() {
            (self.verified, self.versions) = (Some(asked.at), asked.versions);
        }
        self.end();
    }

    /// A guard is not what it was, or does not refuse: the span ended when all were last proven. What was created in that very second
    /// may have come after, so the second does not count.
    pub fn end(&mut self) {
        self.asked = None;
        let Some(from) = self.since.take() else { return };
        let until = self.verified.unwrap_or(from) - TimeDelta::seconds(1);
        if from <= until {
            self.spans.push(Closed { from, until });
            let over = self.spans.len().saturating_sub(MOST_SPANS);
            self.spans.drain(..over);
        }
    }

    /// All guards are proven again. A span begins with the next whole second: what is created in this one may have come before.
    ///
    /// Everything that `exists` now and was written after the last proof before the gap is quarantined: by its number, unless this
    /// replica itself saw the same spec then (`known`), as reports move the number too. What was quarantined before stays so.
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
            since: Some(proven.at + TimeDelta::seconds(1)),
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
