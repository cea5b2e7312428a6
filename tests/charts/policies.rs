//! The rendered admission policies. The end-to-end tests prove on a real API server what they deny and allow.

use std::collections::BTreeSet;

use api::names;
use jit_rbac::crds;
use serde_json::{Value, json};

use crate::render::{NAMESPACE, Rendered, default, every, file, items, operator, texts, try_render};

pub const NAMES: [&str; 8] = ["approval-policies", "bindings", "decisions", "eligibilities", "guards", "namespaces", "requests", "status"];

fn policies(rendered: &Rendered) -> Vec<&Value> {
    rendered.all("ValidatingAdmissionPolicy")
}

fn policy(name: &str) -> &'static Value {
    default().get("ValidatingAdmissionPolicy", &format!("jit-rbac-{name}"))
}

fn rule(name: &str) -> &'static Value {
    &policy(name)["spec"]["matchConstraints"]["resourceRules"][0]
}

#[test]
fn t43_no_policy_can_be_dodged_by_a_label_or_fails_open() {
    for (name, rendered) in every() {
        let found: Vec<_> = policies(&rendered).iter().map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, NAMES.map(|policy| format!("jit-rbac-{policy}")), "{name}");
        for policy in policies(&rendered) {
            let (id, spec) = (&policy["metadata"]["name"], &policy["spec"]);
            assert_eq!(spec["failurePolicy"], "Fail", "{name} {id}");
            assert_eq!(spec["paramKind"], Value::Null, "{name} {id}");
            for key in ["namespaceSelector", "objectSelector", "excludeResourceRules"] {
                assert_eq!(spec["matchConstraints"][key], Value::Null, "{name} {id}");
            }
            for rule in items(&spec["matchConstraints"]["resourceRules"]) {
                assert_eq!(rule["apiVersions"], json!(["*"]), "{name} {id}: every version");
                assert_eq!(rule["resourceNames"], Value::Null, "{name} {id}: a deletion of all matches no name");
            }
            let binding = rendered.get("ValidatingAdmissionPolicyBinding", id.as_str().unwrap());
            assert_eq!(binding["spec"], json!({"policyName": id, "validationActions": ["Deny"]}), "{name}");
        }
    }
}

/// A match condition exists only where most of the API server's traffic does not concern the product, or for the operator's own status
/// writes. No object's labels can make one false for another user.
#[test]
fn t43_match_conditions_stand_only_where_they_spare_others() {
    for name in NAMES {
        let has = policy(name)["spec"]["matchConditions"] != Value::Null;
        assert_eq!(has, ["bindings", "guards", "status"].contains(&name), "{name}");
    }
    let status = &policy("status")["spec"]["matchConditions"];
    assert_eq!(items(status).len(), 1);
    assert_eq!(
        status[0]["expression"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" "),
        "request.userInfo.username != \"system:serviceaccount:jit-system:jit-rbac-controller\" || \
         'jitrbac.dev/probe' in object.metadata.?labels.orValue({})",
    );
}

#[test]
fn no_policy_names_a_variable_twice() {
    for policy in policies(default()) {
        let names: Vec<&str> = policy["spec"]["variables"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
        let once: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), once.len(), "{}: {names:?}", policy["metadata"]["name"]);
    }
}

#[test]
fn every_refusal_is_forbidden_and_says_why() {
    for name in NAMES {
        for validation in items(&policy(name)["spec"]["validations"]) {
            assert_eq!(validation["reason"], "Forbidden", "{validation}");
            let message = validation["message"].as_str().unwrap();
            assert!(message.len() > 30 && !message.contains('\n') && !message.ends_with('.'), "{message}");
        }
    }
}

