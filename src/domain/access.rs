//! The access that rules allow, in one form for every way of writing it. A role that is only written differently counts as the same (T17).

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{
    canonical::{canonical, hex},
    rule::Rule,
};

/// Maximum number of single permissions that are compared. `cluster-admin` has one, the built-in `admin` about a thousand. A larger role is
/// compared by its rules as written, which can only report more changes, never fewer.
const MOST: usize = 50_000;

/// One verb on one resource of one group, with one name or any name. `*` matches all, as in RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
struct Permission<'a> {
    group: &'a str,
    resource: &'a str,
    verb: &'a str,
    name: Option<&'a str>,
}

/// Returns a hash over what a `RoleBinding` to these rules allows: equal hashes allow the same. Returns `None` if there are too many
/// permissions.
///
/// Non-resource URLs are left out, since a `RoleBinding` never grants them.
#[must_use]
pub fn hash(rules: &[Rule]) -> Option<String> {
    let permissions = permissions(rules)?;
    let mut hasher = Sha256::new();
    hasher.update(b"jitrbac.dev/access/v1\n");
    hasher.update(canonical(&permissions));
    Some(format!("sha256:{}", hex(&hasher.finalize())))
}

/// Returns every permission that no other permission contains.
fn permissions(rules: &[Rule]) -> Option<Vec<Permission<'_>>> {
    let named = |rule: &Rule| rule.resource_names.len().max(1);
    let of = |rule: &Rule| {
        [rule.api_groups.len(), rule.resources.len(), rule.verbs.len(), named(rule)].into_iter().try_fold(1, usize::checked_mul)
    };
    let count = rules.iter().try_fold(0_usize, |sum, rule| sum.checked_add(of(rule)?));
    if count.is_none_or(|count| count > MOST) {
        return None;
    }
    let mut all = BTreeSet::new();
    for rule in rules {
        let objects: Vec<Option<&str>> =
            if rule.resource_names.is_empty() { vec![None] } else { rule.resource_names.iter().map(|name| Some(name.as_str())).collect() };
        for group in &rule.api_groups {
            for resource in &rule.resources {
                for verb in &rule.verbs {
                    all.extend(objects.iter().map(|name| Permission { group, resource, verb, name: *name }));
                }
            }
        }
    }
    Some(all.iter().filter(|permission| !permission.is_contained(&all)).copied().collect())
}

