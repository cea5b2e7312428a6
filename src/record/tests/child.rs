//! This test program as a process of its own: a writer that can be killed, or whose memory is measured.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use record::{
    Error,
    key::Signers,
    store::{self, Object, Storage, Store, Version},
    writer::Writer,
};

use crate::fixture::{Log, at};

/// The leaf of a writer: writers with other salts have other leaves.
pub fn salted(salt: &str, number: u64) -> Bytes {
    format!("{salt} {number} {}", "y".repeat(usize::try_from(number % 40).unwrap())).into()
}

/// The command that runs [`writer`] in a process: it writes batches of these sizes, and ends itself before or after its n-th change of the store.
pub fn command(log: &Log, batches: &[u64], kill: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child::writer", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("CHILD_URL", &log.url)
        .env("CHILD_OPTIONS", serde_json::to_string(&log.options).unwrap())
        .env("CHILD_SIGNER", &log.keys.signer)
        .env("CHILD_BATCHES", serde_json::to_string(batches).unwrap())
        .env("CHILD_KILL", kill)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The last size that a child acknowledged.
pub fn acknowledged(output: &[u8]) -> u64 {
    String::from_utf8_lossy(output).lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).max().unwrap_or(0)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: other tests start this one"))
}

#[tokio::test]
#[ignore = "a process that other tests start"]
async fn writer() {
    let options: Vec<(String, String)> = serde_json::from_str(&variable("CHILD_OPTIONS")).unwrap();
    let batches: Vec<u64> = serde_json::from_str(&variable("CHILD_BATCHES")).unwrap();
    let inner = store::open(&variable("CHILD_URL"), options).unwrap().storage();
    let kill = variable("CHILD_KILL");
    let (when, number) = kill.split_once(' ').unwrap_or(("never", "0"));
    let storage = Arc::new(Killing { inner, after: when == "after", at: number.parse().unwrap(), count: AtomicUsize::new(0) });
    let store = Store::new("child", storage.clone());
    let mut writer = Writer::open(store, Signers::from_texts([variable("CHILD_SIGNER")]).unwrap(), None).await.unwrap();
    println!("\nopened");
    if when == "wait" {
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
    for (count, seconds) in batches.into_iter().zip(0..) {
        let first = writer.size();
        writer.append((first..first + count).map(|number| salted("child", number)).collect()).unwrap();
        let checkpoint = writer.publish(at(seconds)).await.unwrap();
        println!("\nacknowledged {}", checkpoint.size());
        std::io::stdout().flush().unwrap();
    }
    println!("\nchanges {}", storage.count.load(Ordering::SeqCst));
}

/// Ends the process with SIGKILL before or after its n-th change.
#[derive(Debug)]
struct Killing {
    inner: Arc<dyn Storage>,
    after: bool,
    at: usize,
    count: AtomicUsize,
}

impl Killing {
    async fn change<T>(&self, change: BoxFuture<'_, Result<T, Error>>) -> Result<T, Error> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let now = number == self.at;
        if now && !self.after {
            kill();
        }
        let result = change.await;
        if now {
            kill();
        }
        result
    }
}

fn kill() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

impl Storage for Killing {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>> {
        self.inner.get(path)
    }
    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        self.change(self.inner.create(path, bytes)).boxed()
    }
    fn replace<'a>(&'a self, path: &'a str, bytes: Bytes, version: &'a Version) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        self.change(self.inner.replace(path, bytes, version)).boxed()
    }
    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.change(self.inner.delete(path)).boxed()
    }
    fn list<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        self.inner.list(prefix, limit)
    }
    fn sync(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.change(self.inner.sync()).boxed()
    }
    fn lock(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.lock()
    }
}
