//! The alerts and the dashboard: rendered from the values, and only about metrics that exist.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use crate::render::{Rendered, default, file, items, operator, try_render};

/// Renders the alerts with more values for the `PrometheusRule`.
fn rule(values: &Value) -> Rendered {
    let mut rule = json!({"enabled": true});
    rule.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
    operator(&json!({"metrics": {"prometheusRule": rule}}))
}

fn alerts(rendered: &Rendered) -> Vec<Value> {
    let groups = items(&rendered.only("PrometheusRule")["spec"]["groups"]);
    assert_eq!(groups.len(), 1);
    items(&groups[0]["rules"]).to_vec()
}

fn alert(rendered: &Rendered, name: &str) -> Value {
    alerts(rendered).into_iter().find(|alert| alert["alert"] == name).unwrap_or_else(|| panic!("{name} is not rendered"))
}

#[test]
fn alerts_are_rendered_where_the_cluster_has_the_kind() {
    assert!(default().all("PrometheusRule").is_empty());
    let mode =
        |mode: &str| try_render("jit-rbac", "jit-rbac", &json!({"metrics": {"renderMode": mode, "prometheusRule": {"enabled": true}}}));
    assert!(mode("skipIfMissing").unwrap().all("PrometheusRule").is_empty());
    let error = mode("failIfMissing").err().unwrap();
    assert!(error.contains("metrics.prometheusRule.enabled needs the kind monitoring.coreos.com/v1 PrometheusRule"), "{error}");
    assert_eq!(mode("alwaysRender").unwrap().all("PrometheusRule").len(), 1);
}

#[test]
fn every_value_of_the_alerts_arrives() {
    let rendered = rule(&json!({
        "labels": {"release": "prometheus"}, "annotations": {"a": "b"}, "interval": "15s", "alertLabels": {"team": "platform"},
        "runbookUrl": "https://runbooks.example.com/jit-rbac/",
        "alerts": {
            "noLeader": {"for": "10m", "severity": "page"},
            "webhookDown": {"enabled": false},
            "webhookUnexamined": {"threshold": 7, "window": "3h"},
            "certificateExpiry": {"threshold": 1_209_600},
            "reconcileErrors": {"threshold": 0.25},
        },
    }));
    let object = rendered.only("PrometheusRule");
    assert_eq!((&object["metadata"]["labels"]["release"], &object["metadata"]["annotations"]), (&json!("prometheus"), &json!({"a": "b"})));
    assert_eq!(object["spec"]["groups"][0]["interval"], "15s");
    assert!(alerts(&rendered).iter().all(|alert| alert["labels"]["team"] == "platform"));
    assert!(!alerts(&rendered).iter().any(|alert| alert["alert"] == "JitRbacWebhookDown"));
    let leader = alert(&rendered, "JitRbacNoLeader");
    assert_eq!((&leader["for"], &leader["labels"]["severity"]), (&json!("10m"), &json!("page")));
    assert_eq!(leader["annotations"]["runbook_url"], "https://runbooks.example.com/jit-rbac/JitRbacNoLeader.md");
    let unexamined = alert(&rendered, "JitRbacWebhookUnexamined");
    assert!(unexamined["expr"].as_str().unwrap().ends_with("[3h])) > 7"), "{unexamined}");
    assert!(unexamined["annotations"]["description"].as_str().unwrap().contains("in the last 3h"), "{unexamined}");
    assert!(alert(&rendered, "JitRbacCertificateExpiry")["expr"].as_str().unwrap().ends_with("- time() < 1209600"));
    assert!(alert(&rendered, "JitRbacReconcileErrors")["expr"].as_str().unwrap().ends_with("> 0.25"));
}

