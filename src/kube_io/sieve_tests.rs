//! What a sieve keeps of an answer.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const OBJECT: Keep = Keep::Members(&[
    ("metadata", Keep::Members(&[("name", Keep::UpTo(40)), ("uid", Keep::UpTo(40))])),
    ("spec", Keep::UpTo(60)),
    ("rules", Keep::UpTo(20)),
]);
const LIST: Keep = Keep::ListOf(&OBJECT);

/// Returns the parts of a text that arrives in pieces of this length.
fn sift(keep: Keep, text: &str, pieces: usize) -> Result<(Vec<String>, Vec<String>), Broken> {
    let (mut items, mut wholes) = (Vec::new(), Vec::new());
    let mut found = |part: Part<'_>| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match part {
            Part::Item(item) => items.push(text(item)),
            Part::Whole(whole) => wholes.push(text(whole)),
        }
    };
    let mut sieve = Sieve::new(keep);
    for piece in text.as_bytes().chunks(pieces.max(1)) {
        sieve.read(piece, &mut found)?;
    }
    sieve.end(&mut found)?;
    Ok((items, wholes))
}

#[test]
fn f48_only_what_is_wanted_is_kept_however_it_arrives() {
    let text = r#" {"kind":"L", "metadata": {"resourceVersion":"7","x":[1,{"name":"no"}]}, "items":[
        {"metadata":{"labels":{"name":"no","a":"}]\""},"name":"a\"b","managedFields":[{"f":{}}]},"spec":{"x":[1,2]},"status":"{"},
        {"metadata":null,"spec":-1.5e3,"rules":[{"verbs":["get","list","watch"]}]}, {}, 7 ],"more":true}
        {"items":[],"metadata":{}} "#;
    for pieces in 1..40 {
        let (items, wholes) = sift(LIST, text, pieces).unwrap();
        let expected = [r#"{"metadata":{"name":"a\"b"},"spec":{"x":[1,2]}}"#, r#"{"metadata":null,"spec":-1.5e3,"rules":34}"#, "{}", "7"];
        assert_eq!(items, expected, "{pieces}");
        assert_eq!(wholes, [r#"{"metadata":{"resourceVersion":"7"},"items":[]}"#, r#"{"items":[],"metadata":{}}"#]);
    }
}

#[test]
fn f73_what_is_too_long_leaves_its_length_and_takes_no_room() {
    let names = (0..150_000).map(|n| format!("\"{n:x}\"")).collect::<Vec<_>>().join(",");
    let rules = format!("[{{\"resourceNames\":[{names}]}}]");
    let text = format!("{{\"metadata\":{{\"labels\":{{\"a\":\"{}\"}},\"name\":\"r\"}},\"rules\":{rules}}}", "x".repeat(1 << 20));
    let mut sieve = Sieve::new(OBJECT);
    let mut whole = Vec::new();
    for piece in text.as_bytes().chunks(16 << 10) {
        sieve
            .read(piece, &mut |part| {
                if let Part::Whole(kept) = part {
                    whole = kept.to_vec();
                }
            })
            .unwrap();
        assert!(sieve.kept.capacity() < 1 << 10, "{} bytes are kept", sieve.kept.capacity());
    }
    assert_eq!(String::from_utf8(whole).unwrap(), format!("{{\"metadata\":{{\"name\":\"r\"}},\"rules\":{}}}", rules.len()));
}

#[test]
fn a_line_of_a_watch_keeps_its_type_and_its_object() {
    let text = r#"{"type":"ADDED","object":{"metadata":{"name":"a","labels":{"b":"c"}},"x":1}}
        {"type":"BOOKMARK","object":{"metadata":{"uid":"7"}}}"#;
    let expected = [r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#, r#"{"type":"BOOKMARK","object":{"metadata":{"uid":"7"}}}"#];
    assert_eq!(sift(Keep::LineOf(&OBJECT), text, 5).unwrap().1, expected);
}

#[test]
fn f48_members_with_a_beginning_share_their_room() {
    const SOME: Keep = Keep::Members(&[("list", Keep::List(5)), ("annotations", Keep::Beginning("jit/", 20)), ("name", Keep::Text(5))]);
    let text = r#"{"list":["a","b"],"annotations":{"a":"b","jit/a":"123","jit/b":"much too long","other":{},"jit/c":"","jit/d":"1"},"name":"longer"}"#;
    for pieces in 1..9 {
        assert_eq!(sift(SOME, text, pieces).unwrap().1, [r#"{"list":[],"annotations":{"jit/a":"123","jit/b":""},"name":""}"#]);
    }
}

#[test]
fn what_is_no_json_is_told() {
    for text in ["{", "[1", "}", "{]", "\"a", "{\"a\"}", "{\"items\":[1 2]}", "{\"items\":[1}", ":", "{\"metadata\":{\"name\":\"a\""] {
        assert_eq!(sift(LIST, text, 3), Err(Broken), "{text}");
    }
    assert_eq!(sift(LIST, "7", 1).unwrap().1, ["7"]);
    assert_eq!(sift(LIST, "", 1).unwrap().1.len(), 0);
}

/// Returns what the filter must keep, computed from the whole value.
fn pick(value: &Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let kept = members.iter().filter_map(|(name, value)| match name.as_str() {
        "metadata" => Some((name.clone(), {
            let Value::Object(meta) = value else { return Some((name.clone(), value.clone())) };
            Value::Object(
                meta.iter().filter(|(name, _)| ["name", "uid"].contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect(),
            )
        })),
        "spec" | "rules" => Some((name.clone(), value.clone())),
        _ => None,
    });
    Value::Object(kept.collect())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        "[a\"\\\\{}\\[\\]:, é]{0,6}".prop_map(Value::from),
    ];
    let name = "name|uid|spec|rules|metadata|labels|[a\"\\\\]{0,2}";
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn it_agrees_with_a_reader_of_whole_values(values in prop::collection::vec(any_value(), 0..4), pieces in 1_usize..30) {
        const ALL: Keep = Keep::Members(&[
            ("metadata", Keep::Members(&[("name", Keep::UpTo(9_999)), ("uid", Keep::UpTo(9_999))])),
            ("spec", Keep::UpTo(9_999)),
            ("rules", Keep::UpTo(9_999)),
        ]);
        const LIST: Keep = Keep::Members(&[("items", Keep::Each(&ALL))]);
        let text = json!({"items": values, "kind": "L"}).to_string();
        let (items, _) = sift(LIST, &text, pieces).unwrap();
        let items: Vec<Value> = items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
        prop_assert_eq!(items, values.iter().map(pick).collect::<Vec<_>>());
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"[\[\]{}:,"a1\\ ]{0,40}"#, pieces in 1_usize..9) {
        let _ = sift(LIST, &text, pieces);
    }
}
