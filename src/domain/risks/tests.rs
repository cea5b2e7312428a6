//! Tests of the risk classes: the built-in roles, the smallest rule of each class, near misses, and properties over random rules.

use proptest::prelude::*;

use super::*;
use api::eligibility::RoleKind;

fn words(text: &str) -> Vec<String> {
    text.split(',').filter(|word| !word.is_empty()).map(|word| word.replace("core", "")).collect()
}

/// A rule as `groups resources verbs`; `core` is the core group.
fn rule(text: &str) -> Rule {
    let mut parts = text.split(' ').map(words);
    let mut next = || parts.next().unwrap_or_default();
    Rule { api_groups: next(), resources: next(), verbs: next(), ..Rule::default() }
}

fn role(lines: &[&str]) -> Rules {
    Rules::new(lines.iter().map(|line| rule(line)))
}

fn classes(line: &str) -> Vec<Risk> {
    classify(&role(&[line])).into_iter().collect()
}

/// The rules of `view` on Kubernetes 1.36.3. `edit` and `admin` contain them too.
const VIEW: &[&str] = &[
    "core configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status get,list,watch",
    "core bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status get,list,watch",
    "core namespaces get,list,watch",
    "core,events.k8s.io events get,list,watch",
    "discovery.k8s.io endpointslices get,list,watch",
    "apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status get,list,watch",
    "autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status get,list,watch",
    "batch cronjobs,cronjobs/status,jobs,jobs/status get,list,watch",
    "extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale get,list,watch",
    "policy poddisruptionbudgets,poddisruptionbudgets/status get,list,watch",
    "networking.k8s.io ingresses,ingresses/status,networkpolicies get,list,watch",
    "resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates get,list,watch",
];
/// The further rules of `edit`. `admin` contains them too.
const EDIT: &[&str] = &[
    "core pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy get,list,watch",
    "core serviceaccounts impersonate",
    "core pods,pods/attach,pods/exec,pods/portforward,pods/proxy create,delete,deletecollection,patch,update",
    "core pods/eviction create",
    "core configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy create,delete,deletecollection,patch,update",
    "core serviceaccounts/token create",
    "core,events.k8s.io events create,delete,deletecollection,patch,update",
    "apps daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale create,delete,deletecollection,patch,update",
    "autoscaling horizontalpodautoscalers create,delete,deletecollection,patch,update",
    "batch cronjobs,jobs create,delete,deletecollection,patch,update",
    "extensions daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale create,delete,deletecollection,patch,update",
    "policy poddisruptionbudgets create,delete,deletecollection,patch,update",
    "networking.k8s.io ingresses,networkpolicies create,delete,deletecollection,patch,update",
    "coordination.k8s.io leases create,delete,deletecollection,get,list,patch,update,watch",
    "resource.k8s.io resourceclaims,resourceclaimtemplates create,delete,deletecollection,patch,update",
];
/// The further rules of `admin`.
const ADMIN: &[&str] = &[
    "authorization.k8s.io localsubjectaccessreviews create",
    "rbac.authorization.k8s.io rolebindings,roles create,delete,deletecollection,get,list,patch,update,watch",
];

#[test]
fn t18_the_built_in_roles() {
    let edit = [Risk::Impersonation, Risk::ServiceAccountTokens, Risk::Secrets, Risk::WorkloadExec, Risk::WorkloadCreate];
    let everything = Rules::new([rule("* * *"), Rule { non_resource_urls: words("*"), verbs: words("*"), ..Rule::default() }]);
    let all: BTreeSet<Risk> = Risk::ALL.iter().copied().filter(|risk| *risk != Risk::SystemNamespace).collect();
    assert_eq!(classify(&role(VIEW)), BTreeSet::new());
    assert_eq!(classify(&role(&[VIEW, EDIT].concat())), BTreeSet::from(edit));
    assert_eq!(classify(&role(&[VIEW, EDIT, ADMIN].concat())), BTreeSet::from(edit).into_iter().chain([Risk::Escalation]).collect());
    assert_eq!(classify(&everything), all);
}

