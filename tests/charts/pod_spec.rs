//! The values `podSpec`: what they may change in the pods, and what they must not.

use serde_json::{Value, json};

use crate::render::{Rendered, default, items, operator, try_render};

/// The workloads with a value `podSpec`, with kind and name of their object and the name of the container.
const WORKLOADS: [(&str, &str, &str, &str); 3] = [
    ("controller", "Deployment", "jit-rbac-controller", "controller"),
    ("webhook", "Deployment", "jit-rbac-webhook", "webhook"),
    ("test", "Pod", "jit-rbac-test", "check"),
];

fn spec<'a>(rendered: &'a Rendered, kind: &str, name: &str) -> &'a Value {
    let object = &rendered.get(kind, name)["spec"];
    if kind == "Pod" { object } else { &object["template"]["spec"] }
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    items(list).iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name} is not in {list}"))
}

#[test]
fn a_pod_spec_is_merged_over_the_rendered_one() {
    for (workload, kind, name, container) in WORKLOADS {
        let over = json!({
            "priorityClassName": "system-cluster-critical",
            "tolerations": [{"operator": "Exists"}],
            "topologySpreadConstraints": null,
            "enableServiceLinks": true,
            "securityContext": {"runAsUser": 1000},
            "volumes": [{"name": "cache", "emptyDir": {}}],
            "containers": [
                {
                    "name": container,
                    "env": [{"name": "RUST_LOG", "value": "debug"}],
                    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                    "securityContext": {"readOnlyRootFilesystem": false},
                },
                {"name": "sidecar", "image": "sidecar:1"},
            ],
        });
        let rendered = operator(&json!({ workload: {"podSpec": over} }));
        let (before, after) = (spec(default(), kind, name), spec(&rendered, kind, name));
        assert_eq!(after["priorityClassName"], "system-cluster-critical", "{workload}");
        assert_eq!(after["tolerations"], json!([{"operator": "Exists"}]), "{workload}");
        assert_eq!(after["topologySpreadConstraints"], Value::Null, "{workload}");
        assert_eq!(after["enableServiceLinks"], true, "{workload}");
        assert_eq!(after["securityContext"]["runAsUser"], 1000, "{workload}");
        assert_eq!(after["securityContext"]["runAsNonRoot"], true, "{workload}");
        for volume in items(&before["volumes"]) {
            assert_eq!(named(&after["volumes"], volume["name"].as_str().unwrap()), volume, "{workload}");
        }
        assert_eq!(named(&after["volumes"], "cache"), &json!({"name": "cache", "emptyDir": {}}), "{workload}");
        let (old, new) = (named(&before["containers"], container), named(&after["containers"], container));
        for key in ["args", "image", "ports", "livenessProbe", "resources"] {
            assert_eq!(old[key], new[key], "{workload}: {key}");
        }
        let mounts =
            json!([{"name": "config", "mountPath": "/etc/jit-rbac/config", "readOnly": true}, {"name": "cache", "mountPath": "/cache"}]);
        assert_eq!(new["volumeMounts"], mounts, "{workload}");
        assert_eq!(new["securityContext"]["readOnlyRootFilesystem"], false, "{workload}");
        assert_eq!(new["securityContext"]["allowPrivilegeEscalation"], false, "{workload}");
        named(&new["env"], "RUST_LOG");
        assert_eq!(named(&after["containers"], "sidecar")["image"], "sidecar:1", "{workload}");
        assert_eq!((&before["serviceAccountName"], &json!(true)), (&after["serviceAccountName"], &after["automountServiceAccountToken"]));
    }
}

#[test]
fn variables_and_ports_are_merged_by_name() {
    let over = json!({"containers": [{
        "name": "webhook", "env": [{"name": "POD_NAME", "value": "one"}], "ports": [{"name": "webhook", "hostPort": 9443}],
    }]});
    let rendered = operator(&json!({"webhook": {"podSpec": over}}));
    let container = &spec(&rendered, "Deployment", "jit-rbac-webhook")["containers"][0];
    assert_eq!(container["env"], json!([{"name": "POD_NAME", "value": "one"}]), "a variable has a value or a source, not both");
    let ports = json!([{"name": "webhook", "containerPort": 9443, "hostPort": 9443}, {"name": "health", "containerPort": 8080}]);
    assert_eq!(container["ports"], ports);
}

