//! What a JSON text holds, found without building any of it: a value that is built takes a hundred times the room of its text (T26).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// What a JSON text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many values: every text, number, list, object and so on, the outermost one too.
    pub values: usize,
    /// The text at the path that was asked for, if there is one.
    pub text: Option<String>,
}

/// Goes through all of `json`. It fails where `serde_json` could not read it as a value: that would be for nothing.
///
/// Where an object has a member twice, the last one counts, as for `serde_json`.
pub fn survey(json: &[u8], path: &[&str]) -> serde_json::Result<Survey> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let survey = Walk(Some(path)).deserialize(&mut reader)?;
    reader.end()?;
    Ok(survey)
}

/// A look at one value, with the rest of the path if it leads through it.
#[derive(Clone, Copy)]
struct Walk<'p>(Option<&'p [&'p str]>);

impl Walk<'_> {
    /// A value with nothing in it, where a text may be the one that was asked for.
    fn single(self, text: Option<&str>) -> Survey {
        let here = self.0.is_some_and(<[&str]>::is_empty);
        Survey { values: 1, text: text.filter(|_| here).map(ToOwned::to_owned) }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Survey;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Survey, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Survey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Survey, E> {
        Ok(self.single(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Survey, E> {
        Ok(self.single(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Survey, E> {
        Ok(self.single(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Survey, E> {
        Ok(self.single(None))
    }

    fn visit_unit<E>(self) -> Result<Survey, E> {
        Ok(self.single(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Survey, E> {
        Ok(self.single(Some(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Survey, A::Error> {
        let mut values = 1;
        while let Some(item) = items.next_element_seed(Walk(None))? {
            values += item.values;
        }
        Ok(Survey { values, text: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Survey, A::Error> {
        let (next, rest) = self.0.and_then(<[&str]>::split_first).unzip();
        let mut found = Survey { values: 1, text: None };
        while let Some(leads_on) = members.next_key_seed(Named(next.copied()))? {
            let member = members.next_value_seed(Walk(rest.filter(|_| leads_on)))?;
            found.values += member.values;
            if leads_on {
                found.text = member.text;
            }
        }
        Ok(found)
    }
}

/// Whether a member has this name.
#[derive(Clone, Copy)]
struct Named<'p>(Option<&'p str>);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0 == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const PATH: [&str; 2] = ["request", "uid"];
    /// Short texts of what JSON is made of, some of them with a UID.
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
            let expected = Survey { values, text: text.map(ToOwned::to_owned) };
            assert_eq!(survey(json.as_bytes(), &PATH).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_told() {
        let deep = "[".repeat(100_000);
        for json in ["", "{", "[1,]", "{} {}", "{7: 7}", r#"{"\ud800": 1}"#, r#"["\ud800"]"#, "1e999", deep.as_str()] {
            assert!(survey(json.as_bytes(), &PATH).is_err(), "{json:.40}");
        }
        assert!(survey(b"{\"\xff\": 1}", &PATH).is_err());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_reader_of_values(json in ANY_TEXT) {
            let read = serde_json::from_str::<Value>(&json).ok();
            let found = survey(json.as_bytes(), &PATH).ok();
            prop_assert_eq!(found.is_some(), read.is_some());
            if let (Some(found), Some(read)) = (found, read) {
                prop_assert_eq!(found.text.as_deref(), read.pointer("/request/uid").and_then(Value::as_str));
                // Members of one name are counted each, and one of them is left in a value.
                prop_assert!(found.values >= count(&read));
            }
        }
    }
}
