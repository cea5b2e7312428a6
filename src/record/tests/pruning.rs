//! Pruning: what is left can be verified, and a deletion without the log's statement is damage.

use std::fs;

use record::{
    Error, Finding, proof,
    verify::{Known, verify},
};

use crate::fixture::{Log, at, leaf};

#[tokio::test]
async fn what_is_left_of_a_pruned_log_is_verified() {
    let log = Log::with(70_000).await;
    let before = log.reader().await.unwrap();
    let old = before.proof(3).await.unwrap();
    let mut writer = log.writer(None).await.unwrap();
    assert!(matches!(writer.prune(70_001, at(2000)).await, Err(Error::OutOfRange { .. })));
    let removed = writer.prune(66_000, at(2000)).await.unwrap();
    assert_eq!(removed, 2 * (66_000 / 256) + 1, "bundles and tiles of level 0, and the full tile of level 1");
    assert!(log.path("tile/entries/257").exists() && !log.path("tile/entries/256").exists() && !log.path("tile/1/000").exists());
    assert_eq!(writer.prune(500, at(2001)).await.unwrap(), 0, "the minimum does not become smaller");
    drop(writer);

    log.append(70_000..70_500).await;
    let reader = log.reader().await.unwrap();
    assert_eq!(reader.minimum(), 66_000);
    assert!(matches!(reader.entry(65_999).await, Err(Error::Pruned { minimum: 66_000, .. })));
    assert_eq!(reader.entry(66_000).await.unwrap(), leaf(66_000));
    let text = reader.proof(66_000).await.unwrap();
    proof::check(&leaf(66_000), &text, &log.trusted()).unwrap();
    proof::check(&leaf(3), &old, &log.trusted()).expect("an earlier proof stays valid");
    reader.check_continues(before.checkpoint().head()).await.unwrap();

    let head = before.checkpoint().head();
    let small = record::checkpoint::TreeHead { size: 100, ..head };
    let known = Known { remembered: vec![small, head], ..Known::default() };
    let report = verify(log.store(), log.trusted(), &known, |_| {}).await.unwrap();
    assert_eq!((report.findings, report.first, report.unknown), (Vec::new(), 257 * 256, vec![100]));

    fs::remove_file(log.path("tile/entries/257")).unwrap();
    let report = verify(log.store(), log.trusted(), &known, |_| {}).await.unwrap();
    assert_eq!(report.findings, [Finding::MissingTile { path: "tile/entries/257".to_owned(), index: 257 * 256 }]);
}

#[tokio::test]
async fn a_minimum_index_that_the_log_did_not_sign_explains_nothing() {
    let log = Log::with(600).await;
    fs::remove_file(log.path("tile/entries/000")).unwrap();
    let other = Log::with_keys(record::key::generate(crate::fixture::ORIGIN).unwrap());
    other.append(0..600).await;
    other.writer(None).await.unwrap().prune(300, at(2000)).await.unwrap();
    fs::copy(other.path("minimum-index"), log.path("minimum-index")).unwrap();
    let findings = verify(log.store(), log.trusted(), &Known::default(), |_| {}).await.unwrap().findings;
    assert!(matches!(&findings[..], [Finding::MissingTile { .. }, Finding::BadMinimum { .. }]), "{findings:?}");
    // A checkpoint is no statement either.
    fs::copy(log.path("checkpoint"), log.path("minimum-index")).unwrap();
    let findings = verify(log.store(), log.trusted(), &Known::default(), |_| {}).await.unwrap().findings;
    assert!(matches!(&findings[..], [Finding::MissingTile { .. }, Finding::BadMinimum { .. }]), "{findings:?}");
}
