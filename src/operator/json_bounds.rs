//! JSON bounds check: counts the values of a JSON text without building any of them. A built value needs a hundred times the memory of its
//! text (T26).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The result of the check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonBounds {
    /// The number of values: every string, number, list, object and so on, including the outermost one.
    pub values: usize,
    /// The string at the first requested path, if there is one.
    pub text: Option<String>,
}

/// Returns the result with the string at one path.
#[cfg(test)]
fn check(json: &[u8], path: &[&str]) -> serde_json::Result<JsonBounds> {
    let (values, [text]) = checked(json, [Some(path)])?;
    Ok(JsonBounds { values, text })
}

/// Checks all of `json` and finds the strings at two paths. It fails where `serde_json` could not parse the text as a value.
///
/// Where an object has a duplicate member, the last one counts, as for `serde_json`.
pub fn check_two(json: &[u8], path: &[&str], second: &[&str]) -> serde_json::Result<(JsonBounds, Option<String>)> {
    let (values, [text, second]) = checked(json, [Some(path), Some(second)])?;
    Ok((JsonBounds { values, text }, second))
}

/// The number of values, and the requested strings.
type Found<const N: usize> = (usize, [Option<String>; N]);

fn checked<const N: usize>(json: &[u8], paths: [Option<&[&str]>; N]) -> serde_json::Result<Found<N>> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = Walk(paths).deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// The visitor of one value, with the rest of each path that leads through it.
#[derive(Clone, Copy)]
struct Walk<'p, const N: usize>([Option<&'p [&'p str]>; N]);

impl<const N: usize> Walk<'_, N> {
    /// Returns the result for a value without children, which may be a requested string.
    fn single(self, text: Option<&str>) -> Found<N> {
        (1, self.0.map(|path| text.filter(|_| path.is_some_and(<[&str]>::is_empty)).map(ToOwned::to_owned)))
    }
}

impl<'de, const N: usize> DeserializeSeed<'de> for Walk<'_, N> {
    type Value = Found<N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<N>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Walk<'_, N> {
    type Value = Found<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found<N>, E> {
        Ok(self.single(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found<N>, E> {
        Ok(self.single(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found<N>, E> {
        Ok(self.single(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<N>, E> {
        Ok(self.single(None))
    }

    fn visit_unit<E>(self) -> Result<Found<N>, E> {
        Ok(self.single(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found<N>, E> {
        Ok(self.single(Some(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found<N>, A::Error> {
        let mut values = 1;
        while let Some((item, _)) = items.next_element_seed(Walk([None; N]))? {
            values += item;
        }
        Ok((values, [const { None }; N]))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found<N>, A::Error> {
        let ways = self.0.map(|path| path.and_then(<[&str]>::split_first));
        let (mut values, mut texts) = (1, [const { None }; N]);
        while let Some(leads_on) = members.next_key_seed(Named(ways.map(|way| way.map(|(next, _)| *next))))? {
            let mut rest = ways.map(|way| way.map(|(_, rest)| rest));
            rest.iter_mut().zip(leads_on).filter(|(_, leads_on)| !leads_on).for_each(|(rest, _)| *rest = None);
            let (more, found) = members.next_value_seed(Walk(rest))?;
            values += more;
            texts.iter_mut().zip(found).zip(leads_on).filter(|(_, leads_on)| *leads_on).for_each(|((text, found), _)| *text = found);
        }
        Ok((values, texts))
    }
}

/// Whether a member has each of these names.
#[derive(Clone, Copy)]
struct Named<'p, const N: usize>([Option<&'p str>; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Named<'_, N> {
    type Value = [bool; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<[bool; N], D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Named<'_, N> {
    type Value = [bool; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<[bool; N], E> {
        Ok(self.0.map(|wanted| wanted == Some(name)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const PATH: [&str; 2] = ["request", "uid"];
    /// Short texts of JSON's characters, some of them with a UID.
    const ANY_TEXT: &str = r#"[\[\]{}:,"a1u \\]{0,24}|\{"request":\{"uid":"[a-c]{0,3}","x":[\[\]{}:,"a1 ]{0,12}\}\}"#;

    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(members) => members.values().map(count).sum(),
            _ => 0,
        }
    }

    #[test]
    fn values_are_counted_and_the_text_is_found() {
        for (json, values, text) in [
            ("7", 1, None),
            ("[]", 1, None),
            (r#"[1, -2.5, true, null, "x", {}]"#, 7, None),
            (r#"{"request": {"uid": "u-1", "object": {"": [0, 0]}}}"#, 7, Some("u-1")),
            (r#"{"re\u0071uest": {"uid": "\u0075"}}"#, 3, Some("u")),
            (r#"{"request": {"uid": "u-1"}, "request": {"uid": "u-2"}}"#, 5, Some("u-2")),
            (r#"{"request": {"uid": "u-1"}, "request": 7}"#, 4, None),
            (r#"{"request": {"uid": ["u-1"]}, "uid": "u-2"}"#, 5, None),
            (r#"{"request": ["uid", "u-1"]}"#, 4, None),
            (r#"{"x": {"request": {"uid": "u-1"}}}"#, 4, None),
        ] {
            let expected = JsonBounds { values, text: text.map(ToOwned::to_owned) };
            assert_eq!(check(json.as_bytes(), &PATH).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn two_texts_are_found_at_once() {
        let found = |json: &str| check_two(json.as_bytes(), &PATH, &["request", "resource", "resource"]).unwrap();
        let (survey, second) = found(r#"{"request": {"uid": "u-1", "resource": {"group": "g", "resource": "roles"}}}"#);
        assert_eq!((survey.values, survey.text.as_deref(), second.as_deref()), (6, Some("u-1"), Some("roles")));
        let (survey, second) = found(r#"{"request": {"resource": {"resource": "a"}, "resource": {"resource": "b"}}}"#);
        assert_eq!((survey.text, second.as_deref()), (None, Some("b")));
        assert_eq!(found(r#"{"request": {"resource": "roles"}}"#).1, None);
    }

    #[test]
    fn what_is_no_json_is_told() {
        let deep = "[".repeat(100_000);
        for json in ["", "{", "[1,]", "{} {}", "{7: 7}", r#"{"\ud800": 1}"#, r#"["\ud800"]"#, "1e999", deep.as_str()] {
            assert!(check(json.as_bytes(), &PATH).is_err(), "{json:.40}");
        }
        assert!(check(b"{\"\xff\": 1}", &PATH).is_err());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_reader_of_values(json in ANY_TEXT) {
            let read = serde_json::from_str::<Value>(&json).ok();
            let found = check(json.as_bytes(), &PATH).ok();
            prop_assert_eq!(found.is_some(), read.is_some());
            if let (Some(found), Some(read)) = (found, read) {
                prop_assert_eq!(found.text.as_deref(), read.pointer("/request/uid").and_then(Value::as_str));
                // Duplicate members are all counted, but only one remains in a value.
                prop_assert!(found.values >= count(&read));
            }
        }
    }
}
