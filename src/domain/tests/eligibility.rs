//! Who is eligible, where and when (api rule 1).

use super::*;
use api::eligibility::{Operator, Requirement, RiskClass, Selector};
use domain::{eligibility, namespace};

fn refused(case: &TestCase, message: &str) {
    assert_eq!(case.refusal(), message);
    assert_eq!(case.state(), State::Denied);
}

#[test]
fn t12_only_subjects_are_eligible() {
    let user = |name: &str, pin: Option<&str>| Subject { uid: pin.map(line), ..subject(SubjectKind::User, name) };
    let robot = |pin: Option<&str>| Subject { uid: pin.map(line), ..subject(SubjectKind::ServiceAccount, "bot") };
    let bot = || person("system:serviceaccount:ci:bot", &["system:serviceaccounts", "system:serviceaccounts:ci", "devs"]);
    for (who, listed, eligible) in [
        (dev(), user("dev", None), true),
        (dev(), user("Dev", None), false),
        (dev(), user("devs", None), false),
        (dev(), subject(SubjectKind::Group, "devs"), true),
        (dev(), subject(SubjectKind::Group, "dev"), false),
        (person("dev", &[]), subject(SubjectKind::Group, "devs"), false),
        (uid(dev(), "u1"), user("dev", Some("u1")), true),
        (uid(dev(), "u2"), user("dev", Some("u1")), false),
        (dev(), user("dev", Some("u1")), false),
        (uid(dev(), "u1"), user("lead-1", Some("u1")), false),
        (bot(), robot(None), true),
        (uid(bot(), "u1"), robot(Some("u1")), true),
        // The same name after it was deleted and created again (T50).
        (uid(bot(), "u2"), robot(Some("u1")), false),
        (person("system:serviceaccount:other:bot", &[]), robot(None), false),
        (person("bot", &[]), robot(None), false),
        // Its groups show its namespace, never who it is (T50). RBAC would match a `User` of that name (T10).
        (bot(), subject(SubjectKind::Group, "devs"), false),
        (bot(), user("system:serviceaccount:ci:bot", None), false),
    ] {
        let case = format!("{who:?} {listed:?}");
        let account = domain::person::account(&who).unwrap();
        assert_eq!(domain::person::is_subject(&who, &account, &[listed]), eligible, "{case}");
    }
    refused(
        &case().requester(person("mallory", &["guests"])),
        "NotEligible: 'mallory' is not among the subjects of eligibility 'payments-oncall', neither by name nor by a group; the sign-in \
         has none of the groups 'devs' ('kubectl auth whoami' lists those that it has); ask an admin, or see 'kubectl get \
         roleeligibilities'",
    );
}

#[test]
fn a_person_in_many_groups_is_served() {
    let mut who = dev();
    who.groups = (0..1_000).map(|i| line(&format!("group-{i}"))).chain([line("devs")]).collect();
    assert_eq!(case().requester(who).state(), State::Active);
}

#[test]
fn t10_inv_20_users_of_kubernetes_itself_are_refused() {
    for name in ["system:admin", "system:anonymous", "system:node:n1", "system:kube-scheduler", "system:"] {
        let message =
            format!("SystemUserNotAllowed: '{name}' is reserved for Kubernetes and cannot request or decide; sign in with your own user");
        refused(
            &case().eligibility(|e| e.subjects = vec![subject(SubjectKind::Group, "devs")]).requester(person(name, &["devs"])),
            &message,
        );
    }
    for name in [
        "system:serviceaccount:",
        "system:serviceaccount:ci",
        "system:serviceaccount:ci:",
        "system:serviceaccount::bot",
        "system:serviceaccount:a:b:c",
    ] {
        refused(
            &case().requester(person(name, &["devs"])),
            &format!("SystemUserNotAllowed: '{name}' is not a valid ServiceAccount user name"),
        );
    }
    for name in ["", " ", "\u{3000}"] {
        refused(&case().requester(person(name, &["devs"])), "SystemUserNotAllowed: the request has no user name");
    }
    let case = case().request(|r| r.requester = None);
    assert_eq!(case.told(), "Denied UserInfoMissing: the request has no stamped author; create it again");
}

#[test]
fn t50_a_service_account_needs_leave_and_an_approver() {
    let bot = person("system:serviceaccount:ci:bot", &[]);
    let robots = |leave: bool| {
        two_eyes().requester(person("system:serviceaccount:ci:bot", &[])).eligibility(|e| {
            e.subjects.push(subject(SubjectKind::ServiceAccount, "bot"));
            e.allow_service_accounts = leave;
        })
    };
    let grant = robots(true).approves(&lead(1), 5).now(6).grant();
    let subject = grant.subject;
    assert_eq!((subject.kind.as_str(), subject.name.as_str(), subject.namespace.as_deref()), ("ServiceAccount", "bot", Some("ci")));
    assert_eq!(
        robots(false).refusal(),
        "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: ServiceAccountNotAllowed: spec.subjects lists the \
         ServiceAccount 'bot'; this requires spec.allowServiceAccounts: true"
    );
    refused(
        &case().requester(bot),
        "ServiceAccountNotAllowed: 'system:serviceaccount:ci:bot' is a ServiceAccount, and eligibility 'payments-oncall' does not allow \
         ServiceAccounts (spec.allowServiceAccounts)",
    );
    let automatic = robots(true).policy(|p| p.approval = Approval { automatic: Some(Automatic {}), ..Approval::default() });
    assert_eq!(
        automatic.refusal(),
        "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: ServiceAccountNotAllowed: spec.allowServiceAccounts is true and \
         policy 'two-eyes' approves automatically: a ServiceAccount needs an approver"
    );
}