/// Without its ServiceAccount, its arguments or its configuration a process would fail, or run with the permissions of another account.
#[test]
fn a_pod_spec_cannot_drop_what_the_process_needs() {
    for (workload, _, _, container) in WORKLOADS {
        let account = "the process needs the token of its own ServiceAccount";
        for (over, said) in [
            (json!({"serviceAccountName": "default"}), account),
            (json!({"serviceAccountName": null}), account),
            (json!({"serviceAccount": "default"}), account),
            (json!({"automountServiceAccountToken": false}), account),
            (json!({"volumes": [{"name": "config", "emptyDir": {}}]}), "the volume 'config' is the chart's own"),
            (json!({"volumes": null}), "must be a list"),
            (json!({"volumes": {"config": null}}), "must be a list"),
            (json!({"containers": null}), "must be a list"),
            (json!({"containers": [{"image": "x"}]}), "every item needs a name"),
            (json!({"containers": [{"name": container, "args": []}]}), "args of the container"),
            (json!({"containers": [{"name": container, "command": ["x"]}]}), "command of the container"),
            (
                json!({"containers": [{"name": container, "volumeMounts": [{"name": "x", "mountPath": "/etc/jit-rbac/config"}]}]}),
                "has the chart's own volumes at /etc/jit-rbac/config",
            ),
            (json!({"containers": [{"name": container, "volumeMounts": null}]}), "volumeMounts must be a list"),
        ] {
            match try_render("jit-rbac", "jit-rbac", &json!({ workload: {"podSpec": over} })) {
                Ok(rendered) => {
                    // Helm drops some nulls before the chart sees them; then nothing is changed.
                    let all = |rendered: &Rendered| rendered.0.iter().map(|object| object["spec"].clone()).collect::<Vec<_>>();
                    assert!(over.to_string().contains("null") && all(&rendered) == all(default()), "{workload}: {over} was accepted");
                }
                Err(error) => assert!(error.contains(said) && error.contains(&format!("{workload}.podSpec")), "{over}: {error}"),
            }
        }
    }
}

#[test]
fn in_the_network_of_the_nodes_each_node_has_one_pod_and_its_cluster_dns() {
    let rendered = operator(&json!({"webhook": {"hostNetwork": true, "port": 10260, "healthPort": 10261}}));
    let deployment = &rendered.get("Deployment", "jit-rbac-webhook")["spec"];
    let pod = &deployment["template"]["spec"];
    assert_eq!((&pod["hostNetwork"], &pod["dnsPolicy"]), (&json!(true), &json!("ClusterFirstWithHostNet")));
    // Two pods with the same port cannot be on one node, so a new one may have to wait for the end of an old one.
    assert_eq!(deployment["strategy"]["rollingUpdate"], json!({"maxUnavailable": 1, "maxSurge": 0}));
    let args = pod["containers"][0]["args"].to_string();
    assert!(args.contains("--address=[::]:10260") && args.contains("--health-address=[::]:10261"), "{args}");
    let ports = json!([{"name": "webhook", "containerPort": 10260}, {"name": "health", "containerPort": 10261}]);
    assert_eq!(pod["containers"][0]["ports"], ports);
    let controller = &rendered.get("Deployment", "jit-rbac-controller")["spec"]["template"]["spec"];
    assert_eq!(controller["hostNetwork"], Value::Null);
}

/// The API server calls the Service, which leads to the port by its name.
#[test]
fn another_port_of_the_webhook_changes_no_guard() {
    let rendered = operator(&json!({"webhook": {"port": 10250}}));
    let guards = |rendered: &Rendered| rendered.get("ConfigMap", "jit-rbac-config")["data"].clone();
    assert_eq!(guards(&rendered), guards(default()));
    assert_eq!(rendered.only("Service")["spec"], default().only("Service")["spec"]);
}

