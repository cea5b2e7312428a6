//! The permissions of the operator, its webhook and users.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::render::{NAMESPACE, Rendered, default, every, items, operator, texts, try_render};

fn roles(rendered: &Rendered) -> Vec<&Value> {
    [rendered.all("Role"), rendered.all("ClusterRole")].concat()
}

fn rules(rendered: &Rendered) -> Vec<&Value> {
    roles(rendered).into_iter().flat_map(|role| items(&role["rules"])).collect()
}

/// One line per right: `verb resource.group` and, where it is limited, the names.
fn rights(role: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for rule in items(&role["rules"]) {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let names = texts(&rule["resourceNames"]);
                    let only = if names.is_empty() { String::new() } else { format!(" {}", names.join(",")) };
                    let dot = if group.is_empty() { "" } else { "." };
                    lines.insert(format!("{verb} {resource}{dot}{group}{only}"));
                }
            }
        }
    }
    lines
}

/// Returns `verb` for each of these, as [`rights`] writes them.
fn each(verbs: &[&str], resources: &[&str]) -> BTreeSet<String> {
    resources.iter().flat_map(|resource| verbs.iter().map(move |verb| format!("{verb} {resource}"))).collect()
}

const READ: [&str; 3] = ["get", "list", "watch"];
const KINDS: [&str; 4] = [
    "roleeligibilities.jitrbac.dev",
    "approvalpolicies.jitrbac.dev",
    "roleactivationrequests.jitrbac.dev",
    "activationdecisions.jitrbac.dev",
];
const NOTIFICATIONS: [&str; 2] = ["notificationreceivers.jitrbac.dev", "notificationrules.jitrbac.dev"];
const PLAIN: [&str; 3] = ["roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io", "namespaces"];

#[test]
fn t25_no_right_is_a_wildcard_escalate_or_impersonate() {
    for (name, rendered) in every() {
        for rule in rules(&rendered) {
            for word in ["apiGroups", "resources", "verbs", "resourceNames"].iter().flat_map(|key| texts(&rule[*key])) {
                assert!(!word.contains('*') && !["escalate", "impersonate"].contains(&word), "{name}: {rule}");
            }
            assert_eq!(rule["nonResourceURLs"], Value::Null, "{name}: {rule}");
        }
    }
}

#[test]
fn t25_roles_are_bindable_only_by_name() {
    for (name, rendered) in every() {
        for rule in rules(&rendered).iter().filter(|rule| texts(&rule["verbs"]).contains(&"bind")) {
            assert_eq!(texts(&rule["verbs"]), ["bind"], "{name}: {rule}");
            assert!(!texts(&rule["resourceNames"]).is_empty(), "{name}: {rule}");
        }
    }
    let rendered = operator(&json!({"bindableRoles": {"clusterRoles": ["edit", "view"], "roles": ["debug"]}}));
    let binds: Vec<_> =
        rights(rendered.get("ClusterRole", "jit-rbac-controller")).into_iter().filter(|line| line.starts_with("bind")).collect();
    assert_eq!(binds, ["bind clusterroles.rbac.authorization.k8s.io edit,view", "bind roles.rbac.authorization.k8s.io debug"]);
}

#[test]
fn t25_empty_lists_give_no_bind_rule_at_all() {
    for (lists, left) in [
        (json!({"clusterRoles": [], "roles": []}), 0),
        (json!({"clusterRoles": [], "roles": ["debug"]}), 1),
        (json!({"clusterRoles": ["view"], "roles": []}), 1),
    ] {
        let rendered = operator(&json!({"bindableRoles": lists}));
        let binds = rules(&rendered).into_iter().filter(|rule| texts(&rule["verbs"]).contains(&"bind")).count();
        assert_eq!(binds, left, "{lists}");
    }
}

