//! The audit log: a Merkle log in the format of C2SP tlog-tiles, its writer, its readers and its verification.
//!
//! The crate knows neither Kubernetes nor the rules. A leaf is opaque bytes, at most [`MAX_LEAF`] of them. Callers pass canonical JSON:
//! [`canonical`] writes it by RFC 8785.
//!
//! | module | what it has | needs |
//! |---|---|---|
//! | [`store`] | [`store::open`]: a folder (`file://`), `s3://`, `gs://`, `az://`, or read-only `https://` | |
//! | [`key`] | [`key::Signers`] and [`key::Trusted`]: private and public keys from the files of a folder; [`key::generate`] | |
//! | [`checkpoint`] | [`checkpoint::TreeHead`] (size and root) and [`checkpoint::Checkpoint`], which is verified when it is read | |
//! | [`writer`] | [`writer::Writer`]: append leaves, publish a checkpoint | write access, a private key |
//! | [`reader`] | [`reader::Reader`]: entries, inclusion proofs, consistency | read access, a public key |
//! | [`proof`] | [`proof::check`]: verifies an inclusion proof without the log | a public key |
//! | [`verify`] | [`verify::verify`]: recomputes the whole log and names what is wrong | read access, a public key |
//! | [`prune`] | removal of old entries by the rules of C2SP | write access, a private key |
//!
//! # Write
//!
//! ```no_run
//! # async fn example() -> Result<(), record::Error> {
//! use record::{canonical, key::Signers, store, writer::Writer};
//!
//! let store = store::open("file:///var/lib/record", store::environment())?;
//! let signers = Signers::from_folder("/etc/record/keys".as_ref())?;
//! // What the Lease remembers of the last checkpoint, if anything: with it, a log that was cut off or restarted is an error.
//! let remembered = Some("1204 CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".parse()?);
//! let mut writer = Writer::open(store, signers, remembered).await?;
//! let indices = writer.append(vec![canonical(&serde_json::json!({"type": "dev.jitrbac.example.v1"}))?.into()])?;
//! // Nothing is stored before this returns. After an error of the class Retry, call it again.
//! let published = writer.publish(jiff::Timestamp::now()).await?;
//! println!("{indices:?} are in the log, {}", published.head());
//! # Ok(()) }
//! ```
//!
//! # Read
//!
//! ```no_run
//! # async fn example() -> Result<(), record::Error> {
//! use futures::TryStreamExt;
//! use record::{key::Trusted, proof, reader::Reader, store};
//!
//! let trusted = Trusted::from_texts(["record.example.com+0a1b2c3d+AT..."])?;
//! let reader = Reader::open(store::open("https://record.example.com/", store::environment())?, trusted.clone()).await?;
//! let mut entries = std::pin::pin!(reader.entries(0..reader.size()));
//! while let Some(entry) = entries.try_next().await? {
//!     println!("{} {}", entry.index, String::from_utf8_lossy(&entry.leaf));
//! }
//! let text = reader.proof(17).await?;
//! proof::check(&reader.entry(17).await?, &text, &trusted)?;
//! # Ok(()) }
//! ```
//!
//! TLS is rustls with ring, and trusts the public certificate authorities and those in the file `SSL_CERT_FILE`.

pub mod checkpoint;
mod cloud;
mod error;
mod finding;
mod folder;
pub mod key;
mod minimum;
pub mod proof;
pub mod prune;
pub mod reader;
mod storage;
pub mod store;
mod tile;
mod tree;
pub mod verify;
pub mod witness;
pub mod writer;

pub use error::{Error, MAX_LEAF};
pub use finding::Finding;
/// SHA-256 of a leaf or of an inner node, as RFC 6962 defines it. It displays as base64.
pub use tlog_tiles::Hash;

/// Returns the value as canonical JSON by RFC 8785: equal values become equal bytes, and so equal leaves.
///
/// # Errors
///
/// [`Error::Leaf`] for a number that JSON cannot represent.
pub fn canonical(value: &serde_json::Value) -> Result<Vec<u8>, Error> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| Error::Leaf(error.to_string()))
}
