//! Additions by others to webhook configurations that provably bypass no webhook, such as the selectors of AKS's admissions enforcer.
//!
//! Two rules apply. First, a `namespaceSelector` has no effect on cluster-scoped objects other than namespaces: the API server always calls
//! the webhook for them. Second, a selector may exclude namespaces in which nothing is ever granted, by the name label that the API server
//! sets and that no user can change. Any other label can be added to a namespace and removed again, and writes in between would not have
//! been reviewed.

use serde_json::{Value, json};

use domain::settings::NAME_LABEL;

/// Removes harmless additions from a webhook configuration, so that the rest is compared. `never_granted_in` returns true for a namespace
/// in which nothing is ever granted.
pub fn set_aside(expected: &Value, stored: &mut Value, never_granted_in: impl Fn(&str) -> bool) {
    let wanted = expected.get("webhooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let found = stored.get_mut("webhooks").and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default();
    for (wanted, found) in wanted.iter().zip(found) {
        if wanted.get("namespaceSelector").is_some() {
            continue;
        }
        let Some(fields) = found.as_object_mut() else { continue };
        let Some(selector) = fields.get("namespaceSelector") else { continue };
        if is_of_the_cluster(wanted) || leaves_out(selector, &never_granted_in) {
            fields.insert("namespaceSelector".to_owned(), json!({}));
        }
    }
}

/// True for a webhook that receives only cluster-scoped objects, and no namespaces.
fn is_of_the_cluster(webhook: &Value) -> bool {
    let rules = webhook.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_ours = |rule: &Value| rule.get("apiGroups") == Some(&json!([api::names::GROUP]));
    !rules.is_empty() && rules.iter().all(|rule| rule.get("scope") == Some(&json!("Cluster")) && is_ours(rule))
}

/// True for a selector that only excludes such namespaces by name.
fn leaves_out(selector: &Value, never_granted_in: impl Fn(&str) -> bool) -> bool {
    let Some(fields) = selector.as_object() else { return false };
    let requirements = selector.get("matchExpressions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = |requirement: &Value| {
        let names = requirement.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        requirement.get("key") == Some(&json!(NAME_LABEL))
            && requirement.get("operator") == Some(&json!("NotIn"))
            && names.iter().all(|name| name.as_str().is_some_and(&never_granted_in))
    };
    fields.keys().all(|key| key == "matchExpressions") && requirements.iter().all(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::guards::compare::difference;

    fn webhook(scope: &str, selector: Option<Value>) -> Value {
        let mut webhook = json!({"rules": [{"apiGroups": ["jitrbac.dev"], "resources": ["a"], "scope": scope}], "failurePolicy": "Fail"});
        if let Some(selector) = selector {
            webhook["namespaceSelector"] = selector;
        }
        webhook
    }

    /// Returns what is wrong with a configuration that has this selector.
    fn wrong(scope: &str, selector: Value) -> Option<String> {
        let expected = json!({"webhooks": [webhook(scope, None)]});
        let mut stored = json!({"webhooks": [webhook(scope, Some(selector))]});
        set_aside(&expected, &mut stored, |namespace| namespace == "kube-system" || namespace == "jit-system");
        difference(&expected, &stored)
    }

    fn requirement(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    #[test]
    fn f47_a_selector_that_lets_nothing_past_is_no_weakening() {
        let aks = json!({"matchExpressions": [
            {"key": "control-plane", "operator": "NotIn", "values": ["true"]},
            {"key": "kubernetes.azure.com/managedby", "operator": "NotIn", "values": ["aks"]},
        ]});
        assert_eq!(wrong("Cluster", aks.clone()), None, "no namespace has an eligibility");
        assert_eq!(wrong("Cluster", json!({"matchLabels": {"a": "b"}})), None);
        assert_eq!(wrong("Namespaced", json!({})), None);
        assert_eq!(wrong("Namespaced", requirement(NAME_LABEL, "NotIn", &["kube-system"])), None);
        assert_eq!(wrong("Namespaced", requirement(NAME_LABEL, "NotIn", &["jit-system", "kube-system"])), None);
        for selector in [
            aks,
            requirement("control-plane", "DoesNotExist", &[]),
            requirement(NAME_LABEL, "NotIn", &["kube-system", "payments"]),
            requirement(NAME_LABEL, "In", &["kube-system"]),
            requirement("name", "NotIn", &["kube-system"]),
            json!({"matchLabels": {"a": "b"}}),
            json!({"matchLabels": {NAME_LABEL: "kube-system"}}),
            json!("strange"),
        ] {
            let why = wrong("Namespaced", selector.clone());
            assert_eq!(why.as_deref(), Some(".webhooks[0].namespaceSelector is set and should not be"), "{selector}");
        }
        for scope in ["*", "Namespaced"] {
            assert!(wrong(scope, json!({"matchLabels": {"a": "b"}})).is_some(), "{scope}");
        }
    }

    #[test]
    fn f47_nothing_but_that_selector_is_set_aside() {
        let expected = json!({"webhooks": [webhook("Cluster", None)]});
        for (field, value) in
            [("objectSelector", json!({"matchLabels": {"a": "b"}})), ("failurePolicy", json!("Ignore")), ("matchConditions", json!([]))]
        {
            let mut stored = json!({"webhooks": [webhook("Cluster", Some(json!({"matchLabels": {"a": "b"}})))]});
            stored["webhooks"][0][field] = value;
            set_aside(&expected, &mut stored, |_| true);
            assert!(difference(&expected, &stored).is_some(), "{field}");
        }
        let mut namespaces = json!({"webhooks": [webhook("Cluster", None)]});
        namespaces["webhooks"][0]["rules"][0]["apiGroups"] = json!([""]);
        let mut stored = namespaces.clone();
        stored["webhooks"][0]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
        set_aside(&namespaces, &mut stored, |_| false);
        assert!(difference(&namespaces, &stored).is_some(), "namespaces have labels of their own");
    }
}
