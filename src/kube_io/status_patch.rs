//! How a status is written: as a whole, even where another client wrote fields of it.

use serde::Serialize;
use serde_json::{Map, Value};

/// Returns the JSON merge patch (RFC 7396) that changes `stored` to `wanted`: a field that is no longer wanted is removed by name.
/// Server-side apply would keep it where a client has reset the object's managed fields.
#[must_use]
pub fn patch<S: Serialize>(stored: &S, wanted: &S) -> Value {
    match (serde_json::to_value(stored), serde_json::to_value(wanted)) {
        (Ok(stored), Ok(wanted)) => difference(&stored, &wanted),
        // Never reached: a status has text keys and plain values, which always convert to JSON.
        _ => Value::Object(Map::new()),
    }
}

fn difference(stored: &Value, wanted: &Value) -> Value {
    let (Value::Object(before), Value::Object(now)) = (stored, wanted) else { return wanted.clone() };
    let gone = before.keys().filter(|key| !now.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let other = now.iter().filter(|(key, value)| before.get(*key) != Some(*value)).map(|(key, value)| {
        let change = before.get(key).map_or_else(|| value.clone(), |before| difference(before, value));
        (key.clone(), change)
    });
    Value::Object(gone.chain(other).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Applies a patch to a document as in RFC 7396.
    fn apply(document: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut document = document.as_object().cloned().unwrap_or_default();
        for (key, change) in patch {
            if change.is_null() {
                document.remove(key);
            } else {
                let changed = apply(document.get(key).unwrap_or(&Value::Null), change);
                document.insert(key.clone(), changed);
            }
        }
        Value::Object(document)
    }

    #[test]
    fn f83_a_status_is_written_as_a_whole() {
        let all = [
            json!({}),
            json!({"state": "AwaitingApproval", "awaiting": {"stage": "leads", "approvers": {"groups": ["leads"], "users": ["a"]}}}),
            json!({"state": "AwaitingApproval", "awaiting": {"stage": "second", "approvers": {"groups": ["leads"]}, "have": 1}}),
            json!({"state": "Active", "role": {"kind": "Role", "name": "debug"}, "conditions": [{"type": "Ready"}]}),
            json!({"state": "Expired", "conditions": [], "role": {}}),
        ];
        for stored in &all {
            for wanted in &all {
                assert_eq!(apply(stored, &patch(stored, wanted)), *wanted, "from {stored}");
            }
        }
        assert_eq!(patch(&all[1], &all[3])["awaiting"], Value::Null, "what is wanted no longer is named");
        assert!(patch(&all[1], &all[3]).as_object().unwrap().contains_key("awaiting"));
    }
}
