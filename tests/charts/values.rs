//! values.yaml, its schema, and Helm's errors for mistakes.

use serde_json::{Value, json};

use crate::{
    every_value::lookup,
    render::{file, operator, texts, try_render},
};

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
        (json!({"flowControl": {"matchingPrecedence": 9999}}), "at '/flowControl/matchingPrecedence': maximum: got 9,999, want 9,998"),
        (json!({"uninstall": {"activeDeadlineSeconds": 5}}), "at '/uninstall/activeDeadlineSeconds': minimum: got 5, want 60"),
        (json!({"logFormat": "xml"}), "at '/logFormat': value must be one of 'json', 'text'"),
        // Keys without a value, which Helm drops.
        (json!({"systemNamespaces": null}), "at '': missing property 'systemNamespaces'"),
        (json!({"clusterControllers": null}), "at '': missing property 'clusterControllers'"),
        (json!({"identity": {"prefixes": ["oidc:"], "aliases": null}}), "at '/identity': missing property 'aliases'"),
        (json!({"bindableRoles": {"clusterRoles": ["edit"], "roles": null}}), "at '/bindableRoles': missing property 'roles'"),
        (json!({"guardedLabels": {"keys": null}}), "at '/guardedLabels': missing property 'keys'"),
        (json!({"webhook": {"timeoutSeconds": null}}), "at '/webhook': missing property 'timeoutSeconds'"),
        (json!({"controller": {"podDisruptionBudget": null}}), "at '/controller': missing property 'podDisruptionBudget'"),
        (json!({"identity": {"aliases": {"ann": null}}}), "at '/identity/aliases/ann': got null, want string"),
        (json!({"webhook": {"port": 443}}), "at '/webhook/port': minimum: got 443, want 1,024"),
        (json!({"webhook": {"port": 8080}}), "webhook.port and webhook.healthPort must differ"),
        (json!({"webhook": {"clientCA": {"configMap": "a", "secret": "b"}}}), "cannot be combined: set the one that has the CA"),
        (
            json!({"controller": {"serviceAccount": {"create": false}}}),
            "controller.serviceAccount.create is false: set controller.serviceAccount.name",
        ),
        (json!({"webhook": {"serviceAccount": {"name": "default"}}}), "webhook.serviceAccount.name must not be 'default'"),
        (
            json!({"controller": {"serviceAccount": {"name": "one"}}, "webhook": {"serviceAccount": {"name": "one"}}}),
            "the webhook must not have the permissions of the controller",
        ),
        (json!({"metrics": {"podMonitor": {"enabled": true}, "serviceMonitor": {"enabled": true}}}), "every metric would be scraped twice"),
        (json!({"outOfCluster": {"enabled": true}}), "outOfCluster.enabled needs outOfCluster.webhookUrl"),
        (json!({"outOfCluster": {"webhookUrl": "http://x"}}), "at '/outOfCluster/webhookUrl': 'http://x' does not match pattern"),
        (json!({"outOfCluster": {"webhookUrl": "https://x/mutate"}}), "does not match pattern"),
        (
            json!({"outOfCluster": {"enabled": true, "webhookUrl": "https://x"}, "webhook": {"certManager": {"enabled": true}}}),
            "cannot be combined",
        ),
    ] {
        match try_render("jit-rbac", "jit-rbac", &values) {
            Ok(_) => panic!("{values} was accepted"),
            Err(error) => assert!(error.contains(said), "{values}: {error}"),
        }
    }
}

#[test]
fn a_parent_chart_may_have_globals_and_free_form_values_are_free() {
    operator(&json!({
        "global": {"other": "x"},
        "controller": {"resources": {"claims": [{"name": "x"}]}, "podSpec": {"affinity": {"x": {"y": 1}}}},
        "podSecurityContext": {"x": 1},
    }));
}

#[test]
fn names_that_look_like_numbers_stay_names() {
    let ours = try_render("4711", "jit-rbac", &json!({"fullnameOverride": "4711"})).unwrap();
    assert!(ours.find("ValidatingWebhookConfiguration", "4711").is_some());
    let one = json!({
        "subjects": [{"kind": "User", "name": "ann"}], "roleRef": {"kind": "ClusterRole", "name": "view"},
        "namespaces": {"names": ["payments"]}, "policyRef": {"name": "4711"}, "maxDuration": "1h",
    });
    let policies = json!({"4711": {"approval": {"automatic": {}}}});
    let values = json!({"policies": policies, "eligibilities": {"1e5": one}, "requesterClusterRole": "4711"});
    let access = try_render("4711", "jit-access", &values).unwrap();
    assert!(access.find("ApprovalPolicy", "4711").is_some() && access.find("RoleEligibility", "1e5").is_some());
    assert_eq!(access.only("ClusterRoleBinding")["roleRef"]["name"], "4711");
    for object in ours.0.iter().chain(&access.0) {
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/instance"], "4711", "{}", object["kind"]);
    }
}

