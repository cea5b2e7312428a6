//! `PodMonitor`, `ServiceMonitor` and the Service for /metrics.

use serde_json::{Value, json};

use crate::render::{default, items, operator, texts, try_render, try_render_with};

const KIND: [(&str, &str, &str); 2] =
    [("podMonitor", "PodMonitor", "podMetricsEndpoints"), ("serviceMonitor", "ServiceMonitor", "endpoints")];

#[test]
fn a_monitor_finds_the_port_of_both_processes() {
    for (value, kind, endpoints) in KIND {
        assert!(default().all(kind).is_empty());
        let rendered = operator(&json!({"metrics": {value: {
            "enabled": true, "labels": {"release": "prometheus"}, "annotations": {"a": "b"}, "interval": "30s", "scrapeTimeout": "5s",
            "relabelings": [{"action": "drop"}], "metricRelabelings": [{"action": "keep"}],
        }}}));
        let monitor = rendered.only(kind);
        assert_eq!(
            (&monitor["metadata"]["labels"]["release"], &monitor["metadata"]["annotations"]),
            (&json!("prometheus"), &json!({"a": "b"}))
        );
        let endpoint = json!({
            "port": "health", "path": "/metrics", "interval": "30s", "scrapeTimeout": "5s",
            "relabelings": [{"action": "drop"}], "metricRelabelings": [{"action": "keep"}],
        });
        assert_eq!(monitor["spec"][endpoints], json!([endpoint]));
        assert_eq!(texts(&monitor["spec"]["namespaceSelector"]["matchNames"]), ["jit-system"]);
        // A PodMonitor selects the pods, a ServiceMonitor the Service that selects them.
        let selected = if kind == "PodMonitor" {
            monitor["spec"]["selector"]["matchLabels"].clone()
        } else {
            let service = rendered.get("Service", "jit-rbac-metrics");
            for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(service["metadata"]["labels"][label], *value, "{label}");
            }
            let webhook = rendered.get("Service", "jit-rbac-webhook");
            assert_ne!(webhook["metadata"]["labels"]["app.kubernetes.io/component"], "metrics", "its port is not scraped");
            service["spec"]["selector"].clone()
        };
        for name in ["jit-rbac-controller", "jit-rbac-webhook"] {
            let template = &rendered.get("Deployment", name)["spec"]["template"];
            for (label, value) in selected.as_object().unwrap() {
                assert_eq!(template["metadata"]["labels"][label], *value, "{name}");
            }
            let ports = items(&template["spec"]["containers"][0]["ports"]);
            assert!(ports.iter().any(|port| port["name"] == "health"), "{name}");
        }
        let plain = operator(&json!({"metrics": {value: {"enabled": true}}}));
        assert_eq!(plain.only(kind)["spec"][endpoints], json!([{"port": "health", "path": "/metrics"}]));
    }
}

#[test]
fn the_service_for_metrics_is_created_on_its_own_too() {
    assert!(default().find("Service", "jit-rbac-metrics").is_none());
    let rendered = operator(&json!({"metrics": {"service": {"enabled": true, "annotations": {"prometheus.io/scrape": "true"}}}}));
    let service = rendered.get("Service", "jit-rbac-metrics");
    assert_eq!(service["metadata"]["annotations"], json!({"prometheus.io/scrape": "true"}));
    // Each pod is scraped by its own address, and one that is not ready too.
    assert_eq!((&service["spec"]["clusterIP"], &service["spec"]["publishNotReadyAddresses"]), (&json!("None"), &json!(true)));
    assert!(rendered.all("PodMonitor").is_empty() && rendered.all("ServiceMonitor").is_empty());
}

#[test]
fn the_render_mode_says_what_happens_without_the_kinds() {
    for (value, kind, _) in KIND {
        let values = |mode: &str| json!({"metrics": {"renderMode": mode, value: {"enabled": true}}});
        assert_eq!(operator(&values("alwaysRender")).all(kind).len(), 1);
        assert!(operator(&values("skipIfMissing")).all(kind).is_empty());
        let error = try_render("jit-rbac", "jit-rbac", &values("failIfMissing")).err().unwrap();
        let said = format!("metrics.{value}.enabled needs the kind monitoring.coreos.com/v1 {kind}");
        assert!(error.contains(&said) && error.contains("metrics.renderMode"), "{error}");
        let known = format!("monitoring.coreos.com/v1/{kind}");
        for mode in ["alwaysRender", "skipIfMissing", "failIfMissing"] {
            let rendered = try_render_with("jit-rbac", "jit-rbac", &values(mode), &["--api-versions", &known]).unwrap();
            assert_eq!(rendered.all(kind).len(), 1, "{mode}");
        }
    }
    let error: Value = json!(try_render("jit-rbac", "jit-rbac", &json!({"metrics": {"renderMode": "never"}})).err());
    assert!(error.to_string().contains("at '/metrics/renderMode'"), "{error}");
}
