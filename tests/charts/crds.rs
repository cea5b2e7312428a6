//! The CRDs of the chart.

use jit_rbac::crds;
use serde_json::{Value, json};

use crate::render::{default, file, operator, root, whole};

#[test]
fn the_charts_crds_are_those_of_the_types() {
    let mut wanted = Vec::new();
    for (plural, yaml) in crds::all().unwrap() {
        let path = format!("charts/jit-rbac/files/crds/{plural}.yaml");
        assert!(file(&path) == yaml, "{path} is out of date; write it again with `jit-rbac crds --directory`");
        wanted.push(format!("{plural}.yaml"));
    }
    wanted.sort();
    for folder in ["charts/jit-rbac/files/crds", "crds"] {
        let mut found: Vec<_> =
            std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, wanted, "{folder}");
    }
}

#[test]
fn what_is_rendered_is_the_file_and_stays_at_uninstall() {
    for (plural, yaml) in crds::all().unwrap() {
        let file: Value = serde_saphyr::from_str(&yaml).unwrap();
        let rendered = default().get("CustomResourceDefinition", &format!("{plural}.jitrbac.dev"));
        assert_eq!(rendered["spec"], whole(&file["spec"]), "{plural}");
        assert_eq!(rendered["metadata"]["annotations"], json!({"helm.sh/resource-policy": "keep"}), "{plural}");
    }
    let given_up = operator(&json!({"crds": {"keep": false}}));
    for crd in given_up.all("CustomResourceDefinition") {
        assert_eq!(crd["metadata"]["annotations"], Value::Null);
    }
    assert!(operator(&json!({"crds": {"enabled": false}})).all("CustomResourceDefinition").is_empty());
}
