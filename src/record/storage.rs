//! What a log needs of a store.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::Error;

/// What identifies the content of an object, for a later compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The entity tag. For a folder: a hash of the content.
    pub tag: Option<String>,
    /// The version, where the store has such.
    pub version: Option<String>,
}

/// An object and its version.
#[derive(Clone, Debug)]
pub struct Object {
    /// The content.
    pub bytes: Bytes,
    /// What it is compared with when it is replaced.
    pub version: Version,
}

/// The operations that a log needs of a store. All are atomic, for one object. Tests wrap them to fail or to end the process.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Returns an object, or `None` if there is none.
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>>;
    /// Creates an object. `None`: it exists, and is not changed.
    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Option<Version>, Error>>;
    /// Replaces an object of exactly this version. `None`: it has another version, and is not changed.
    fn replace<'a>(&'a self, path: &'a str, bytes: Bytes, version: &'a Version) -> BoxFuture<'a, Result<Option<Version>, Error>>;
    /// Removes an object, if it exists.
    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), Error>>;
    /// Returns the paths of at most `limit` objects whose paths start with `prefix`, which ends with `/`.
    fn list<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, Error>>;
    /// Returns when all that was created survives a loss of power.
    fn sync(&self) -> BoxFuture<'_, Result<(), Error>>;
    /// Holds other writers off where the store can do that, until the store is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::LostFence`] if another writer is held off that way already.
    fn lock(&self) -> BoxFuture<'_, Result<(), Error>>;
}
