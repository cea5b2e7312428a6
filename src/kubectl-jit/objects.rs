//! Objects as JSON, YAML or names.

use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};

use super::{flags::Form, problem::Problem, screen::Screen};
use api::text::is_forbidden;

/// Prints listed objects in a machine-readable format, always as a List, as kubectl does. Returns false for a table, which each command
/// prints itself.
pub fn listed<K>(screen: &Screen, objects: &[K], form: Form) -> Result<bool, Problem>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let text = match form {
        // An empty list prints no line.
        Form::Name if objects.is_empty() => return Ok(true),
        Form::Name => printed(objects, form)?,
        _ => data(&list(&values_of(objects)?), form)?,
    };
    if let Some(text) = &text {
        screen.data(text);
    }
    Ok(text.is_some())
}

/// Created objects in a machine-readable format; none for a table. One object is printed alone, several in a List.
pub fn printed<K>(objects: &[K], form: Form) -> Result<Option<String>, Problem>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    if form == Form::Name {
        return Ok(Some(objects.iter().map(|object| name_of(object)).collect::<Vec<_>>().join("\n")));
    }
    match objects {
        [one] => data(&value_of(one)?, form),
        several => data(&list(&values_of(several)?), form),
    }
}

/// One object in a machine-readable format.
pub fn printed_one<K>(object: &K, form: Form) -> Result<Option<String>, Problem>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    if form == Form::Name { Ok(Some(name_of(object))) } else { data(&value_of(object)?, form) }
}

/// A value as JSON or YAML; none for a table.
pub fn data(value: &Value, form: Form) -> Result<Option<String>, Problem> {
    let broken = |error: &dyn std::fmt::Display| Problem::Api(format!("cannot print it: {error}"));
    match form {
        Form::Table | Form::Wide | Form::Name => Ok(None),
        // JSON, which is valid YAML, escapes control characters.
        Form::Yaml if !holds_forbidden(value) => {
            serde_saphyr::to_string(value).map(|text| Some(text.trim_end().to_owned())).map_err(|error| broken(&error))
        }
        Form::Json | Form::Yaml => serde_json::to_string_pretty(value).map(|text| Some(escaped(&text))).map_err(|error| broken(&error)),
    }
}

fn list(values: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": values})
}

fn values_of<K: Resource<DynamicType = ()> + Serialize>(objects: &[K]) -> Result<Vec<Value>, Problem> {
    objects.iter().map(|object| value_of(object)).collect()
}

fn value_of<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Result<Value, Problem> {
    let mut value = serde_json::to_value(object).map_err(|error| Problem::Api(format!("cannot print it: {error}")))?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    // Items of a list have neither.
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".to_owned(), K::api_version(&()).into());
        object.insert("kind".to_owned(), K::kind(&()).into());
    }
    Ok(value)
}

/// An object as `roleactivationrequest.jitrbac.dev/inc-4711`.
pub fn name_of<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let group = K::group(&());
    let dot = if group.is_empty() { "" } else { "." };
    format!("{}{dot}{group}/{}", K::kind(&()).to_lowercase(), object.meta().name.clone().unwrap_or_default())
}

fn holds_forbidden(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().any(|letter| letter != '\n' && is_forbidden(letter)),
        Value::Array(items) => items.iter().any(holds_forbidden),
        Value::Object(members) => members.iter().any(|(name, member)| name.chars().any(is_forbidden) || holds_forbidden(member)),
        _ => false,
    }
}

/// JSON with escaped control characters; outside of strings JSON has only line breaks and blanks (T13).
fn escaped(json: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter != '\n' && is_forbidden(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn t13_data_is_the_same_data_without_a_character_that_a_terminal_obeys(text in any::<String>(), key in any::<String>()) {
            let value = json!({key: [text, 1, null]});
            for form in [Form::Json, Form::Yaml] {
                let said = data(&value, form).unwrap().unwrap();
                prop_assert!(!said.chars().any(|letter| letter != '\n' && is_forbidden(letter)), "{said:?}");
                let read: Value = match form {
                    Form::Json => serde_json::from_str(&said).unwrap(),
                    _ => serde_saphyr::from_str(&said).unwrap(),
                };
                prop_assert_eq!(&read, &value, "{:?}: {}", form, said);
            }
        }
    }
}