/// A policy's audit annotations are made from its validations: every denial has a note in the audit log, and no other write has one.
#[test]
fn t47_every_refusal_leaves_its_word_in_the_audit_log() {
    let words = audit_words();
    let mut used = BTreeSet::new();
    for name in NAMES {
        let spec = &policy(name)["spec"];
        let annotations = items(&spec["auditAnnotations"]);
        let keys: Vec<_> = annotations.iter().map(|annotation| annotation["key"].as_str().unwrap()).collect();
        assert!(keys == ["code"] || keys == ["code", "needs"], "{name}: {keys:?}");
        let text = annotations.iter().map(|annotation| annotation["valueExpression"].as_str().unwrap()).collect::<Vec<_>>().concat();
        // The API server evaluates this expression without an authorizer.
        assert!(!text.contains("authorizer"), "{name}: {text}");
        let text = one_line(&text);
        // The permission to bind is checked in one variable and once per namespace; one word stands for all checks.
        let bind = |validation: &&Value| validation["expression"].as_str().unwrap().contains("variables.binds");
        let validations: Vec<_> = items(&spec["validations"]).iter().filter(|validation| !bind(validation)).collect();
        let branches: Vec<_> = text.split(" ? '").skip(1).map(|rest| rest.split_once('\'').unwrap().0.to_owned()).collect();
        let words = branches.iter().filter(|word| *word != "bind").count();
        assert_eq!(words, validations.len(), "{name}: {branches:?}");
        assert!(!text.contains("variables.binds"), "{name}: that variable calls the authorizer");
        for validation in validations {
            let expression = one_line(validation["expression"].as_str().unwrap());
            let (before, asked) = expression.split_once("authorizer.").unwrap_or((&expression, ""));
            let condition = format!("!({before}{}) ? '", if asked.is_empty() { "" } else { "false" });
            assert!(text.contains(&condition), "{name}: {condition} is not in {text}");
            assert!(validation["code"].is_null() && validation["needs"].is_null(), "{name}: the API server does not have this field");
        }
        used.extend(branches);
    }
    assert_eq!(used, words, "docs/audit-log.md must list the words that the policies write");
}

