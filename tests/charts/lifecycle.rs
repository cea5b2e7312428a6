//! The Job that revokes before the chart is uninstalled, and the operator's priority in the API server.

use serde_json::{Value, json};

use crate::render::{NAMESPACE, Rendered, default, items, operator, out_of_cluster, texts};

#[test]
fn f06_uninstalling_revokes_first_with_the_rights_of_the_controller() {
    let job = default().get("Job", "jit-rbac-uninstall");
    let annotations = &job["metadata"]["annotations"];
    assert_eq!(annotations["helm.sh/hook"], "pre-delete");
    assert_eq!(annotations["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded", "a failed Job stays, with its log");
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!((&pod["restartPolicy"], &pod["serviceAccountName"]), (&json!("Never"), &json!("jit-rbac-controller")));
    let container = &pod["containers"][0];
    assert_eq!(container["args"], json!(["revoke-all", "--config=/etc/jit-rbac/config/config.json", "--log-format=json"]));
    assert_eq!(
        container["image"],
        default().get("Deployment", "jit-rbac-controller")["spec"]["template"]["spec"]["containers"][0]["image"]
    );
    // Helm waits for five minutes by default, and must report the Job's failure and not its own time limit.
    assert!(job["spec"]["activeDeadlineSeconds"].as_u64().unwrap() < 300);
    // It must not count as a replica: not for the Service, the Deployments or the disruption budgets.
    let labels = job["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
    for selector in default().0.iter().filter_map(|object| object["spec"]["selector"].as_object()) {
        let selector = selector.get("matchLabels").and_then(Value::as_object).unwrap_or(selector);
        assert!(selector.iter().any(|(key, value)| labels.get(key) != Some(value)), "{selector:?} selects the Job's pod");
    }
}

#[test]
fn the_job_is_where_the_controller_may_be() {
    let controller = json!({
        "priorityClassName": "system-cluster-critical", "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
    });
    let rendered = operator(&json!({
        "controller": {"podSpec": controller}, "extraEnv": [{"name": "RUST_LOG", "value": "debug"}], "uninstall": {"activeDeadlineSeconds": 100},
        "networkPolicy": {"enabled": true},
    }));
    let job = rendered.only("Job");
    let pod = &job["spec"]["template"]["spec"];
    for key in ["priorityClassName", "nodeSelector", "tolerations"] {
        assert_eq!(pod[key], controller[key], "{key}");
    }
    assert_eq!(pod["containers"][0]["env"][1]["name"], "RUST_LOG");
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 100);
    let policy = rendered.get("NetworkPolicy", "jit-rbac-uninstall");
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    for (key, value) in policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels[key], *value, "the policy must select the Job's pod");
    }
    assert_eq!((items(&policy["spec"]["egress"]).len(), &policy["spec"]["ingress"]), (2, &Value::Null));
}

#[test]
fn the_job_can_be_left_out() {
    for values in [out_of_cluster(), json!({"uninstall": {"revoke": false}, "networkPolicy": {"enabled": true}})] {
        let rendered = operator(&values);
        assert!(rendered.all("Job").is_empty() && rendered.find("NetworkPolicy", "jit-rbac-uninstall").is_none(), "{values}");
    }
}

fn matched<'a>(rendered: &'a Rendered, schema: &str) -> &'a Value {
    &rendered.get("FlowSchema", schema)["spec"]
}

#[test]
fn the_operator_has_a_priority_level_of_its_own() {
    let level = &default().get("PriorityLevelConfiguration", "jit-rbac")["spec"];
    assert_eq!(level["type"], "Limited", "users cause calls of the operator, so it must have a limit");
    assert_eq!((&level["limited"]["nominalConcurrencyShares"], &level["limited"]["lendablePercent"]), (&json!(20), &json!(50)));
    let (ends, all) = (matched(default(), "jit-rbac-revocations"), matched(default(), "jit-rbac"));
    for schema in [ends, all] {
        assert_eq!(schema["priorityLevelConfiguration"]["name"], "jit-rbac");
        let precedence = schema["matchingPrecedence"].as_u64().unwrap();
        assert!(precedence < 9_000, "the schema service-accounts would match first");
    }
    assert!(ends["matchingPrecedence"].as_u64() < all["matchingPrecedence"].as_u64());
    let subjects = |schema: &Value| items(&schema["rules"][0]["subjects"]).iter().map(|s| s["serviceAccount"].clone()).collect::<Vec<_>>();
    let [controller, webhook] = ["controller", "webhook"].map(|name| json!({"name": format!("jit-rbac-{name}"), "namespace": NAMESPACE}));
    assert_eq!(subjects(ends), std::slice::from_ref(&controller));
    assert_eq!(subjects(all), [controller, webhook]);
    let rules = items(&ends["rules"][0]["resourceRules"]);
    for verb in ["get", "list", "watch", "patch", "delete"] {
        assert!(texts(&rules[0]["verbs"]).contains(&verb), "{verb}");
    }
    assert_eq!((texts(&rules[0]["resources"]), texts(&rules[1]["resources"])), (vec!["rolebindings"], vec!["leases"]));
}

#[test]
fn its_priority_can_be_changed_and_left_out() {
    let values = json!({"flowControl": {"nominalConcurrencyShares": 7, "lendablePercent": 0, "matchingPrecedence": 600}});
    let rendered = operator(&values);
    let limited = &rendered.only("PriorityLevelConfiguration")["spec"]["limited"];
    assert_eq!((&limited["nominalConcurrencyShares"], &limited["lendablePercent"]), (&json!(7), &json!(0)));
    let precedences: Vec<_> = rendered.all("FlowSchema").iter().map(|schema| schema["spec"]["matchingPrecedence"].clone()).collect();
    assert_eq!(precedences, [600, 601]);
    let without = operator(&json!({"flowControl": {"enabled": false}}));
    assert!(without.all("FlowSchema").is_empty() && without.all("PriorityLevelConfiguration").is_empty());
}