#[test]
fn t18_the_least_rule_of_each_class() {
    use Risk::{Admission, Certificates, Escalation, Impersonation, JitObjects, NamespaceLabels, NodeProxy, Secrets, ServiceAccountTokens};
    use Risk::{Wildcard, WorkloadCreate, WorkloadExec};
    let (tokens, wild) = ([ServiceAccountTokens, Secrets], [Wildcard]);
    let resources: &[(&[Risk], &str, &str, &str)] = &[
        (&[Escalation], "rbac.authorization.k8s.io", "roles,clusterroles", "create,update,patch,bind,escalate"),
        (&[Escalation], "rbac.authorization.k8s.io", "rolebindings,clusterrolebindings", "create,update,patch"),
        (&[Impersonation], "core", "users,groups,serviceaccounts", "impersonate,impersonate:user-info"),
        (
            &[Impersonation],
            "authentication.k8s.io",
            "users,groups,serviceaccounts,nodes,uids,userextras,userextras/scopes",
            "impersonate,impersonate:arbitrary-node",
        ),
        (&[Impersonation], "core", "pods,namespaces", "impersonate-on:user-info:list"),
        (&[ServiceAccountTokens], "core", "serviceaccounts/token,serviceaccounts/*,*/token", "create"),
        (&tokens, "core", "secrets", "get,list,watch,create,update,patch,delete,deletecollection"),
        (
            &[Certificates],
            "certificates.k8s.io",
            "certificatesigningrequests/approval,certificatesigningrequests/status,*/approval,podcertificaterequests/status",
            "update,patch",
        ),
        (
            &[Certificates],
            "certificates.k8s.io",
            "certificatesigningrequests/nodeclient,certificatesigningrequests/selfnodeclient",
            "create",
        ),
        (&[Certificates], "certificates.k8s.io", "signers", "approve,sign,attest"),
        (
            &[Admission],
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations,mutatingadmissionpolicies,tomorrow",
            "create,update,patch,delete,deletecollection",
        ),
        (&[Admission], "apiextensions.k8s.io", "customresourcedefinitions,customresourcedefinitions/status", "create,update,patch,delete"),
        (&[Admission], "apiregistration.k8s.io", "apiservices,apiservices/status", "create,update,patch,delete"),
        (&[Admission], "core", "configmaps,pods", "unsafe-delete-ignore-read-errors"),
        (&[NamespaceLabels], "core", "namespaces,namespaces/status,namespaces/finalize,namespaces/*", "create,update,patch"),
        (&[NodeProxy], "core", "nodes/proxy,nodes/*", "get,create,update,patch,delete"),
        (
            &[JitObjects],
            "jitrbac.dev",
            "roleeligibilities,activationdecisions,roleactivationrequests/status",
            "create,update,patch,delete,purge",
        ),
        (&[JitObjects], "jitrbac.dev", "guards", "administer"),
        (&wild, "*", "*,*/*", "tomorrow"),
        (&[WorkloadExec], "core", "pods/exec,pods/attach,pods/portforward,pods/proxy,services/proxy,pods/*,*/exec", "get,create"),
        (&[WorkloadExec], "core", "pods/ephemeralcontainers", "update,patch"),
        (&[WorkloadCreate], "core", "pods,replicationcontrollers", "create,update,patch"),
        (&[WorkloadCreate], "apps", "daemonsets,deployments,replicasets,statefulsets", "create,update,patch"),
        (&[WorkloadCreate], "extensions", "daemonsets,deployments,replicasets", "create,update,patch"),
        (&[WorkloadCreate], "batch", "cronjobs,jobs", "create,update,patch"),
    ];
    for (expected, group, resources, verbs) in resources {
        for (resource, verb) in resources.split(',').flat_map(|resource| verbs.split(',').map(move |verb| (resource, verb))) {
            let line = format!("{group} {resource} {verb}");
            assert_eq!(classes(&line), *expected, "{line}");
            let named = Rules::new([Rule { resource_names: words("one"), ..rule(&line) }]);
            assert_eq!(classify(&named), expected.iter().copied().collect(), "a name narrows nothing: {line}");
            for wild in [format!("* {resource} {verb}"), format!("{group} * {verb}"), format!("{group} {resource} *")] {
                // Some verbs count only if they are named.
                let told = TELLING.iter().any(|(_, told)| is_verb(verb, told)) && wild.ends_with('*');
                assert!(told || expected.iter().all(|risk| classes(&wild).contains(risk)), "{wild}");
            }
        }
    }
}

