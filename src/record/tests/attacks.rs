//! Each way to change the log, by editing its files: the verification names it, with the index.

use std::fs;

use record::{
    Finding,
    checkpoint::{Checkpoint, TreeHead},
    key::{self, Signers},
    verify::{Known, Report, verify},
};
use tlog_tiles::record_hash;

use crate::{
    fixture::{Log, at, leaf},
    fsck,
};

const SIZE: u64 = 700;

async fn check(log: &Log, known: &Known) -> Report {
    verify(log.store(), log.trusted(), known, |_| {}).await.unwrap()
}

async fn findings(log: &Log) -> Vec<Finding> {
    let report = check(log, &Known::default()).await;
    assert!(!fsck::run(log.folder(), &log.keys.verifier).0, "fsck finds {:?} too", report.findings);
    report.findings
}

/// The leaves of a bundle, which `edit` changes.
fn edit(log: &Log, path: &str, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let bytes = fs::read(log.path(path)).unwrap();
    let (mut leaves, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (leaf, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        leaves.push(leaf.to_vec());
        rest = after;
    }
    edit(&mut leaves);
    fs::write(log.path(path), encode(&leaves)).unwrap();
}

fn encode(leaves: &[Vec<u8>]) -> Vec<u8> {
    leaves.iter().flat_map(|leaf| [&u16::try_from(leaf.len()).unwrap().to_be_bytes(), leaf.as_slice()].concat()).collect()
}

#[tokio::test]
async fn an_untouched_log_is_valid_and_every_checkpoint_of_it_is_continued() {
    let log = Log::with(3).await;
    let mut known = Known::default();
    for end in [3, 255, 256, 257, SIZE] {
        let checkpoint = log.append(known.remembered.last().map_or(3, |head: &TreeHead| head.size)..end).await;
        known.remembered.push(checkpoint.head());
        known.checkpoints.push(checkpoint);
    }
    let mut seen = Vec::new();
    let report = verify(log.store(), log.trusted(), &known, |progress| seen.push((progress.done, progress.total))).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.checkpoint.unwrap().head(), *known.remembered.last().unwrap());
    assert_eq!(seen, [(256, SIZE), (512, SIZE), (SIZE, SIZE)]);
    fsck::accepts(log.folder(), &log.keys.verifier);
}

#[tokio::test]
async fn an_edited_entry_is_named() {
    let log = Log::with(SIZE).await;
    edit(&log, "tile/entries/001", |leaves| leaves[44][3] ^= 1);
    edit(&log, "tile/entries/002.p/188", |leaves| leaves[187] = b"another".to_vec());
    assert_eq!(findings(&log).await, [Finding::Edited { index: 300 }, Finding::Edited { index: 699 }]);
    let error = log.reader().await.unwrap().entry(300).await.unwrap_err();
    assert_eq!(error.finding(), Some(&Finding::Edited { index: 300 }), "a reader of one entry sees it too");
    let error = log.writer(None).await.unwrap_err();
    assert_eq!(error.finding(), Some(&Finding::Edited { index: 699 }), "and a writer does not continue it");
}

#[tokio::test]
async fn a_removed_entry_is_named_wherever_the_later_ones_go() {
    let log = Log::with(SIZE).await;
    edit(&log, "tile/entries/000", |leaves| drop(leaves.remove(9)));
    assert_eq!(findings(&log).await, [Finding::Removed { index: 9, count: 1 }]);

    // All later ones move up, so that only the last bundle is short.
    for (first, count) in [(9, 1), (9, 3), (255, 1), (254, 2), (300, 2), (511, 1)] {
        let log = Log::with(SIZE).await;
        let mut all: Vec<Vec<u8>> = (0..SIZE).map(|number| leaf(number).to_vec()).collect();
        all.drain(first..first + count);
        for (path, leaves) in ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/188"].into_iter().zip(all.chunks(256)) {
            fs::write(log.path(path), encode(leaves)).unwrap();
        }
        assert_eq!(findings(&log).await, [Finding::Removed { index: first as u64, count: count as u64 }], "{first} {count}");
    }
}

#[tokio::test]
async fn an_inserted_entry_is_named() {
    let log = Log::with(SIZE).await;
    edit(&log, "tile/entries/001", |leaves| leaves.insert(10, b"invented".to_vec()));
    assert_eq!(findings(&log).await, [Finding::Inserted { index: 266, count: 1 }]);
}

