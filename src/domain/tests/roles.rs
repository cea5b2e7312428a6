//! The description of a role for approver and requester.

use super::*;
use api::eligibility::{MAX_SHOWN_RULE, MAX_SHOWN_RULES};
use domain::{risks, role::check_size};

fn describe(change: impl FnOnce(&mut Rule)) -> String {
    let mut rule = rule(&["get", "list"], &["deployments"]);
    change(&mut rule);
    rule.to_string()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn t13_a_rule_in_words() {
    assert_eq!(describe(|_| ()), "get,list deployments.apps");
    assert_eq!(describe(|r| r.api_groups = words(&[""])), "get,list deployments");
    assert_eq!(describe(|r| r.api_groups = words(&["", "apps"])), "get,list deployments.{core,apps}");
    assert_eq!(describe(|r| r.api_groups = words(&["apps", "batch"])), "get,list deployments.{apps,batch}");
    assert_eq!(describe(|r| r.api_groups = words(&["*"])), "get,list deployments.*");
    assert_eq!(describe(|r| r.resources = words(&["deployments", "pods/exec"])), "get,list deployments.apps,pods/exec.apps");
    assert_eq!(describe(|r| r.resource_names = words(&["web", "db"])), "get,list deployments.apps (only web,db)");
    assert_eq!(
        describe(|r| (r.api_groups, r.resources, r.non_resource_urls) = (Vec::new(), Vec::new(), words(&["/metrics"]))),
        "get,list /metrics"
    );
    assert_eq!(describe(|r| r.verbs = words(&["get\u{1b}[2K", "\u{202e}list"])), "get\u{fffd}[2K,\u{fffd}list deployments.apps");
}

#[test]
fn a_status_shows_so_many_rules() {
    let many = |count: usize, name: &str| Rules::new((0..count).map(|i| rule(&["get"], &[&format!("{name}{i:03}")])));
    let shown = |rules: &Rules, with_rules: bool| {
        let status = rules.status(RoleKind::Role, "debug", with_rules);
        assert_eq!((status.kind, status.name.as_str(), status.rules_hash.as_str()), (Some(RoleKind::Role), "debug", rules.hash()));
        (status.rules.len(), status.truncated)
    };
    assert_eq!(shown(&many(MAX_SHOWN_RULES, "r"), true), (MAX_SHOWN_RULES, false));
    assert_eq!(shown(&many(MAX_SHOWN_RULES + 1, "r"), true), (MAX_SHOWN_RULES, true));
    assert_eq!(shown(&many(MAX_SHOWN_RULES + 1, "r"), false), (0, false));
    assert_eq!(shown(&Rules::default(), true), (0, false));
    let long = many(1, &"é".repeat(MAX_SHOWN_RULE));
    assert_eq!(shown(&long, true), (1, true));
    assert_eq!(long.status(RoleKind::Role, "debug", true).rules[0].chars().count(), MAX_SHOWN_RULE);
}

#[test]
fn f77_the_riskiest_rules_are_shown_first_and_all_are_counted() {
    let harmless = (0..200).map(|i| rule(&["get"], &[&format!("a{i:03}")]));
    let last = Rule { verbs: words(&["*"]), api_groups: words(&["*"]), resources: words(&["*"]), ..Rule::default() };
    let exec = Rule { verbs: words(&["create"]), api_groups: words(&[""]), resources: words(&["pods/exec"]), ..Rule::default() };
    let write = rule(&["delete"], &["zzz"]);
    let rules = Rules::new(harmless.chain([write.clone(), exec.clone(), last.clone()]));
    let status = rules.status(RoleKind::Role, "debug", true);
    assert_eq!(status.rules[..3], [last.to_string(), exec.to_string(), write.to_string()]);
    assert_eq!((status.rules.len(), status.rule_count, status.truncated), (MAX_SHOWN_RULES, 203, true));
    // The hash covers all of them in its own order.
    assert_eq!(status.rules_hash, rules.hash());
}

#[test]
fn f73_rules_that_were_not_read_are_granted_to_nobody_and_say_why() {
    let role = RoleRef { kind: RoleKind::Role, name: "debug".to_owned() };
    let unread = Rules::too_long(1_048_900);
    let refusal = check_size(&role, &unread).unwrap_err();
    assert_eq!(refusal.reason, api::Reason::RoleTooLarge);
    assert!(refusal.message.contains("Role 'debug' have 1048900 bytes") && refusal.message.contains("262144 at most"), "{refusal}");
    assert_eq!(risks::check(&role, &unread, &[]).unwrap_err(), refusal);
    assert!(check_size(&role, &Rules::new([rule(&["get"], &["pods"])])).is_ok());
    // Unread rules count as all classes, and as a change.
    assert_eq!(risks::classify(&unread).len(), risks::Risk::ALL.len());
    assert!(unread != Rules::default() && unread.hash() != Rules::default().hash() && unread.hash() != Rules::too_long(7).hash());
    let status = unread.status(role.kind, &role.name, true);
    assert!(status.truncated && status.rules.is_empty() && status.risks.len() > 5, "{status:?}");
}