#[test]
fn every_alert_has_what_people_on_call_need() {
    let rendered = rule(&json!({}));
    let all = alerts(&rendered);
    assert!(all.len() >= 13);
    for alert in &all {
        let name = alert["alert"].as_str().unwrap();
        assert!(name.starts_with("JitRbac"), "{name}");
        assert!(["critical", "warning"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(alert["for"].is_string(), "{name}");
        for text in ["summary", "description"] {
            let text = alert["annotations"][text].as_str().unwrap();
            assert!(text.ends_with('.') && !text.contains("$window") && !text.contains("$threshold"), "{name}: {text}");
        }
        assert!(!alert["expr"].as_str().unwrap().contains(['$', '\n']), "{name}: {}", alert["expr"]);
        assert_eq!(alert["annotations"]["runbook_url"], format!("docs/runbooks/{name}.md"), "{name}");
    }
}

#[test]
fn mistakes_in_the_values_of_alerts_are_named() {
    for (alerts, said) in [
        (json!({"nobody": {}}), "additional properties 'nobody' not allowed"),
        (json!({"noLeader": {"threshold": 1}}), "additional properties 'threshold' not allowed"),
        (json!({"noLeader": {"for": "soon"}}), "'soon' does not match pattern"),
        (json!({"watchStale": {"threshold": null}}), "missing property 'threshold'"),
        (json!({"watchStale": null}), "missing property 'watchStale'"),
    ] {
        let error = try_render("jit-rbac", "jit-rbac", &json!({"metrics": {"prometheusRule": {"alerts": alerts}}})).err().unwrap();
        assert!(error.contains(said), "{alerts}: {error}");
    }
}

/// The dashboard as Grafana's sidecar finds it.
fn dashboard() -> Value {
    let rendered = operator(&json!({"metrics": {"grafanaDashboard": {
        "enabled": true, "namespace": "monitoring", "labels": {"grafana_dashboard": "1"}, "annotations": {"grafana_folder": "Security"},
    }}}));
    let map = rendered.get("ConfigMap", "jit-rbac-dashboard");
    assert_eq!(map["metadata"]["namespace"], "monitoring");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["metadata"]["annotations"]["grafana_folder"], "Security");
    serde_json::from_str(map["data"]["jit-rbac.json"].as_str().unwrap()).unwrap()
}

#[test]
fn the_dashboard_is_one_that_grafana_reads() {
    assert!(default().find("ConfigMap", "jit-rbac-dashboard").is_none());
    let plain = operator(&json!({"metrics": {"grafanaDashboard": {"enabled": true}}}));
    assert_eq!(plain.get("ConfigMap", "jit-rbac-dashboard")["metadata"]["namespace"], "jit-system");
    let dashboard = dashboard();
    assert_eq!((&dashboard["uid"], &dashboard["title"]), (&json!("jit-rbac"), &json!("jit-rbac")));
    let panels = items(&dashboard["panels"]);
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels have different IDs");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(!items(&panel["targets"]).is_empty(), "{}", panel["title"]);
        let position = &panel["gridPos"];
        assert!(position["x"].as_i64().unwrap() + position["w"].as_i64().unwrap() <= 24, "{}", panel["title"]);
    }
}

/// The names of the samples of a metric of docs/metrics.md, which a test of the program writes.
fn samples() -> BTreeSet<String> {
    let docs = file("docs/metrics.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.filter(|(name, _)| name.contains('_'))
        .flat_map(|(name, rest)| {
            let ends = if rest.starts_with("histogram") { &["_bucket", "_sum", "_count"][..] } else { &[""] };
            ends.iter().map(move |end| format!("{name}{end}"))
        })
        .collect()
}

#[test]
fn alerts_dashboard_and_runbooks_use_metrics_that_exist() {
    let samples = samples();
    let names = Regex::new(r"\b(jitrbac|process)_[a-z_]+").unwrap();
    let mut queries: Vec<String> = alerts(&rule(&json!({}))).iter().map(|alert| alert["expr"].as_str().unwrap().to_owned()).collect();
    let dashboard = dashboard();
    let targets = items(&dashboard["panels"]).iter().flat_map(|panel| items(&panel["targets"]));
    queries.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
    for alert in alerts(&rule(&json!({}))) {
        queries.push(file(&format!("docs/runbooks/{}.md", alert["alert"].as_str().unwrap())));
    }
    let mut used = 0;
    for query in &queries {
        for name in names.find_iter(query) {
            used += 1;
            assert!(samples.contains(name.as_str()), "{} is no metric: {query}", name.as_str());
        }
    }
    assert!(used > 60, "the queries were not found");
}