#[test]
fn t18_near_misses_are_nothing() {
    for line in [
        "rbac.authorization.k8s.io roles,rolebindings,clusterroles get,list,watch,delete,deletecollection",
        "rbac.authorization.k8s.io rolebindings bind",
        "apps roles,rolebindings,secrets,pods,pods/exec create",
        "core serviceaccounts get,list,create,update,patch,delete",
        "core users,groups get,list,watch",
        "core serviceaccounts/token get,list",
        "core secrets/status,secret,Secrets get,list",
        "core configmaps get,list,watch,create,update,patch,delete",
        "core secrets use",
        "certificates.k8s.io certificatesigningrequests get,list,watch,create,update,patch,delete",
        "certificates.k8s.io certificatesigningrequests/approval get",
        "certificates.k8s.io signers get,list",
        "admissionregistration.k8s.io,apiextensions.k8s.io,apiregistration.k8s.io,jitrbac.dev * get,list,watch",
        "core namespaces,namespaces/status get,list,watch,delete",
        "core nodes,nodes/metrics,nodes/stats,nodes/log get,list,watch",
        "core pods,pods/log get,list,watch,delete,deletecollection",
        "core pods/exec,pods/attach update,delete",
        "core pods/eviction,pods/resize,pods/status create,update,patch",
        "apps deployments/scale,deployments/status update,patch",
        "batch jobs get,delete",
        "core,apps */scale update,patch",
        "networking.k8s.io * *",
        "* */status get",
        "* deployments get",
        "core * use",
    ] {
        assert_eq!(classes(line), [], "{line}");
    }
    let urls = Rule { non_resource_urls: words("*"), verbs: words("*"), ..Rule::default() };
    assert_eq!(classify(&Rules::new([urls])), BTreeSet::new(), "a RoleBinding never grants these");
    // Each half alone allows nothing.
    for half in ["core  get,create", " secrets get", "core secrets ", "* * "] {
        assert_eq!(classes(half), [], "{half}");
    }
}

fn named(lines: &[&str], accepted: &[RiskClass]) -> Result<(), String> {
    let reference = RoleRef { kind: RoleKind::ClusterRole, name: "edit".to_owned() };
    check(&reference, &role(lines), accepted).map_err(|refusal| refusal.to_string())
}

#[test]
fn t18_a_refusal_names_what_the_role_can_do() {
    let edit = [VIEW, EDIT].concat();
    assert_eq!(
        named(&edit, &[]).unwrap_err(),
        "RiskNotAccepted: ClusterRole 'edit' can impersonate serviceaccounts (class Impersonation), and create serviceaccounts/token \
         (class ServiceAccountTokens): access gained this way can outlive a grant; use a role without it, or add Impersonation, \
         ServiceAccountTokens to spec.acceptRisks"
    );
    assert!(
        named(&edit, &[RiskClass::ServiceAccountTokens])
            .unwrap_err()
            .contains("can impersonate serviceaccounts (class Impersonation): access")
    );
    assert_eq!(named(&edit, &[RiskClass::Impersonation, RiskClass::ServiceAccountTokens]), Ok(()));
    assert_eq!(named(VIEW, &[]), Ok(()));
    assert_eq!(
        named(&["rbac.authorization.k8s.io roles *"], &[RiskClass::Wildcard]).unwrap_err(),
        "RiskNotAccepted: ClusterRole 'edit' can create roles.rbac.authorization.k8s.io (class Escalation, by its rule '* \
         roles.rbac.authorization.k8s.io'): access gained this way can outlive a grant; use a role without it, or add Escalation to \
         spec.acceptRisks"
    );
    let all = named(&["* * *"], &[]).unwrap_err();
    assert!(all.contains("do everything with every resource (class Wildcard, by its rule '* *.*')"), "{all}");
    assert!(all.len() < 1000, "{} bytes: {all}", all.len());
    let long = named(&[&format!("core {},serviceaccounts *", "a".repeat(300))], &[]).unwrap_err();
    assert!(long.contains(&format!("by its rule '* {}...')", "a".repeat(78))), "{long}");
    let long = named(&[&format!("apiextensions.k8s.io {} create", "a".repeat(300))], &[]).unwrap_err();
    assert!(long.contains(&format!("can create {}... (class Admission)", "a".repeat(80))), "{long}");
}

