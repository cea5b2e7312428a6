//! What a receiver was sent already, in the bounded form that its status holds.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use api::{
    instant::whole_seconds,
    notification_receiver::{MAX_IDS, MAX_REFERENCES, Position},
};

/// How far behind the newest event a position stays. Within this time an event may be reported later than a newer one of another object.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// The digits of an id that a position has.
const DIGITS: usize = 16;

/// The events that a receiver has handled: sent, refused, dropped or no longer true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    through: Timestamp,
    ids: BTreeSet<(Timestamp, String)>,
    /// Those that were read from a stored position. Their times are not stored.
    stored: BTreeSet<String>,
    /// The newest event that was considered, whether a rule sends it or not.
    newest: Option<Timestamp>,
    /// What the receiver calls the message of a thread.
    pub references: BTreeMap<String, String>,
}

fn short(id: &str) -> String {
    id.chars().take(DIGITS).collect()
}

impl Handled {
    /// Continues at a stored position; a new receiver starts at its creation.
    #[must_use]
    pub fn new(stored: Option<&Position>, created: Timestamp) -> Self {
        // An instant before the creation, since the times of events are whole seconds.
        let start = created.checked_sub(SignedDuration::from_secs(1)).unwrap_or(created);
        let position = stored.cloned().unwrap_or_default();
        Self {
            through: position.through.max(start),
            ids: BTreeSet::new(),
            stored: position.ids.into_iter().collect(),
            newest: None,
            references: position.references,
        }
    }

    /// True for an event that must not be sent again.
    #[must_use]
    pub fn has(&mut self, id: &str, at: Timestamp) -> bool {
        let id = short(id);
        if at <= self.through {
            return true;
        }
        if self.stored.remove(&id) {
            self.ids.insert((at, id));
            return true;
        }
        self.ids.contains(&(at, id))
    }

    /// Drops the stored ids of events that no longer exist. Call it once every event was asked for.
    pub fn forget_unknown(&mut self) {
        self.stored.clear();
    }

    /// True for an event that was handled, however late it was reported.
    #[must_use]
    pub fn has_exactly(&self, id: &str, at: Timestamp) -> bool {
        self.ids.contains(&(at, short(id)))
    }

    /// Records that an event was considered. A rule that is changed later does not send it.
    pub fn consider(&mut self, at: Timestamp) {
        self.newest = self.newest.max(Some(at));
    }

    /// True when the position would move by more than a window, so that it should be stored.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.newest.is_some_and(|newest| newest.duration_since(self.through) > WINDOW.saturating_mul(2))
    }

    /// Records an event.
    pub fn add(&mut self, id: &str, at: Timestamp) {
        let id = short(id);
        self.stored.remove(&id);
        self.ids.insert((at, id));
    }

    /// Returns the position to store. `waiting` is the time of the oldest event that is not handled.
    pub fn position(&mut self, waiting: Option<Timestamp>) -> Position {
        let newest = self.newest.max(self.ids.last().map(|(at, _)| *at));
        let second = SignedDuration::from_secs(1);
        let limit = waiting.and_then(|at| at.checked_sub(second).ok());
        let bounded = |at: Timestamp| limit.map_or(at, |limit| at.min(limit));
        if let Some(at) = newest.and_then(|at| at.checked_sub(WINDOW).ok()) {
            self.advance(bounded(at));
        }
        // With more ids than fit, the window is shorter.
        while self.ids.len() + self.stored.len() > MAX_IDS {
            let Some((oldest, _)) = self.ids.first().cloned() else { break };
            let before = self.through;
            self.advance(bounded(oldest));
            if self.through == before {
                break;
            }
        }
        let ids = self.stored.iter().chain(self.ids.iter().map(|(_, id)| id)).take(MAX_IDS).cloned().collect();
        Position { through: whole_seconds(self.through), ids, references: self.references.clone() }
    }

    fn advance(&mut self, through: Timestamp) {
        if through <= self.through {
            return;
        }
        self.through = through;
        self.ids = self.ids.split_off(&(through, "~".to_owned()));
    }

    /// Keeps what the receiver calls the message of a thread, or forgets it once the thread is completed.
    pub fn refer(&mut self, thread: &str, reference: Option<String>) {
        match reference.filter(|reference| reference.len() <= 256) {
            Some(reference) if self.references.len() < MAX_REFERENCES || self.references.contains_key(thread) => {
                self.references.insert(thread.to_owned(), reference);
            }
            Some(_) => {}
            None => _ = self.references.remove(thread),
        }
    }
}
