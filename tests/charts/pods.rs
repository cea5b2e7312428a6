//! Deployments and the objects around them.

use api::Duration;
use jit_rbac::config::Config;
use serde_json::{Value, json};

use crate::render::{Rendered, default, every, items, operator, out_of_cluster, texts, try_render};

const DEPLOYMENTS: [&str; 2] = ["jit-rbac-controller", "jit-rbac-webhook"];

/// The specs of all pods, that of `helm test` among them.
fn pods(rendered: &Rendered) -> Vec<&Value> {
    let workloads = rendered.all("Deployment").into_iter().chain(rendered.all("Job"));
    let templates = workloads.map(|workload| &workload["spec"]["template"]["spec"]);
    templates.chain(rendered.all("Pod").into_iter().map(|pod| &pod["spec"])).collect()
}

#[test]
fn t24_pods_satisfy_the_restricted_standard() {
    for (name, rendered) in every() {
        for pod in pods(&rendered) {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}), "{name}");
            for key in ["hostNetwork", "hostPID", "hostIPC"] {
                assert_eq!(pod[key], Value::Null, "{name}");
            }
            for volume in items(&pod["volumes"]) {
                assert!(volume["configMap"].is_object() || volume["secret"].is_object(), "{name}: {volume}");
            }
            assert_eq!(items(&pod["containers"]).len(), 1, "{name}");
            let security = &pod["containers"][0]["securityContext"];
            let wanted = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(*security, wanted, "{name}");
        }
    }
}

#[test]
fn processes_are_started_as_the_program_reads_it() {
    let args = |name: &str| default().get("Deployment", name)["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let config = "--config=/etc/jit-rbac/config/config.json";
    let health = "--health-address=[::]:8080";
    let log = "--log-format=json";
    assert_eq!(args(DEPLOYMENTS[0]), json!(["controller", config, health, log]));
    assert_eq!(args(DEPLOYMENTS[1]), json!(["webhook", config, "--address=[::]:9443", health, log]));
    for name in DEPLOYMENTS {
        let deployment = default().get("Deployment", name);
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(deployment["spec"]["replicas"], 2);
        assert_eq!(pod["serviceAccountName"], name);
        assert_eq!(container["image"], "jit-rbac:0.1.0");
        assert_eq!(container["env"][0], json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}));
        assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/livez", "port": "health"}));
        assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "health"}));
        assert_eq!(deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"], name.rsplit('-').next().unwrap());
    }
    let service = default().only("Service");
    assert_eq!(service["metadata"]["name"], DEPLOYMENTS[1]);
    assert_eq!(service["spec"]["ports"], json!([{"name": "webhook", "port": 443, "targetPort": "webhook"}]));
    assert_eq!(service["spec"]["selector"], default().get("Deployment", DEPLOYMENTS[1])["spec"]["selector"]["matchLabels"]);
}

