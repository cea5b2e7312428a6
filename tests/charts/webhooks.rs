//! The webhook configurations.

use api::names::{ADMIN_WEBHOOK, PEOPLE_WEBHOOK};
use serde_json::{Value, json};

use crate::render::{NAMESPACE, Rendered, default, every, items, operator, out_of_cluster};

fn configurations(rendered: &Rendered) -> [&Value; 2] {
    ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"].map(|kind| rendered.get(kind, "jit-rbac"))
}

/// Calls `run` for every webhook of every rendering.
fn for_each(run: impl Fn(&str, &Value)) {
    for (name, rendered) in every() {
        for configuration in configurations(&rendered) {
            let webhooks = items(&configuration["webhooks"]);
            assert_eq!(webhooks.len(), 2, "{name}");
            for webhook in webhooks {
                run(name, webhook);
            }
        }
    }
}

#[test]
fn t43_nothing_that_somebody_writes_leads_past_a_webhook() {
    for_each(|name, webhook| {
        assert_eq!(webhook["failurePolicy"], "Fail", "{name}");
        assert_eq!(webhook["matchPolicy"], "Equivalent", "{name}");
        assert_eq!(webhook["namespaceSelector"], Value::Null, "{name}");
        assert_eq!(webhook["objectSelector"], Value::Null, "{name}");
        let operator = format!("system:serviceaccount:{NAMESPACE}:jit-rbac-controller");
        assert_eq!(
            webhook["matchConditions"],
            json!([{"name": "not-the-operator", "expression": format!("request.userInfo.username != \"{operator}\"")}]),
            "{name}"
        );
    });
}

#[test]
fn t44_webhooks_never_stand_in_the_way_of_an_end() {
    for_each(|name, webhook| {
        assert!(webhook["timeoutSeconds"].as_u64().unwrap() <= 5, "{name}");
        for rule in items(&webhook["rules"]) {
            assert_eq!(rule["apiGroups"], json!(["jitrbac.dev"]), "{name}");
            assert_eq!(rule["operations"], json!(["CREATE", "UPDATE"]), "{name}");
            let resources = rule["resources"].to_string();
            assert!(!resources.contains('/') && !resources.contains('*'), "{name}: {resources}");
        }
    });
}

#[test]
fn t46_a_dry_run_asks_the_webhooks_too() {
    for_each(|name, webhook| assert_eq!(webhook["sideEffects"], "None", "{name}"));
}

#[test]
fn t1_all_four_kinds_are_stamped_and_reviewed() {
    for (configuration, path) in configurations(default()).into_iter().zip(["/mutate", "/validate"]) {
        let mutating = path == "/mutate";
        let seen: Vec<_> = items(&configuration["webhooks"])
            .iter()
            .map(|webhook| {
                assert_eq!(webhook["reinvocationPolicy"], if mutating { json!("IfNeeded") } else { Value::Null });
                let service = json!({"namespace": NAMESPACE, "name": "jit-rbac-webhook", "port": 443, "path": path});
                assert_eq!(webhook["clientConfig"], json!({"service": service}));
                (webhook["name"].clone(), webhook["rules"][0]["resources"].clone(), webhook["rules"][0]["scope"].clone())
            })
            .collect();
        let wanted = [
            (PEOPLE_WEBHOOK, ["roleactivationrequests", "activationdecisions"], "Namespaced"),
            (ADMIN_WEBHOOK, ["roleeligibilities", "approvalpolicies"], "Cluster"),
        ];
        assert_eq!(seen, wanted.map(|(name, resources, scope)| (json!(name), json!(resources), json!(scope))));
    }
}

#[test]
fn out_of_cluster_the_api_server_is_given_urls() {
    let rendered = operator(&out_of_cluster());
    for (configuration, path) in configurations(&rendered).into_iter().zip(["mutate", "validate"]) {
        for webhook in items(&configuration["webhooks"]) {
            assert_eq!(webhook["clientConfig"], json!({"url": format!("https://127.0.0.1:9443/{path}")}));
        }
    }
}

/// Helm sets no field that another writer owns, or an upgrade would revert it. An end-to-end test proves that CA bundles and the Secret's
/// data survive real upgrades.
#[test]
fn an_upgrade_leaves_certificates_alone() {
    for_each(|name, webhook| assert_eq!(webhook["clientConfig"]["caBundle"], Value::Null, "{name}"));
    let secret = default().only("Secret");
    assert_eq!(secret["metadata"]["name"], "jit-rbac-webhook-tls");
    for key in ["data", "stringData", "immutable"] {
        assert_eq!(secret[key], Value::Null);
    }
    assert_eq!(default().0, operator(&json!({})).0, "two renderings differ");
}

#[test]
fn f47_annotations_of_the_configurations_are_a_value() {
    let annotations = json!({"admissions.enforcer/disabled": "true"});
    for configuration in configurations(&operator(&json!({"webhook": {"annotations": annotations}}))) {
        assert_eq!(configuration["metadata"]["annotations"], annotations);
    }
    for configuration in configurations(&operator(&json!({"webhook": {"annotations": annotations, "certManager": {"enabled": true}}}))) {
        assert_eq!(configuration["metadata"]["annotations"]["admissions.enforcer/disabled"], "true");
        assert!(configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"].is_string());
    }
}

#[test]
fn cert_managers_ca_outlives_its_leaves_and_is_injected() {
    let rendered = operator(&json!({"webhook": {"certManager": {"enabled": true}}}));
    let leaf = rendered.get("Certificate", "jit-rbac-webhook-certificate");
    let ca = rendered.get("Certificate", "jit-rbac-webhook-ca");
    assert_eq!((&ca["spec"]["isCA"], &ca["spec"]["duration"]), (&json!(true), &json!("87600h")));
    assert_eq!((&leaf["spec"]["isCA"], &leaf["spec"]["duration"]), (&Value::Null, &json!("2160h")));
    assert_eq!(leaf["spec"]["dnsNames"], json!(["jit-rbac-webhook.jit-system.svc"]));
    let issuer = rendered.get("Issuer", leaf["spec"]["issuerRef"]["name"].as_str().unwrap());
    assert_eq!(issuer["spec"]["ca"]["secretName"], ca["spec"]["secretName"]);
    for configuration in configurations(&rendered) {
        let annotation = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
        assert_eq!(annotation, "jit-system/jit-rbac-webhook-certificate");
    }
    assert!(rendered.all("Secret").is_empty());
}