/// The words in the first column of the table in the docs.
fn audit_words() -> BTreeSet<String> {
    let docs = file("docs/audit-log.md");
    docs.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn t41_every_policy_refuses_everybody_its_own_probe() {
    for name in NAMES {
        let name = format!("jit-rbac-{name}");
        let first = default().get("ValidatingAdmissionPolicy", &name)["spec"]["validations"][0]["expression"].as_str().unwrap();
        assert!(first.contains(&format!("['jitrbac.dev/probe'].orValue('') != '{name}'").replace("['", "[?'")), "{first}");
        assert!(!first.contains("operator"), "{first}");
        assert!(name.len() <= 63, "{name} does not fit into a label");
    }
}

#[test]
fn t23_every_kind_is_covered_with_every_subresource() {
    let plurals: BTreeSet<String> = crds::guarded().unwrap().into_iter().map(|(plural, _)| plural).collect();
    let wanted = plurals.iter().flat_map(|plural| [plural.clone(), format!("{plural}/*")]).collect::<BTreeSet<_>>();
    let covered: BTreeSet<_> = texts(&rule("status")["resources"]).into_iter().map(str::to_owned).collect();
    assert_eq!(covered, wanted);
    let written: BTreeSet<_> = ["requests", "decisions", "eligibilities", "approval-policies"]
        .iter()
        .flat_map(|name| texts(&rule(name)["resources"]))
        .map(str::to_owned)
        .collect();
    assert_eq!(written, plurals);
}

#[test]
fn t58_the_status_of_receivers_has_a_policy_of_its_own() {
    let rendered = operator(&json!({"notify": {"enabled": true, "serviceAccount": {"name": "teller"}}}));
    let policy = rendered.get("ValidatingAdmissionPolicy", "jit-rbac-receiver-status");
    let rules = &policy["spec"]["matchConstraints"]["resourceRules"][0];
    assert_eq!(texts(&rules["resources"]), ["notificationreceivers", "notificationreceivers/*"]);
    assert!(policy["spec"]["matchConditions"].to_string().contains("system:serviceaccount:jit-system:teller"), "{policy}");
    let binding = rendered.get("ValidatingAdmissionPolicyBinding", "jit-rbac-receiver-status");
    assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    // No grant depends on it, so it is no guard.
    assert_eq!(
        rendered.get("ConfigMap", "jit-rbac-config")["data"]["guards.json"],
        default().get("ConfigMap", "jit-rbac-config")["data"]["guards.json"]
    );
}

#[test]
fn t52_deletion_of_records_is_asked_about() {
    for name in ["requests", "decisions", "bindings", "guards"] {
        assert_eq!(rule(name)["operations"], json!(["CREATE", "UPDATE", "DELETE"]), "{name}");
    }
}

#[test]
fn t41_the_guards_are_our_configurations_and_our_kinds() {
    let text = policy("guards")["spec"]["matchConditions"].to_string();
    for (plural, _) in crds::guarded().unwrap() {
        assert!(text.contains(&format!("{plural}.{}", names::GROUP)), "{plural}");
    }
    assert!(text.contains(&domain::guards::expected::api_service().name), "{text}");
    let rules = policy("guards")["spec"]["matchConstraints"]["resourceRules"].to_string();
    for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations", "customresourcedefinitions/*", "apiservices/*"] {
        assert!(rules.contains(resource), "{resource}");
    }
}

#[test]
fn t41_ca_bundles_are_written_by_the_webhook_or_by_the_injector() {
    let writer = |rendered: &Rendered| {
        let variables = rendered.get("ValidatingAdmissionPolicy", "jit-rbac-guards")["spec"]["variables"].clone();
        items(&variables).iter().find(|variable| variable["name"] == "onlyBundles").unwrap()["expression"].to_string()
    };
    let webhook = format!("system:serviceaccount:{NAMESPACE}:jit-rbac-webhook");
    let own = writer(default());
    assert!(own.contains(&webhook) && !own.contains("cainjector"), "{own}");
    let injected = writer(&operator(&json!({"webhook": {"certManager": {"enabled": true}}})));
    assert!(injected.contains("cert-manager-cainjector") && !injected.contains(&webhook), "{injected}");
}

#[test]
fn t53_what_binds_the_operator_comes_from_the_values() {
    let text = operator(&json!({"maxGrant": "90m"})).get("ValidatingAdmissionPolicy", "jit-rbac-bindings").to_string();
    assert!(text.contains("duration('90m')") && text.contains("within 90m (chart value maxGrant)"), "{text}");
    // The program recognizes a temporary denial by this.
    assert!(text.contains(api::names::ABOVE_MAX_GRANT), "{text}");
    assert!(text.contains("duration('90m') + duration('5s')"), "f04: clocks can differ slightly: {text}");
    let text = policy("bindings").to_string();
    for part in [names::MANAGED_LABEL, names::EXPIRES_AT, "duration('24h')", "kube-system", "kube-public", "kube-node-lease", NAMESPACE] {
        assert!(text.contains(part), "{part}");
    }
    assert!(text.contains(names::BINDING_PREFIX) && names::request_uid_of("jit-0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d").is_some());
}

#[test]
fn t53_the_operator_is_the_controllers_account_of_this_release() {
    let rendered = try_render("access", "jit-rbac", &json!({"fullnameOverride": "jit"})).unwrap();
    for policy in policies(&rendered) {
        let text = policy.to_string();
        assert!(text.contains("jit-controller") && !text.contains("jit-rbac-controller"), "{text}");
    }
}

/// Returns the validation with this text in its message, of the policy for bindings rendered with these values.
fn check(values: &Value, message: &str) -> String {
    let rendered = operator(values);
    let policy = rendered.get("ValidatingAdmissionPolicy", "jit-rbac-bindings");
    let found = items(&policy["spec"]["validations"]).iter().find(|check| check["message"].as_str().unwrap().contains(message));
    found.unwrap_or_else(|| panic!("no validation has the message {message}"))["expression"].as_str().unwrap().to_owned()
}

/// RBAC also lets the operator bind roles whose permissions it holds, its own ClusterRole among them.
#[test]
fn t25_the_operator_binds_what_is_listed_and_nothing_else() {
    let roles = |lists: Value| check(&json!({"bindableRoles": lists}), "is not in the chart's value bindableRoles");
    let listed = roles(json!({"clusterRoles": ["edit", "view"], "roles": ["debug"]}));
    assert!(listed.contains(r#"object.roleRef.kind == 'ClusterRole' ? ["edit","view"] : ["debug"]"#), "{listed}");
    let none = roles(json!({"clusterRoles": [], "roles": []}));
    assert!(none.contains("object.roleRef.kind == 'ClusterRole' ? [] : []"), "{none}");
}

#[test]
fn t24_namespaces_of_the_cluster_are_closed_unless_a_value_opens_one() {
    let closed = |open: Value| check(&json!({"systemNamespaces": open}), "nothing is granted in namespaces");
    let all = closed(json!([]));
    assert!(all.contains(&format!(r#"in ["{NAMESPACE}","kube-system","kube-public","kube-node-lease"]"#)), "{all}");
    let less = closed(json!(["kube-system"]));
    assert!(less.contains(&format!(r#"in ["{NAMESPACE}","kube-public","kube-node-lease"]"#)), "{less}");
}

#[test]
fn t52_the_clusters_own_controllers_are_a_value() {
    let names = ["system:kube-controller-manager", "it's \"me\""];
    let rendered = operator(&json!({"clusterControllers": names}));
    for name in ["jit-rbac-requests", "jit-rbac-decisions"] {
        let policy = rendered.get("ValidatingAdmissionPolicy", name).clone();
        let last = items(&policy["spec"]["validations"]).last().unwrap()["expression"].as_str().unwrap().to_owned();
        assert!(last.contains(r#"in ["system:kube-controller-manager","it's \"me\""]"#), "{last}");
        assert!(!last.contains("generic-garbage-collector"), "{last}");
    }
}

/// The operator may create the product's kinds in its dry runs only.
#[test]
fn t53_the_operator_writes_what_people_write_in_dry_runs_only() {
    for name in ["requests", "decisions", "eligibilities", "approval-policies"] {
        let text = policy(name)["spec"]["validations"].to_string();
        assert!(text.contains("only users do"), "{name}: {text}");
    }
}

#[test]
fn t1_the_author_is_compared_under_its_one_name() {
    for name in ["eligibilities", "approval-policies"] {
        assert!(policy(name).to_string().contains(names::AUTHOR), "{name}");
    }
}

/// The cost of one authorization check, and the limits of one expression and of a whole policy (Kubernetes' `apis/cel/config.go`).
const QUESTION: usize = 350_000;
const EXPRESSION: usize = 1_000_000;
const WHOLE: usize = 10_000_000;

#[test]
fn t15_the_floor_asks_as_often_as_the_cost_limits_let_it() {
    let mut asked = 0;
    let spec = &policy("eligibilities")["spec"];
    for expression in items(&spec["variables"]).iter().chain(items(&spec["validations"])).map(|item| item["expression"].as_str().unwrap()) {
        let here = expression.matches(".check(").count();
        assert!(here * QUESTION < EXPRESSION, "{expression}");
        asked += here;
    }
    // A fifth is left for all other expressions: the largest eligibility of the end-to-end tests of the CEL limits must fit.
    assert!(asked >= 21 && asked * QUESTION <= WHOLE / 5 * 4, "{asked} authorization checks");
    let text = spec["validations"].to_string();
    assert!((0..20).all(|number| text.contains(&format!("namespace(variables.names[{number}]).check('bind')"))), "{text}");
}

#[test]
fn t20_guarded_labels_come_from_the_values_and_are_the_webhooks_too() {
    let text = policy("namespaces").to_string();
    assert!(text.contains("reach.jitrbac.dev/") && text.contains("namespacelabels"), "{text}");
    assert_eq!(rule("namespaces")["operations"], json!(["CREATE", "UPDATE"]), "nothing stands in the way of a deletion");
    assert_eq!(rule("namespaces")["resources"], json!(["namespaces", "namespaces/*"]));
    let rendered = operator(&json!({"guardedLabels": {"keys": ["team", "example.com/tenant"], "prefixes": []}}));
    let text = rendered.get("ValidatingAdmissionPolicy", "jit-rbac-namespaces").to_string().replace('\\', "");
    assert!(text.contains(r#"k in ["team","example.com/tenant"]"#) && text.contains("[].exists(p, k.startsWith(p))"), "{text}");
    let config = rendered.only("ConfigMap")["data"].to_string().replace("\\\"", "\"");
    assert!(config.contains("example.com/tenant"), "{config}");
}
