//! `kill -9` of the writer at every write, and at random moments: nothing that was acknowledged is lost, and the next writer continues.

use std::{
    io::{BufRead, BufReader},
    time::Duration,
};

use futures::TryStreamExt;
use record::{
    reader::Entry,
    verify::{Known, verify},
};

use crate::{
    child::{self, salted},
    fixture::{Log, at},
    fsck,
};

/// It crosses the ends of two bundles, so that partial tiles are replaced and removed.
const BATCHES: [u64; 5] = [3, 250, 10, 300, 5];

/// Continues after a writer that was killed, with other leaves, and verifies everything.
async fn continues(log: &Log, batches: &[u64], acknowledged: u64, what: &str) {
    let mut writer = log.writer(None).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let survived = writer.size();
    assert!(survived >= acknowledged, "{what}: {acknowledged} entries were acknowledged, {survived} are left");
    let total = batches.iter().sum::<u64>() + 7;
    for end in [survived + 1, survived + 2, 256, 300, 512, total].into_iter().filter(|end| *end > survived && *end <= total) {
        writer.append((writer.size()..end).map(|number| salted("next", number)).collect()).unwrap();
        writer.publish(at(100)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        if writer.size() == total || end == survived + 1 {
            fsck::accepts(log.folder(), &log.keys.verifier);
        }
    }
    drop(writer);
    let reader = log.reader().await.unwrap();
    let entries: Vec<Entry> = reader.entries(0..u64::MAX).try_collect().await.unwrap();
    let expected = (0..total).map(|index| Entry { index, leaf: salted(if index < survived { "child" } else { "next" }, index) });
    assert!(entries.into_iter().eq(expected), "{what}: the entries are not those that were written");
    let report = verify(log.store(), log.trusted(), &Known::default(), |_| {}).await.unwrap();
    assert!(report.is_valid(), "{what}: {:?}", report.findings);
}

async fn every_write(batches: &[u64], new: impl Fn() -> Log) {
    let all = child::command(&new(), batches, "never").output().unwrap();
    assert!(all.status.success());
    let text = String::from_utf8_lossy(&all.stdout).into_owned();
    let changes: usize = text.lines().find_map(|line| line.strip_prefix("changes ")?.parse().ok()).unwrap();
    assert!(changes > 4 * batches.len(), "{changes}");
    for when in ["before", "after"] {
        for number in 1..=changes {
            let (log, kill) = (new(), format!("{when} {number}"));
            let output = child::command(&log, batches, &kill).output().unwrap();
            assert!(!output.status.success(), "{kill}");
            continues(&log, batches, child::acknowledged(&output.stdout), &kill).await;
        }
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_at_any_write_to_a_folder_loses_nothing() {
    every_write(&BATCHES, Log::new).await;
}

#[tokio::test]
async fn a_writer_that_is_killed_at_any_write_to_a_bucket_loses_nothing() {
    every_write(&[3, 256], Log::in_bucket).await;
}

#[tokio::test]
async fn a_writer_that_is_killed_at_any_moment_loses_nothing() {
    for round in 0..24_u64 {
        let log = Log::new();
        let mut process = child::command(&log, &BATCHES, "never").spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "opened"));
        // It is the moment that varies, and no condition: within a write, between its rename and the next sync.
        std::thread::sleep(Duration::from_micros(round * 1500));
        process.kill().unwrap();
        process.wait().unwrap();
        let rest: String = lines.map(|line| line + "\n").collect();
        continues(&log, &BATCHES, child::acknowledged(rest.as_bytes()), &format!("round {round}")).await;
        let left: Vec<_> = std::fs::read_dir(log.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with(".tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
