//! Risk classes of roles. Each line is a rule: groups, resources, verbs and, if it has any, names, with commas between; `core` is the core
//! group and `-` an empty list.
//!
//! The reference implementation is RBAC's own: it evaluates whether Kubernetes would allow one dangerous call at a time by these rules.

use std::collections::BTreeSet;

use api::eligibility::{MAX_SHOWN_RULE, MAX_SHOWN_RULES, RiskClass, RoleKind, RoleRef};
use domain::{
    risks::{Risk, check as refusal, classify, findings, unaccepted},
    role::{Rule, Rules},
};

use crate::{is_printable, text};

pub const WORDS: &[&str] = &[
    "*",
    "core",
    "-",
    "apps",
    "batch",
    "rbac.authorization.k8s.io",
    "certificates.k8s.io",
    "authentication.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "jitrbac.dev",
    "pods",
    "pods/exec",
    "pods/*",
    "*/exec",
    "*/*",
    "secrets",
    "roles",
    "rolebindings",
    "clusterroles",
    "signers",
    "users",
    "serviceaccounts",
    "serviceaccounts/token",
    "namespaces",
    "nodes/proxy",
    "userextras/scopes",
    "certificatesigningrequests/approval",
    "get",
    "list",
    "create",
    "update",
    "patch",
    "delete",
    "bind",
    "escalate",
    "impersonate",
    "impersonate:user-info",
    "impersonate-on:user-info:list",
    "sign",
    "approve",
    "unsafe-delete-ignore-read-errors",
    "administer",
    ",",
    " ",
    "\n",
];

/// Maximum number of rules: the check splits them into their smallest parts.
const RULES: usize = 8;
/// Maximum number of words of one list, for the same reason.
const LIST: usize = 6;

/// Calls that each imply a class: group, resource with its subresource, verb.
const DANGERS: &[(Risk, &str, &str, &str)] = &[
    (Risk::Escalation, "rbac.authorization.k8s.io", "rolebindings", "create"),
    (Risk::Escalation, "rbac.authorization.k8s.io", "clusterrolebindings", "patch"),
    (Risk::Escalation, "rbac.authorization.k8s.io", "roles", "update"),
    (Risk::Escalation, "rbac.authorization.k8s.io", "clusterroles", "bind"),
    (Risk::Escalation, "rbac.authorization.k8s.io", "roles", "escalate"),
    (Risk::Impersonation, "", "users", "impersonate"),
    (Risk::Impersonation, "", "serviceaccounts", "impersonate"),
    (Risk::Impersonation, "authentication.k8s.io", "userextras/scopes", "impersonate"),
    (Risk::Impersonation, "authentication.k8s.io", "uids", "impersonate:user-info"),
    (Risk::ServiceAccountTokens, "", "serviceaccounts/token", "create"),
    (Risk::ServiceAccountTokens, "", "secrets", "create"),
    (Risk::Certificates, "certificates.k8s.io", "certificatesigningrequests/approval", "update"),
    (Risk::Certificates, "certificates.k8s.io", "signers", "sign"),
    (Risk::Admission, "admissionregistration.k8s.io", "validatingadmissionpolicies", "delete"),
    (Risk::Admission, "apiextensions.k8s.io", "customresourcedefinitions", "patch"),
    (Risk::Admission, "apiregistration.k8s.io", "apiservices", "create"),
    (Risk::NamespaceLabels, "", "namespaces", "patch"),
    (Risk::NodeProxy, "", "nodes/proxy", "get"),
    (Risk::JitObjects, "jitrbac.dev", "roleeligibilities", "create"),
    (Risk::JitObjects, "jitrbac.dev", "approvalpolicies", "update"),
    (Risk::Secrets, "", "secrets", "get"),
    (Risk::Secrets, "", "secrets", "watch"),
    (Risk::WorkloadExec, "", "pods/exec", "create"),
    (Risk::WorkloadExec, "", "pods/exec", "get"),
    (Risk::WorkloadExec, "", "pods/ephemeralcontainers", "patch"),
    (Risk::WorkloadCreate, "", "pods", "create"),
    (Risk::WorkloadCreate, "apps", "daemonsets", "update"),
    (Risk::WorkloadCreate, "batch", "cronjobs", "create"),
    // Values that no class lists.
    (Risk::Wildcard, "tomorrow.example", "anythings", "get"),
];

/// Returns RBAC's answer to one call (`VerbMatches`, `APIGroupMatches`, `ResourceMatches` in Kubernetes' `rbac/v1/evaluation_helpers.go`).
fn allows(rule: &Rule, group: &str, resource: &str, verb: &str) -> bool {
    let has = |list: &[String], word: &str| list.iter().any(|one| one == "*" || one == word);
    let subresource = resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
    let resources = has(&rule.resources, resource) || subresource.is_some_and(|any| rule.resources.contains(&any));
    has(&rule.verbs, verb) && has(&rule.api_groups, group) && resources
}

fn read(text: &str) -> Vec<Rule> {
    let list = |words: Option<&str>| -> Vec<String> {
        let words = words.unwrap_or("-").split(',').filter(|word| *word != "-").take(LIST);
        words.map(|word| if word == "core" { String::new() } else { word.to_owned() }).collect()
    };
    let rules = text.lines().filter(|line| !line.trim().is_empty()).take(RULES).map(|line| {
        let mut words = line.split_whitespace();
        let mut next = || list(words.next());
        Rule { api_groups: next(), resources: next(), verbs: next(), resource_names: next(), non_resource_urls: next() }
    });
    rules.collect()
}

