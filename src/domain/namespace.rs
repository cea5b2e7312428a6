//! The namespaces that an eligibility covers.

use std::collections::BTreeSet;

use super::{
    facts::NamespaceFacts,
    refusal::Refusal,
    settings::{NAME_LABEL, Settings},
};
use api::{
    Reason, RoleEligibilitySpec,
    eligibility::{Operator, Requirement, RiskClass, Selector},
};

/// The cluster's own namespaces. They are covered only by name, with the risk class `SystemNamespace` accepted, and if the chart allows it.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Maximum number of characters of a selector in a message.
const MAX_SELECTOR: usize = 256;

/// Refuses a namespace in which this eligibility can never be activated. This is the operator's own (T24), and a namespace of the cluster
/// itself unless the eligibility names it, its author accepts the risk and the chart allows it.
pub fn protected(spec: &RoleEligibilitySpec, name: &str, settings: &Settings) -> Result<(), Refusal> {
    let refuse = |reason, why: &str| Err(Refusal::new(reason, format!("namespace '{name}' is {why}")));
    if name == settings.operator_namespace {
        return refuse(Reason::NamespaceProtected, "the operator's own: no role can be activated in it");
    }
    if !SYSTEM_NAMESPACES.contains(&name) {
        return Ok(());
    }
    if !settings.system_namespaces.iter().any(|allowed| allowed == name) {
        return refuse(
            Reason::NamespaceProtected,
            "the cluster's own: no role can be activated in it, unless the chart's value systemNamespaces lists it",
        );
    }
    if !spec.namespaces.names.iter().any(|listed| listed == name) {
        return refuse(Reason::NamespaceNotCovered, "the cluster's own, which a selector never covers; name it in spec.namespaces.names");
    }
    if !spec.accept_risks.contains(&RiskClass::SystemNamespace) {
        return refuse(
            Reason::RiskNotAccepted,
            "the cluster's own, and changes made there outlive a grant; add SystemNamespace to spec.acceptRisks, or remove it",
        );
    }
    Ok(())
}

/// Returns true if the eligibility's names or its selector cover the namespace.
#[must_use]
pub fn covers(spec: &RoleEligibilitySpec, name: &str, namespace: &NamespaceFacts) -> bool {
    spec.namespaces.names.iter().any(|n| n == name) || spec.namespaces.selector.as_ref().is_some_and(|s| selects(s, namespace))
}

/// Returns true if a change of a namespace adds it to what the eligibility covers, or removes it.
#[must_use]
pub fn coverage_changes(spec: &RoleEligibilitySpec, name: &str, before: Option<&NamespaceFacts>, now: Option<&NamespaceFacts>) -> bool {
    let covered = |facts: Option<&NamespaceFacts>| facts.is_some_and(|facts| covers(spec, name, facts));
    covered(before) != covered(now)
}

/// Returns a selector in kubectl's notation: `team=payments, tier in (web, db)`.
#[must_use]
pub fn describe(selector: &Selector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let requirements = selector.match_expressions.iter().map(|r| match r.operator {
        Operator::In => format!("{} in ({})", r.key, r.values.join(", ")),
        Operator::NotIn => format!("{} notin ({})", r.key, r.values.join(", ")),
        Operator::Exists => r.key.clone(),
        Operator::DoesNotExist => format!("!{}", r.key),
    });
    let all: Vec<String> = labels.chain(requirements).collect();
    let text = all.join(", ");
    // An admin may write thousands of characters. The first few identify the selector.
    if text.chars().count() <= MAX_SELECTOR { text } else { format!("{}...", text.chars().take(MAX_SELECTOR).collect::<String>()) }
}

/// Returns the keys of a selector's labels that any user can change who may write namespaces.
#[must_use]
pub fn unguarded_keys<'s>(selector: &'s Selector, settings: &Settings) -> BTreeSet<&'s str> {
    let keys = selector.match_labels.keys().chain(selector.match_expressions.iter().map(|r| &r.key));
    keys.map(String::as_str).filter(|key| !settings.guarded_labels.guards(key)).collect()
}

/// Returns warnings for the author of a selector: who else decides which namespaces it covers (T20). Each is one short line.
#[must_use]
pub fn reach_warning(selector: &Selector, settings: &Settings) -> Option<String> {
    let keys = unguarded_keys(selector, settings);
    if !keys.is_empty() {
        let shown = keys.into_iter().collect::<Vec<_>>().join(", ");
        return Some(format!(
            "users who may label namespaces can widen this eligibility: no guard on {shown}. Select by {NAME_LABEL}, a label of the \
             chart's guardedLabels, or list names"
        ));
    }
    // A namespace without the label is covered, including one that a user creates for this purpose. A namespace that is listed by name is
    // intended.
    let asks = |r: &Requirement| matches!(r.operator, Operator::In | Operator::Exists) || r.key == NAME_LABEL;
    let open = selector.match_labels.is_empty() && !selector.match_expressions.iter().any(asks);
    open.then(|| "users who may create namespaces can widen this eligibility: its selector only excludes labels".to_owned())
}

