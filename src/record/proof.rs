//! Inclusion proofs as text, in the format of C2SP tlog-proof. They can be verified without the log and without a network.

use tlog_tiles::{Hash, record_hash};

use crate::{Error, checkpoint::Checkpoint, key::Trusted};

/// The first line of a proof.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// What a valid proof proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Proven {
    /// The index of the entry.
    pub index: u64,
    /// The checkpoint of the tree that has the entry.
    pub checkpoint: Checkpoint,
}

/// Hashes as lines in base64.
pub(crate) fn lines(hashes: &[Hash]) -> String {
    hashes.iter().flat_map(|hash| [hash.to_string(), "\n".to_owned()]).collect()
}

pub(crate) fn text(index: u64, hashes: &[Hash], checkpoint: &str) -> String {
    let hashes = lines(hashes);
    format!("{HEADER}\nindex {index}\n{hashes}\n{checkpoint}")
}

/// Verifies that a log signed a tree that has this leaf, with a proof as [`crate::reader::Reader::proof`] returns it.
///
/// # Errors
///
/// [`Error::Invalid`] for a text that is no proof, or not one of this leaf; [`Error::Corrupt`] for a checkpoint that is not signed by a trusted
/// key.
pub fn check(leaf: &[u8], proof: &str, trusted: &Trusted) -> Result<Proven, Error> {
    let malformed = |what: &str| Error::Invalid(format!("the proof is malformed: {what}"));
    let (head, note) = proof.split_once("\n\n").ok_or_else(|| malformed("it has no checkpoint"))?;
    let mut lines = head.split('\n').peekable();
    if lines.next() != Some(HEADER) {
        return Err(malformed(&format!("its first line is not '{HEADER}'")));
    }
    // Data of other applications, which nothing signs.
    lines.next_if(|line| line.starts_with("extra "));
    let number = lines.next().and_then(|line| line.strip_prefix("index "));
    let index = number
        .and_then(|number| number.parse::<u64>().ok().filter(|index| index.to_string() == number))
        .ok_or_else(|| malformed("it has no index"))?;
    let hashes = lines.map(Hash::parse_hash).collect::<Result<Vec<_>, _>>().map_err(|_| malformed("a line is no hash in base64"))?;
    let checkpoint = Checkpoint::parse(note.as_bytes(), trusted)?;
    let tree = checkpoint.head();
    if index >= tree.size {
        return Err(malformed(&format!("its index is {index}, and its tree has {} entries", tree.size)));
    }
    tlog_tiles::check_record(&hashes, tree.size, tree.root, index, record_hash(leaf)).map_err(|_| {
        Error::Invalid(format!("the proof is not of this entry: the tree of {} entries does not have it at index {index}", tree.size))
    })?;
    Ok(Proven { index, checkpoint })
}
