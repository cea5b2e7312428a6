//! The Secret of a receiver, mounted as a folder of files.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap, fs, io::Read as _, path::Path};

use kube_io::redact::redacted;

use super::message::{Failure, Reason};

/// The longest value in bytes. A longer one is refused.
const LONGEST: u64 = 64 * 1024;
/// The largest number of keys.
const MOST_KEYS: usize = 64;
/// A shorter value is not masked in texts: it could be part of any word.
const SHORTEST_MASKED: usize = 4;
/// The same for the parts of an address, of which the short ones are ordinary words.
const SHORTEST_PART: usize = 12;

/// The keys of a Secret and their values. They are read for each message, so that a rotation needs no restart.
pub(crate) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Reads all keys from a folder; none without a folder.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, Failure> {
        let Some(folder) = folder else { return Ok(Self(BTreeMap::new())) };
        // The path is not part of the message: it says nothing to the author of the receiver.
        let failed =
            |error: &std::io::Error| Failure::refused(Reason::SecretInvalid, format!("the Secret is not mounted: {}", error.kind()));
        let mut values = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(|error| failed(&error))?.take(MOST_KEYS) {
            let entry = entry.map_err(|error| failed(&error))?;
            let Ok(key) = entry.file_name().into_string() else { continue };
            // The kubelet keeps its versions of the files in names that begin with dots.
            if key.starts_with('.') || !entry.path().is_file() {
                continue;
            }
            let mut text = String::new();
            let read = fs::File::open(entry.path()).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
            match read {
                Ok(length) if length as u64 <= LONGEST => _ = values.insert(key, text.trim().to_owned()),
                Ok(_) => return Err(invalid(&key, "is longer than 64 KiB")),
                Err(error) => return Err(invalid(&key, &format!("cannot be read: {}", error.kind()))),
            }
        }
        Ok(Self(values))
    }

    /// Returns a value that is not empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns a value, or the refusal that names the missing key.
    pub(crate) fn required(&self, key: &str) -> Result<&str, Failure> {
        self.get(key).ok_or_else(|| invalid(key, "is missing"))
    }

    /// Returns the values of `key` and of all keys that begin with `key-`, in the order of their names.
    pub(crate) fn all(&self, key: &str) -> Vec<(&str, &str)> {
        let belongs = |name: &str| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        self.0
            .iter()
            .filter(|(name, value)| belongs(name) && !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// Returns `text` without these values and without what looks like a secret.
    pub(crate) fn masked(&self, text: &str) -> String {
        let mut hidden: Vec<Cow<'_, str>> =
            self.0.values().flat_map(|value| value.lines().chain([value.as_str()])).map(Cow::Borrowed).collect();
        // Of an address, a server may quote parts.
        for url in self.0.values().filter_map(|value| reqwest::Url::parse(value).ok()) {
            let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
            let values = url.query_pairs().map(|(_, value)| value.into_owned());
            let parts = segments.chain(values).chain(url.query().map(str::to_owned));
            hidden.extend(parts.filter(|part| part.len() >= SHORTEST_PART).map(Cow::Owned));
        }
        // A value may contain another one.
        hidden.sort_by_key(|value| Reverse(value.len()));
        let masked = hidden
            .iter()
            .filter(|value| value.len() >= SHORTEST_MASKED)
            .fold(text.to_owned(), |text, value| text.replace(value.as_ref(), "[redacted]"));
        redacted(&masked).into_owned()
    }
}

/// Returns the refusal of a key.
pub(crate) fn invalid(key: &str, problem: &str) -> Failure {
    Failure::refused(Reason::SecretInvalid, format!("key '{key}' of the Secret {problem}"))
}
