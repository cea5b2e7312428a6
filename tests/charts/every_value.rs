//! Every value changes what is rendered. A value without an effect would be a promise that the chart does not keep.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::render::{file, try_render};

/// A value by its path, another value for it, and the values with which it has an effect.
type Row = (&'static str, Value, Value);

fn monitor(name: &'static str) -> Value {
    json!({"metrics": {name: {"enabled": true}}})
}

#[allow(clippy::too_many_lines, reason = "one row for each value")]
fn operator() -> Vec<Row> {
    let nothing = || json!({});
    let policies = || json!({"networkPolicy": {"enabled": true}});
    let notify = || json!({"notify": {"enabled": true}});
    let client_ca = || json!({"webhook": {"clientCA": {"configMap": "ca"}}});
    let mut rows = vec![
        ("global.imageRegistry", json!("r.example.com"), nothing()),
        ("global.imagePullSecrets", json!([{"name": "x"}]), nothing()),
        ("nameOverride", json!("other"), nothing()),
        ("fullnameOverride", json!("other"), nothing()),
        ("commonLabels", json!({"a": "b"}), nothing()),
        ("commonAnnotations", json!({"a": "b"}), nothing()),
        ("image.registry", json!("r.example.com"), nothing()),
        ("image.repository", json!("other"), nothing()),
        ("image.tag", json!("v2"), nothing()),
        ("image.digest", json!(format!("sha256:{}", "0".repeat(64))), nothing()),
        ("image.pullPolicy", json!("Always"), nothing()),
        ("imagePullSecrets", json!([{"name": "x"}]), nothing()),
        ("bindableRoles.clusterRoles", json!(["edit"]), nothing()),
        ("bindableRoles.roles", json!(["debug"]), nothing()),
        ("maxGrant", json!("1h"), nothing()),
        ("systemNamespaces", json!(["kube-system"]), nothing()),
        ("identity.prefixes", json!(["oidc:"]), nothing()),
        ("identity.aliases", json!({"ann-admin": "ann"}), nothing()),
        ("guardedLabels.keys", json!(["team"]), nothing()),
        ("guardedLabels.prefixes", json!([]), nothing()),
        ("admissionGuards.mayAnswerFirst", json!(["x"]), nothing()),
        ("clusterControllers", json!(["x"]), nothing()),
        ("crds.enabled", json!(false), nothing()),
        ("crds.keep", json!(false), nothing()),
        ("crds.annotations", json!({"a": "b"}), nothing()),
        ("rbac.aggregateToView", json!(true), nothing()),
        ("logFormat", json!("text"), nothing()),
        ("extraEnv", json!([{"name": "RUST_LOG", "value": "debug"}]), nothing()),
        ("controller.replicas", json!(3), nothing()),
        ("controller.resources", json!({"limits": {"memory": "1Gi"}}), nothing()),
        ("controller.podDisruptionBudget.enabled", json!(false), nothing()),
        ("controller.podDisruptionBudget.maxUnavailable", json!("50%"), nothing()),
        ("controller.podAnnotations", json!({"a": "b"}), nothing()),
        ("controller.podLabels", json!({"a": "b"}), nothing()),
        ("controller.serviceAccount.create", json!(false), json!({"controller": {"serviceAccount": {"name": "x"}}})),
        ("controller.serviceAccount.name", json!("x"), nothing()),
        ("controller.serviceAccount.annotations", json!({"a": "b"}), nothing()),
        ("controller.podSpec", json!({"priorityClassName": "x"}), nothing()),
        ("webhook.replicas", json!(3), nothing()),
        ("webhook.timeoutSeconds", json!(3), nothing()),
        ("webhook.port", json!(10250), nothing()),
        ("webhook.healthPort", json!(8081), nothing()),
        ("webhook.hostNetwork", json!(true), nothing()),
        ("webhook.clientCA.configMap", json!("ca"), nothing()),
        ("webhook.clientCA.secret", json!("ca"), nothing()),
        ("webhook.clientCA.key", json!("x"), client_ca()),
        ("webhook.clientCA.commonNames", json!(["x"]), client_ca()),
        ("webhook.annotations", json!({"a": "b"}), nothing()),
        ("webhook.resources", json!({"limits": {"memory": "1Gi"}}), nothing()),
        ("webhook.podDisruptionBudget.enabled", json!(false), nothing()),
        ("webhook.podDisruptionBudget.maxUnavailable", json!("50%"), nothing()),
        ("webhook.podAnnotations", json!({"a": "b"}), nothing()),
        ("webhook.podLabels", json!({"a": "b"}), nothing()),
        ("webhook.serviceAccount.create", json!(false), json!({"webhook": {"serviceAccount": {"name": "x"}}})),
        ("webhook.serviceAccount.name", json!("x"), nothing()),
        ("webhook.serviceAccount.annotations", json!({"a": "b"}), nothing()),
        ("webhook.podSpec", json!({"priorityClassName": "x"}), nothing()),
        ("webhook.certManager.enabled", json!(true), nothing()),
        ("webhook.certManager.injector", json!("x"), json!({"webhook": {"certManager": {"enabled": true}}})),
        ("notify.enabled", json!(true), nothing()),
        ("notify.cluster", json!("x"), notify()),
        ("notify.consoleUrl", json!("https://jit.example.com"), notify()),
        ("notify.secrets", json!(["x"]), notify()),
        ("notify.allowedHosts", json!(["x.example.com"]), notify()),
        ("notify.plainHosts", json!(["x.example.com"]), notify()),
        ("notify.allowedCIDRs", json!(["10.0.0.0/8"]), notify()),
        ("notify.authorities.configMap", json!("ca"), notify()),
        ("notify.authorities.secret", json!("ca"), notify()),
        ("notify.authorities.key", json!("x"), json!({"notify": {"enabled": true, "authorities": {"configMap": "ca"}}})),
        ("notify.addresses.receiver", json!("mail"), notify()),
        ("notify.addresses.users", json!([{"pattern": "(.*)", "mail": "$1@example.com"}]), notify()),
        ("notify.addresses.groups", json!({"leads": [{"name": "mail", "to": ["leads@example.com"]}]}), notify()),
        ("notify.addresses.admins", json!([{"name": "chat"}]), notify()),
        ("notify.defaultRules", json!({"Notification_Admin_EndUser_Assignment": {"enabled": false}}), notify()),
        ("notify.activeAssignments", json!(false), notify()),
        ("notify.egressPorts", json!([2525]), json!({"notify": {"enabled": true}, "networkPolicy": {"enabled": true}})),
        ("notify.resources", json!({"limits": {"memory": "1Gi"}}), notify()),
        ("notify.podAnnotations", json!({"a": "b"}), notify()),
        ("notify.podLabels", json!({"a": "b"}), notify()),
        ("notify.serviceAccount.create", json!(false), json!({"notify": {"enabled": true, "serviceAccount": {"name": "x"}}})),
        ("notify.serviceAccount.name", json!("x"), notify()),
        ("notify.serviceAccount.annotations", json!({"a": "b"}), notify()),
        ("notify.podSpec", json!({"priorityClassName": "x"}), notify()),
        ("outOfCluster.enabled", json!(true), json!({"outOfCluster": {"webhookUrl": "https://127.0.0.1:9443"}})),
        (
            "outOfCluster.webhookUrl",
            json!("https://127.0.0.1:9444"),
            json!({"outOfCluster": {"enabled": true, "webhookUrl": "https://127.0.0.1:9443"}}),
        ),
        ("networkPolicy.enabled", json!(true), nothing()),
        ("networkPolicy.webhookFromCIDRs", json!(["10.0.0.0/8"]), policies()),
        ("networkPolicy.metricsFrom", json!([{"podSelector": {}}]), policies()),
        ("networkPolicy.apiServerPorts", json!([443]), policies()),
        ("networkPolicy.egressCIDRs", json!(["10.0.0.0/8"]), policies()),
        ("flowControl.enabled", json!(false), nothing()),
        ("flowControl.nominalConcurrencyShares", json!(30), nothing()),
        ("flowControl.lendablePercent", json!(0), nothing()),
        ("flowControl.matchingPrecedence", json!(500), nothing()),
        ("uninstall.revoke", json!(false), nothing()),
        ("uninstall.activeDeadlineSeconds", json!(120), nothing()),
        ("openshift.enabled", json!(true), nothing()),
        ("podSecurityContext", json!({"runAsUser": 1000}), nothing()),
        ("securityContext", json!({"readOnlyRootFilesystem": false}), nothing()),
        ("test.enabled", json!(false), nothing()),
        ("test.podSpec", json!({"priorityClassName": "x"}), nothing()),
        ("extraObjects", json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}]), nothing()),
    ];
    rows.extend(record());
    rows.extend(monitors());
    rows.extend(alerts_and_dashboard());
    rows
}

