//! Requests of any content get a well-formed answer.

use proptest::prelude::*;

use super::*;

fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()).block_on(future)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, inner)| pointers(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(i, inner)| pointers(inner, &format!("{at}/{i}"), all)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn inv_19_any_bytes_get_a_well_formed_answer(bytes: Vec<u8>, text in ".{0,200}", path in prop_oneof![Just("/mutate"), Just("/validate")]) {
        for body in [bytes, text.into_bytes()] {
            let (status, answer) = in_runtime(cluster().ask(path, body));
            prop_assert!(well_formed(status, &answer), "{status} {answer}");
        }
    }

    #[test]
    fn inv_19_any_part_of_a_question_may_be_anything(
        kind in 0_usize..4, place: prop::sample::Index, with in any_json(), cut: prop::sample::Index, update: bool,
        path in prop_oneof![Just("/mutate"), Just("/validate")],
    ) {
        let object = [request("inc-2"), decision("Deny"), eligibility("edit"), policy(1)][kind].clone();
        let mut body = review("dev", &object, update.then_some(&object));
        let mut places = Vec::new();
        pointers(&body, "", &mut places);
        *body.pointer_mut(place.get::<String>(&places)).unwrap() = with;
        let whole = body.to_string();
        let (status, answer) = in_runtime(with_request().ask(path, whole.clone()));
        prop_assert!(well_formed(status, &answer), "{status} {answer}");
        let mut bytes = whole.into_bytes();
        bytes.truncate(cut.index(bytes.len() + 1));
        let (status, answer) = in_runtime(with_request().ask(path, bytes));
        prop_assert!(well_formed(status, &answer), "{status} {answer}");
    }
}
