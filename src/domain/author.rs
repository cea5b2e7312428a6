//! What the author of an eligibility or a policy must be allowed to do (T15, T16, invariant 22). They need `bind` on every role that the
//! object makes people eligible for, in each namespace where it does.
//!
//! This is stricter than Kubernetes on purpose: holding the permissions of the role is not sufficient.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use api::{
    Reason,
    eligibility::{Namespaces, RoleRef},
    names::{self, RBAC_GROUP},
};

/// Maximum number of access reviews for one write. An eligibility names 256 namespaces at most, so only a policy can lead to more.
pub const MOST_QUESTIONS: usize = 512;
/// Maximum number of namespaces that a refusal names.
const MAX_NAMED: usize = 8;

/// The role that an eligibility offers, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Name of the eligibility.
    pub eligibility: String,
    /// The role.
    pub role: RoleRef,
    /// Where.
    pub namespaces: Namespaces,
}

/// The eligibilities that refer to a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Those that can be read.
    pub readable: Vec<Offer>,
    /// Names of those that refer to it and whose role or scope cannot be read.
    pub unreadable: Vec<String>,
}

/// The object that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    /// An eligibility.
    Eligibility,
    /// The policy of this name.
    Policy(&'a str),
}

/// An access review of the author: one verb on one named object, in one namespace or, without one, in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Verb.
    pub verb: &'static str,
    /// API group.
    pub group: &'static str,
    /// Resource in the plural, with its subresource after a slash.
    pub resource: &'static str,
    /// Name of the object. An empty name means any object.
    pub name: &'a str,
    /// Namespace. `None` means the whole cluster.
    pub namespace: Option<&'a str>,
}

/// Asks whether the author may bind this role there.
#[must_use]
pub const fn bind<'a>(role: &'a RoleRef, namespace: Option<&'a str>) -> Question<'a> {
    Question { verb: "bind", group: RBAC_GROUP, resource: role.kind.resource(), name: role.name.as_str(), namespace }
}

/// Asks whether the author may change this policy, whatever refers to it.
#[must_use]
pub const fn administer(policy: &str) -> Question<'_> {
    Question { verb: "administer", group: names::GROUP, resource: "approvalpolicies", name: policy, namespace: None }
}

/// Where the author must be allowed to bind one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The role.
    pub role: RoleRef,
    /// The eligibility that requires it in the whole cluster, if one does. Labels can change, so a selector can come to match any
    /// namespace.
    pub everywhere: Option<String>,
    /// The namespaces that are listed by name, each with the first eligibility that lists it.
    pub namespaces: BTreeMap<String, String>,
}

/// Returns what must be allowed: one entry per role, each namespace once.
#[must_use]
pub fn demands(offers: &[Offer]) -> Vec<Demand> {
    let mut by_role: BTreeMap<(&str, &str), Demand> = BTreeMap::new();
    for Offer { eligibility, role, namespaces } in offers {
        let demand = by_role.entry((role.kind.as_str(), role.name.as_str())).or_insert_with(|| Demand {
            role: role.clone(),
            everywhere: None,
            namespaces: BTreeMap::new(),
        });
        // Neither names nor selector: the schema forbids this, so the object was written past the schema.
        if namespaces.selector.is_some() || namespaces.names.is_empty() {
            demand.everywhere.get_or_insert_with(|| eligibility.clone());
        }
        for name in &namespaces.names {
            demand.namespaces.entry(name.clone()).or_insert_with(|| eligibility.clone());
        }
    }
    by_role.into_values().collect()
}

/// Refuses a write that needs too many access reviews, for an author who may not bind these roles in the whole cluster.
pub fn askable<'d>(author: &str, written: Written<'_>, demands: impl IntoIterator<Item = &'d Demand>) -> Result<(), Refusal> {
    let asked: usize = demands.into_iter().map(|demand| demand.namespaces.len()).sum();
    if asked <= MOST_QUESTIONS {
        return Ok(());
    }
    let (what, instead) = match written {
        Written::Eligibility => ("this eligibility".to_owned(), String::new()),
        Written::Policy(policy) => (format!("policy '{policy}'"), format!(", or {}", describe_administer(policy))),
    };
    Err(Refusal::new(
        Reason::AuthorLacksBind,
        format!(
            "'{author}' may not write {what}: it covers roles in {asked} namespaces, and only {MOST_QUESTIONS} are checked one by one; it requires the verb bind on the roles in the whole cluster{instead}"
        ),
    ))
}

/// The refusal of a policy to which an eligibility refers whose role or scope cannot be read.
#[must_use]
pub fn unreadable(author: &str, policy: &str, eligibility: &str) -> Refusal {
    Refusal::new(
        Reason::AuthorLacksBind,
        format!(
            "'{author}' may not write policy '{policy}': eligibility '{eligibility}' refers to it and its role or namespaces cannot be read, so the required permissions are unknown; write or delete that eligibility first, or be granted {}",
            describe_administer(policy)
        ),
    )
}

