//! A log in a temporary folder or in a bucket.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

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

use crate::s3::Server;

pub const ORIGIN: &str = "record.example.com/test";

/// A log in a folder or a bucket, and its keys.
pub struct Log {
    pub keys: KeyPair,
    pub url: String,
    pub options: Vec<(String, String)>,
    /// Where its files are: also those of the bucket are files.
    folder: PathBuf,
    _temporary: TempDir,
    _server: Option<Server>,
}

impl Log {
    pub fn new() -> Self {
        Self::with_keys(key::generate(ORIGIN).unwrap())
    }

    pub fn with_keys(keys: KeyPair) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("log");
        Self { keys, url: format!("file://{}", folder.display()), options: Vec::new(), folder, _temporary: temporary, _server: None }
    }

    /// A log in a bucket of a real S3 server.
    pub fn in_bucket() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let server = Server::start(temporary.path());
        Self {
            keys: key::generate(ORIGIN).unwrap(),
            url: format!("s3://{}/logs/one", crate::s3::BUCKET),
            options: server.options(),
            folder: temporary.path().join(crate::s3::BUCKET).join("logs/one"),
            _temporary: temporary,
            _server: Some(server),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
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
        store::open(&self.url, self.options.clone()).unwrap()
    }

    pub fn signers(&self) -> Signers {
        Signers::from_texts([&self.keys.signer]).unwrap()
    }

    pub fn trusted(&self) -> Trusted {
        Trusted::from_texts([&self.keys.verifier]).unwrap()
    }

    pub async fn writer(&self, remembered: Option<TreeHead>) -> Result<Writer, Error> {
        let begin = Instant::now();
        loop {
            match self.writer_now(remembered).await {
                // A process that another test starts holds the files of this one for a moment.
                Err(Error::LostFence(_)) if begin.elapsed() < Duration::from_secs(10) => tokio::time::sleep(Duration::from_millis(2)).await,
                result => return result,
            }
        }
    }

    pub async fn writer_now(&self, remembered: Option<TreeHead>) -> Result<Writer, Error> {
        Writer::open(self.store(), self.signers(), remembered).await
    }

    pub async fn writer_with(&self, keys: &KeyPair) -> Result<Writer, Error> {
        Log {
            keys: keys.clone(),
            url: self.url.clone(),
            options: Vec::new(),
            folder: self.folder.clone(),
            _temporary: tempfile::tempdir().unwrap(),
            _server: None,
        }
        .writer(None)
        .await
    }

    pub async fn reader(&self) -> Result<Reader, Error> {
        Reader::open(self.store(), self.trusted()).await
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
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