/// The values of the audit log.
fn record() -> Vec<Row> {
    let on = || json!({"record": {"enabled": true, "keySecret": "key"}});
    let policies = || json!({"record": {"enabled": true, "keySecret": "key"}, "networkPolicy": {"enabled": true}});
    let named = || json!({"record": {"enabled": true, "keySecret": "key", "serviceAccount": {"name": "x"}}});
    vec![
        ("record.enabled", json!(true), json!({"record": {"keySecret": "key"}})),
        ("record.url", json!("s3://audit/log"), on()),
        ("record.keySecret", json!("other"), on()),
        ("record.retention", json!("8760h"), on()),
        ("record.requireWithin", json!("5m"), on()),
        ("record.witnesses", json!([{"url": "https://w.example.com", "key": "w+1+A"}]), on()),
        ("record.persistence.existingClaim", json!("claim"), on()),
        ("record.persistence.size", json!("1Gi"), on()),
        ("record.persistence.storageClass", json!("fast"), on()),
        ("record.persistence.accessModes", json!(["ReadWriteOncePod"]), on()),
        ("record.persistence.annotations", json!({"a": "b"}), on()),
        ("record.persistence.keep", json!(false), on()),
        ("record.envFrom", json!([{"secretRef": {"name": "x"}}]), on()),
        ("record.egress", json!([{"ports": [{"port": 443}]}]), policies()),
        ("record.resources", json!({"limits": {"memory": "1Gi"}}), on()),
        ("record.podAnnotations", json!({"a": "b"}), on()),
        ("record.podLabels", json!({"a": "b"}), on()),
        ("record.serviceAccount.create", json!(false), named()),
        ("record.serviceAccount.name", json!("x"), on()),
        ("record.serviceAccount.annotations", json!({"a": "b"}), on()),
        ("record.podSpec", json!({"priorityClassName": "x"}), on()),
    ]
}