#[test]
fn t26_a_client_ca_is_mounted_and_named_to_the_webhook() {
    for (source, volume) in [
        (
            json!({"configMap": "ca", "key": "bundle.pem"}),
            json!({"configMap": {"name": "ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}}),
        ),
        (json!({"secret": "ca"}), json!({"secret": {"secretName": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}})),
    ] {
        let mut ca = source.clone();
        ca["commonNames"] = json!(["kube-apiserver"]);
        let rendered = operator(&json!({"webhook": {"clientCA": ca}}));
        let pod = spec(&rendered, "Deployment", "jit-rbac-webhook");
        let mut wanted = volume;
        wanted["name"] = json!("client-ca");
        assert_eq!(named(&pod["volumes"], "client-ca"), &wanted);
        let container = &pod["containers"][0];
        assert_eq!(named(&container["volumeMounts"], "client-ca")["mountPath"], "/etc/jit-rbac/client-ca");
        let args = container["args"].to_string();
        assert!(args.contains("\"--client-ca=/etc/jit-rbac/client-ca/ca.crt\",\"--client-name=kube-apiserver\""), "{args}");
    }
    assert!(!spec(default(), "Deployment", "jit-rbac-webhook").to_string().contains("client-ca"));
}

/// The admission policies recognize the operator and the webhook by their user names.
#[test]
fn t24_the_names_of_the_service_accounts_are_the_same_everywhere() {
    let values = json!({
        "controller": {"serviceAccount": {"name": "granter", "annotations": {"a": "b"}}},
        "webhook": {"serviceAccount": {"create": false, "name": "reviewer"}},
    });
    let rendered = operator(&values);
    assert_eq!(rendered.get("ServiceAccount", "granter")["metadata"]["annotations"], json!({"a": "b"}));
    assert!(rendered.find("ServiceAccount", "reviewer").is_none());
    for (name, account) in [("jit-rbac-controller", "granter"), ("jit-rbac-webhook", "reviewer")] {
        assert_eq!(spec(&rendered, "Deployment", name)["serviceAccountName"], account);
        for kind in ["ClusterRoleBinding", "RoleBinding"] {
            assert_eq!(
                rendered.get(kind, name)["subjects"],
                json!([{"kind": "ServiceAccount", "name": account, "namespace": "jit-system"}])
            );
        }
    }
    let data = &rendered.get("ConfigMap", "jit-rbac-config")["data"];
    let config: jit_rbac::config::Config = serde_json::from_str(data["config.json"].as_str().unwrap()).unwrap();
    assert_eq!((&*config.controller.service_account, &*config.webhook.service_account), ("granter", "reviewer"));
    assert_eq!(config.operator(), "system:serviceaccount:jit-system:granter");
    let (mut operators, mut webhooks) = (0, 0);
    for object in &rendered.0 {
        let text = object.to_string();
        operators += text.matches("system:serviceaccount:jit-system:granter").count();
        webhooks += text.matches("system:serviceaccount:jit-system:reviewer").count();
        for other in ["controller", "webhook"] {
            assert!(!text.contains(&format!("system:serviceaccount:jit-system:jit-rbac-{other}")), "{}", object["metadata"]["name"]);
        }
    }
    assert!(operators > 5 && webhooks > 0, "{operators} {webhooks}");
    for object in &rendered.0 {
        assert!(!names_default_account(object), "{} {}", object["kind"], object["metadata"]["name"]);
    }
}

/// Whether a subject anywhere in the object is an account of the default names.
fn names_default_account(value: &Value) -> bool {
    let default = |name: &Value| ["jit-rbac-controller", "jit-rbac-webhook"].iter().any(|account| name == account);
    match value {
        Value::Object(map) => {
            let account = value["kind"] == "ServiceAccount" && (default(&value["name"]) || default(&value["serviceAccount"]["name"]));
            account || default(&value["serviceAccountName"]) || map.values().any(names_default_account)
        }
        Value::Array(items) => items.iter().any(names_default_account),
        _ => false,
    }
}
