//! The leaves of the log: each one is a `CloudEvent`.

use std::collections::HashMap;

use api::names::GROUP;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::input::{self, Input};
use crate::{
    activity::{Event, Kind},
    canonical::canonical,
    instant::stamp,
};

/// Longest part of an input in one leaf, in bytes. A leaf has at most 65,535, and a text in JSON needs up to twice as many as its characters.
const PART: usize = 24 << 10;
/// The type of the leaf of an input.
const INPUT: &str = "input";

/// What the log knows of an input of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reference {
    /// It is the input with this hash.
    Hash(String),
    /// The API server reported that there is none.
    Absent,
    /// It was being deleted.
    Deleting,
    /// It could not be read or parsed, or it is not known any more what it was.
    #[default]
    Unknown,
}

/// The inputs of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Inputs {
    /// The settings of the operator.
    pub settings: Reference,
    /// The request.
    pub request: Reference,
    /// Hashes of the decisions on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// Its eligibility.
    pub eligibility: Reference,
    /// The policy of that.
    pub policy: Reference,
    /// Its namespace.
    pub namespace: Reference,
    /// Its role.
    pub role: Reference,
    /// The request that it extends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Reference>,
}

/// The object of a recorded event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Kind.
    pub kind: String,
    /// Namespace; none for an object of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// The data of the leaf of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventData {
    /// The word of the event, such as `Granted`.
    pub event: String,
    /// Who acted.
    pub actor: String,
    /// The event in one sentence.
    pub message: String,
    /// How urgent it is.
    pub severity: String,
    /// The object.
    pub object: Subject,
    /// The state of the object when the event was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The user for whom the request is, the eligibility and the role, for those who search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// The eligibility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligibility: Option<String>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When the event was recorded.
    pub recorded: Timestamp,
    /// What it rests on.
    pub inputs: Inputs,
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The id of the event.
    pub id: String,
    /// The UID of the cluster.
    pub source: String,
    /// The type of the `CloudEvent`.
    #[serde(rename = "type")]
    pub type_: String,
    /// When it happened.
    pub time: Timestamp,
    /// The rest.
    pub data: EventData,
}

impl Recorded {
    /// Returns what happened. None for a kind of a newer version.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::parse(&self.data.event)
    }
}

/// A part of an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The kind of the input.
    pub kind: input::Kind,
    /// The hash of the whole input.
    pub hash: String,
    /// The number of this part, from 1.
    pub part: usize,
    /// The number of parts.
    pub parts: usize,
    /// The object, if it has one part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Else a part of its canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Something happened.
    Event(Box<Recorded>),
    /// An input, or a part of one.
    Input(Box<Part>),
    /// An entry of another version or writer.
    Other,
}

/// Returns the leaf of an event.
#[must_use]
pub fn event(source: &str, event: &Event, data: &EventData) -> Value {
    let subject = &event.subject;
    let path = subject.namespace.iter().map(String::as_str).chain([subject.name.as_str()]).collect::<Vec<_>>().join("/");
    json!({
        "specversion": "1.0", "id": event.id, "source": source, "type": event.cloud_event_type(), "time": stamp(event.at),
        "subject": format!("{}/{path}", subject.kind), "datacontenttype": "application/json", "data": data,
    })
}

/// Returns the leaves of an input: one, or several for an object that is too large for one leaf.
#[must_use]
pub fn input(source: &str, input: &Input) -> Vec<Value> {
    let text = String::from_utf8(canonical(&input.body)).unwrap_or_default();
    let parts = if text.len() <= PART { vec![text.as_str()] } else { split(&text) };
    let total = parts.len();
    let leaf = |(number, text): (usize, &str)| {
        let mut data = json!({"kind": input.kind, "hash": input.hash, "part": number + 1, "parts": total});
        if let Some(members) = data.as_object_mut() {
            match total {
                1 => members.insert("body".to_owned(), input.body.clone()),
                _ => members.insert("text".to_owned(), json!(text)),
            };
        }
        let id = if total == 1 { input.hash.clone() } else { format!("{}-{}", input.hash, number + 1) };
        json!({
            "specversion": "1.0", "id": id, "source": source, "type": type_of_input(), "datacontenttype": "application/json", "data": data,
        })
    };
    parts.into_iter().enumerate().map(leaf).collect()
}

fn type_of_input() -> String {
    let reversed: Vec<&str> = GROUP.rsplit('.').collect();
    format!("{}.{INPUT}.v1", reversed.join("."))
}

fn split(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let end = (0..=PART.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
        let (part, rest) = text.split_at(end);
        parts.push(part);
        text = rest;
    }
    parts
}

/// Reads a leaf.
#[must_use]
pub fn parse(leaf: &[u8]) -> Entry {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        type_: std::borrow::Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct OfInput {
        data: Part,
    }
    let Ok(typed) = serde_json::from_slice::<Typed<'_>>(leaf) else { return Entry::Other };
    if typed.type_ == type_of_input() {
        return serde_json::from_slice::<OfInput>(leaf).map_or(Entry::Other, |found| Entry::Input(Box::new(found.data)));
    }
    serde_json::from_slice::<Recorded>(leaf).map_or(Entry::Other, |found| Entry::Event(Box::new(found)))
}

/// The inputs that a reader of the log has passed, by hash.
#[derive(Debug, Default)]
pub struct Known {
    whole: HashMap<String, (input::Kind, Value)>,
    /// The beginning of an input that is not complete, and its number of parts.
    partial: HashMap<String, (usize, String)>,
}

impl Known {
    /// Takes a part. Returns an error if the content does not have its hash.
    ///
    /// # Errors
    ///
    /// What is wrong with the input.
    pub fn take(&mut self, part: Part) -> Result<(), String> {
        let Part { kind, hash, part, parts, body, text } = part;
        let body = match (body, text) {
            (Some(body), None) => body,
            (None, Some(text)) => {
                // A writer that was killed between two parts begins again.
                let (expected, so_far) = if part == 1 { (1, String::new()) } else { self.partial.remove(&hash).unwrap_or_default() };
                if expected != part {
                    return Err(format!("part {part} of input {hash} does not follow part {}", part.saturating_sub(1)));
                }
                let text = so_far + &text;
                if part < parts {
                    self.partial.insert(hash, (part + 1, text));
                    return Ok(());
                }
                serde_json::from_str(&text).map_err(|error| format!("input {hash} is no JSON: {error}"))?
            }
            _ => return Err(format!("input {hash} has no content")),
        };
        if input::hash(kind, &body) != hash {
            return Err(format!("the content of input {hash} has another hash"));
        }
        self.whole.insert(hash, (kind, body));
        Ok(())
    }

    /// Adds an input that was just made.
    pub fn insert(&mut self, input: &Input) {
        self.whole.insert(input.hash.clone(), (input.kind, input.body.clone()));
    }

    /// Returns an input of a kind.
    #[must_use]
    pub fn get(&self, kind: input::Kind, hash: &str) -> Option<&Value> {
        self.whole.get(hash).filter(|(found, _)| *found == kind).map(|(_, body)| body)
    }

    /// Returns an input of any kind.
    #[must_use]
    pub fn any(&self, hash: &str) -> Option<(input::Kind, &Value)> {
        self.whole.get(hash).map(|(kind, body)| (*kind, body))
    }

    /// Forgets an input that no later event rests on.
    pub fn forget(&mut self, hash: &str) {
        self.whole.remove(hash);
    }
}