/// Every path of the schema's own objects, and every path of the values.
fn paths(schema: &Value, at: &str, found: &mut Vec<String>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}{key}");
        paths(inner, &format!("{path}."), found);
        found.push(path);
    }
}

#[test]
fn the_schema_and_the_values_name_the_same_things() {
    for chart in ["jit-rbac", "jit-access"] {
        let schema: Value = serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let text = file(&format!("charts/{chart}/values.yaml"));
        let values: Value = serde_saphyr::from_str(&text).unwrap();
        let mut known = Vec::new();
        paths(&schema, "", &mut known);
        for path in known.iter().filter(|path| chart == "jit-rbac" || *path != "global") {
            assert!(lookup(&values, path).is_some(), "{chart}: {path} has no default");
        }
        for key in values.as_object().unwrap().keys() {
            assert!(known.contains(key), "{chart}: {key} is not in the schema");
        }
    }
}

/// Helm drops a key without a value before it validates the schema, so only `required` reports it.
#[test]
fn whatever_has_a_default_is_required() {
    fn check(root: &Value, path: &str, schema: &Value, values: &Value) {
        let schema = schema["$ref"].as_str().and_then(|reference| root.pointer(&reference[1..])).unwrap_or(schema);
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let Some(value) = values.get(key) else { continue };
            let path = format!("{path}/{key}");
            assert!(texts(&schema["required"]).contains(&key.as_str()), "{path} is not required");
            check(root, &path, inner, value);
        }
    }
    for chart in ["jit-rbac", "jit-access"] {
        let schema: Value = serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let values: Value = serde_saphyr::from_str(&file(&format!("charts/{chart}/values.yaml"))).unwrap();
        check(&schema, chart, &schema, &values);
    }
}

/// Returns the paths of the keys of values.yaml without a description. Free-form values, which the schema does not cover, need one only as
/// a whole.
fn undescribed(text: &str, schema: &Value) -> Vec<String> {
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut described = false;
    let mut faults = Vec::new();
    for line in text.lines() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if line.starts_with('#') {
            described |= line.starts_with("# -- ");
            continue;
        }
        let Some((key, _)) = line.split_once(':').filter(|(key, _)| key.chars().all(char::is_alphanumeric)) else {
            described = false;
            continue;
        };
        path.retain(|(outer, _)| *outer < indent);
        path.push((indent, key));
        let mut here = Some(schema);
        for (_, key) in &path {
            here = here.and_then(|here| here["properties"].get(key));
            here = here.map(|here| here["$ref"].as_str().and_then(|reference| schema.pointer(&reference[1..])).unwrap_or(here));
        }
        // An object whose keys are described needs no description.
        let holds_others = here.is_some_and(|here| here["properties"].is_object());
        if here.is_some() && !described && !holds_others {
            faults.push(path.iter().map(|(_, key)| *key).collect::<Vec<_>>().join("."));
        }
        described = false;
    }
    faults
}

#[test]
fn every_value_has_a_description() {
    for chart in ["jit-rbac", "jit-access"] {
        let schema: Value = serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let faults = undescribed(&file(&format!("charts/{chart}/values.yaml")), &schema);
        assert!(faults.is_empty(), "{chart}: these have no description, a line that begins with `# -- `: {faults:?}");
    }
    let schema = json!({"properties": {"a": {"properties": {"b": {}, "c": {}}}, "d": {"type": "object"}}});
    assert_eq!(undescribed("a:\n  # -- What b is.\n  b: 1\n  c: 1\nd:\n  free: 1\n", &schema), ["a.c", "d"]);
}

#[test]
fn it_has_a_namespace_of_its_own() {
    let said = std::fs::read_to_string(crate::render::root().join("charts/jit-rbac/templates/_helpers.tpl")).unwrap();
    for namespace in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        assert!(said.contains(&format!("\"{namespace}\"")), "{namespace}");
    }
}
