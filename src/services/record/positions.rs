//! The last recorded event of each object.
//!
//! It is kept for objects that exist: two numbers for each. At the start it is read from the index, a file next to the log, and from the entries
//! after the index. The index is not trusted for anything else: with a wrong one, events would be missing or doubled, which `kubectl jit record
//! check` and `replay` find. Without an index the whole log is read.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{
    activity::Event,
    audit::leaf::{self, Entry},
};
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use record::{reader::Reader, store::Store};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::warn;

/// The path of the index, next to the files of the log.
const INDEX: &str = "index/positions.json";
/// The most hashes of inputs that are remembered. An input that was forgotten is written once more.
const MOST_INPUTS: usize = 65_536;

/// The last recorded event of each object, and which inputs the log has.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// A hash of the id of the last recorded event, by a hash of the UID.
    last: HashMap<u64, u64>,
    /// When an input was written, by a hash of its hash.
    inputs: HashMap<u64, Timestamp>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    /// The number of entries that it covers.
    size: u64,
    last: BTreeMap<String, String>,
}

impl Positions {
    /// Rebuilds the positions from the index and the entries after it.
    ///
    /// # Errors
    ///
    /// The log cannot be read, or is damaged.
    pub async fn rebuild(store: &Store, reader: &Reader) -> Result<Self, record::Error> {
        let mut positions = Self::default();
        let mut first = reader.minimum();
        if let Some(object) = store.storage().get(INDEX).await? {
            match serde_json::from_slice::<Index>(&object.bytes) {
                Ok(index) if index.size <= reader.size() && index.size >= first => {
                    first = index.size;
                    let number = |text: &str| u64::from_str_radix(text, 16).ok();
                    positions.last = index.last.iter().filter_map(|(uid, id)| Some((number(uid)?, number(id)?))).collect();
                }
                Ok(_) => warn!("the index does not belong to this log: reading the whole log"),
                Err(error) => warn!(%error, "the index cannot be read: reading the whole log"),
            }
        }
        let mut entries = std::pin::pin!(reader.entries(first..reader.size()));
        let mut time = Timestamp::UNIX_EPOCH;
        while let Some(entry) = entries.try_next().await? {
            match leaf::parse(&entry.leaf) {
                Entry::Event(event) => {
                    time = event.data.recorded;
                    positions.last.insert(hash(&event.data.object.uid), hash(&event.id));
                }
                // An input has no time: it was written together with the event after it.
                Entry::Input(part) => positions.wrote_input(&part.hash, time),
                Entry::Other => {}
            }
        }
        Ok(positions)
    }

    /// Writes the index, which covers `size` entries.
    ///
    /// # Errors
    ///
    /// As the store.
    pub async fn save(&self, store: &Store, size: u64) -> Result<(), record::Error> {
        let last = self.last.iter().map(|(uid, id)| (format!("{uid:x}"), format!("{id:x}"))).collect();
        let bytes = serde_json::to_vec(&Index { size, last }).map_err(|error| record::Error::Invalid(error.to_string()))?;
        let (storage, bytes) = (store.storage(), bytes.into());
        match storage.get(INDEX).await? {
            // Who lost the race does not matter: either index is right for its size.
            Some(found) => storage.replace(INDEX, bytes, &found.version).await.map(drop),
            None => storage.create(INDEX, bytes).await.map(drop),
        }
    }

    /// Returns the events of an object that are not recorded yet.
    #[must_use]
    pub fn new_events(&self, mut events: Vec<Event>) -> Vec<Event> {
        let last = events.first().and_then(|event| self.last.get(&hash(&event.subject.uid)));
        // A list that no longer has the last recorded event has forgotten it: all that is left is newer.
        if let Some(place) = last.and_then(|last| events.iter().position(|event| hash(&event.id) == *last)) {
            events.drain(..=place);
        }
        events
    }

    /// Records that an event was appended.
    pub fn appended(&mut self, event: &Event) {
        self.last.insert(hash(&event.subject.uid), hash(&event.id));
    }

    /// Forgets an object that no longer exists.
    pub fn forget(&mut self, uid: &str) {
        self.last.remove(&hash(uid));
    }

    /// Forgets all objects but these.
    pub fn retain(&mut self, there: &HashSet<u64>) {
        self.last.retain(|uid, _| there.contains(uid));
    }

    /// Returns true if the log has this input, not older than `refresh`.
    #[must_use]
    pub fn has_input(&self, input: &str, now: Timestamp, refresh: Option<SignedDuration>) -> bool {
        let written = self.inputs.get(&hash(input));
        written.is_some_and(|written| refresh.is_none_or(|refresh| now.duration_since(*written) < refresh))
    }

    /// Records that an input was written.
    pub fn wrote_input(&mut self, input: &str, now: Timestamp) {
        if self.inputs.len() >= MOST_INPUTS {
            self.inputs.clear();
        }
        self.inputs.insert(hash(input), now);
    }
}

/// Returns the number by which an object, event or input is known here. It is stored in the index, so it is the same in every version.
#[must_use]
pub fn hash(text: &str) -> u64 {
    Sha256::digest(text.as_bytes()).first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}
