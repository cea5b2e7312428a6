//! Whatever is read from a store, a file or a user: an error, and no panic.

use proptest::prelude::*;
use record::{
    checkpoint::{Checkpoint, TreeHead},
    key::{self, Signers, Trusted},
    proof, store,
    witness::WitnessKey,
};

use crate::fixture::{Log, leaf};

/// A text with some bytes removed, replaced or inserted.
fn mutated(text: &str, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (place, kind, byte) in changes {
        let place = place % (bytes.len() + 1);
        match kind % 3 {
            0 => bytes.insert(place, *byte),
            1 if place < bytes.len() => bytes[place] = *byte,
            _ if place < bytes.len() => drop(bytes.remove(place)),
            _ => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_text_causes_a_panic(changes in prop::collection::vec((any::<usize>(), any::<u8>(), prop_oneof![any::<u8>(), Just(b'\n'), Just(b'+'), Just(b'9')]), 1..6), free in ".{0,60}") {
        static VALID: std::sync::OnceLock<(key::KeyPair, String, String)> = std::sync::OnceLock::new();
        let (keys, note, text) = VALID.get_or_init(|| tokio::runtime::Runtime::new().unwrap().block_on(async {
            let log = Log::with(700).await;
            let reader = log.reader().await.unwrap();
            (log.keys.clone(), reader.checkpoint().text().to_owned(), reader.proof(300).await.unwrap())
        }));
        let trusted = Trusted::from_texts([&keys.verifier]).unwrap();
        let changed = mutated(note, &changes);
        if let Ok(checkpoint) = Checkpoint::parse(&changed, &trusted) {
            prop_assert_eq!(checkpoint.head(), Checkpoint::parse(note.as_bytes(), &trusted).unwrap().head(), "what is signed was not changed");
        }
        let changed = String::from_utf8_lossy(&mutated(text, &changes)).into_owned();
        if let Ok(proven) = proof::check(&leaf(300), &changed, &trusted) {
            prop_assert_eq!(proven.index, 300);
        }
        for text in [free.clone(), String::from_utf8_lossy(&mutated(&keys.verifier, &changes)).into_owned(), String::from_utf8_lossy(&mutated(&keys.signer, &changes)).into_owned(), format!("file://{free}"), format!("s3://{free}")] {
            let _ = Trusted::from_texts([&text]);
            let _ = Signers::from_texts([&text]);
            let _ = WitnessKey::parse(&text);
            let _ = text.parse::<TreeHead>();
            let _ = key::generate(&text);
            let _ = store::open(&text, []);
            let _ = Checkpoint::parse(text.as_bytes(), &trusted);
            let _ = proof::check(b"", &text, &trusted);
        }
    }
}

#[test]
fn a_tree_head_is_read_as_it_is_written() {
    let head: TreeHead = "1204 CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".parse().unwrap();
    assert_eq!(head.to_string(), "1204 CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    for text in ["", "1204", "-1 CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "99999999999999999999 x", "1 CsUY"] {
        assert!(text.parse::<TreeHead>().is_err(), "{text}");
    }
}

#[test]
fn a_url_that_cannot_be_used_is_refused_with_its_reason() {
    for (url, reason) in [
        ("ftp://host/log", "none of file, s3, gs, az, https"),
        ("https://user:secret@host/log", "no user name"),
        ("file://host/log", "cannot be used"),
    ] {
        let error = store::open(url, []).unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains("secret"), "{url}: {error}");
    }
    let value = serde_json::json!({"b": 1.0, "a": ["é", {"y": null, "x": 1e21}]});
    assert_eq!(record::canonical(&value).unwrap(), "{\"a\":[\"é\",{\"x\":1e+21,\"y\":null}],\"b\":1}".as_bytes());
}