#[test]
fn an_eligibility_holds_from_its_start_until_before_its_end() {
    let from_to = |from: i64, to: i64| case().eligibility(|e| (e.start_time, e.end_time) = (Some(at(from)), Some(at(to))));
    assert_eq!(from_to(100, 9_000).now(100).state(), State::Active);
    refused(
        &from_to(100, 9_000).now(99),
        "EligibilityNotStarted: eligibility 'payments-oncall' has not started at 2026-11-02T10:01:39Z: it starts at 2026-11-02T10:01:40Z (spec.startTime)",
    );
    assert_eq!(from_to(0, 100).now(99).state(), State::Active);
    refused(
        &from_to(0, 100).now(100),
        "EligibilityExpired: eligibility 'payments-oncall' is not valid at 2026-11-02T10:01:40Z: it ends at 2026-11-02T10:01:40Z \
         (spec.endTime)",
    );
    refused(
        &case().eligibility(|e| e.suspended = true),
        "EligibilitySuspended: eligibility 'payments-oncall' is suspended (spec.suspended)",
    );
}

#[test]
fn t21_only_covered_namespaces() {
    refused(
        &case().change(|c| c.snapshot.request.namespace = "shop".to_owned()),
        "NamespaceNotCovered: namespace 'shop' is not covered by eligibility 'payments-oncall', which is for payments",
    );
    let many = |e: &mut RoleEligibilitySpec| {
        e.namespaces.names = (0..10).map(|i| format!("ns-{i}")).collect();
        e.namespaces.selector = Some(Selector { match_labels: [("team".to_owned(), "shop".to_owned())].into(), ..Selector::default() });
    };
    refused(
        &case().eligibility(many),
        "NamespaceNotCovered: namespace 'payments' is not covered by eligibility 'payments-oncall', which is for ns-0, ns-1, ns-2, ns-3, ns-4, \
         ns-5, ns-6, ns-7 and 2 more and namespaces with team=shop",
    );
    let selected = case().eligibility(|e| {
        e.namespaces.names = vec!["elsewhere".to_owned()];
        e.namespaces.selector = Some(Selector { match_labels: [("team".to_owned(), "payments".to_owned())].into(), ..Selector::default() });
    });
    assert_eq!(selected.state(), State::Active, "names and selector are a union");
}

#[test]
fn t24_protected_namespaces_are_never_covered() {
    const CLUSTERS: &str = "the cluster's own: no role can be activated in it, unless the chart's value systemNamespaces lists it";
    for (name, whose) in [
        ("jit-system", "the operator's own: no role can be activated in it"),
        ("kube-system", CLUSTERS),
        ("kube-public", CLUSTERS),
        ("kube-node-lease", CLUSTERS),
    ] {
        let message = format!("NamespaceProtected: namespace '{name}' is {whose}");
        let everywhere = case().change(|c| c.snapshot.request.namespace = name.to_owned()).eligibility(|e| {
            let exists = Requirement { key: "team".to_owned(), operator: Operator::Exists, values: Vec::new() };
            e.namespaces =
                Namespaces { names: Vec::new(), selector: Some(Selector { match_expressions: vec![exists], ..Selector::default() }) };
        });
        refused(&everywhere, &message);
        let named = case().eligibility(|e| e.namespaces.names.push(name.to_owned()));
        assert_eq!(named.refusal(), format!("EligibilityNotReady: eligibility 'payments-oncall' cannot be used: {message}"));
    }
}

#[test]
fn t18_a_namespace_of_the_cluster_needs_its_name_an_acceptance_and_the_chart() {
    let system = || {
        case().change(|c| {
            c.snapshot.request.namespace = "kube-system".to_owned();
            c.settings.system_namespaces = vec!["kube-system".to_owned()];
        })
    };
    let named = || system().eligibility(|e| e.namespaces.names = vec!["kube-system".to_owned()]);
    let accepted = |e: &mut RoleEligibilitySpec| e.accept_risks = vec![RiskClass::SystemNamespace];
    assert_eq!(named().eligibility(accepted).state(), State::Active);
    assert_eq!(
        named().refusal(),
        "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: RiskNotAccepted: namespace 'kube-system' is the cluster's own, \
         and changes made there outlive a grant; add SystemNamespace to spec.acceptRisks, or remove it"
    );
    let selected = system().eligibility(accepted).eligibility(|e| {
        let exists = Requirement { key: "team".to_owned(), operator: Operator::Exists, values: Vec::new() };
        e.namespaces =
            Namespaces { names: Vec::new(), selector: Some(Selector { match_expressions: vec![exists], ..Selector::default() }) };
    });
    refused(
        &selected,
        "NamespaceNotCovered: namespace 'kube-system' is the cluster's own, which a selector never covers; name it in spec.namespaces.names",
    );
    let operators = named().eligibility(accepted).eligibility(|e| e.namespaces.names.push("jit-system".to_owned()));
    assert!(operators.change(|c| c.settings.system_namespaces.push("jit-system".to_owned())).refusal().contains("the operator's own"));
}

