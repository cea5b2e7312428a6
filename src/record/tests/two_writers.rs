//! Two writers of one log: one loses and says so, and the log is not forked.

use std::io::{BufRead, BufReader, Write};

use record::{
    Error,
    verify::{Known, verify},
};

use crate::{
    child::{self, salted},
    fixture::{Log, at, leaf},
    fsck,
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

    // A takeover: whoever opens later may take over, and then the first one loses.
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