/// The values of the monitors.
fn monitors() -> Vec<Row> {
    let nothing = || json!({});
    vec![
        ("metrics.renderMode", json!("skipIfMissing"), monitor("podMonitor")),
        ("metrics.service.enabled", json!(true), nothing()),
        ("metrics.service.annotations", json!({"a": "b"}), json!({"metrics": {"service": {"enabled": true}}})),
        ("metrics.podMonitor.enabled", json!(true), nothing()),
        ("metrics.podMonitor.labels", json!({"a": "b"}), monitor("podMonitor")),
        ("metrics.podMonitor.annotations", json!({"a": "b"}), monitor("podMonitor")),
        ("metrics.podMonitor.interval", json!("30s"), monitor("podMonitor")),
        ("metrics.podMonitor.scrapeTimeout", json!("5s"), monitor("podMonitor")),
        ("metrics.podMonitor.relabelings", json!([{"action": "drop"}]), monitor("podMonitor")),
        ("metrics.podMonitor.metricRelabelings", json!([{"action": "drop"}]), monitor("podMonitor")),
        ("metrics.serviceMonitor.enabled", json!(true), nothing()),
        ("metrics.serviceMonitor.labels", json!({"a": "b"}), monitor("serviceMonitor")),
        ("metrics.serviceMonitor.annotations", json!({"a": "b"}), monitor("serviceMonitor")),
        ("metrics.serviceMonitor.interval", json!("30s"), monitor("serviceMonitor")),
        ("metrics.serviceMonitor.scrapeTimeout", json!("5s"), monitor("serviceMonitor")),
        ("metrics.serviceMonitor.relabelings", json!([{"action": "drop"}]), monitor("serviceMonitor")),
        ("metrics.serviceMonitor.metricRelabelings", json!([{"action": "drop"}]), monitor("serviceMonitor")),
    ]
}