#[test]
fn both_processes_read_this_configuration() {
    let config = |values: Value| {
        let rendered = operator(&values);
        let text = rendered.get("ConfigMap", "jit-rbac-config")["data"]["config.json"].as_str().unwrap().to_owned();
        // Parsed by the program's own type, which denies unknown fields.
        serde_json::from_str::<Config>(&text).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let own = |host: &str| json!({"selfManaged": {"secret": "jit-rbac-webhook-tls", "dnsNames": [host]}});
    let wanted = json!({
        "operatorNamespace": "jit-system",
        "controller": {"serviceAccount": "jit-rbac-controller", "lease": "jit-rbac-controller"},
        "webhook": {
            "serviceAccount": "jit-rbac-webhook",
            "certificate": own("jit-rbac-webhook.jit-system.svc"),
            "mutatingConfiguration": "jit-rbac",
            "validatingConfiguration": "jit-rbac",
        },
        "maxGrant": "24h", "systemNamespaces": [],
        "identity": {"prefixes": [], "aliases": {}},
        "guardedLabels": {"keys": [], "prefixes": ["reach.jitrbac.dev/"]},
        "guards": {"mayAnswerFirst": []},
    });
    assert_eq!(config(json!({})), wanted);
    assert!("24h".parse::<Duration>().is_ok());
    assert_eq!(config(out_of_cluster())["webhook"]["certificate"], own("127.0.0.1"));
    let managed = config(json!({"webhook": {"certManager": {"enabled": true}}}));
    assert_eq!(managed["webhook"]["certificate"], json!({"directory": "/etc/jit-rbac/tls"}));
    let identity = json!({"prefixes": ["oidc:"], "aliases": {"ann-admin": "ann"}});
    let set = config(json!({"maxGrant": "1h30m", "identity": identity}));
    assert_eq!((&set["maxGrant"], &set["identity"]), (&json!("1h30m"), &identity));
}

#[test]
fn f08_the_chart_names_whom_a_probe_may_be_answered_by() {
    let rendered = operator(&json!({"admissionGuards": {"mayAnswerFirst": ["require-labels", "validate.example.com"]}}));
    let text = rendered.get("ConfigMap", "jit-rbac-config")["data"]["config.json"].as_str().unwrap().to_owned();
    let config: Config = serde_json::from_str(&text).unwrap();
    assert_eq!(config.guards.may_answer_first, ["require-labels", "validate.example.com"]);
}

#[test]
fn a_changed_configuration_restarts_the_pods() {
    let checksum = |values: Value| {
        operator(&values).get("Deployment", DEPLOYMENTS[0])["spec"]["template"]["metadata"]["annotations"]["checksum/config"].clone()
    };
    let before = checksum(json!({}));
    assert_eq!(before, checksum(json!({"controller": {"replicas": 3}})));
    assert_ne!(before, checksum(json!({"maxGrant": "1h"})));
    assert_ne!(before, checksum(json!({"webhook": {"timeoutSeconds": 3}})), "the expected content of the guards");
}

#[test]
fn out_of_cluster_there_are_identities_and_rights_but_no_pods() {
    let rendered = operator(&json!({
        "outOfCluster": {"enabled": true, "webhookUrl": "https://127.0.0.1:9443"}, "networkPolicy": {"enabled": true},
        "metrics": {"podMonitor": {"enabled": true}},
    }));
    for kind in ["Deployment", "Pod", "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "Job"] {
        assert!(rendered.all(kind).is_empty(), "{kind}");
    }
    assert_eq!(rendered.all("ServiceAccount").len(), 2);
    for kind in ["ClusterRole", "ValidatingAdmissionPolicy", "ConfigMap", "Secret", "CustomResourceDefinition"] {
        assert_eq!(rendered.all(kind).len(), default().all(kind).len(), "{kind}");
    }
}

#[test]
fn a_disruption_budget_never_blocks_the_only_pod() {
    let budgets = |values: Value| operator(&values).all("PodDisruptionBudget").len();
    assert_eq!(budgets(json!({})), 2);
    assert_eq!(budgets(json!({"controller": {"replicas": 1}, "webhook": {"replicas": 1}})), 0);
    assert_eq!(budgets(json!({"controller": {"podDisruptionBudget": {"enabled": false}}})), 1);
}

#[test]
fn a_digest_wins_over_a_tag_and_a_global_registry_over_that_of_the_image() {
    let image = |values: Value| operator(&values).all("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(image(json!({"image": {"repository": "r/i", "tag": "v1"}})), "r/i:v1");
    assert_eq!(image(json!({"image": {"repository": "r/i", "tag": "v1", "digest": digest}})), format!("r/i@{digest}"));
    assert_eq!(image(json!({"image": {"registry": "one.example.com:5000"}})), "one.example.com:5000/jit-rbac:0.1.0");
    let both = json!({"image": {"registry": "one.example.com"}, "global": {"imageRegistry": "two.example.com/mirror"}});
    assert_eq!(image(both), "two.example.com/mirror/jit-rbac:0.1.0");
}

#[test]
fn secrets_for_the_registry_are_those_of_both_values() {
    let rendered = operator(&json!({
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}], "global": {"imagePullSecrets": [{"name": "c"}, {"name": "a"}]},
    }));
    for pod in pods(&rendered) {
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "c"}, {"name": "a"}, {"name": "b"}]));
    }
}

#[test]
fn what_admins_add_arrives() {
    let rendered = operator(&json!({
        "commonLabels": {"team": "platform"},
        "extraEnv": [{"name": "RUST_LOG", "value": "debug"}],
        "controller": {"podLabels": {"c": "d"}, "podAnnotations": {"e": "f"}},
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n",
        ],
    }));
    let template = &rendered.get("Deployment", DEPLOYMENTS[0])["spec"]["template"];
    let (metadata, pod) = (&template["metadata"], &template["spec"]);
    assert_eq!((&metadata["labels"]["team"], &metadata["labels"]["c"]), (&json!("platform"), &json!("d")));
    assert_eq!(metadata["annotations"]["e"], "f");
    assert_eq!(pod["containers"][0]["env"][1]["name"], "RUST_LOG");
    assert!(rendered.find("ConfigMap", "jit-rbac-one").is_some() && rendered.find("ConfigMap", "two").is_some());
    for object in rendered.0.iter().filter(|object| object["metadata"]["labels"]["helm.sh/chart"].is_string()) {
        assert_eq!(object["metadata"]["labels"]["team"], "platform", "{}", object["kind"]);
    }
}