#[test]
fn t43_selectors_as_in_kubernetes_but_never_everything_by_omission() {
    let requirement = |operator, values: &[&str]| Requirement {
        key: "team".to_owned(),
        operator,
        values: values.iter().map(ToString::to_string).collect(),
    };
    let covered = |selector: Selector, team: Option<&str>| {
        let labels = team.map(|team| ("team".to_owned(), team.to_owned())).into_iter().collect();
        let namespace = NamespaceFacts { uid: String::new(), labels, labels_too_long: false, terminating: false };
        let mut spec = None;
        let _ = case().eligibility(|e| {
            e.namespaces = Namespaces { names: Vec::new(), selector: Some(selector) };
            spec = Some(e.clone());
        });
        namespace::covers(&spec.unwrap(), "payments", &namespace)
    };
    for (operator, values, payments, shop, none) in [
        (Operator::In, &["payments", "bank"][..], true, false, false),
        (Operator::NotIn, &["payments"], false, true, true),
        (Operator::Exists, &[], true, true, false),
        (Operator::DoesNotExist, &[], false, false, true),
        (Operator::In, &[], false, false, false),
        (Operator::NotIn, &[], false, false, false),
    ] {
        let selector = || Selector { match_expressions: vec![requirement(operator, values)], ..Selector::default() };
        let found = [Some("payments"), Some("shop"), None].map(|team| covered(selector(), team));
        assert_eq!(found, [payments, shop, none], "{operator:?} {values:?}");
    }
    assert!(!covered(Selector::default(), Some("payments")), "an empty selector");
    let both = |team: &str| Selector {
        match_labels: [("team".to_owned(), team.to_owned())].into(),
        match_expressions: vec![requirement(Operator::Exists, &[]), requirement(Operator::NotIn, &["shop"])],
    };
    assert!(covered(both("payments"), Some("payments")), "all must hold");
    assert!(!covered(both("shop"), Some("shop")), "one does not hold");
    assert!(!covered(both("payments"), Some("bank")), "one does not hold");
}

#[test]
fn t11_an_eligibility_that_cannot_be_used() {
    let case = case();
    let Lookup::Found(usable) = &case.snapshot.eligibility else { panic!() };
    let check = |change: &dyn Fn(&mut RoleEligibilitySpec)| {
        let mut spec = usable.spec.clone();
        change(&mut spec);
        eligibility::check(&spec, &case.settings).map_or_else(|refusal| refusal.to_string(), |()| "usable".to_owned())
    };
    assert_eq!(check(&|_| ()), "usable");
    assert_eq!(check(&|e| e.subjects.clear()), "InvalidField: spec.subjects is empty; list at least one user or group");
    for (kind, name) in [
        (SubjectKind::Group, "system:authenticated"),
        (SubjectKind::Group, "system:masters"),
        (SubjectKind::Group, "system:serviceaccounts"),
        (SubjectKind::User, "system:admin"),
        (SubjectKind::User, "system:serviceaccount:ci:bot"),
    ] {
        assert_eq!(
            check(&|e| e.subjects.push(subject(kind, name))),
            format!(
                "SystemNameNotAllowed: spec.subjects lists '{name}', which is reserved for Kubernetes; list users, your own groups, or set kind: ServiceAccount"
            )
        );
    }
    assert_eq!(
        check(&|e| e.max_duration = lasting("24h1s")),
        "AboveMaxGrant: spec.maxDuration is 24h1s, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value"
    );
    assert_eq!(check(&|e| e.max_duration = lasting("24h")), "usable");
    assert_eq!(check(&|e| e.default_duration = Some(lasting("4h"))), "usable");
    assert_eq!(
        check(&|e| e.default_duration = Some(lasting("4h1s"))),
        "InvalidField: spec.defaultDuration 4h1s is longer than spec.maxDuration 4h"
    );
    assert_eq!(check(&|e| e.accept_risks.push(RiskClass::Escalation)), "usable");
}

#[test]
fn t15_t25_a_role_that_the_operator_may_not_bind() {
    for (kind, list) in [(RoleKind::ClusterRole, "clusterRoles"), (RoleKind::Role, "roles")] {
        let refusal = eligibility::not_bindable(&RoleRef { kind, name: "cluster-admin".to_owned() });
        let message = format!(
            "RoleNotBindable: {kind} 'cluster-admin' is not in the chart's value bindableRoles.{list}, so the operator may not grant it; \
             add it there, or use a role that is listed"
        );
        assert_eq!(refusal.to_string(), message);
    }
}
