//! Tree heads, and checkpoints: tree heads with a signature of the log.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use tlog_tiles::Hash;

use crate::{
    Error, Finding,
    key::{Signers, Timed, Trusted, writer_key_id},
    tile::MAX_SIZE,
};

/// A size of the log and the root of its tree at this size. As text, such as for an annotation: `SIZE BASE64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TreeHead {
    /// The number of entries.
    pub size: u64,
    /// The root by RFC 6962.
    pub root: Hash,
}

impl fmt::Display for TreeHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.size, self.root)
    }
}

impl FromStr for TreeHead {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split_once(' ')
            .and_then(|(size, root)| {
                Some(Self { size: size.parse().ok().filter(|size| *size <= MAX_SIZE)?, root: Hash::parse_hash(root).ok()? })
            })
            .ok_or_else(|| Error::Invalid(format!("'{}' is not a tree head: it must be a size and a root in base64", text.escape_debug())))
    }
}

/// A checkpoint whose signature was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    head: TreeHead,
    time: Option<Timestamp>,
    text: String,
}

impl Checkpoint {
    /// Returns size and root.
    #[must_use]
    pub const fn head(&self) -> TreeHead {
        self.head
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.head.size
    }

    /// Returns when it was signed. A checkpoint of another implementation may not say it.
    #[must_use]
    pub const fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// Returns the checkpoint as a signed note, with all signatures.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads a signed note. At least one signature of a trusted key must be on it, and none of a trusted key may be wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] with [`Finding::WrongKey`], [`Finding::BadSignature`] or [`Finding::BadCheckpoint`].
    pub fn parse(note: &[u8], trusted: &Trusted) -> Result<Self, Error> {
        let (body, time) = verified(note, trusted)?;
        let bad = |reason: &str| Error::from(Finding::BadCheckpoint { reason: reason.to_owned() });
        let parsed = tlog_tiles::Checkpoint::from_bytes(body.as_bytes()).map_err(|_| bad("it has no origin, size and root"))?;
        if parsed.origin() != trusted.origin() {
            return Err(bad(&format!("its origin is '{}' and not '{}'", parsed.origin().escape_debug(), trusted.origin())));
        }
        if parsed.size() > MAX_SIZE {
            return Err(bad("its size is beyond all logs"));
        }
        let time = time.and_then(|seconds| i64::try_from(seconds).ok()).and_then(|seconds| Timestamp::from_second(seconds).ok());
        let text = String::from_utf8(note.to_vec()).map_err(|_| bad("it is no text"))?;
        Ok(Self { head: TreeHead { size: parsed.size(), root: *parsed.hash() }, time, text })
    }

    /// The checkpoint with further lines of signatures.
    pub(crate) fn with_lines(mut self, lines: &str) -> Self {
        self.text.push_str(lines);
        self
    }

    /// Signs a tree head. The time has the resolution of seconds.
    pub(crate) fn sign(signers: &Signers, head: TreeHead, time: Timestamp) -> Result<Self, Error> {
        let body = format!("{}\n{}\n{}\n", signers.origin(), head.size, head.root);
        let time = Timestamp::from_second(time.as_second().max(0)).unwrap_or_default();
        let signatures = signers.sign(&body, time.as_second().unsigned_abs())?;
        Ok(Self { head, time: Some(time), text: format!("{body}\n{signatures}") })
    }
}

/// Returns the text of a signed note, and the latest time that a trusted key signed.
pub(crate) fn verified(note: &[u8], trusted: &Trusted) -> Result<(String, Option<u64>), Error> {
    let bad = |reason: &str| Error::from(Finding::BadCheckpoint { reason: reason.to_owned() });
    let text = std::str::from_utf8(note).map_err(|_| bad("it is no text"))?;
    let (body, signatures) = text.rsplit_once("\n\n").ok_or_else(|| bad("it has no signatures"))?;
    // signed_note verifies the form. Its own verification has no way to report the keys of an unknown signature.
    signed_note::Note::from_bytes(note).map_err(|error| bad(&error.to_string()))?;
    let body = format!("{body}\n");
    let (mut valid, mut time, mut names) = (false, None, Vec::new());
    for line in signatures.lines() {
        let signature = signed_note::Signature::from_bytes(line.as_bytes()).map_err(|error| bad(&error.to_string()))?;
        let key = format!("{}+{:08x}", signature.name(), signature.id());
        match (trusted.check(&body, &signature), trusted.check_timed(&body, &signature)) {
            (Some(false), _) | (_, Some(Timed::Wrong)) => return Err(Finding::BadSignature { key }.into()),
            (Some(true), _) => valid = true,
            (None, Some(Timed::At(seconds))) => time = time.max(Some(seconds)),
            (None, None) if signature.id() == writer_key_id(signature.name()) => {}
            (None, None) => names.push(key),
        }
    }
    if valid { Ok((body, time)) } else { Err(Finding::WrongKey { signers: names.join(", ") }.into()) }
}
