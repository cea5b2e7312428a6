//! A log in a temporary folder.

use std::path::PathBuf;

use bytes::Bytes;
use jiff::Timestamp;
use record::{
    Error,
    checkpoint::{Checkpoint, TreeHead},
    key::{self, KeyPair, Signers, Trusted},
    reader::Reader,
    store::{self, Store},
    writer::Writer,
};
use tempfile::TempDir;

pub const ORIGIN: &str = "record.example.com/test";

/// A folder and a pair of keys.
pub struct Log {
    pub folder: TempDir,
    pub keys: KeyPair,
}

impl Log {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), keys: key::generate(ORIGIN).unwrap() }
    }

    /// A log with so many entries, published once.
    pub async fn with(entries: u64) -> Self {
        let log = Self::new();
        log.append(0..entries).await;
        log
    }

    pub async fn append(&self, numbers: std::ops::Range<u64>) -> Checkpoint {
        let mut writer = self.writer(None).await.unwrap();
        writer.append(numbers.map(leaf).collect()).unwrap();
        writer.publish(at(1000)).await.unwrap()
    }

    pub fn store(&self) -> Store {
        store::open(&format!("file://{}", self.folder.path().display()), []).unwrap()
    }

    pub fn signers(&self) -> Signers {
        Signers::from_texts([&self.keys.signer]).unwrap()
    }

    pub fn trusted(&self) -> Trusted {
        Trusted::from_texts([&self.keys.verifier]).unwrap()
    }

    pub async fn writer(&self, remembered: Option<TreeHead>) -> Result<Writer, Error> {
        Writer::open(self.store(), self.signers(), remembered).await
    }

    pub async fn writer_with(&self, keys: &KeyPair) -> Result<Writer, Error> {
        Writer::open(self.store(), Signers::from_texts([&keys.signer]).unwrap(), None).await
    }

    pub async fn reader(&self) -> Result<Reader, Error> {
        Reader::open(self.store(), self.trusted()).await
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

/// A leaf by its number: its length varies, and is 0 for some.
pub fn leaf(number: u64) -> Bytes {
    if number % 50 == 7 {
        Bytes::new()
    } else {
        format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(usize::try_from(number % 90).unwrap())).into()
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).unwrap()
}