fn selects(selector: &Selector, namespace: &NamespaceFacts) -> bool {
    let empty = selector.match_labels.is_empty() && selector.match_expressions.is_empty();
    !empty
        && !namespace.labels_too_long
        && selector.match_labels.iter().all(|(k, v)| namespace.labels.get(k) == Some(v))
        && selector.match_expressions.iter().all(|r| holds(r, namespace))
}

fn holds(requirement: &Requirement, namespace: &NamespaceFacts) -> bool {
    let value = namespace.labels.get(&requirement.key);
    let listed = value.is_some_and(|v| requirement.values.contains(v));
    match requirement.operator {
        Operator::In => listed,
        // Without a value it would cover every namespace.
        Operator::NotIn => !listed && !requirement.values.is_empty(),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::GuardedLabels;
    use api::Duration;

    fn settings() -> Settings {
        Settings {
            operator_namespace: "jit-system".to_owned(),
            max_grant: Duration::from_hours(24),
            identities: crate::person::Identities::default(),
            system_namespaces: Vec::new(),
            guarded_labels: GuardedLabels { keys: vec!["team".to_owned()], prefixes: vec!["reach.jitrbac.dev/".to_owned()] },
        }
    }

    #[test]
    fn f17_only_a_change_of_what_is_covered_counts() {
        let spec = |names: &[&str], team: Option<&str>| -> RoleEligibilitySpec {
            let selector = team.map(|team| serde_json::json!({"matchLabels": {"team": team}}));
            serde_json::from_value(serde_json::json!({
                "subjects": [], "roleRef": {"kind": "ClusterRole", "name": "view"}, "policyRef": {"name": "p"}, "maxDuration": "1h",
                "namespaces": {"names": names, "selector": selector},
            }))
            .unwrap()
        };
        let facts = |labels: &[(&str, &str)], labels_too_long| NamespaceFacts {
            uid: "u".to_owned(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            labels_too_long,
            terminating: false,
        };
        let (web, db, flooded) =
            (facts(&[("team", "web")], false), facts(&[("team", "db"), ("x", "y")], false), facts(&[("team", "web")], true));
        for (spec, before, now, changes) in [
            (spec(&[], Some("web")), None, Some(&web), true),
            (spec(&[], Some("web")), Some(&web), None, true),
            (spec(&[], Some("web")), Some(&web), Some(&web), false),
            (spec(&[], Some("web")), Some(&web), Some(&db), true),
            (spec(&[], Some("cache")), Some(&web), Some(&db), false),
            (spec(&[], Some("cache")), None, Some(&db), false),
            (spec(&[], Some("web")), Some(&web), Some(&flooded), true),
            (spec(&["a"], Some("web")), Some(&web), Some(&db), false),
            (spec(&["a"], None), None, Some(&db), true),
            (spec(&["b"], None), None, Some(&db), false),
        ] {
            assert_eq!(coverage_changes(&spec, "a", before, now), changes, "{:?}: {before:?} {now:?}", spec.namespaces);
        }
    }

    #[test]
    fn t20_a_selector_on_labels_that_anybody_may_write_is_told() {
        let requirement = |key: &str, operator| Requirement { key: key.to_owned(), operator, values: Vec::new() };
        let selector = |labels: &[&str], expressions: Vec<Requirement>| Selector {
            match_labels: labels.iter().map(|&key| (key.to_owned(), "x".to_owned())).collect(),
            match_expressions: expressions,
        };
        for (selector, said) in [
            (selector(&["team"], vec![]), None),
            (selector(&["reach.jitrbac.dev/payments"], vec![requirement("team", Operator::DoesNotExist)]), None),
            (selector(&[], vec![requirement(NAME_LABEL, Operator::Exists)]), None),
            (selector(&[], vec![requirement(NAME_LABEL, Operator::NotIn)]), None),
            (selector(&["teams", "team"], vec![requirement("env", Operator::In)]), Some("no guard on env, teams.")),
            (selector(&["team"], vec![requirement("reach.jitrbac.dev", Operator::NotIn)]), Some("no guard on reach.jitrbac.dev.")),
            (selector(&[], vec![requirement("team", Operator::DoesNotExist)]), Some("users who may create namespaces")),
        ] {
            let warned = reach_warning(&selector, &settings());
            assert_eq!(warned.is_some(), said.is_some(), "{selector:?}: {warned:?}");
            assert!(warned.is_none_or(|warning| said.is_some_and(|said| warning.contains(said))), "{selector:?}");
        }
    }
}
