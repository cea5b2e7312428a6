//! One rule of a role.

use std::{collections::BTreeSet, fmt};

use api::text::printable;

/// One rule of a role: RBAC's `PolicyRule` with each list sorted and without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Rule {
    /// API groups; "" is the core group.
    pub api_groups: Vec<String>,
    /// Resources.
    pub resources: Vec<String>,
    /// Resource names to which it is limited.
    pub resource_names: Vec<String>,
    /// Non-resource URLs.
    pub non_resource_urls: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}

pub(super) fn sorted(mut rule: Rule) -> Rule {
    for list in [&mut rule.api_groups, &mut rule.resources, &mut rule.resource_names, &mut rule.non_resource_urls, &mut rule.verbs] {
        list.sort_unstable();
        list.dedup();
    }
    rule
}

/// The notation of a rule in a status and in messages: `VERBS RESOURCES (only NAMES)`, with lists separated by commas. A resource has its
/// API group as suffix, as in `deployments.apps`; several groups stand in braces, as in `deployments.{core,apps}`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<&str> = self.api_groups.iter().map(String::as_str).filter(|g| !g.is_empty()).collect();
        let suffix = match (groups.as_slice(), self.api_groups.iter().any(String::is_empty)) {
            ([], _) => String::new(),
            ([one], false) => format!(".{one}"),
            (many, core) => format!(".{{{}{}}}", if core { "core," } else { "" }, many.join(",")),
        };
        let resources = self.resources.iter().map(|r| format!("{r}{suffix}"));
        let whats: Vec<String> = resources.chain(self.non_resource_urls.iter().cloned()).collect();
        let only = if self.resource_names.is_empty() { String::new() } else { format!(" (only {})", self.resource_names.join(",")) };
        f.write_str(&printable(&format!("{} {}{only}", self.verbs.join(","), whats.join(","))))
    }
}

impl Rule {
    /// Parses the notation. `None` if the text was truncated or is not a rule. Requesters need it, since they see a role's rules only in a
    /// status.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (verbs, rest) = text.split_once(' ')?;
        let (whats, names) = match rest.split_once(" (only ") {
            Some((whats, names)) => (whats, listed(names.strip_suffix(')')?)),
            None => (rest, Vec::new()),
        };
        let mut rule = Self { verbs: listed(verbs), resource_names: names, ..Self::default() };
        let mut groups = BTreeSet::new();
        for what in outside_braces(whats) {
            if what.starts_with('/') {
                rule.non_resource_urls.push(what.to_owned());
                continue;
            }
            let (resource, group) = what.split_once('.').unwrap_or((what, ""));
            rule.resources.push(resource.to_owned());
            match group.strip_prefix('{').map(|several| several.strip_suffix('}')) {
                Some(several) => {
                    groups.extend(listed(several?).into_iter().map(|group| if group == "core" { String::new() } else { group }));
                }
                None => _ = groups.insert(group.to_owned()),
            }
        }
        rule.api_groups = groups.into_iter().collect();
        let nothing = rule.resources.is_empty() && rule.non_resource_urls.is_empty();
        (!rule.verbs.is_empty() && !nothing).then(|| sorted(rule))
    }

    /// Returns true if the rule allows this by RBAC. Without a name it applies to any object.
    #[must_use]
    pub fn allows(&self, verb: &str, group: &str, resource: &str, name: Option<&str>) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|listed| listed == "*" || listed == wanted);
        // RBAC reads `*/scale` as the subresource of every resource.
        let sub = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let resources = any(&self.resources, resource) || sub.is_some_and(|sub| self.resources.contains(&sub));
        let named = self.resource_names.is_empty() || name.is_some_and(|name| self.resource_names.iter().any(|only| only == name));
        any(&self.verbs, verb) && any(&self.api_groups, group) && resources && named
    }
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
}

/// Splits at the commas outside of braces.
fn outside_braces(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|letter| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    })
    .filter(|part| !part.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Rule {
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: Vec::new(),
            verbs: list(verbs),
        }
    }

    #[test]
    fn what_rbac_allows_by_a_rule() {
        let web = rule(&["get", "patch"], &["apps"], &["deployments", "deployments/scale"], &["web"]);
        assert!(web.allows("get", "apps", "deployments", Some("web")) && web.allows("patch", "apps", "deployments/scale", Some("web")));
        assert!(!web.allows("get", "apps", "deployments", None) && !web.allows("get", "", "deployments", Some("web")));
        assert!(!web.allows("delete", "apps", "deployments", Some("web")) && !web.allows("get", "apps", "deployments", Some("db")));
        assert!(rule(&["*"], &["*"], &["*"], &[]).allows("delete", "batch", "jobs/status", None));
        assert!(rule(&["get"], &[""], &["*/log"], &[]).allows("get", "", "pods/log", None));
        assert!(!rule(&["get"], &[""], &["pods"], &[]).allows("get", "", "pods/log", None));
    }

    proptest! {
        #[test]
        fn a_rule_in_words_is_the_same_rule(
            verbs in prop::collection::vec("[a-z]{1,8}|\\*", 1..4), groups in prop::collection::vec("|[a-z]{1,6}(\\.[a-z]{1,6}){0,2}|\\*", 1..3),
            resources in prop::collection::vec("[a-z]{1,8}(/[a-z]{1,6})?|\\*", 1..4), names in prop::collection::vec("[a-z0-9-]{1,8}", 0..3),
        ) {
            let rule = sorted(Rule { api_groups: groups, resources, resource_names: names, non_resource_urls: Vec::new(), verbs });
            prop_assert_eq!(Rule::parse(&rule.to_string()), Some(rule));
        }

        #[test]
        fn no_words_make_it_panic(words in any::<String>(), near in r"[a-z,.{}()/* ]{0,40}") {
            let _ = (Rule::parse(&words), Rule::parse(&near));
        }
    }
}
