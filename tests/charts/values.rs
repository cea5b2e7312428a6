//! values.yaml, its schema, and what Helm says about a mistake.

use serde_json::{Value, json};

use crate::render::{file, operator, try_render};

#[test]
fn mistakes_in_values_are_named() {
    for (values, said) in [
        (json!({"bindableRole": {}}), "additional properties 'bindableRole' not allowed"),
        (json!({"controller": {"replica": 3}}), "additional properties 'replica' not allowed"),
        (json!({"controller": {"replicas": 0}}), "at '/controller/replicas': minimum: got 0, want 1"),
        (json!({"bindableRoles": {"clusterRoles": "view"}}), "at '/bindableRoles/clusterRoles': got string, want array"),
        (json!({"bindableRoles": {"clusterRoles": ["*"]}}), "at '/bindableRoles/clusterRoles/0': '*' does not match pattern"),
        (json!({"bindableRoles": {"roles": [""]}}), "at '/bindableRoles/roles/0': minLength: got 0, want 1"),
        (json!({"bindableRoles": {"roles": ["a", "a"]}}), "at '/bindableRoles/roles': items at 0 and 1 are equal"),
        (
            json!({"systemNamespaces": ["default"]}),
            "at '/systemNamespaces/0': value must be one of 'kube-system', 'kube-public', 'kube-node-lease'",
        ),
        (json!({"maxGrant": "1d"}), "at '/maxGrant': '1d' does not match pattern"),
        (json!({"maxGrant": "0h"}), "at '/maxGrant': '0h' does not match pattern '[1-9]'"),
        (json!({"maxGrant": "1h-5m"}), "at '/maxGrant': '1h-5m' does not match pattern"),
        (json!({"maxGrant": 24}), "at '/maxGrant': got number, want string"),
        (json!({"webhook": {"timeoutSeconds": 30}}), "at '/webhook/timeoutSeconds': maximum: got 30, want 5"),
        (json!({"image": {"digest": "sha256:1"}}), "at '/image/digest': 'sha256:1' does not match pattern"),
        (json!({"identity": {"aliases": {"ann": 1}}}), "at '/identity/aliases/ann': got number, want string"),
        (json!({"guardedLabels": {"keys": ["te am"]}}), "at '/guardedLabels/keys/0': 'te am' does not match pattern"),
        (json!({"guardedLabels": {"prefixes": [""]}}), "at '/guardedLabels/prefixes/0': '' does not match pattern"),
        (json!({"guardedLabels": {"labels": []}}), "additional properties 'labels' not allowed"),
        (json!({"logFormat": "xml"}), "at '/logFormat': value must be one of 'json', 'text'"),
        (json!({"outOfCluster": {"enabled": true}}), "outOfCluster.enabled needs outOfCluster.webhookUrl"),
        (json!({"outOfCluster": {"webhookUrl": "http://x"}}), "at '/outOfCluster/webhookUrl': 'http://x' does not match pattern"),
        (json!({"outOfCluster": {"webhookUrl": "https://x/mutate"}}), "does not match pattern"),
        (
            json!({"outOfCluster": {"enabled": true, "webhookUrl": "https://x"}, "webhook": {"certManager": {"enabled": true}}}),
            "do not go together",
        ),
    ] {
        match try_render("jit-rbac", "jit-rbac", &values) {
            Ok(_) => panic!("{values} was taken"),
            Err(error) => assert!(error.contains(said), "{values}: {error}"),
        }
    }
}

#[test]
fn a_parent_chart_may_have_globals_and_free_form_values_are_free() {
    operator(&json!({
        "global": {"imageRegistry": "x"},
        "controller": {"resources": {"claims": [{"name": "x"}]}, "affinity": {"x": {"y": 1}}},
        "podSecurityContext": {"x": 1},
    }));
}

/// Every path of the schema's own objects, and every path of the values.
fn paths(schema: &Value, at: &str, found: &mut Vec<String>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}{key}");
        paths(inner, &format!("{path}."), found);
        found.push(path);
    }
}

fn lookup<'a>(values: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(values, |value, key| value.get(key))
}

#[test]
fn the_schema_and_the_values_name_the_same_things() {
    for chart in ["jit-rbac", "jit-access"] {
        let schema: Value = serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let text = file(&format!("charts/{chart}/values.yaml"));
        let values: Value = serde_saphyr::from_str(&text).unwrap();
        let mut known = Vec::new();
        paths(&schema, "", &mut known);
        for path in known.iter().filter(|path| *path != "global") {
            assert!(lookup(&values, path).is_some(), "{chart}: {path} has no default");
        }
        for key in values.as_object().unwrap().keys() {
            assert!(known.contains(key), "{chart}: {key} is not in the schema");
        }
    }
}

#[test]
fn every_value_at_the_top_is_explained() {
    for chart in ["jit-rbac", "jit-access"] {
        let text = file(&format!("charts/{chart}/values.yaml"));
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let top = line.starts_with(|first: char| first.is_ascii_lowercase());
            // A comment above it, or above one of the values in it; securityContext is explained with its neighbour.
            let explained = number > 0 && lines[number - 1].starts_with('#')
                || lines[number + 1..].iter().take_while(|next| next.starts_with(' ')).any(|next| next.trim().starts_with("# --"));
            assert!(!top || explained || line.starts_with("securityContext"), "{chart}: {line}");
        }
    }
}

#[test]
fn it_has_a_namespace_of_its_own() {
    let said = std::fs::read_to_string(crate::render::root().join("charts/jit-rbac/templates/_helpers.tpl")).unwrap();
    for namespace in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        assert!(said.contains(&format!("\"{namespace}\"")), "{namespace}");
    }
}
