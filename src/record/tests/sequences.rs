//! Random sequences of append, publish and reopen, against a Merkle tree as RFC 6962 defines it.

use futures::TryStreamExt;
use proptest::prelude::*;
use record::{Hash, checkpoint::TreeHead, proof, reader::Entry};
use tlog_tiles::{EMPTY_HASH, check_tree, node_hash, record_hash};

use crate::{
    fixture::{Log, at, leaf},
    fsck,
};

/// The root by the definition in RFC 6962, section 2.1.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_HASH,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(root(left), root(right))
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Publish,
    Refresh,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![1_u64..20, 200_u64..300, Just(256), Just(1000)].prop_map(Step::Append),
        4 => Just(Step::Publish),
        1 => Just(Step::Refresh),
        2 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_has_exactly_what_was_published(steps in prop::collection::vec(step(), 1..14)) {
        tokio::runtime::Runtime::new().unwrap().block_on(run(steps));
    }
}

async fn run(steps: Vec<Step>) {
    let log = Log::new();
    let mut writer = log.writer(None).await.unwrap();
    let (mut appended, mut published, mut heads, mut refreshed) = (0, 0, Vec::new(), false);
    for (number, step) in steps.into_iter().enumerate() {
        let now = at(i64::try_from(number).unwrap());
        match step {
            Step::Append(count) => {
                assert_eq!(writer.append((appended..appended + count).map(leaf).collect()).unwrap(), appended..appended + count);
                appended += count;
            }
            Step::Publish if appended == 0 => {}
            Step::Publish | Step::Refresh => {
                let checkpoint = if matches!(step, Step::Publish) { writer.publish(now).await } else { writer.refresh(now).await }.unwrap();
                assert_eq!(checkpoint.size(), appended);
                published = appended;
                refreshed = true;
                heads.push(checkpoint.head());
            }
            Step::Reopen => {
                drop(writer);
                writer = log.writer(heads.last().copied()).await.unwrap();
                assert_eq!(writer.size(), published, "what was not published is gone, and nothing else");
                appended = published;
            }
        }
        assert_eq!(writer.pending(), appended - published);
    }
    if !refreshed {
        assert!(matches!(log.reader().await, Err(record::Error::NoLog(_))));
        return;
    }
    if published > 0 {
        fsck::accepts(log.folder(), &log.keys.verifier);
    }
    let reader = log.reader().await.unwrap();
    let hashes: Vec<Hash> = (0..published).map(|number| record_hash(&leaf(number))).collect();
    assert_eq!(reader.checkpoint().head(), TreeHead { size: published, root: root(&hashes) });
    let entries: Vec<Entry> = reader.entries(0..u64::MAX).try_collect().await.unwrap();
    assert_eq!(entries, (0..published).map(|index| Entry { index, leaf: leaf(index) }).collect::<Vec<_>>());
    for index in [0, published / 2, published.saturating_sub(1)].into_iter().filter(|index| *index < published) {
        assert_eq!(reader.entry(index).await.unwrap(), leaf(index));
        let text = reader.proof(index).await.unwrap();
        assert_eq!(proof::check(&leaf(index), &text, &log.trusted()).unwrap().index, index);
        assert!(proof::check(b"another", &text, &log.trusted()).is_err());
    }
    for head in heads {
        assert_eq!(head.root, root(&hashes[..usize::try_from(head.size).unwrap()]));
        reader.check_continues(head).await.unwrap();
        if head.size > 0 && head.size < published {
            check_tree(&reader.consistency(head.size).await.unwrap(), published, reader.checkpoint().head().root, head.size, head.root)
                .unwrap();
        }
    }
}
