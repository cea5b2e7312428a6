//! Chart.yaml, and its annotations for Artifact Hub.

use api::{ActivationDecision, ApprovalPolicy, NotificationReceiver, NotificationRule, RoleActivationRequest, RoleEligibility};
use jit_rbac::crds;
use serde_json::{Value, json};

use crate::render::{default, file, items, texts};

/// The annotations of Artifact Hub that have a YAML document, or a text, as their value.
fn annotation(chart: &Value, name: &str) -> Value {
    let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap_or_else(|| panic!("{name} is missing"));
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn chart(name: &str) -> Value {
    serde_saphyr::from_str(&file(&format!("charts/{name}/Chart.yaml"))).unwrap()
}

#[test]
fn both_charts_have_what_artifact_hub_shows() {
    for name in ["jit-rbac", "jit-access"] {
        let chart = chart(name);
        assert_eq!(annotation(&chart, "license"), "Apache-2.0");
        assert_eq!(annotation(&chart, "category"), "security");
        assert_eq!(annotation(&chart, "prerelease"), chart["version"].as_str().unwrap().contains('-'));
        let changes = annotation(&chart, "changes");
        assert!(!items(&changes).is_empty(), "{name}");
        for change in items(&changes) {
            let kind = change["kind"].as_str().unwrap();
            assert!(["added", "changed", "deprecated", "removed", "fixed", "security"].contains(&kind), "{kind}");
            assert!(change["description"].is_string(), "{change}");
        }
        assert!(!texts(&chart["keywords"]).is_empty() && chart["description"].is_string() && chart["kubeVersion"].is_string());
    }
    let operator = chart("jit-rbac");
    assert_eq!(operator["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(annotation(&operator, "operator"), true);
    let images = annotation(&operator, "images");
    let image = &default().all("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(images, json!([{"name": "jit-rbac", "image": image}]));
}

#[test]
fn artifact_hub_is_told_about_every_kind_with_an_example_that_is_one() {
    let chart = chart("jit-rbac");
    let told = annotation(&chart, "crds");
    let mut told: Vec<_> = items(&told).iter().map(|crd| (crd["kind"].clone(), crd["version"].clone(), crd["name"].clone())).collect();
    let mut wanted: Vec<_> = crds::all()
        .unwrap()
        .iter()
        .map(|(plural, yaml)| {
            let crd: Value = serde_saphyr::from_str(yaml).unwrap();
            assert_eq!(crd["metadata"]["name"], format!("{plural}.jitrbac.dev"));
            (crd["spec"]["names"]["kind"].clone(), crd["spec"]["versions"][0]["name"].clone(), crd["metadata"]["name"].clone())
        })
        .collect();
    for all in [&mut told, &mut wanted] {
        all.sort_by_key(|(kind, _, _)| kind.to_string());
    }
    assert_eq!(told, wanted);
    let examples = annotation(&chart, "crdsExamples");
    assert_eq!(items(&examples).len(), wanted.len());
    for example in items(&examples) {
        let read = match example["kind"].as_str().unwrap() {
            "RoleEligibility" => serde_json::from_value::<RoleEligibility>(example.clone()).map(drop),
            "ApprovalPolicy" => serde_json::from_value::<ApprovalPolicy>(example.clone()).map(drop),
            "RoleActivationRequest" => serde_json::from_value::<RoleActivationRequest>(example.clone()).map(drop),
            "NotificationReceiver" => serde_json::from_value::<NotificationReceiver>(example.clone()).map(drop),
            "NotificationRule" => serde_json::from_value::<NotificationRule>(example.clone()).map(drop),
            _ => serde_json::from_value::<ActivationDecision>(example.clone()).map(drop),
        };
        assert!(read.is_ok(), "{example}: {read:?}");
    }
}
