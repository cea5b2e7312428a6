//! values.schema.json of the chart jit-access: its eligibilities and policies are the specs of the kinds, so it is generated from them.

use jit_rbac::crds;
use serde_json::{Map, Value, json};

use crate::render::{file, root, whole};

const FILE: &str = "charts/jit-access/values.schema.json";

/// The spec of a kind as JSON Schema, strict: a field that the API server would drop is an error here.
fn spec(plural: &str) -> Value {
    let (_, yaml) = crds::all().unwrap().into_iter().find(|(name, _)| name == plural).unwrap();
    let crd: Value = whole(&serde_saphyr::from_str(&yaml).unwrap());
    strict(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
}

/// The same without fields that the schema does not know, and without what only the API server understands.
pub fn strict(schema: &Value) -> Value {
    let mut out = Map::new();
    for (key, value) in schema.as_object().unwrap() {
        match key.as_str() {
            "properties" => {
                let inner = value.as_object().unwrap().iter().map(|(name, schema)| (name.clone(), strict(schema)));
                out.insert(key.clone(), Value::Object(inner.collect()));
            }
            "items" | "additionalProperties" => {
                out.insert(key.clone(), strict(value));
            }
            "format" if value != "date-time" => {}
            _ if key.starts_with("x-kubernetes-") => {}
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    if out["type"] == "object" && !out.contains_key("additionalProperties") {
        out.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(pattern) = pattern(schema) {
        out.insert("pattern".to_owned(), json!(pattern));
    }
    Value::Object(out)
}

/// The pattern of a CEL rule of the form `self.matches('...')`. Unicode classes are left to the API server: few tools support them.
fn pattern(schema: &Value) -> Option<&str> {
    let rules = schema["x-kubernetes-validations"].as_array()?;
    let matched = rules.iter().find_map(|rule| rule["rule"].as_str()?.strip_prefix("self.matches('")?.split("')").next())?;
    (!matched.contains('\\')).then_some(matched)
}

/// The whole schema.
fn wanted() -> Value {
    let name = json!({"maxLength": 253, "pattern": "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"});
    // Null removes the value of an earlier values file, as everywhere in Helm.
    let by_name = |what: &str, plural: &str| {
        let mut spec = spec(plural);
        spec["type"] = json!(["object", "null"]);
        json!({"description": what, "type": "object", "propertyNames": name, "additionalProperties": spec})
    };
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart jit-access",
        "type": "object",
        "additionalProperties": false,
        "required": [
            "policies", "eligibilities", "externalPolicies", "requesterClusterRole", "requesterBindings", "commonLabels", "commonAnnotations",
        ],
        "properties": {
            "global": {"type": "object", "description": "Values of a parent chart; not used here."},
            "policies": by_name("Specs of ApprovalPolicies by name.", "approvalpolicies"),
            "eligibilities": by_name("Specs of RoleEligibilities by name.", "roleeligibilities"),
            "externalPolicies": {
                "description": "Names of policies that are installed elsewhere.",
                "type": "array", "uniqueItems": true, "items": {"type": "string", "minLength": 1},
            },
            "requesterClusterRole": {
                "description": "ClusterRole that lets people create requests and decisions; empty: nothing is bound.",
                "type": "string",
            },
            "requesterBindings": {"description": "Where requesterClusterRole is bound.", "enum": ["Cluster", "Namespaces"]},
            "commonLabels": {"type": "object", "additionalProperties": {"type": "string"}},
            "commonAnnotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    })
}

/// With `BLESS=1` in the environment the file is rewritten.
#[test]
fn the_schema_of_jit_access_is_that_of_the_kinds() {
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(&wanted()).unwrap();
        std::fs::write(root().join(FILE), format!("{text}\n")).unwrap();
    }
    let stored: Value = serde_json::from_str(&file(FILE)).unwrap();
    assert!(stored == wanted(), "{FILE} differs from the kinds; write it again with BLESS=1 cargo test --test charts");
}
