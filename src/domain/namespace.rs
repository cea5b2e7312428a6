//! Which namespaces an eligibility covers.

use super::{
    facts::{NamespaceFacts, Settings},
    refusal::Refusal,
};
use crate::api::{
    Reason, RoleEligibilitySpec,
    eligibility::{Operator, Requirement, RiskClass, Selector},
};

/// The cluster's own namespaces, covered only by name, with the risk class `SystemNamespace` accepted, and where the chart allows it.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Longest selector that a message shows, in characters.
const MAX_SELECTOR: usize = 256;

/// The refusal of a namespace in which this eligibility cannot be activated, wherever else it holds: the operator's own (T24), and the
/// cluster's own unless the eligibility names it, its author accepts the risk and the chart allows it.
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
            "the cluster's own, and what is done there outlives a grant; add SystemNamespace to spec.acceptRisks, or leave it out",
        );
    }
    Ok(())
}

/// True when the eligibility's names or its selector cover the namespace.
#[must_use]
pub fn covers(spec: &RoleEligibilitySpec, name: &str, namespace: &NamespaceFacts) -> bool {
    spec.namespaces.names.iter().any(|n| n == name) || spec.namespaces.selector.as_ref().is_some_and(|s| selects(s, namespace))
}

/// A selector as kubectl writes it: `team=payments, tier in (web, db)`.
#[must_use]
pub fn in_words(selector: &Selector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let requirements = selector.match_expressions.iter().map(|r| match r.operator {
        Operator::In => format!("{} in ({})", r.key, r.values.join(", ")),
        Operator::NotIn => format!("{} notin ({})", r.key, r.values.join(", ")),
        Operator::Exists => r.key.clone(),
        Operator::DoesNotExist => format!("!{}", r.key),
    });
    let all: Vec<String> = labels.chain(requirements).collect();
    let text = all.join(", ");
    // An admin may write thousands of characters; the first few say which selector it is.
    if text.chars().count() <= MAX_SELECTOR { text } else { format!("{}...", text.chars().take(MAX_SELECTOR).collect::<String>()) }
}

fn selects(selector: &Selector, namespace: &NamespaceFacts) -> bool {
    let empty = selector.match_labels.is_empty() && selector.match_expressions.is_empty();
    !empty
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
