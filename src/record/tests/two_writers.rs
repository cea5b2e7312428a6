//! Two writers of one log: one loses and says so, and the log is not forked.

use std::io::{BufRead, BufReader, Write};

use record::{
    Error,
    key::Signers,
    verify::{Known, verify},
    writer::Writer,
};

use crate::{
    child::{self, salted},
    fixture::{Log, ORIGIN, at, leaf},
    fsck,
    memory::Memory,
};

#[tokio::test]
async fn a_second_process_on_a_folder_is_refused_while_the_first_lives() {
    let log = Log::new();
    let mut process = child::command(&log, &[3, 4], "wait 0").spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "opened"));
    let error = log.writer_now(None).await.unwrap_err();
    assert!(matches!(&error, Error::LostFence(reason) if reason.contains("lock")), "{error}");
    assert!(log.reader().await.is_err(), "a reader needs no lock: there is just no log yet");
    process.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(lines.any(|line| line == "acknowledged 7"), "the first continues");
    process.wait().unwrap();
    log.append(7..10).await;
    fsck::accepts(log.folder(), &log.keys.verifier);
}

#[tokio::test]
async fn of_two_writers_of_a_bucket_the_first_to_publish_continues() {
    let log = Log::in_bucket();
    log.append(0..10).await;
    let (mut first, mut second) = (log.writer(None).await.unwrap(), log.writer(None).await.unwrap());
    first.append((10..20).map(leaf).collect()).unwrap();
    second.append((10..20).map(|number| salted("second", number)).collect()).unwrap();
    let mut known = Known { checkpoints: vec![first.publish(at(2000)).await.unwrap()], ..Known::default() };
    for _ in 0..2 {
        let error = second.publish(at(2000)).await.unwrap_err();
        assert!(matches!(&error, Error::LostFence(reason) if reason.contains("another writer")), "{error}");
    }
    first.append((20..300).map(leaf).collect()).unwrap();
    known.checkpoints.push(first.publish(at(2001)).await.unwrap());

    // A takeover: a writer that opens later replaces the first one, which then loses.
    let mut third = log.writer(Some(known.checkpoints[1].head())).await.unwrap();
    first.append(vec![leaf(300)]).unwrap();
    third.append(vec![salted("third", 300)]).unwrap();
    known.checkpoints.push(third.publish(at(2002)).await.unwrap());
    assert!(matches!(first.publish(at(2003)).await, Err(Error::LostFence(_))));
    assert!(matches!(first.prune(256, at(2003)).await, Err(Error::LostFence(_))));
    assert_eq!(log.reader().await.unwrap().entry(300).await.unwrap(), salted("third", 300));
    let report = verify(log.store(), log.trusted(), &known, |_| {}).await.unwrap();
    assert_eq!(report.findings, []);
    fsck::accepts(log.folder(), &log.keys.verifier);
}

#[tokio::test]
async fn two_writers_that_begin_a_log_at_once_do_not_fork_it() {
    let log = Log::in_bucket();
    let (mut first, mut second) = (log.writer(None).await.unwrap(), log.writer(None).await.unwrap());
    first.append((0..300).map(leaf).collect()).unwrap();
    second.append((0..300).map(|number| salted("second", number)).collect()).unwrap();
    let (one, other) = futures::future::join(first.publish(at(0)), second.publish(at(0))).await;
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert!(matches!(one.and(other), Err(Error::LostFence(_))));
    fsck::accepts(log.folder(), &log.keys.verifier);
}

#[tokio::test]
async fn a_checkpoint_of_the_same_tree_and_second_is_another_one() {
    let memory = Memory::new(1);
    let keys = record::key::generate(ORIGIN).unwrap();
    let open = || Writer::open(memory.store(), Signers::from_texts([&keys.signer]).unwrap(), None);
    let mut first = open().await.unwrap();
    first.append(vec![leaf(0)]).unwrap();
    let one = first.publish(at(0)).await.unwrap();
    let mut second = open().await.unwrap();
    let two = second.refresh(at(0)).await.unwrap();
    assert_eq!(one.head(), two.head());
    assert!(one.text() != two.text() && one.time() < two.time(), "the entity tag of a bucket is a hash of the content");
    first.append(vec![leaf(1)]).unwrap();
    assert!(matches!(first.publish(at(1)).await, Err(Error::LostFence(_))));
    second.append(vec![leaf(1)]).unwrap();
    assert_eq!(second.publish(at(600)).await.unwrap().time(), Some(at(600)));
}

/// At the same second, with the same key, on the same tree: also the checkpoints with which they begin must differ.
#[tokio::test]
async fn writers_that_publish_at_once_do_not_mistake_each_other_for_themselves() {
    for seed in 1..60 {
        let memory = Memory::new(seed * 7919);
        let keys = record::key::generate(ORIGIN).unwrap();
        let open = || Writer::open(memory.store(), Signers::from_texts([&keys.signer]).unwrap(), None);
        let mut published = 0;
        for round in 0..3 {
            let (mut first, mut second) = (open().await.unwrap(), open().await.unwrap());
            first.append((0..300).map(leaf).collect()).unwrap();
            second.append((0..300).map(|number| salted("second", number)).collect()).unwrap();
            let (one, other) = futures::future::join(first.publish(at(round)), second.publish(at(round))).await;
            assert!(!(one.is_ok() && other.is_ok()), "both were acknowledged");
            published += u64::from(one.is_ok() || other.is_ok());
            let trusted = record::key::Trusted::from_texts([&keys.verifier]).unwrap();
            let report = verify(memory.store(), trusted, &Known::default(), |_| {}).await.unwrap();
            assert_eq!(report.findings, [], "seed {seed}");
        }
        assert!(published > 0);
    }
}
