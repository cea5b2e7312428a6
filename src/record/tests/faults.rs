//! Stores that fail, are full or are used by several writers at once: nothing acknowledged is lost, and the log is not forked.

use std::{fs, process::Command};

use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};
use proptest::prelude::*;
use record::{
    Error,
    checkpoint::Checkpoint,
    key::{self, Signers, Trusted},
    reader::{Entry, Reader},
    store,
    verify::{Known, verify},
    writer::Writer,
};

use crate::{
    fixture::{Log, ORIGIN, at, leaf},
    fsck,
    memory::Memory,
};

/// Opens, whatever fails at first.
async fn open(memory: &std::sync::Arc<Memory>, signers: &Signers) -> Writer {
    loop {
        match Writer::open(memory.store(), signers.clone(), None).await {
            Ok(writer) => return writer,
            Err(error) => assert!(error.is_retry(), "{error}"),
        }
    }
}

/// Few different leaves, so that writers also write the same ones.
fn chosen(salt: u8, index: u64) -> Bytes {
    format!("{} {index}", salt % 2).into()
}

#[derive(Clone, Debug)]
struct Round {
    /// For each writer: how many leaves it appends, with which salt. `None`: it is replaced by a new one.
    writers: Vec<Option<(u64, u8)>>,
    failing: u64,
}

fn round() -> impl Strategy<Value = Round> {
    let count = prop_oneof![4 => 1_u64..5, 1 => 250_u64..260];
    let writer = prop_oneof![5 => (count, 0_u8..2).prop_map(Some), 2 => Just(None)];
    (prop::collection::vec(writer, 3), prop_oneof![Just(0_u64), Just(10), Just(40)])
        .prop_map(|(writers, failing)| Round { writers, failing })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn writers_at_once_on_a_store_that_fails_do_not_fork_the_log(rounds in prop::collection::vec(round(), 1..16), seed in any::<u64>()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(rounds, seed));
    }
}

