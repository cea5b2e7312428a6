//! Checks an object against the schema of its kind: all errors with the field paths of the API server.

use regex::Regex;
use serde_json::Value;

use api::instant;

/// The maximum width of a value in a message.
const MOST_SHOWN: usize = 80;

/// An error of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path, for example `spec.subjects[0].kind`.
    pub path: String,
    /// The message.
    pub message: String,
}

/// The errors of a value by the structural schema of a CRD. Most CEL rules are left to the API server.
#[must_use]
pub fn faults(value: &Value, schema: &Value, path: &str) -> Vec<Fault> {
    let mut found = Vec::new();
    check(value, schema, path, &mut found);
    found
}

fn check(value: &Value, schema: &Value, path: &str, found: &mut Vec<Fault>) {
    let mut wrong = |message: String| found.push(Fault { path: path.to_owned(), message });
    if value.is_null() {
        // Like the API server: a null that is not allowed counts as absent.
        return;
    }
    let wanted = schema.get("type").and_then(Value::as_str);
    if let Some(wanted) = wanted.filter(|wanted| !is_of(value, wanted)) {
        wrong(format!("must be {}, not {}", article(wanted), shown(value)));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array).filter(|allowed| !allowed.contains(value)) {
        let allowed: Vec<String> = allowed.iter().filter(|one| !one.is_null()).map(shown).collect();
        wrong(format!("{} is not one of {}", shown(value), allowed.join(", ")));
    }
    match value {
        Value::String(text) => of_text(text, schema, &mut wrong),
        Value::Number(_) => {
            let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
            let number = value.as_f64().unwrap_or_default();
            if let Some(least) = bound("minimum").filter(|least| number < *least) {
                wrong(format!("{value} is less than {least}"));
            }
            if let Some(most) = bound("maximum").filter(|most| number > *most) {
                wrong(format!("{value} is more than {most}"));
            }
        }
        Value::Array(items) => {
            counted(items.len(), schema, ("minItems", "maxItems"), "entries", &mut wrong);
            let of_items = schema.get("items").unwrap_or_default();
            for (i, item) in items.iter().enumerate() {
                check(item, of_items, &format!("{path}[{i}]"), found);
            }
        }
        Value::Object(members) => {
            counted(members.len(), schema, ("minProperties", "maxProperties"), "entries", &mut wrong);
            let known = schema.get("properties").and_then(Value::as_object);
            let free = schema.get("additionalProperties").filter(|free| free.is_object());
            let open = schema.get("x-kubernetes-preserve-unknown-fields").is_some() || (known.is_none() && free.is_none());
            for required in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                if members.get(required).is_none_or(Value::is_null) {
                    found.push(Fault { path: format!("{path}.{required}"), message: "is required".to_owned() });
                }
            }
            for (name, member) in members {
                let path = format!("{path}.{name}");
                match known.and_then(|known| known.get(name)).or(free) {
                    Some(schema) => check(member, schema, &path, found),
                    None if open => {}
                    None => found.push(Fault { path, message: unknown(name, known) }),
                }
            }
        }
        Value::Bool(_) | Value::Null => {}
    }
}

fn unknown(name: &str, known: Option<&serde_json::Map<String, Value>>) -> String {
    let near = known.into_iter().flat_map(|known| known.keys()).find(|known| super::near::is_near(known, name));
    let hint = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    format!("is not a known field{hint}")
}

fn of_text(text: &str, schema: &Value, wrong: &mut impl FnMut(String)) {
    counted(text.chars().count(), schema, ("minLength", "maxLength"), "characters", wrong);
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if let Some(pattern) = pattern.filter(|pattern| Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))) {
        wrong(format!("'{}' does not match {pattern}", short(text)));
    }
    for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
        broken(text, rule, wrong);
    }
    if schema.get("format").and_then(Value::as_str) == Some("date-time") && instant::parse(text).is_none() {
        wrong(format!("'{}' is not a time such as 2026-12-01T08:00:00Z", short(text)));
    }
}

