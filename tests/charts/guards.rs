//! The controller's list of guards, and that it notices each weakening of each of them.

use api::names;
use domain::guards::{
    compare::difference,
    expected::{Expected, GuardKind, api_service},
};
use jit_rbac::guards::expected::crds;
use serde_json::{Value, json};

use crate::render::{Rendered, default, every, items, texts, whole};

const RENDERED: [&str; 4] =
    ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Parsed by the program's own type.
fn expected(rendered: &Rendered) -> Vec<Expected> {
    let text = rendered.get("ConfigMap", "jit-rbac-config")["data"]["guards.json"].as_str().unwrap();
    serde_json::from_str(text).unwrap()
}

fn all() -> Vec<Expected> {
    expected(default()).into_iter().chain(crds().unwrap()).collect()
}

/// Without the metadata that every object has.
fn says(object: &Value) -> Value {
    let fields = object.as_object().unwrap().iter().filter(|(key, _)| !["apiVersion", "kind", "metadata"].contains(&key.as_str()));
    Value::Object(fields.map(|(key, value)| (key.clone(), value.clone())).collect())
}

#[test]
fn t41_every_policy_binding_and_configuration_is_a_guard_and_says_what_is_rendered() {
    for (name, rendered) in every() {
        let guards = expected(&rendered);
        let mut count = 0;
        for kind in RENDERED {
            for object in rendered.all(kind) {
                let guard = guards.iter().find(|g| g.kind.to_string() == kind && object["metadata"]["name"] == *g.name);
                let guard = guard.unwrap_or_else(|| panic!("{name}: the list of guards lacks {kind} {}", object["metadata"]["name"]));
                assert_eq!(whole(&guard.says), whole(&says(object)), "{name}: {}", guard.key());
                assert_eq!(guard.probe.is_some(), kind == "ValidatingAdmissionPolicy", "{name}: {}", guard.key());
                count += 1;
            }
        }
        assert_eq!(guards.len(), count, "{name}");
    }
}

#[test]
fn t41_the_crds_are_those_that_are_rendered() {
    for guard in crds().unwrap() {
        let rendered = default().get("CustomResourceDefinition", &guard.name);
        assert_eq!(difference(&guard.says, &says(rendered)), None, "{}", guard.name);
    }
}

/// The defaults that the API server adds to stored objects.
fn stored(guard: &Expected) -> Value {
    let mut says = guard.says.clone();
    let selectors = |object: &mut Value| {
        object["matchPolicy"] = json!("Equivalent");
        object["namespaceSelector"] = json!({});
        object["objectSelector"] = json!({});
    };
    match guard.kind {
        GuardKind::ValidatingAdmissionPolicy => {
            let constraints = &mut says["spec"]["matchConstraints"];
            selectors(constraints);
            for rule in constraints["resourceRules"].as_array_mut().unwrap() {
                rule["scope"] = json!("*");
            }
        }
        GuardKind::ValidatingAdmissionPolicyBinding | GuardKind::APIService => {}
        GuardKind::MutatingWebhookConfiguration | GuardKind::ValidatingWebhookConfiguration => {
            for webhook in says["webhooks"].as_array_mut().unwrap() {
                selectors(webhook);
                webhook["clientConfig"]["caBundle"] = json!("YQ==");
            }
        }
        GuardKind::CustomResourceDefinition => says["spec"]["conversion"] = json!({"strategy": "None"}),
    }
    says
}

/// Returns the JSON pointers of a value and of everything in it.
fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            pointers(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| pointers(item, &format!("{path}/{index}"), found)),
        _ => {}
    }
}

fn another(value: &Value) -> Value {
    match value {
        Value::Bool(yes) => json!(!yes),
        Value::Number(number) => json!(number.as_f64().unwrap() + 1.0),
        Value::String(text) => json!(format!("{text} ")),
        Value::Null => json!("not null"),
        Value::Array(items) => Value::Array(items.iter().chain(&[json!("more")]).cloned().collect()),
        Value::Object(map) => {
            let mut map = map.clone();
            map.insert("more".to_owned(), json!({}));
            Value::Object(map)
        }
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        other => panic!("{pointer}: {other}"),
    }
}