fn classes(rules: impl IntoIterator<Item = Rule>) -> BTreeSet<Risk> {
    classify(&Rules::new(rules))
}

/// Returns a rule for each combination of one group, one resource and one verb of this rule.
fn parts(rule: &Rule) -> impl Iterator<Item = Rule> {
    rule.api_groups.iter().flat_map(move |group| {
        rule.resources.iter().flat_map(move |resource| {
            rule.verbs.iter().map(move |verb| Rule {
                api_groups: vec![group.clone()],
                resources: vec![resource.clone()],
                verbs: vec![verb.clone()],
                ..Rule::default()
            })
        })
    })
}

/// Verifies that more rules never have fewer classes, that the order has no effect, that a wildcard has the classes of its parts, and that
/// every dangerous call that RBAC allows is reported.
pub fn check(data: &[u8]) {
    let rules = read(&text(data));
    let all = Rules::new(rules.clone());
    let found = classify(&all);
    for (risk, group, resource, verb) in DANGERS {
        let allowed = rules.iter().find(|rule| allows(rule, group, resource, verb));
        assert!(allowed.is_none() || found.contains(risk), "{allowed:?} allows {verb} {resource}.{group}, and {risk} is not reported");
    }
    for (number, rule) in rules.iter().enumerate() {
        let alone = classes([rule.clone()]);
        let others = classes(rules.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, rule)| rule.clone()));
        assert_eq!(found, alone.union(&others).copied().collect(), "a class comes from one rule");
        assert_eq!(alone, parts(rule).flat_map(|part| classes([part])).collect(), "and from one of its words in each list: {rule:?}");
        assert_eq!(
            alone,
            classes([Rule { resource_names: Vec::new(), non_resource_urls: Vec::new(), ..rule.clone() }]),
            "names have no effect"
        );
        wider(rule, &alone);
    }
    turned(&rules, &all);
    told(&all, &found);
}

/// A wildcard in one list, in addition to the words and instead of them.
fn wider(rule: &Rule, alone: &BTreeSet<Risk>) {
    let star = || "*".to_owned();
    let places: [fn(&mut Rule) -> &mut Vec<String>; 3] = [|rule| &mut rule.api_groups, |rule| &mut rule.resources, |rule| &mut rule.verbs];
    for (number, place) in places.into_iter().enumerate() {
        let mut beside = rule.clone();
        place(&mut beside).push(star());
        assert!(alone.is_subset(&classes([beside])), "a wildcard in addition to {rule:?}");
        let mut instead = rule.clone();
        if !place(&mut instead).is_empty() {
            *place(&mut instead) = vec![star()];
            let after = classes([instead]);
            // Some verbs have a class only where they are listed by name; with `*` instead of them the others still have theirs.
            let told = |risk: &&Risk| number == 2 && matches!(risk, Risk::Admission | Risk::Impersonation);
            assert!(
                alone.iter().filter(|risk| !told(risk)).all(|risk| after.contains(risk)),
                "a wildcard in list {number} of {rule:?}: {after:?}"
            );
        }
    }
}

/// The same rules in another order, and duplicated.
fn turned(rules: &[Rule], all: &Rules) {
    let turned = rules.iter().rev().chain(rules).cloned().map(|mut rule| {
        let Rule { api_groups, resources, resource_names, non_resource_urls, verbs } = &mut rule;
        for list in [api_groups, resources, resource_names, non_resource_urls, verbs] {
            list.reverse();
        }
        rule
    });
    let turned = Rules::new(turned);
    assert_eq!((turned.hash(), turned.rules()), (all.hash(), all.rules()));
    assert_eq!(findings(&turned), findings(all));
}

/// The classes that users see.
fn told(all: &Rules, found: &BTreeSet<Risk>) {
    let role = RoleRef { kind: RoleKind::ClusterRole, name: "role".to_owned() };
    for finding in findings(all) {
        assert!(all.rules().contains(&finding.rule) && classes([finding.rule.clone()]).contains(&finding.risk), "{finding}");
    }
    let lasting: Vec<RiskClass> = found.iter().filter_map(|risk| risk.lasting()).collect();
    assert_eq!(unaccepted(found, &[]), lasting);
    assert_eq!(refusal(&role, all, &lasting), Ok(()), "all of it is accepted");
    for (number, class) in lasting.iter().enumerate() {
        let mut without = lasting.clone();
        without.remove(number);
        let message = refusal(&role, all, &without).unwrap_err().message;
        let word = serde_json::to_value(class).unwrap();
        assert!(message.contains(word.as_str().unwrap()), "{message} does not name {word}");
        assert!(message.chars().count() < 1024, "{} characters: {message}", message.chars().count());
    }
    let status = all.status(RoleKind::ClusterRole, "role", true);
    assert!(
        status.rules.len() <= MAX_SHOWN_RULES
            && status.rules.iter().all(|rule| rule.chars().count() <= MAX_SHOWN_RULE && is_printable(rule))
    );
    assert_eq!(status.risks, found.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(status.truncated || status.rules.len() == all.rules().len(), "omitted rules are reported");
}