impl Permission<'_> {
    /// Returns true if another permission of `all` allows at least this, as RBAC matches it.
    fn is_contained(&self, all: &BTreeSet<Self>) -> bool {
        // `*/scale` allows the subresource of every resource. RBAC gives `*/*` no such meaning.
        let sub = self.resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let resources = [Some(self.resource), sub.as_deref(), Some("*")];
        [self.group, "*"].into_iter().any(|group| {
            resources.into_iter().flatten().any(|resource| {
                [self.verb, "*"].into_iter().any(|verb| {
                    [self.name, None].into_iter().any(|name| {
                        let wider = Permission { group, resource, verb, name };
                        wider != *self && all.contains(&wider)
                    })
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(verbs: &str, group: &str, resources: &str, names: &str) -> Rule {
        let list = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
        Rule {
            api_groups: vec![group.to_owned()],
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: Vec::new(),
            verbs: list(verbs),
        }
    }

    #[test]
    fn f65_what_adds_nothing_is_no_change_and_what_adds_something_is() {
        let edit = [rule("get,list", "apps", "deployments,statefulsets", ""), rule("get", "", "pods,pods/log", "")];
        let with = |more: &[Rule]| hash(&[&edit[..], more].concat());
        for (more, same) in [
            (vec![], true),
            (vec![rule("get", "apps", "deployments", "")], true),
            (vec![rule("list", "apps", "statefulsets", "web")], true),
            (vec![rule("", "apps", "secrets", "")], true),
            (vec![Rule { non_resource_urls: vec!["/metrics".to_owned()], verbs: vec!["get".to_owned()], ..Rule::default() }], true),
            (vec![rule("watch", "apps", "deployments", "")], false),
            (vec![rule("get", "", "deployments", "")], false),
            (vec![rule("get", "apps", "deployments/scale", "")], false),
            (vec![rule("get", "", "pods/exec", "")], false),
            (vec![rule("get", "", "*", "")], false),
            (vec![rule("get", "", "*/log", "")], false),
            (vec![rule("*", "", "pods", "web")], false),
        ] {
            assert_eq!(with(&more) == hash(&edit), same, "{more:?}");
        }
        // The same access, split differently.
        let apart = [
            rule("list", "apps", "deployments,statefulsets", ""),
            rule("get", "apps", "statefulsets", ""),
            rule("get", "apps", "deployments", ""),
            rule("get", "", "pods", ""),
            rule("get", "", "pods/log", ""),
        ];
        assert_eq!(hash(&apart), hash(&edit));
        assert_ne!(hash(&apart[1..]), hash(&edit), "what is less is a change too");
        // Wildcards contain the rest. `*/*` is not a wildcard.
        let all = rule("*", "*", "*", "");
        assert_eq!(hash(&[&edit[..], std::slice::from_ref(&all)].concat()), hash(std::slice::from_ref(&all)));
        assert_eq!(hash(&[rule("get", "", "*/log", ""), rule("get", "", "pods/log", "")]), hash(&[rule("get", "", "*/log", "")]));
        assert_ne!(hash(&[rule("get", "", "*/*", ""), rule("get", "", "pods/log", "")]), hash(&[rule("get", "", "*/*", "")]));
        // An empty list of names allows every name. A list with an empty name does not.
        let empty = Rule { resource_names: vec![String::new()], ..rule("get", "", "pods", "") };
        assert_ne!(hash(&[empty]), hash(&[rule("get", "", "pods", "")]));
    }

    #[test]
    fn f65_the_comparison_is_bounded() {
        let many = |count: usize| (0..count).map(|i| format!("w{i}")).collect::<Vec<_>>();
        let rule = |count| Rule { api_groups: many(count), resources: many(count), verbs: many(count), ..Rule::default() };
        assert!(hash(&[rule(20)]).is_some());
        assert_eq!(hash(&[rule(2_000)]), None);
        assert_eq!(hash(&vec![rule(20); 7]), None);
    }

    proptest! {
        /// Equal hashes allow the same, by RBAC's own matching of single requests.
        #[test]
        fn f65_equal_hashes_allow_the_same(a in rules(), b in rules()) {
            let allows = |rules: &[Rule], (group, resource, verb, name): (&str, &str, &str, Option<&str>)| {
                rules.iter().any(|rule| rule.allows(verb, group, resource, name))
            };
            let questions = ["", "g", "h"].into_iter().flat_map(|group| {
                ["a", "a/s", "b", "b/s", "b/t"].into_iter().flat_map(move |resource| {
                    ["get", "put", "do"].into_iter().flat_map(move |verb| [None, Some("n"), Some("m")].map(|name| (group, resource, verb, name)))
                })
            });
            let differ = questions.into_iter().find(|question| allows(&a, *question) != allows(&b, *question));
            if hash(&a) == hash(&b) {
                prop_assert_eq!(differ, None);
            }
            // Adding rules to themselves, in any order, changes nothing.
            let again: Vec<Rule> = b.iter().chain(&a).chain(&b).cloned().collect();
            let once: Vec<Rule> = a.iter().chain(&b).cloned().collect();
            prop_assert_eq!(hash(&again), hash(&once));
        }
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let some =
            |words: &'static [&'static str], least| prop::collection::vec(prop::sample::select(words).prop_map(str::to_owned), least..3);
        let rule =
            (some(&["", "g", "*"], 1), some(&["a", "a/s", "b", "b/s", "*", "*/s"], 1), some(&["get", "put", "*"], 1), some(&["n", "m"], 0));
        prop::collection::vec(
            rule.prop_map(|(api_groups, resources, verbs, resource_names)| Rule {
                api_groups,
                resources,
                resource_names,
                non_resource_urls: Vec::new(),
                verbs,
            }),
            0..3,
        )
    }
}