/// Checks the CEL rules on strings that need no CEL: a pattern, and a duration.
fn broken(text: &str, rule: &Value, wrong: &mut impl FnMut(String)) {
    let (Some(cel), message) = (rule.get("rule").and_then(Value::as_str), rule.get("message").and_then(Value::as_str)) else { return };
    if cel.contains("duration(self)") {
        if let Err(error) = text.parse::<api::Duration>() {
            wrong(error.to_string());
        }
        return;
    }
    // CEL escapes a backslash in a string.
    let pattern = cel.strip_prefix("self.matches('").and_then(|rest| rest.strip_suffix("')")).filter(|pattern| !pattern.contains('\''));
    let Some(pattern) = pattern.map(|pattern| pattern.replace("\\\\", "\\")) else { return };
    if Regex::new(&pattern).is_ok_and(|pattern| !pattern.is_match(text)) {
        wrong(message.map_or_else(|| format!("'{}' does not match {pattern}", short(text)), ToOwned::to_owned));
    }
}

fn counted(count: usize, schema: &Value, (least, most): (&str, &str), what: &str, wrong: &mut impl FnMut(String)) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
    if let Some(least) = bound(least).filter(|least| count < *least) {
        wrong(format!("has {count} {what}, at least {least} are required"));
    }
    if let Some(most) = bound(most).filter(|most| count > *most) {
        wrong(format!("has {count} {what}, at most {most} are allowed"));
    }
}

fn is_of(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", short(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

fn short(text: &str) -> String {
    super::table::cut(text, MOST_SHOWN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn f34_every_error_is_told_with_its_field() {
        let schema = json!({"type": "object", "required": ["a", "b"], "properties": {
            "a": {"type": "integer", "minimum": 1, "maximum": 9}, "b": {"type": "string"},
            "kind": {"type": "string", "enum": ["User", "Group"]}, "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3},
            "list": {"type": "array", "maxItems": 1, "items": {"type": "object", "properties": {"x": {"type": "boolean"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}, "at": {"type": "string", "format": "date-time"},
            "max": {"type": "string", "x-kubernetes-validations": [{"rule": "size(self) > 1 && duration(self) >= duration('1s')", "message": "m"}]},
            "line": {"type": "string", "x-kubernetes-validations": [{"rule": r"self.matches('^[^\\p{Cc}]*$')", "message": "must be one line"}]},
        }});
        let value = json!({"a": 0, "kind": "Grup", "name": "UPPER", "list": [{"x": 1}, {"y": 1}], "labels": {"l": 1}, "at": "now", "knid": 1,
            "max": "3 hours", "line": "a\nb"});
        let message: Vec<String> =
            faults(&value, &schema, "spec").iter().map(|fault| format!("{} {}", fault.path, fault.message)).collect();
        let mut expected = [
            "spec.b is required",
            "spec.a 0 is less than 1",
            "spec.kind 'Grup' is not one of 'User', 'Group'",
            "spec.name has 5 characters, at most 3 are allowed",
            "spec.name 'UPPER' does not match ^[a-z]+$",
            "spec.list has 2 entries, at most 1 are allowed",
            "spec.list[0].x must be true or false, not 1",
            "spec.list[1].y is not a known field",
            "spec.labels.l must be a text, not 1",
            "spec.at 'now' is not a time such as 2026-12-01T08:00:00Z",
            "spec.max '3 hours' is not a valid duration: use h, m and s, for example 24h, 1h30m or 90s, at most 99999h",
            "spec.line must be one line",
            "spec.knid is not a known field; did you mean 'kind'?",
        ]
        .map(ToOwned::to_owned);
        let mut message = message;
        message.sort();
        expected.sort();
        assert_eq!(message, expected);
        assert!(faults(&json!({"a": 1, "b": "x", "kind": null}), &schema, "spec").is_empty());
    }
}