async fn run(rounds: Vec<Round>, seed: u64) {
    let memory = Memory::new(seed);
    let keys = key::generate(ORIGIN).unwrap();
    let signers = Signers::from_texts([&keys.signer]).unwrap();
    let mut writers = Vec::new();
    for _ in 0..3 {
        writers.push((open(&memory, &signers).await, Vec::<Bytes>::new()));
    }
    let mut acknowledged: Vec<(Checkpoint, Vec<Bytes>)> = Vec::new();
    for (round, now) in rounds.into_iter().zip(0..) {
        memory.fail(round.failing);
        for ((writer, leaves), step) in writers.iter_mut().zip(&round.writers) {
            if let Some((count, salt)) = step {
                leaves.resize(usize::try_from(writer.size()).unwrap(), Bytes::new());
                let new: Vec<Bytes> = (writer.size()..writer.size() + count).map(|index| chosen(*salt, index)).collect();
                leaves.extend(new.iter().cloned());
                writer.append(new).unwrap();
            } else {
                *writer = open(&memory, &signers).await;
                leaves.clear();
            }
        }
        let results = join_all(writers.iter_mut().map(|(writer, _)| writer.publish(at(now)))).await;
        for ((writer, leaves), result) in writers.iter().zip(results) {
            match result {
                Ok(checkpoint) if leaves.len() as u64 == writer.size() => acknowledged.push((checkpoint, leaves.clone())),
                Ok(_) | Err(Error::LostFence(_) | Error::Retry { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    memory.fail(0);
    // One more writer brings it to an end, with what killed ones left.
    let mut last = open(&memory, &signers).await;
    last.append(vec![chosen(0, last.size()), chosen(1, 1)]).unwrap();
    last.publish(at(10_000)).await.unwrap();
    let trusted = Trusted::from_texts([&keys.verifier]).unwrap();
    let known = Known { checkpoints: acknowledged.iter().map(|(checkpoint, _)| checkpoint.clone()).collect(), ..Known::default() };
    let report = verify(memory.store(), trusted.clone(), &known, |_| {}).await.unwrap();
    assert_eq!(report.findings, []);
    let entries: Vec<Entry> = Reader::open(memory.store(), trusted).await.unwrap().entries(0..u64::MAX).try_collect().await.unwrap();
    for (checkpoint, leaves) in acknowledged {
        let size = usize::try_from(checkpoint.size()).unwrap();
        // Of what a writer found when it was opened, the test does not know the leaves.
        for (entry, leaf) in entries[..size].iter().zip(&leaves).filter(|(_, leaf)| !leaf.is_empty()) {
            assert_eq!(&entry.leaf, leaf);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    memory.export(folder.path());
    fsck::accepts(folder.path(), &keys.verifier);
}

#[tokio::test]
async fn answers_that_are_lost_take_the_log_from_no_writer() {
    for seed in 1..40 {
        let memory = Memory::new(seed * 7919);
        let keys = key::generate(ORIGIN).unwrap();
        let mut writer = open(&memory, &Signers::from_texts([&keys.signer]).unwrap()).await;
        memory.fail(30);
        let mut published = 0;
        for now in 0..60 {
            writer.append(vec![leaf(writer.size())]).unwrap();
            match writer.publish(at(now)).await {
                Ok(checkpoint) => published = checkpoint.size(),
                Err(error) => assert!(error.is_retry(), "there is no other writer: {error}"),
            }
        }
        assert!(published > 0, "not every publication fails");
        memory.fail(0);
        assert_eq!(writer.publish(at(60)).await.unwrap().size(), 60);
    }
}

#[tokio::test]
async fn a_full_store_loses_nothing_and_is_continued_when_there_is_room() {
    let memory = Memory::new(7);
    let keys = key::generate(ORIGIN).unwrap();
    let mut writer = Writer::open(memory.store(), Signers::from_texts([&keys.signer]).unwrap(), None).await.unwrap();
    for (count, seconds) in (1..60).zip(0..) {
        memory.limit(Some(1000 * count));
        writer.append((writer.size()..writer.size() + 9).map(leaf).collect()).unwrap();
        match writer.publish(at(seconds)).await {
            Ok(checkpoint) => assert_eq!(checkpoint.size(), writer.size()),
            Err(error) => assert!(error.is_retry() && error.to_string().contains("full"), "{error}"),
        }
    }
    assert!(writer.pending() > 0, "the room did not suffice");
    memory.limit(None);
    assert_eq!(writer.publish(at(100)).await.unwrap().size(), 59 * 9);
    assert!(
        !memory.paths().iter().any(|path| path.starts_with("tile/entries/000.p/") || path.starts_with("tile/0/001.p/")),
        "what full tiles replace is removed"
    );
    let folder = tempfile::tempdir().unwrap();
    memory.export(folder.path());
    fsck::accepts(folder.path(), &keys.verifier);
    let reader = Reader::open(memory.store(), Trusted::from_texts([&keys.verifier]).unwrap()).await.unwrap();
    let entries: Vec<Entry> = reader.entries(0..u64::MAX).try_collect().await.unwrap();
    assert!(entries.into_iter().eq((0..59 * 9).map(|index| Entry { index, leaf: leaf(index) })));
}

/// A small file system in memory, mounted at a folder. Only root can do that.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(folder.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_volume_is_an_error_that_can_be_repeated() {
    let Some(volume) = Small::mount() else {
        println!("skipped: it mounts a small file system, which only root can do");
        return;
    };
    let log = Log::new();
    let store = || store::open(volume.0.path().join("log").to_str().unwrap(), []).unwrap();
    let mut writer = Writer::open(store(), log.signers(), None).await.unwrap();
    let ballast = volume.0.path().join("ballast");
    fs::write(&ballast, vec![1; 60 << 10]).unwrap();
    let mut published = 0;
    let error = loop {
        assert!(writer.size() < 2000, "the volume has no limit");
        writer.append((writer.size()..writer.size() + 40).map(leaf).collect()).unwrap();
        match writer.publish(at(0)).await {
            Ok(checkpoint) => published = checkpoint.size(),
            Err(error) => break error,
        }
    };
    assert!(error.is_retry() && error.to_string().contains("No space left"), "{error}");
    assert!(published > 0);
    let size = writer.size();
    assert!(writer.publish(at(1)).await.unwrap_err().is_retry());
    let reader = Reader::open(store(), log.trusted()).await.unwrap();
    assert_eq!(reader.size(), published);
    fs::remove_file(ballast).unwrap();
    assert_eq!(writer.publish(at(2)).await.unwrap().size(), size);
    fsck::accepts(&volume.0.path().join("log"), &log.keys.verifier);
    let reader = Reader::open(store(), log.trusted()).await.unwrap();
    let entries: Vec<Entry> = reader.entries(0..u64::MAX).try_collect().await.unwrap();
    assert!(entries.into_iter().eq((0..size).map(|index| Entry { index, leaf: leaf(index) })));
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_an_error_that_can_be_repeated() {
    let log = Log::in_bucket();
    log.append(0..3).await;
    let mut options = log.options.clone();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    options[0].1 = format!("http://{nobody}");
    let store = store::open(&log.url, options).unwrap();
    assert!(Reader::open(store, log.trusted()).await.unwrap_err().is_retry());
    let mut options = log.options.clone();
    options[3].1 = "wrong".to_owned();
    let error = Reader::open(store::open(&log.url, options).unwrap(), log.trusted()).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    let missing = store::open("s3://record/other", log.options.clone()).unwrap();
    assert!(matches!(Reader::open(missing, log.trusted()).await, Err(Error::NoLog(_))));
}
