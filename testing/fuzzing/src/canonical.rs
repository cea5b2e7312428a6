//! The canonical form that digests are made of: equal values have the same form, different values have different ones. The input is JSON.

use domain::canonical::canonical;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::{Map, Value};

use crate::mutate::pointers;

pub const WORDS: &[&str] = &[
    "",
    "a",
    "b",
    "aa",
    "\"",
    "\\",
    "\n",
    "\u{0}",
    "\u{e9}",
    "e\u{301}",
    "null",
    "{}",
    "1",
    "\u{1F44D}",
    "\u{7f}",
    "/",
    "a,b",
    "a\":1,\"b",
];

/// The maximum number of parts of a value that are changed.
const PLACES: usize = 64;

/// A value without the members that are null; in a list null is a value.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, inner)| !inner.is_null())
            .map(|(key, inner)| (key.clone(), without_nulls(inner)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        scalar => scalar.clone(),
    }
}

/// Returns true for a value with a number that is not whole. No field of the product has one, and parsing one may change its last digit.
fn has_fractions(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().any(has_fractions),
        Value::Array(items) => items.iter().any(has_fractions),
        scalar => scalar.is_f64(),
    }
}

/// A value with its members in reverse order.
struct Backwards<'a>(&'a Value);

impl Serialize for Backwards<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                map.iter().rev().try_for_each(|(key, inner)| out.serialize_entry(key, &Backwards(inner)))?;
                out.end()
            }
            Value::Array(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|inner| out.serialize_element(&Backwards(inner)))?;
                out.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

/// Verifies that members are sorted, without nulls and blanks, that the form parses as the same value, and that any change of a part
/// changes the form.
pub fn check(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let form = canonical(&value);
    assert_eq!(canonical(&Backwards(&value)), form, "the order of members has no effect");
    let plain = without_nulls(&value);
    assert_eq!(canonical(&plain), form, "a member that is null is omitted");
    if has_fractions(&value) {
        return;
    }
    let read: Value = serde_json::from_slice(&form).expect("the form is JSON");
    assert_eq!(read, plain, "and parses as the same value");
    assert_eq!(form, plain.to_string().into_bytes(), "as serde_json prints sorted members");
    for place in pointers(&value).into_iter().take(PLACES) {
        for changed in [changed(&value, &place, Change::Value), changed(&value, &place, Change::Less)] {
            let same = without_nulls(&changed) == plain;
            assert_eq!(canonical(&changed) == form, same, "changed at '{place}'");
        }
    }
}

enum Change {
    Value,
    Less,
}

/// A value with one part changed or shortened, selected by its JSON pointer.
fn changed(value: &Value, place: &str, change: Change) -> Value {
    let mut other = value.clone();
    let Some(found) = other.pointer_mut(place) else { return other };
    match (change, &mut *found) {
        (Change::Value, Value::String(text)) => *found = text.parse::<u64>().map_or_else(|_| Value::from(format!("{text},")), Value::from),
        (Change::Value, Value::Number(number)) => *found = number.to_string().into(),
        (Change::Value, Value::Bool(yes)) => *found = (!*yes).into(),
        (Change::Value, Value::Null) => *found = "null".into(),
        (Change::Value, inner) => *found = Value::Array(vec![inner.take()]),
        (Change::Less, Value::Object(map)) => {
            let first = map.keys().next().cloned().unwrap_or_default();
            map.remove(&first);
        }
        (Change::Less, Value::Array(items)) => drop(items.pop()),
        (Change::Less, Value::String(text)) => drop(text.pop()),
        (Change::Less, inner) => *inner = Value::Null,
    }
    other
}