#[test]
fn t25_the_controller_may_do_this_and_no_more() {
    let name = "jit-rbac-controller";
    let bindings = each(&["create", "get", "list", "watch", "patch", "delete"], &["rolebindings.rbac.authorization.k8s.io"]);
    let policies = crate::policies::NAMES.map(|policy| format!("jit-rbac-{policy}")).join(",");
    let guards = [
        format!("validatingadmissionpolicies.admissionregistration.k8s.io {policies}"),
        format!("validatingadmissionpolicybindings.admissionregistration.k8s.io {policies}"),
        "mutatingwebhookconfigurations.admissionregistration.k8s.io jit-rbac".to_owned(),
        "validatingwebhookconfigurations.admissionregistration.k8s.io jit-rbac".to_owned(),
        format!("customresourcedefinitions.apiextensions.k8s.io {}", KINDS.join(",")),
        "apiservices.apiregistration.k8s.io v1alpha1.jitrbac.dev".to_owned(),
    ];
    let wanted: BTreeSet<_> = [
        bindings,
        // Read, and written in dry runs; the policies deny other writes, the operator's too.
        each(&READ, &guards.each_ref().map(String::as_str)),
        each(&["create"], &KINDS),
        each(&["patch"], &["validatingwebhookconfigurations.admissionregistration.k8s.io jit-rbac"]),
        each(&["bind"], &["clusterroles.rbac.authorization.k8s.io view"]),
        each(&READ, &KINDS),
        each(&["delete"], &KINDS[2..]),
        each(
            &["patch"],
            &["roleeligibilities/status.jitrbac.dev", "approvalpolicies/status.jitrbac.dev", "roleactivationrequests/status.jitrbac.dev"],
        ),
        each(&READ, &PLAIN),
        each(&["create"], &["selfsubjectaccessreviews.authorization.k8s.io", "selfsubjectreviews.authentication.k8s.io"]),
        each(&["create", "patch"], &["events.events.k8s.io"]),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(rights(default().get("ClusterRole", name)), wanted);
    let lease = format!("leases.coordination.k8s.io {name}");
    let mut own = each(&["get", "update"], &[&lease]);
    own.insert("create leases.coordination.k8s.io".to_owned());
    assert_eq!(rights(default().get("Role", name)), own);
}

#[test]
fn t95_the_record_reads_and_writes_its_lease_only() {
    let rendered = operator(&json!({"record": {"enabled": true, "keySecret": "key"}}));
    let name = "jit-rbac-record";
    let once = ["roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io", "namespaces"];
    let wanted: BTreeSet<_> = [each(&READ, &KINDS), each(&["get"], &once)].into_iter().flatten().collect();
    assert_eq!(rights(rendered.get("ClusterRole", name)), wanted);
    let lease = format!("leases.coordination.k8s.io {name}");
    assert_eq!(rights(rendered.get("Role", name)), each(&["get", "patch"], &[&lease]));
    // The controller learns what is recorded, and cannot claim it.
    let of_controller: Vec<_> =
        rights(rendered.get("Role", "jit-rbac-controller")).into_iter().filter(|right| right.ends_with(name)).collect();
    assert_eq!(of_controller, [format!("get {lease}")]);
    assert!(default().find("Deployment", name).is_none(), "it is off by default");
}

#[test]
fn t60_the_notify_process_may_do_this_and_no_more() {
    let name = "jit-rbac-notify";
    let read: Vec<&str> = KINDS[..3].iter().copied().chain(NOTIFICATIONS).collect();
    let mut wanted = each(&READ, &read);
    wanted.extend(each(&["patch"], &["notificationreceivers/status.jitrbac.dev"]));
    let rendered = operator(&json!({"notify": {"enabled": true, "activeAssignments": false}}));
    assert_eq!(rights(rendered.get("ClusterRole", name)), wanted);
    wanted.extend(each(&READ, &["rolebindings.rbac.authorization.k8s.io", "namespaces"]));
    let rendered = operator(&json!({"notify": {"enabled": true}}));
    assert_eq!(rights(rendered.get("ClusterRole", name)), wanted);
    assert_eq!(rights(rendered.get("Role", name)), each(&READ, &["leases.coordination.k8s.io jit-rbac-controller"]));
    // What it may do does not depend on the operator, and the operator has no further permission because of it.
    for other in ["jit-rbac-controller", "jit-rbac-webhook"] {
        assert_eq!(rendered.get("ClusterRole", other), default().get("ClusterRole", other));
    }
    assert!(default().all("Deployment").iter().all(|deployment| deployment["metadata"]["name"] != name));
}

#[test]
fn t24_the_webhook_reads_reviews_and_writes_its_certificate_only() {
    let name = "jit-rbac-webhook";
    let configurations = [
        "mutatingwebhookconfigurations.admissionregistration.k8s.io jit-rbac",
        "validatingwebhookconfigurations.admissionregistration.k8s.io jit-rbac",
    ];
    let reading: BTreeSet<_> =
        [each(&READ, &KINDS), each(&READ, &PLAIN), each(&["create"], &["subjectaccessreviews.authorization.k8s.io"])]
            .into_iter()
            .flatten()
            .collect();
    let bundles = each(&["get", "patch"], &configurations);
    assert_eq!(rights(default().get("ClusterRole", name)), reading.union(&bundles).cloned().collect());
    assert_eq!(rights(default().get("Role", name)), each(&["get", "update"], &["secrets jit-rbac-webhook-tls"]));

    let managed = operator(&json!({"webhook": {"certManager": {"enabled": true}}}));
    assert_eq!(rights(managed.get("ClusterRole", name)), reading);
    assert!(managed.find("Role", name).is_none() && managed.find("RoleBinding", name).is_none());
}

/// Requests in the operator's namespace give no access.
#[test]
fn t24_the_pod_of_helm_test_creates_requests_and_reads_one_lease() {
    let wanted = ["create roleactivationrequests.jitrbac.dev", "get leases.coordination.k8s.io jit-rbac-controller"];
    assert_eq!(rights(default().get("Role", "jit-rbac-test")), wanted.map(str::to_owned).into());
    assert!(default().find("ClusterRole", "jit-rbac-test").is_none());
    for kind in ["ServiceAccount", "Role", "RoleBinding", "Pod"] {
        let annotations = &default().get(kind, "jit-rbac-test")["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"], "test", "{kind}");
        assert_eq!(annotations["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded", "{kind}");
        assert_eq!(annotations["helm.sh/hook-weight"], if kind == "Pod" { Value::Null } else { json!("-1") }, "{kind}");
    }
    for values in [json!({"test": {"enabled": false}}), crate::render::out_of_cluster()] {
        let rendered = operator(&values);
        assert!(!rendered.0.iter().any(|object| object["metadata"]["name"] == "jit-rbac-test"), "{values}");
    }
}

#[test]
fn t24_only_the_controller_touches_role_bindings() {
    for (name, rendered) in every() {
        for role in roles(&rendered) {
            let touches = rights(role).iter().any(|line| line.contains("bindings.rbac"));
            assert_eq!(touches, role["metadata"]["name"] == "jit-rbac-controller" && role["kind"] == "ClusterRole", "{name}: {role}");
        }
    }
}

#[test]
fn t24_identities_each_with_its_own_roles_and_no_token_lying_about() {
    for (name, rendered) in every() {
        let accounts: Vec<_> = rendered.all("ServiceAccount").into_iter().map(|a| a["metadata"]["name"].clone()).collect();
        // `helm test` has the third one for its pod.
        let own = &["jit-rbac-controller", "jit-rbac-webhook"][..];
        assert_eq!(accounts, if name == "out of cluster" { own.to_vec() } else { [own, &["jit-rbac-test"]].concat() }, "{name}");
        for account in rendered.all("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
        for binding in [rendered.all("RoleBinding"), rendered.all("ClusterRoleBinding")].concat() {
            let own = &binding["metadata"]["name"];
            assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": own, "namespace": NAMESPACE}]), "{name}");
            assert_eq!(binding["roleRef"]["name"], *own, "{name}");
        }
    }
}

#[test]
fn t31_people_create_and_read_but_change_nothing() {
    let requester = rights(default().get("ClusterRole", "jit-rbac-requester"));
    // Server-side apply needs `patch`; an end-to-end test proves that it changes nothing.
    let wanted: BTreeSet<_> = each(&READ, &KINDS).union(&each(&["create", "patch"], &KINDS[2..])).cloned().collect();
    assert_eq!(requester, wanted);
    assert_eq!(rights(default().get("ClusterRole", "jit-rbac-eligibility-viewer")), each(&READ, &KINDS[..2]));
    assert_eq!(rights(default().get("ClusterRole", "jit-rbac-viewer")), each(&READ, &KINDS));
}

#[test]
fn f36_the_roles_for_people_have_one_name_in_every_release() {
    for (release, values) in [("mine", json!({})), ("jit-rbac", json!({"fullnameOverride": "other"}))] {
        let rendered = try_render(release, "jit-rbac", &values).unwrap();
        for name in ["requester", "eligibility-viewer", "viewer", "admin"] {
            rendered.get("ClusterRole", &format!("jit-rbac-{name}"));
        }
        let operators: Vec<_> = rendered
            .all("ClusterRole")
            .into_iter()
            .filter(|role| role["metadata"]["labels"]["app.kubernetes.io/component"].is_string())
            .collect();
        assert_eq!(operators.len(), 2, "{release}");
        for role in operators {
            assert!(!role["metadata"]["name"].as_str().unwrap().starts_with("jit-rbac-"), "{release}: {}", role["metadata"]["name"]);
        }
    }
    let access =
        try_render("access", "jit-access", &json!({"policies": {"a": {"approval": {"automatic": {}}, "revokers": {"users": ["ann"]}}}}))
            .unwrap();
    default().get("ClusterRole", access.only("ClusterRoleBinding")["roleRef"]["name"].as_str().unwrap());
}

#[test]
fn t52_only_admins_may_purge_and_nobody_is_given_the_guards() {
    let admin = rights(default().get("ClusterRole", "jit-rbac-admin"));
    let wanted: BTreeSet<_> = [
        each(&READ, &KINDS),
        each(&["create", "update", "patch", "delete"], &KINDS[..2]),
        each(&READ, &NOTIFICATIONS),
        each(&["create", "update", "patch", "delete"], &NOTIFICATIONS),
        each(&["delete", "purge"], &KINDS[2..3]),
        each(&["administer"], &["namespacelabels.jitrbac.dev"]),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(admin, wanted);
    for (name, rendered) in every() {
        for role in roles(&rendered) {
            let has = |verb: &str| rights(role).iter().any(|line| line.starts_with(verb));
            assert_eq!(has("purge "), role["metadata"]["name"] == "jit-rbac-admin", "{name}");
            assert!(!has("administer guards") && !has("administer approvalpolicies"), "{name}");
        }
    }
}

#[test]
fn reading_goes_into_view_only_where_asked_for() {
    let label = "rbac.authorization.k8s.io/aggregate-to-view";
    let on = operator(&json!({"rbac": {"aggregateToView": true}}));
    for role in roles(&on) {
        let labels = role["metadata"]["labels"].as_object().unwrap();
        let aggregated: Vec<_> = labels.keys().filter(|key| key.contains("aggregate-to-")).collect();
        if role["metadata"]["name"] == "jit-rbac-viewer" {
            assert_eq!(aggregated, [label]);
        } else {
            assert!(aggregated.is_empty(), "{role}");
        }
    }
    assert_eq!(default().get("ClusterRole", "jit-rbac-viewer")["metadata"]["labels"][label], Value::Null);
}