#[test]
fn t41_every_weakening_of_every_guard_is_seen() {
    let mut tried = 0;
    for guard in all() {
        let stored = stored(&guard);
        assert_eq!(difference(&guard.says, &stored), None, "{}: the defaults of the API server are not a weakening", guard.key());
        let mut all = Vec::new();
        pointers(&guard.says, "", &mut all);
        for pointer in all {
            let mut changed = stored.clone();
            let value = changed.pointer_mut(&pointer).unwrap();
            *value = another(value);
            assert!(difference(&guard.says, &changed).is_some(), "{}: a change of {pointer} is not detected", guard.key());
            if !pointer.is_empty() {
                let mut shorter = stored.clone();
                remove(&mut shorter, &pointer);
                assert!(difference(&guard.says, &shorter).is_some(), "{}: the removal of {pointer} is not detected", guard.key());
            }
            tried += 1;
        }
    }
    assert!(tried > 2_000, "only {tried} changes were made");
}

#[test]
fn t41_what_lets_others_past_is_seen() {
    let guards = all();
    let find = |kind: GuardKind| guards.iter().find(|guard| guard.kind == kind).unwrap();
    for (kind, pointer, value) in [
        (GuardKind::ValidatingAdmissionPolicy, "/spec/matchConstraints/matchPolicy", json!("Exact")),
        (GuardKind::ValidatingAdmissionPolicy, "/spec/matchConstraints/namespaceSelector", json!({"matchLabels": {"a": "b"}})),
        (GuardKind::ValidatingAdmissionPolicy, "/spec/matchConstraints/objectSelector", json!({"matchLabels": {"a": "b"}})),
        (GuardKind::ValidatingAdmissionPolicy, "/spec/matchConstraints/resourceRules/0/scope", json!("Cluster")),
        (GuardKind::MutatingWebhookConfiguration, "/webhooks/0/objectSelector", json!({"matchLabels": {"a": "b"}})),
        (GuardKind::CustomResourceDefinition, "/spec/conversion", json!({"strategy": "Webhook"})),
    ] {
        let mut changed = stored(find(kind));
        *changed.pointer_mut(pointer).unwrap() = value;
        assert!(difference(&find(kind).says, &changed).is_some(), "{kind} {pointer}");
    }
    for (kind, pointer, key, value) in [
        (GuardKind::ValidatingAdmissionPolicy, "/spec", "matchConditions", json!([{"name": "never", "expression": "false"}])),
        (GuardKind::ValidatingAdmissionPolicy, "/spec/matchConstraints", "excludeResourceRules", json!([{"resources": ["*"]}])),
        (GuardKind::ValidatingAdmissionPolicy, "/spec/matchConstraints/resourceRules/0", "resourceNames", json!(["none"])),
        (GuardKind::ValidatingAdmissionPolicyBinding, "/spec", "matchResources", json!({"namespaceSelector": {}})),
        (GuardKind::ValidatingAdmissionPolicyBinding, "/spec", "paramRef", json!({"name": "a"})),
        (GuardKind::CustomResourceDefinition, "/spec", "preserveUnknownFields", json!(true)),
    ] {
        let mut changed = stored(find(kind));
        changed.pointer_mut(pointer).unwrap()[key] = value;
        assert!(difference(&find(kind).says, &changed).is_some(), "{kind} {pointer}/{key}");
    }
}

/// `resourceNames` allow a list or a watch of one object by its name.
#[test]
fn the_controller_may_read_every_guard_by_its_name() {
    for (name, rendered) in every() {
        let role = rendered.get("ClusterRole", "jit-rbac-controller");
        for guard in expected(&rendered).into_iter().chain(crds().unwrap()).chain([api_service()]) {
            let (group, _, plural) = guard.kind.names();
            let allows = |rule: &&Value| {
                texts(&rule["apiGroups"]) == [group]
                    && texts(&rule["resources"]).contains(&plural)
                    && texts(&rule["resourceNames"]).contains(&guard.name.as_str())
                    && texts(&rule["verbs"]) == ["get", "list", "watch"]
            };
            assert!(items(&role["rules"]).iter().any(|rule| allows(&rule)), "{name}: {}", guard.key());
        }
    }
}

#[test]
fn the_probe_label_has_one_name() {
    let text = default().get("ValidatingAdmissionPolicy", "jit-rbac-requests").to_string();
    let said = format!("the label {} asks the policy jit-rbac-requests to refuse", names::PROBE_LABEL);
    assert!(text.contains(&said), "the program recognizes a denial by: {said}");
}