#[test]
fn only_what_outlives_a_grant_must_be_accepted() {
    let all: BTreeSet<Risk> = Risk::ALL.iter().copied().collect();
    let lasting: Vec<RiskClass> = Risk::ALL.iter().filter_map(|risk| risk.lasting()).collect();
    assert_eq!(unaccepted(&all, &[]), lasting);
    assert_eq!(unaccepted(&all, &lasting), []);
    assert_eq!(unaccepted(&BTreeSet::from([Risk::Secrets, Risk::WorkloadExec, Risk::WorkloadCreate]), &[]), []);
    for risk in Risk::ALL.iter().filter(|risk| risk.lasting().is_some()) {
        assert_eq!(serde_json::to_value(risk.lasting()).unwrap(), risk.as_str(), "the word is the one to write into spec.acceptRisks");
    }
}

/// Rules of few words, so that they match the classes often.
fn some_rule() -> impl Strategy<Value = Rule> {
    let pick = |words: &'static [&'static str]| proptest::collection::vec(proptest::sample::select(words).prop_map(str::to_owned), 0..3);
    let groups = pick(&["", "*", RBAC, "apps", CERTIFICATES, "authentication.k8s.io", GROUP]);
    let resources =
        pick(&["*", "pods", "pods/exec", "pods/*", "*/exec", "secrets", "roles", "signers", "users", "namespaces", "nodes/proxy", "*/*"]);
    let verbs = pick(&["*", "get", "create", "patch", "bind", "sign", "impersonate", "impersonate-on:user-info:get"]);
    (groups, resources, pick(&["one"]), verbs).prop_map(|(api_groups, resources, resource_names, verbs)| Rule {
        api_groups,
        resources,
        resource_names,
        verbs,
        ..Rule::default()
    })
}

proptest! {
    #[test]
    fn t18_more_rules_are_never_fewer_classes_and_order_says_nothing(rules in proptest::collection::vec(some_rule(), 0..6), more in some_rule()) {
        let before = classify(&Rules::new(rules.clone()));
        let after = classify(&Rules::new(rules.iter().cloned().chain([more.clone()])));
        prop_assert!(before.is_subset(&after));
        let alone = classify(&Rules::new([more.clone()]));
        prop_assert_eq!(&after, &before.union(&alone).copied().collect(), "a class comes from one rule");
        let reversed = std::iter::once(more.clone()).chain(rules.iter().rev().cloned()).map(|mut rule| {
            rule.verbs.reverse();
            rule.resources.reverse();
            rule
        });
        prop_assert_eq!(findings(&Rules::new(reversed)), findings(&Rules::new(rules.iter().cloned().chain([more]))));
    }

    #[test]
    fn t18_a_wildcard_in_place_of_any_word_is_never_fewer_classes(rule in some_rule(), place in 0..3_usize) {
        let mut wider = rule.clone();
        let list = [&mut wider.api_groups, &mut wider.resources, &mut wider.verbs].into_iter().nth(place).unwrap();
        list.push("*".to_owned());
        prop_assert!(classify(&Rules::new([rule])).is_subset(&classify(&Rules::new([wider]))));
    }

    #[test]
    fn t18_the_rule_that_is_named_is_one_of_the_role_and_has_the_class(rules in proptest::collection::vec(some_rule(), 0..6)) {
        let rules = Rules::new(rules);
        for finding in findings(&rules) {
            prop_assert!(rules.rules().contains(&finding.rule));
            prop_assert!(classify(&Rules::new([finding.rule])).contains(&finding.risk));
        }
    }

    #[test]
    fn t18_no_words_make_it_panic(words in proptest::collection::vec(proptest::collection::vec(any::<String>(), 0..4), 3)) {
        let rules = Rules::new([Rule { api_groups: words[0].clone(), resources: words[1].clone(), verbs: words[2].clone(), ..Rule::default() }]);
        let _ = check(&RoleRef { kind: RoleKind::Role, name: String::new() }, &rules, &[]);
    }
}
