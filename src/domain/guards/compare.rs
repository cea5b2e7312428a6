//! Whether a stored guard has the expected content, and nothing else except what the API server adds.

use serde_json::{Value, json};

use api::text::printable;

/// Returns true for a value that the API server stores by itself: a default that does not weaken the guard.
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "matchPolicy" => *value == "Equivalent",
        "namespaceSelector" | "objectSelector" => *value == json!({}),
        "scope" => *value == "*",
        "conversion" => *value == json!({"strategy": "None"}),
        // The webhook or cert-manager writes it. With a wrong value calls of the webhook fail, and so do the guarded writes. Each write
        // also changes the generation.
        // `listKind` and `singular` are names of a CRD that the API server derives from the kind.
        "caBundle" | "listKind" | "singular" => value.is_string(),
        _ => false,
    }
}

/// Returns the first difference as a path and a description. `None` if the stored object is as expected.
#[must_use]
pub fn difference(expected: &Value, stored: &Value) -> Option<String> {
    at("", expected, stored)
}

/// Returns the Service that a stored `APIService` names as the server of the product's kinds. `None` if the API server serves them.
#[must_use]
pub fn served_by(stored: &Value) -> Option<String> {
    let service = stored.pointer("/spec/service").filter(|service| !service.is_null())?;
    let text = |field: &str| service.get(field).and_then(Value::as_str).unwrap_or_default();
    Some(printable(&format!("the Service '{}/{}'", text("namespace"), text("name"))))
}

fn at(path: &str, expected: &Value, stored: &Value) -> Option<String> {
    match (expected, stored) {
        (Value::Object(wanted), Value::Object(found)) => {
            let missing = wanted.iter().find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                found.get(key).map_or_else(|| Some(format!("{path} is missing")), |found| at(&path, value, found))
            });
            missing.or_else(|| {
                let more = found.iter().find(|(key, value)| !wanted.contains_key(*key) && !is_default(key, value));
                more.map(|(key, _)| format!("{path}.{key} is set and should not be"))
            })
        }
        (Value::Array(wanted), Value::Array(found)) => {
            if wanted.len() != found.len() {
                return Some(format!("{path} has {} entries and should have {}", found.len(), wanted.len()));
            }
            wanted.iter().zip(found).enumerate().find_map(|(place, (wanted, found))| at(&format!("{path}[{place}]"), wanted, found))
        }
        // 16 and 16.0 are the same number.
        (Value::Number(wanted), Value::Number(found)) if wanted.as_f64() == found.as_f64() => None,
        (wanted, found) if wanted == found => None,
        _ => Some(format!("{path} has an unexpected value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t57_f50_an_api_service_that_names_a_service_is_no_longer_the_api_servers() {
        let local = json!({"spec": {"group": "jitrbac.dev", "version": "v1alpha1", "groupPriorityMinimum": 1000, "versionPriority": 100}});
        assert_eq!(served_by(&local), None);
        assert_eq!(served_by(&json!({"spec": {"service": null}})), None);
        let other = json!({"spec": {"service": {"namespace": "evil", "name": "it", "port": 443}}});
        assert_eq!(served_by(&other).unwrap(), "the Service 'evil/it'");
        assert_eq!(served_by(&json!({"spec": {"service": "?"}})).unwrap(), "the Service '/'");
    }

    #[test]
    fn defaults_pass_and_everything_else_is_named() {
        let expected = json!({"spec": {"failurePolicy": "Fail", "rules": [{"resources": ["a"]}], "most": 16}});
        let stored = json!({"spec": {
            "failurePolicy": "Fail", "rules": [{"resources": ["a"], "scope": "*"}], "most": 16.0,
            "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        }});
        assert_eq!(difference(&expected, &stored), None);
        let changed = |pointer: &str, value: Value| {
            let mut stored = stored.clone();
            *stored.pointer_mut(pointer).unwrap() = value;
            difference(&expected, &stored)
        };
        assert_eq!(changed("/spec/failurePolicy", json!("Ignore")).unwrap(), ".spec.failurePolicy has an unexpected value");
        assert_eq!(changed("/spec/matchPolicy", json!("Exact")).unwrap(), ".spec.matchPolicy is set and should not be");
        assert_eq!(
            changed("/spec/objectSelector", json!({"matchLabels": {"a": "b"}})).unwrap(),
            ".spec.objectSelector is set and should not be"
        );
        assert_eq!(changed("/spec/rules/0/scope", json!("Cluster")).unwrap(), ".spec.rules[0].scope is set and should not be");
        assert_eq!(
            changed("/spec/rules/0/resources", json!(["a", "b"])).unwrap(),
            ".spec.rules[0].resources has 2 entries and should have 1"
        );
        assert_eq!(changed("/spec/most", json!(17)).unwrap(), ".spec.most has an unexpected value");
        assert_eq!(changed("/spec", json!({})).unwrap(), ".spec.failurePolicy is missing");
        let mut more = stored.clone();
        more["spec"]["excludeResourceRules"] = json!([]);
        assert_eq!(difference(&expected, &more).unwrap(), ".spec.excludeResourceRules is set and should not be");
    }
}