/// The values of the alerts and of the dashboard.
fn alerts_and_dashboard() -> Vec<Row> {
    let mut rows = vec![
        ("metrics.prometheusRule.enabled", json!(true), json!({})),
        ("metrics.prometheusRule.labels", json!({"a": "b"}), monitor("prometheusRule")),
        ("metrics.prometheusRule.annotations", json!({"a": "b"}), monitor("prometheusRule")),
        ("metrics.prometheusRule.interval", json!("30s"), monitor("prometheusRule")),
        ("metrics.prometheusRule.alertLabels", json!({"a": "b"}), monitor("prometheusRule")),
        ("metrics.prometheusRule.runbookUrl", json!("https://runbooks.example.com"), monitor("prometheusRule")),
        ("metrics.grafanaDashboard.enabled", json!(true), json!({})),
        ("metrics.grafanaDashboard.namespace", json!("monitoring"), monitor("grafanaDashboard")),
        ("metrics.grafanaDashboard.labels", json!({"a": "b"}), monitor("grafanaDashboard")),
        ("metrics.grafanaDashboard.annotations", json!({"a": "b"}), monitor("grafanaDashboard")),
    ];
    let values: Value = serde_saphyr::from_str(&file("charts/jit-rbac/values.yaml")).unwrap();
    let alerts = values["metrics"]["prometheusRule"]["alerts"].as_object().unwrap();
    let row = |alert: &str, key: &str| -> Row {
        let value = match key {
            "enabled" => json!(false),
            "severity" => json!("page"),
            "threshold" => json!(42),
            _ => json!("42m"),
        };
        (format!("metrics.prometheusRule.alerts.{alert}.{key}").leak(), value, monitor("prometheusRule"))
    };
    rows.extend(alerts.iter().flat_map(|(alert, keys)| keys.as_object().unwrap().keys().map(move |key| row(alert, key))));
    rows
}

fn access() -> Vec<Row> {
    let policies = || json!({"a": {"approval": {"automatic": {}}, "revokers": {"users": ["ann"]}}});
    let eligibility = || {
        json!({
            "subjects": [{"kind": "User", "name": "ann"}], "roleRef": {"kind": "ClusterRole", "name": "view"},
            "namespaces": {"names": ["payments"]}, "policyRef": {"name": "a"}, "maxDuration": "1h",
        })
    };
    let all = || json!({"policies": policies(), "eligibilities": {"one": eligibility()}});
    vec![
        ("policies", policies(), json!({})),
        ("eligibilities", json!({"one": eligibility()}), json!({"policies": policies()})),
        // An eligibility for a policy that is neither here nor there is an error.
        ("externalPolicies", json!(["a"]), json!({"eligibilities": {"one": eligibility()}})),
        ("requesterClusterRole", json!("other"), all()),
        ("requesterBindings", json!("Namespaces"), all()),
        ("commonLabels", json!({"a": "b"}), all()),
        ("commonAnnotations", json!({"a": "b"}), all()),
    ]
}

/// Adds the paths of all values: those of the schema below which it has no further properties.
pub fn leaf(root: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    let schema = schema["$ref"].as_str().and_then(|reference| root.pointer(&reference[1..])).unwrap_or(schema);
    // The specs of the kinds, which are not values of the chart.
    let Some(properties) = schema["properties"].as_object().filter(|_| schema["type"] == "object") else {
        found.insert(at.to_owned());
        return;
    };
    for (key, inner) in properties {
        leaf(root, inner, &if at.is_empty() { key.clone() } else { format!("{at}.{key}") }, found);
    }
}

/// Returns the value at a path.
pub fn lookup<'a>(values: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(values, |value, key| value.get(key))
}

/// Returns `base` with another value at a path.
fn with(base: &Value, path: &str, value: &Value) -> Value {
    let mut all = base.clone();
    let mut here = &mut all;
    for key in path.split('.') {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        here = &mut here[key];
    }
    *here = value.clone();
    all
}

/// The rendering as text, or Helm's error.
fn rendering(chart: &str, values: &Value) -> Result<String, String> {
    try_render("jit-rbac", chart, values).map(|rendered| json!(rendered.0).to_string())
}

#[test]
fn every_value_changes_the_rendering() {
    for (chart, rows) in [("jit-rbac", operator()), ("jit-access", access())] {
        let schema: Value = serde_json::from_str(&file(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let mut known = BTreeSet::new();
        leaf(&schema, &schema, "", &mut known);
        if chart == "jit-access" {
            // There is no image in this chart, and it has no globals of its own.
            known.remove("global");
        }
        let listed: BTreeSet<String> = rows.iter().map(|(path, _, _)| (*path).to_owned()).collect();
        assert_eq!(listed, known, "{chart}: add a row to this file for each value of values.schema.json");
        let faults: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = rows.chunks(rows.len().div_ceil(4)).map(|rows| scope.spawn(move || faults(chart, rows))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert!(faults.is_empty(), "{chart}:\n{}", faults.join("\n"));
    }
}

fn faults(chart: &str, rows: &[Row]) -> Vec<String> {
    rows.iter()
        .filter_map(|(path, value, context)| {
            let after = match rendering(chart, &with(context, path, value)) {
                Ok(after) => after,
                Err(error) => return Some(format!("{path}: {error}")),
            };
            (rendering(chart, context) == Ok(after)).then(|| format!("{path}: {value} changes nothing"))
        })
        .collect()
}