#[test]
fn f70_annotations_for_all_objects_arrive_on_each_and_change_no_guard() {
    let values = json!({"commonAnnotations": {"owner": "platform"}, "webhook": {"certManager": {"enabled": true}}});
    let rendered = operator(&values);
    for object in &rendered.0 {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["owner"], "platform", "{} {}", object["kind"], object["metadata"]["name"]);
        match object["kind"].as_str().unwrap() {
            "CustomResourceDefinition" => assert_eq!(annotations["helm.sh/resource-policy"], "keep"),
            "ValidatingWebhookConfiguration" => assert!(annotations["cert-manager.io/inject-ca-from"].is_string()),
            _ => {}
        }
    }
    let guards = |rendered: &Rendered| rendered.get("ConfigMap", "jit-rbac-config")["data"]["guards.json"].clone();
    assert_eq!(guards(&rendered), guards(&operator(&json!({"webhook": {"certManager": {"enabled": true}}}))));
    let access = try_render(
        "access",
        "jit-access",
        &json!({
            "commonAnnotations": {"owner": "platform"}, "policies": {"a": {"approval": {"automatic": {}}, "revokers": {"users": ["ann"]}}},
        }),
    );
    for object in access.unwrap().0 {
        assert_eq!(object["metadata"]["annotations"]["owner"], "platform", "{}", object["kind"]);
    }
}

#[test]
fn f70_openshift_may_assign_the_ids() {
    let by_hand = json!({"podSecurityContext": {"runAsUser": null, "runAsGroup": null, "fsGroup": null}});
    for values in [by_hand, json!({"openshift": {"enabled": true}})] {
        for pod in pods(&operator(&values)) {
            assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}), "{values}");
        }
    }
}

#[test]
fn t26_f45_a_network_policy_opens_the_webhooks_port_only() {
    let rendered = operator(&json!({"networkPolicy": {"enabled": true, "webhookFromCIDRs": ["10.0.0.1/32"]}}));
    let from = json!([{"ipBlock": {"cidr": "10.0.0.1/32"}}]);
    let controller = &rendered.get("NetworkPolicy", DEPLOYMENTS[0])["spec"];
    let webhook = &rendered.get("NetworkPolicy", DEPLOYMENTS[1])["spec"];
    assert_eq!(items(&controller["ingress"]).len(), 1);
    assert_eq!(webhook["ingress"][1], json!({"ports": [{"port": "webhook", "protocol": "TCP"}], "from": from}));
    for policy in [controller, webhook] {
        assert_eq!(texts(&policy["policyTypes"]), ["Ingress", "Egress"]);
        // A rule for incoming connections must not limit outgoing ones: a controller that cannot reach the API server ends no grant.
        assert_eq!(policy["egress"][1]["to"], Value::Null);
    }
    let limited = operator(&json!({"networkPolicy": {"enabled": true, "egressCIDRs": ["10.0.0.2/32"]}}));
    for name in DEPLOYMENTS {
        let policy = &limited.get("NetworkPolicy", name)["spec"];
        assert_eq!(policy["egress"][1]["to"], json!([{"ipBlock": {"cidr": "10.0.0.2/32"}}]), "{name}");
        assert!(items(&policy["ingress"]).iter().all(|rule| rule["from"] == Value::Null), "{name}");
    }
    let scrapers = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]);
    let scraped = operator(&json!({"networkPolicy": {"enabled": true, "metricsFrom": scrapers}}));
    for name in DEPLOYMENTS {
        let rules = &scraped.get("NetworkPolicy", name)["spec"]["ingress"];
        let health = items(rules).iter().find(|rule| rule["ports"][0]["port"] == "health").expect("a rule for the scrapers");
        assert_eq!(health["from"], scrapers, "{name}");
    }
    assert!(default().all("NetworkPolicy").is_empty());
}

/// A policy that selects a pod denies it everything that no rule allows. The rules name ports of the pods, so they follow `webhook.port`.
#[test]
fn t26_network_policies_select_both_processes_and_allow_named_ports_only() {
    let values = json!({"networkPolicy": {"enabled": true}, "webhook": {"port": 10250, "healthPort": 8081}, "metrics": {"service": {"enabled": true}}});
    let rendered = operator(&values);
    for (name, open) in [(DEPLOYMENTS[0], &["health"][..]), (DEPLOYMENTS[1], &["health", "webhook"])] {
        let policy = &rendered.get("NetworkPolicy", name)["spec"];
        let template = &rendered.get("Deployment", name)["spec"]["template"];
        for (label, value) in policy["podSelector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(template["metadata"]["labels"][label], *value, "{name}");
        }
        let ingress: Vec<_> = items(&policy["ingress"]).iter().flat_map(|rule| items(&rule["ports"])).map(|port| &port["port"]).collect();
        assert_eq!(json!(ingress), json!(open), "{name}");
        let ports = items(&template["spec"]["containers"][0]["ports"]);
        assert_eq!(
            ports.iter().map(|port| port["name"].as_str().unwrap()).filter(|port| open.contains(port)).count(),
            open.len(),
            "{name}"
        );
        let egress: Vec<_> = items(&policy["egress"]).iter().flat_map(|rule| items(&rule["ports"])).map(|port| &port["port"]).collect();
        assert_eq!(json!(egress), json!([53, 53, 443, 6443]), "{name}");
    }
    // The Service for /metrics leads to the same ports of the pods.
    assert_eq!(
        rendered.get("Service", "jit-rbac-metrics")["spec"]["ports"],
        json!([{"name": "health", "port": 8080, "targetPort": "health"}])
    );
}
