//! A bucket in memory with faults: requests that fail before or after they did something, and that are late. Its entity tags are hashes of the
//! content, as those of S3.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use record::{
    Error,
    store::{Object, Storage, Store, Version},
};

#[derive(Debug, Default)]
pub struct Memory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    random: AtomicU64,
    /// Of 100 requests so many fail; half of them after they did what they should.
    failing: AtomicU64,
    /// The bytes that fit.
    room: Mutex<Option<usize>>,
}

impl Memory {
    pub fn new(seed: u64) -> Arc<Self> {
        let memory = Self::default();
        memory.random.store(seed | 1, Ordering::SeqCst);
        Arc::new(memory)
    }

    pub fn store(self: &Arc<Self>) -> Store {
        Store::new("memory", self.clone())
    }

    pub fn fail(&self, percent: u64) {
        self.failing.store(percent, Ordering::SeqCst);
    }

    pub fn limit(&self, room: Option<usize>) {
        *self.room.lock().unwrap() = room;
    }

    /// Writes all objects as files, for fsck.
    pub fn export(&self, folder: &std::path::Path) {
        for (path, bytes) in &*self.objects.lock().unwrap() {
            let file = folder.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
    }

    pub fn paths(&self) -> BTreeSet<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    fn roll(&self) -> u64 {
        let next = |mut state: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^ (state << 17)
        };
        let state = self.random.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| Some(next(state))).unwrap();
        next(state) >> 20
    }

    async fn request<T>(&self, path: &str, work: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> Result<T, Error> {
        for _ in 0..self.roll() % 4 {
            tokio::task::yield_now().await;
        }
        let error = || Error::Retry { operation: format!("'{path}'"), reason: "503".to_owned() };
        let (fails, done) = (self.roll() % 100 < self.failing.load(Ordering::SeqCst), self.roll().is_multiple_of(2));
        if fails && !done {
            return Err(error());
        }
        let before = self.objects.lock().unwrap().clone();
        let result = work(&mut self.objects.lock().unwrap());
        if let Some(room) = *self.room.lock().unwrap() {
            let mut objects = self.objects.lock().unwrap();
            if objects.values().map(Bytes::len).sum::<usize>() > room {
                *objects = before;
                return Err(Error::Retry { operation: format!("'{path}'"), reason: "the disk is full".to_owned() });
            }
        }
        for _ in 0..self.roll() % 4 {
            tokio::task::yield_now().await;
        }
        if fails { Err(error()) } else { Ok(result) }
    }
}

fn version(bytes: &[u8]) -> Version {
    Version { tag: Some(tlog_tiles::record_hash(bytes).to_string()), version: None }
}

impl Storage for Memory {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>> {
        self.request(path, |objects| objects.get(path).map(|bytes| Object { bytes: bytes.clone(), version: version(bytes) })).boxed()
    }
    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        let create = move |objects: &mut BTreeMap<String, Bytes>| {
            let free = !objects.contains_key(path);
            free.then(|| {
                objects.insert(path.to_owned(), bytes.clone());
                version(&bytes)
            })
        };
        self.request(path, create).boxed()
    }
    fn replace<'a>(&'a self, path: &'a str, bytes: Bytes, expected: &'a Version) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        let replace = move |objects: &mut BTreeMap<String, Bytes>| {
            let same = objects.get(path).is_some_and(|current| version(current) == *expected);
            same.then(|| {
                objects.insert(path.to_owned(), bytes.clone());
                version(&bytes)
            })
        };
        self.request(path, replace).boxed()
    }
    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.request(path, |objects| drop(objects.remove(path))).boxed()
    }
    fn list<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        self.request(prefix, move |objects| objects.keys().filter(|path| path.starts_with(prefix)).take(limit).cloned().collect()).boxed()
    }
    fn sync(&self) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }
    fn lock(&self) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }
}