#[tokio::test]
async fn reordered_entries_are_named_also_across_bundles() {
    let log = Log::with(SIZE).await;
    edit(&log, "tile/entries/000", |leaves| leaves.swap(20, 30));
    assert_eq!(findings(&log).await, [Finding::Reordered { index: 20, last: 30 }]);
    let log = Log::with(SIZE).await;
    edit(&log, "tile/entries/000", |leaves| leaves[5] = leaf(305).to_vec());
    edit(&log, "tile/entries/001", |leaves| leaves[49] = leaf(5).to_vec());
    assert_eq!(findings(&log).await, [Finding::Reordered { index: 5, last: 305 }]);
}

#[tokio::test]
async fn an_entry_that_was_edited_with_its_hash_tile_is_refused() {
    let log = Log::with(SIZE).await;
    let forged = b"forged".to_vec();
    edit(&log, "tile/entries/001", |leaves| leaves[44] = forged.clone());
    let mut tile = fs::read(log.path("tile/0/001")).unwrap();
    tile[44 * 32..45 * 32].copy_from_slice(&record_hash(&forged).0);
    fs::write(log.path("tile/0/001"), &tile).unwrap();
    assert_eq!(findings(&log).await, [Finding::Changed { index: 256, last: 511 }]);

    let reader = log.reader().await.unwrap();
    for error in [reader.entry(300).await.unwrap_err(), reader.proof(300).await.unwrap_err()] {
        assert!(matches!(error.finding(), Some(Finding::DamagedTile { path, .. }) if path == "tile/0/001"), "{error}");
    }
    assert_eq!(reader.entry(100).await.unwrap(), leaf(100), "what was not touched is still readable");

    // At the end of the tree there is no tile above, only the root.
    let log = Log::with(SIZE).await;
    edit(&log, "tile/entries/002.p/188", |leaves| leaves[0] = forged.clone());
    let mut tile = fs::read(log.path("tile/0/002.p/188")).unwrap();
    tile[..32].copy_from_slice(&record_hash(&forged).0);
    fs::write(log.path("tile/0/002.p/188"), &tile).unwrap();
    assert!(matches!(findings(&log).await[..], [Finding::RootMismatch { size: SIZE, .. }]));
    assert!(matches!(log.writer(None).await.unwrap_err().finding(), Some(Finding::DamagedTile { .. })));
}

#[tokio::test]
async fn missing_and_damaged_files_are_named() {
    let log = Log::with(SIZE).await;
    fs::remove_file(log.path("tile/entries/001")).unwrap();
    assert_eq!(findings(&log).await, [Finding::MissingTile { path: "tile/entries/001".to_owned(), index: 256 }]);
    fs::remove_file(log.path("tile/0/000")).unwrap();
    let missing = |path: &str, index| Finding::MissingTile { path: path.to_owned(), index };
    assert_eq!(findings(&log).await, [missing("tile/0/000", 0), missing("tile/entries/001", 256)]);
    fs::remove_file(log.path("tile/0/001")).unwrap();
    assert_eq!(findings(&log).await.len(), 3);

    let log = Log::with(SIZE).await;
    let tile = fs::read(log.path("tile/0/000")).unwrap();
    fs::write(log.path("tile/0/000"), [&tile[..40], &[0; 32], &tile[72..]].concat()).unwrap();
    let found = findings(&log).await;
    assert!(matches!(&found[..], [Finding::DamagedTile { path, index: 0, .. }] if path == "tile/0/000"), "{found:?}");
    fs::write(log.path("tile/0/000"), &tile[..100]).unwrap();
    assert!(matches!(&findings(&log).await[..], [Finding::DamagedTile { path, .. }] if path == "tile/0/000"));
    fs::write(log.path("tile/0/000"), tile).unwrap();
    let bundle = fs::read(log.path("tile/entries/000")).unwrap();
    fs::write(log.path("tile/entries/000"), &bundle[..bundle.len() - 1]).unwrap();
    assert!(matches!(&findings(&log).await[..], [Finding::DamagedTile { path, .. }] if path == "tile/entries/000"));
    fs::write(log.path("tile/entries/000"), bundle).unwrap();
    let tile = fs::read(log.path("tile/1/000.p/2")).unwrap();
    fs::write(log.path("tile/1/000.p/2"), tile.iter().map(|byte| !byte).collect::<Vec<_>>()).unwrap();
    assert!(matches!(&findings(&log).await[..], [Finding::DamagedTile { path, .. }] if path == "tile/1/000.p/2"));
}

