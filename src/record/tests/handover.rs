//! Tessera continues a log of this crate, and this crate one of Tessera: the files are the same.

use std::fs;

use futures::TryStreamExt;
use record::{
    reader::Entry,
    verify::{Known, verify},
};

use crate::{
    fixture::{Log, leaf},
    fsck::{accepts, tool},
};

#[tokio::test]
async fn tessera_continues_the_log_and_hands_it_back() {
    let log = Log::new();
    let before = log.append(0..700).await;
    // As docs/record-format.md says: Tessera's state is the size and the root of the checkpoint.
    let head = before.head();
    fs::create_dir(log.path(".state")).unwrap();
    fs::write(log.path(".state/treeState"), format!("{{\"size\":{},\"root\":\"{}\"}}", head.size, head.root)).unwrap();
    let inputs = tempfile::tempdir().unwrap();
    for number in 700..760 {
        fs::write(inputs.path().join(number.to_string()), leaf(number)).unwrap();
    }
    let key = inputs.path().join("signer.key");
    fs::write(&key, &log.keys.signer).unwrap();
    let output = tool("posix-oneshot")
        .arg(format!("--storage_dir={}", log.folder().display()))
        .arg(format!("--entries={}/7??", inputs.path().display()))
        .arg(format!("--private_key={}", key.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    accepts(log.folder(), &log.keys.verifier);

    let known = Known { remembered: vec![head], checkpoints: vec![before] };
    let report = verify(log.store(), log.trusted(), &known, |_| {}).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.checkpoint.unwrap().size(), 760);
    let back = log.append(760..1030).await;
    assert_eq!(back.size(), 1030);
    accepts(log.folder(), &log.keys.verifier);
    let reader = log.reader().await.unwrap();
    let mut entries: Vec<Entry> = reader.entries(0..u64::MAX).try_collect().await.unwrap();
    // Tessera does not promise an order for what is added at the same time.
    entries[700..760].sort_by_key(|entry| leaf_number(&entry.leaf));
    let found = entries.into_iter().map(|entry| entry.leaf);
    let mut expected: Vec<_> = (0..1030).map(leaf).collect();
    expected[700..760].sort_by_key(|leaf| leaf_number(leaf));
    assert!(found.eq(expected));
}

/// The number in a leaf; an empty one has none.
fn leaf_number(leaf: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(leaf).unwrap();
    text.strip_prefix("{\"number\":")?.split(',').next()?.parse().ok()
}