/// The refusal of an author who may not bind the role of `demand` in these namespaces or, without any, in the whole cluster.
#[must_use]
pub fn may_not_bind(author: &str, written: Written<'_>, demand: &Demand, missing: &[&str]) -> Refusal {
    let Demand { role, everywhere, namespaces } = demand;
    let (place, there, binding) = if missing.is_empty() {
        ("by a selector, which can match any namespace later".to_owned(), "in the whole cluster", "ClusterRoleBinding")
    } else {
        (in_namespaces(missing), "there", "RoleBinding there")
    };
    let eligibility = missing.first().and_then(|name| namespaces.get(*name)).or(everywhere.as_ref()).map_or("", String::as_str);
    let (what, instead) = match written {
        Written::Eligibility => (
            format!("make users eligible for {} '{}' {place}", role.kind, role.name),
            if missing.is_empty() { "; or list the namespaces by name".to_owned() } else { String::new() },
        ),
        Written::Policy(policy) => (
            format!(
                "write policy '{policy}', under which eligibility '{eligibility}' makes users eligible for {} '{}' {place}",
                role.kind, role.name
            ),
            format!(", or {}", describe_administer(policy)),
        ),
    };
    Refusal::new(
        Reason::AuthorLacksBind,
        format!(
            "'{author}' may not {what}: this requires the verb bind on the role {there} (holding its permissions is not sufficient); ask a user who has it to write the object, or be granted the rule {{apiGroups: [{RBAC_GROUP}], resources: [{}], resourceNames: [{}], verbs: [bind]}} by a {binding}{instead}",
            role.kind.resource(),
            role.name
        ),
    )
}

fn describe_administer(policy: &str) -> String {
    let Question { verb, group, resource, .. } = administer(policy);
    format!("the verb {verb} on {resource}.{group} '{policy}'")
}

fn in_namespaces(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_NAMED).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    match (names.len(), names.len().saturating_sub(MAX_NAMED)) {
        (1, _) => format!("in namespace {shown}"),
        (_, 0) => format!("in the namespaces {shown}"),
        (_, more) => format!("in the namespaces {shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::eligibility::{RoleKind, Selector};

    fn offer(eligibility: &str, kind: RoleKind, role: &str, names: &[&str], selector: bool) -> Offer {
        Offer {
            eligibility: eligibility.to_owned(),
            role: RoleRef { kind, name: role.to_owned() },
            namespaces: Namespaces {
                names: names.iter().map(|&name| name.to_owned()).collect(),
                selector: selector.then(|| Selector { match_labels: [("team".to_owned(), "a".to_owned())].into(), ..Selector::default() }),
            },
        }
    }

    #[test]
    fn t15_every_scope_of_every_role_is_asked_about_once() {
        let (cluster, local) = (RoleKind::ClusterRole, RoleKind::Role);
        let found = demands(&[
            offer("one", cluster, "edit", &["a", "b"], false),
            offer("two", cluster, "edit", &["b", "c"], false),
            offer("three", local, "edit", &["a"], true),
            offer("four", cluster, "view", &[], false),
        ]);
        let shown: Vec<_> = found
            .iter()
            .map(|d| {
                (d.role.kind.as_str(), d.role.name.as_str(), d.everywhere.as_deref(), d.namespaces.keys().map(String::as_str).collect())
            })
            .collect::<Vec<(_, _, _, Vec<_>)>>();
        assert_eq!(
            shown,
            [
                ("ClusterRole", "edit", None, vec!["a", "b", "c"]),
                ("ClusterRole", "view", Some("four"), vec![]),
                ("Role", "edit", Some("three"), vec!["a"]),
            ]
        );
        assert_eq!(found[0].namespaces["b"], "one");
    }

    #[test]
    fn the_questions_are_about_the_named_role_and_the_named_policy() {
        let role = RoleRef { kind: RoleKind::Role, name: "debug".to_owned() };
        let asked = Question { verb: "bind", group: RBAC_GROUP, resource: "roles", name: "debug", namespace: Some("a") };
        assert_eq!(bind(&role, Some("a")), asked);
        let asked = Question { verb: "administer", group: "jitrbac.dev", resource: "approvalpolicies", name: "p", namespace: None };
        assert_eq!(administer("p"), asked);
    }

    #[test]
    fn a_refusal_says_who_what_where_and_what_is_missing() {
        let found = demands(&[offer("oncall", RoleKind::ClusterRole, "edit", &["a", "b"], true)]);
        let names: Vec<String> = (0..10).map(|n| format!("n-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (written, missing, parts) in [
            (
                Written::Eligibility,
                &["a"][..],
                &[
                    "'ann' may not make",
                    "ClusterRole 'edit' in namespace 'a':",
                    "resourceNames: [edit], verbs: [bind]} by a RoleBinding there",
                ][..],
            ),
            (Written::Eligibility, &names, &["'n-7' and 2 more"]),
            (Written::Eligibility, &[], &["by a selector", "in the whole cluster", "a ClusterRoleBinding; or list the namespaces"]),
            (
                Written::Policy("p"),
                &["b"],
                &["policy 'p'", "eligibility 'oncall'", "or the verb administer on approvalpolicies.jitrbac.dev 'p'"],
            ),
        ] {
            let refusal = may_not_bind("ann", written, &found[0], missing);
            assert_eq!(refusal.reason, Reason::AuthorLacksBind);
            for part in parts {
                assert!(refusal.message.contains(part), "{part}: {}", refusal.message);
            }
        }
    }

    #[test]
    fn t45_more_than_can_be_asked_about_is_refused() {
        let names: Vec<String> = (0..=MOST_QUESTIONS).map(|n| format!("n-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = demands(&[offer("x", RoleKind::ClusterRole, "edit", &names, false)]);
        let refusal = askable("ann", Written::Policy("p"), &all).unwrap_err();
        assert!(refusal.message.contains("513 namespaces") && refusal.message.contains("administer"), "{refusal}");
        assert!(askable("ann", Written::Eligibility, &demands(&[offer("x", RoleKind::Role, "r", &names[1..], false)])).is_ok());
    }
}
