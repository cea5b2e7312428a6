//! Each alert of the chart has a page, and each page an alert.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::files::{page, pages, root};

const FOLDER: &str = "docs/runbooks";
/// The sections of a page, in this order.
const HEADINGS: [&str; 4] = ["## Meaning", "## Impact", "## Diagnosis", "## Remedy"];

fn text(path: &str) -> String {
    page(&root().join(path)).text
}

/// Returns the alerts of the chart, by name: key in the values, and summary.
fn alerts() -> BTreeMap<String, (String, String)> {
    let all: Vec<Value> = serde_saphyr::from_str(&text("charts/jit-rbac/files/alerts.yaml")).unwrap();
    let field = |alert: &Value, name: &str| alert[name].as_str().unwrap().to_owned();
    all.iter().map(|alert| (field(alert, "alert"), (field(alert, "key"), field(alert, "summary")))).collect()
}

#[test]
fn each_alert_has_a_page_and_each_page_an_alert() {
    let named: Vec<String> = pages(FOLDER)
        .iter()
        .filter_map(|page| page.path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    assert_eq!(named, alerts().into_keys().collect::<Vec<_>>());
}

#[test]
fn every_page_has_every_part() {
    for name in alerts().keys() {
        let text = text(&format!("{FOLDER}/{name}.md"));
        assert!(text.starts_with(&format!("# {name}\n")), "{name} has another title");
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, HEADINGS, "{name}");
        let diagnosis = text.split("## Diagnosis").nth(1).and_then(|rest| rest.split("## Remedy").next()).unwrap_or_default();
        assert!(diagnosis.contains("\n$ kubectl "), "{name} has no command for the diagnosis");
    }
}

#[test]
fn the_index_lists_every_alert_with_severity_and_summary() {
    let index = text(&format!("{FOLDER}/README.md"));
    let values: Value = serde_saphyr::from_str(&text("charts/jit-rbac/values.yaml")).unwrap();
    for (name, (key, summary)) in alerts() {
        let severity = values["metrics"]["prometheusRule"]["alerts"][&key]["severity"].as_str().unwrap();
        let row = format!("| [{name}]({name}.md) | {severity} | {} |", summary.trim_end_matches('.'));
        assert!(index.lines().any(|line| line == row), "the index lacks\n{row}");
    }
}