#[tokio::test]
async fn a_log_that_was_cut_off_or_restarted_is_named_with_what_is_remembered() {
    let log = Log::with(300).await;
    let old = fs::read(log.path("checkpoint")).unwrap();
    let remembered = log.append(300..SIZE).await.head();
    let known = Known { remembered: vec![remembered], ..Known::default() };
    fs::write(log.path("checkpoint"), old).unwrap();
    let report = check(&log, &known).await;
    assert_eq!(report.findings, [Finding::Truncated { index: 300, known: SIZE }]);
    assert!(check(&log, &Known::default()).await.is_valid(), "nothing in the log itself shows it");
    assert_eq!(log.writer(Some(remembered)).await.unwrap_err().finding(), Some(&Finding::Truncated { index: 300, known: SIZE }));

    // A new log with the same key that has become as long.
    let restarted = Log::with_keys(log.keys.clone());
    restarted.append(1..SIZE + 2).await;
    let report = check(&restarted, &known).await;
    assert!(matches!(report.findings[..], [Finding::Rewritten { index: SIZE, .. }]), "{:?}", report.findings);
    assert!(matches!(restarted.writer(Some(remembered)).await.unwrap_err().finding(), Some(Finding::Rewritten { index: SIZE, .. })));

    // Nothing at all, or only the checkpoint is gone.
    let empty = Log::with_keys(log.keys.clone());
    assert_eq!(check(&empty, &known).await.findings, [Finding::MissingCheckpoint { known: SIZE }]);
    assert_eq!(empty.writer(Some(remembered)).await.unwrap_err().finding(), Some(&Finding::MissingCheckpoint { known: SIZE }));
    fs::remove_file(log.path("checkpoint")).unwrap();
    assert_eq!(check(&log, &Known::default()).await.findings, [Finding::MissingCheckpoint { known: 0 }]);
    assert_eq!(log.writer(None).await.unwrap_err().finding(), Some(&Finding::MissingCheckpoint { known: 0 }));
}

#[tokio::test]
async fn two_versions_are_named_with_the_checkpoint_of_somebody_else() {
    let log = Log::with(300).await;
    let other = Log::with_keys(log.keys.clone());
    let theirs = other.append(1..301).await;
    log.append(300..SIZE).await;
    let known = Known { checkpoints: vec![Checkpoint::parse(theirs.text().as_bytes(), &log.trusted()).unwrap()], ..Known::default() };
    let report = check(&log, &known).await;
    assert!(matches!(report.findings[..], [Finding::SplitView { index: 300, .. }]), "{:?}", report.findings);
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_signature_are_named() {
    let log = Log::with(10).await;
    let foreign = key::generate(crate::fixture::ORIGIN).unwrap();
    let trusted = record::key::Trusted::from_texts([&foreign.verifier]).unwrap();
    let report = verify(log.store(), trusted, &Known::default(), |_| {}).await.unwrap();
    assert!(matches!(report.findings[..], [Finding::WrongKey { .. }]));
    assert!(matches!(log.writer_with(&foreign).await.unwrap_err().finding(), Some(Finding::WrongKey { .. })));

    let checkpoint = fs::read_to_string(log.path("checkpoint")).unwrap();
    fs::write(log.path("checkpoint"), checkpoint.replacen("\n10\n", "\n9\n", 1)).unwrap();
    assert!(matches!(findings(&log).await[..], [Finding::BadSignature { .. }]));
    fs::write(log.path("checkpoint"), &checkpoint[..checkpoint.len() - 20]).unwrap();
    assert!(matches!(check(&log, &Known::default()).await.findings[..], [Finding::BadCheckpoint { .. }]));
    fs::write(log.path("checkpoint"), b"\xff").unwrap();
    assert!(matches!(findings(&log).await[..], [Finding::BadCheckpoint { .. }]));

    // A checkpoint of another log of the same key's owner.
    let other = Log::with_keys(key::generate("other.example.com").unwrap());
    other.append(0..10).await;
    fs::copy(other.path("checkpoint"), log.path("checkpoint")).unwrap();
    assert!(matches!(findings(&log).await[..], [Finding::WrongKey { .. }]));
}

#[tokio::test]
async fn a_key_is_rotated_by_signing_with_both() {
    let log = Log::with(10).await;
    let new = key::generate(crate::fixture::ORIGIN).unwrap();
    let both = Signers::from_texts([&log.keys.signer, &new.signer]).unwrap();
    let mut writer = record::writer::Writer::open(log.store(), both, None).await.unwrap();
    writer.append(vec![leaf(10)]).unwrap();
    writer.publish(at(2000)).await.unwrap();
    drop(writer);
    fsck::accepts(log.folder(), &log.keys.verifier);
    fsck::accepts(log.folder(), &new.verifier);
    let mut writer = log.writer_with(&new).await.unwrap();
    writer.append(vec![leaf(11)]).unwrap();
    writer.publish(at(3000)).await.unwrap();
    fsck::accepts(log.folder(), &new.verifier);
    assert!(matches!(check(&log, &Known::default()).await.findings[..], [Finding::WrongKey { .. }]));
}
