//! YAML and JSON with the line of each field, for messages about files.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};
use serde_saphyr::Spanned;

/// The content of a document, and the line of each field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// The content.
    pub value: Value,
    /// Lines by field path, for example `spec.subjects[0].kind`; the path of the document itself is "".
    pub lines: BTreeMap<String, u64>,
}

impl Located {
    /// The line of a field; for a missing field, the line of its parent.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<u64> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = path.rfind(['.', '[']).map_or("", |end| path.get(..end).unwrap_or_default());
            if path.is_empty() {
                return self.lines.get("").copied();
            }
        }
    }

    /// The part at this path, as a separate document.
    #[must_use]
    pub fn part(&self, path: &str, value: &Value) -> Self {
        let inside = |key: &str| key.strip_prefix(path).map(|rest| rest.trim_start_matches('.').to_owned());
        let lines = self.lines.iter().filter_map(|(key, line)| Some((inside(key)?, *line))).collect();
        Self { value: value.clone(), lines }
    }
}

/// Parses the documents of a text. The error is one line with line and column.
pub fn documents(text: &str) -> Result<Vec<Located>, String> {
    let parsed: Result<Vec<Spanned<Node>>, _> = serde_saphyr::from_multiple(text);
    let nodes = parsed.map_err(|error| {
        // After the first line the parser shows the context.
        let said = error.without_snippet().to_string();
        let said = said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        match error.location() {
            Some(at) if !said.contains("line ") => format!("line {}, column {}: {said}", at.line(), at.column()),
            _ => said,
        }
    })?;
    let located = |node: Spanned<Node>| {
        let mut lines = BTreeMap::new();
        let value = node.value.into_value("", node.referenced.line(), &mut lines);
        Located { value, lines }
    };
    Ok(nodes.into_iter().map(located).collect())
}

/// A node of a document, with the positions of its children.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

impl Node {
    fn into_value(self, path: &str, line: u64, lines: &mut BTreeMap<String, u64>) -> Value {
        lines.insert(path.to_owned(), line);
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let item =
                    |(i, item): (usize, Spanned<Self>)| item.value.into_value(&format!("{path}[{i}]"), item.referenced.line(), lines);
                Value::Array(items.into_iter().enumerate().map(item).collect())
            }
            Self::Map(members) => {
                let dot = if path.is_empty() { "" } else { "." };
                let member = |(name, member): (String, Spanned<Self>)| {
                    let value = member.value.into_value(&format!("{path}{dot}{name}"), member.referenced.line(), lines);
                    (name, value)
                };
                Value::Object(members.into_iter().map(member).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Node::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Node::Map(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn f34_every_field_has_its_line() {
        let text = "a: 1\nb:\n  - c: x\n    d: [1, 2]\n  - e: null\n---\n\nf: {g: true, h: 1.5}\n---\n";
        let all = documents(text).unwrap();
        assert_eq!(all[0].value, json!({"a": 1, "b": [{"c": "x", "d": [1, 2]}, {"e": null}]}));
        assert_eq!(all[1].value, json!({"f": {"g": true, "h": 1.5}}));
        let lines = ["a", "b[0].c", "b[0].d[1]", "b[1].e", "b[1].nothing.at.all"].map(|path| all[0].line(path));
        assert_eq!(lines, [Some(1), Some(3), Some(4), Some(5), Some(5)]);
        assert_eq!(all[1].line("f.h"), Some(8));
        let part = all[0].part("b[0]", &all[0].value["b"][0]);
        assert_eq!((part.line("c"), part.line("d[0]"), part.line("x")), (Some(3), Some(4), Some(3)));
    }

    #[test]
    fn f34_what_is_no_yaml_is_told_in_one_line() {
        for text in ["a\t: b: c", "a: [1, 2\nb: 3", "{\"a\": 1,,}", "a: &x 1\nb: *y"] {
            let said = documents(text).unwrap_err();
            assert!(said.contains("line ") && !said.contains(['\n', '\u{fffd}']), "{said:?}");
        }
    }
}
