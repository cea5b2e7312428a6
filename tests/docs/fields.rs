//! Fields that the documentation names, in the form of `kubectl explain`, are in the schema.

use std::collections::BTreeMap;

use jit_rbac::crds;
use serde_json::Value;

use crate::files::{page, pages};

/// Returns code in the form of a field: a kind's short name and a path below it.
fn fields(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).filter(|code| code.split_once('.').is_some_and(|(kind, _)| KINDS.contains(&kind))).collect()
}

const KINDS: [&str; 4] = ["rel", "apol", "rar", "adec"];

/// Returns the schemas by short name.
fn schemas() -> BTreeMap<String, Value> {
    let each = |yaml: &str| {
        let crd: Value = serde_saphyr::from_str(yaml).unwrap();
        let short = crd["spec"]["names"]["shortNames"][0].as_str().unwrap().to_owned();
        (short, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    };
    crds::all().unwrap().iter().map(|(_, yaml)| each(yaml)).collect()
}

fn is_there(schema: &Value, path: &str) -> bool {
    let mut here = schema;
    for part in path.split('.').map(|part| part.trim_end_matches("[]")) {
        let object = if here["items"].is_object() { &here["items"] } else { here };
        here = &object["properties"][part];
    }
    here.is_object() || path.starts_with("metadata")
}

#[test]
fn every_field_that_is_named_is_in_the_schema() {
    let schemas = schemas();
    let mut faults = Vec::new();
    let mut all = pages("docs");
    all.push(page(std::path::Path::new("README.md")));
    let mut count = 0;
    for page in &all {
        for field in fields(&page.text) {
            count += 1;
            let (kind, path) = field.split_once('.').unwrap();
            if !is_there(&schemas[kind], path) {
                faults.push(format!("{}: `{field}` is not a field", page.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 50, "only {count} fields were found");
}
