//! What a role allows, in a form that can be compared, shown and hashed.

use std::{collections::BTreeSet, sync::Arc};

use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use api::{
    Reason,
    eligibility::{MAX_SHOWN_RULE, MAX_SHOWN_RULES, RoleRef, RoleStatus},
    stored::MAX_RULES,
    text::printable,
};

/// One rule of a role: what RBAC's `PolicyRule` says, each list sorted and without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Rule {
    /// API groups; "" is the core group.
    pub api_groups: Vec<String>,
    /// Resources.
    pub resources: Vec<String>,
    /// Names to which it is limited.
    pub resource_names: Vec<String>,
    /// Paths that are no resources.
    pub non_resource_urls: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}

/// The rules of a role, sorted, with their hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    all: Vec<Rule>,
    hash: String,
    access_hash: String,
    too_long: Option<usize>,
}

impl Rules {
    /// Rules in any order; two roles with the same rules have the same hash.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self::hashed(in_order(rules))
    }

    /// The same, which are those that are known already where they say the same: of a large role the hashes take a millisecond, and each
    /// grant reads its role again.
    #[must_use]
    pub fn known_or_new(rules: impl IntoIterator<Item = Rule>, known: Option<&Arc<Self>>) -> Arc<Self> {
        let rules = in_order(rules);
        match known.filter(|known| known.too_long.is_none() && known.all == rules) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Self::hashed(rules)),
        }
    }

    fn hashed(rules: Vec<Rule>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"jitrbac.dev/rules/v1\n");
        hasher.update(super::digest::canonical(&rules));
        let hash = format!("sha256:{}", super::digest::hex(&hasher.finalize()));
        let access_hash = super::access::hash(&rules).unwrap_or_else(|| hash.clone());
        Self { all: rules, hash, access_hash, too_long: None }
    }

    /// Rules that were not read, since they have so many bytes. They are no other rules than those that anybody knows.
    #[must_use]
    pub fn too_long(bytes: usize) -> Self {
        let hash = format!("unread:{bytes}");
        Self { all: Vec::new(), access_hash: hash.clone(), hash, too_long: Some(bytes) }
    }

    /// How many bytes they have, if those are too many to be read.
    #[must_use]
    pub const fn bytes_beyond(&self) -> Option<usize> {
        self.too_long
    }

    /// About how many bytes they take in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// A text's place in its list, and the least that is set aside for its letters.
        const TEXT: usize = size_of::<String>() + 32;
        let texts = |rule: &Rule| {
            let lists = [&rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls, &rule.verbs];
            lists.into_iter().flatten().map(|text| TEXT + text.len()).sum::<usize>()
        };
        size_of::<Self>() + self.all.iter().map(|rule| size_of::<Rule>() + texts(rule)).sum::<usize>()
    }

    /// SHA-256 over the sorted rules, with its prefix; of rules that were not read something that is no such hash.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// SHA-256 over what the rules allow, however they are written.
    #[must_use]
    pub fn access_hash(&self) -> &str {
        &self.access_hash
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.all
    }

    /// What a status shows of them: the riskiest rules first, so that no number of harmless ones pushes them out of sight (T18).
    #[must_use]
    pub fn status(&self, kind: api::eligibility::RoleKind, name: &str, with_rules: bool) -> RoleStatus {
        let mut ordered: Vec<&Rule> = self.all.iter().collect();
        if with_rules {
            super::risks::riskiest_first(&mut ordered);
        }
        let lines: Vec<String> = ordered.into_iter().map(Rule::in_words).collect();
        let risks: Vec<String> = super::risks::classify(self).into_iter().map(|risk| risk.as_str().to_owned()).collect();
        let too_long = |line: &String| line.chars().count() > MAX_SHOWN_RULE;
        RoleStatus {
            kind: Some(kind),
            name: name.to_owned(),
            rules_hash: self.hash.clone(),
            access_hash: self.access_hash.clone(),
            rule_count: if with_rules { i64::try_from(lines.len()).unwrap_or(i64::MAX) } else { 0 },
            truncated: with_rules && (self.too_long.is_some() || lines.len() > MAX_SHOWN_RULES || lines.iter().any(too_long)),
            rules: lines
                .into_iter()
                .take(if with_rules { MAX_SHOWN_RULES } else { 0 })
                .map(|line| line.chars().take(MAX_SHOWN_RULE).collect())
                .collect(),
            risk_summary: risks.join(","),
            risks,
        }
    }
}

/// The refusal of a role whose rules are too long to be read.
pub fn check_size(role: &RoleRef, rules: &Rules) -> Result<(), Refusal> {
    let Some(bytes) = rules.bytes_beyond() else { return Ok(()) };
    Err(Refusal::new(
        Reason::RoleTooLarge,
        format!(
            "the rules of {} '{}' have {bytes} bytes, and a role that can be activated has {MAX_RULES} at most; shorten them, such as by \
             fewer resourceNames, or divide them between several roles",
            role.kind, role.name
        ),
    ))
}

fn in_order(rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = rules.into_iter().map(sorted).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn sorted(mut rule: Rule) -> Rule {
    for list in [&mut rule.api_groups, &mut rule.resources, &mut rule.resource_names, &mut rule.non_resource_urls, &mut rule.verbs] {
        list.sort_unstable();
        list.dedup();
    }
    rule
}

impl Rule {
    /// The rule as `get,list deployments.apps (only web)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let groups: Vec<&str> = self.api_groups.iter().map(String::as_str).filter(|g| !g.is_empty()).collect();
        let suffix = match (groups.as_slice(), self.api_groups.iter().any(String::is_empty)) {
            ([], _) => String::new(),
            ([one], false) => format!(".{one}"),
            (many, core) => format!(".{{{}{}}}", if core { "core," } else { "" }, many.join(",")),
        };
        let resources = self.resources.iter().map(|r| format!("{r}{suffix}"));
        let whats: Vec<String> = resources.chain(self.non_resource_urls.iter().cloned()).collect();
        let only = if self.resource_names.is_empty() { String::new() } else { format!(" (only {})", self.resource_names.join(",")) };
        printable(&format!("{} {}{only}", self.verbs.join(","), whats.join(",")))
    }

    /// The rule that was written in words; none where it was cut or is none. What [`Rule::in_words`] writes is read here again for
    /// requesters, who see a role's rules in a status only.
    #[must_use]
    pub fn from_words(words: &str) -> Option<Self> {
        let (verbs, rest) = words.split_once(' ')?;
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

    /// True when RBAC allows this by the rule. Without a name it is about any object.
    #[must_use]
    pub fn allows(&self, verb: &str, group: &str, resource: &str, name: Option<&str>) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|listed| listed == "*" || listed == wanted);
        // `*/scale` is the subresource of every resource, as RBAC reads it.
        let sub = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let resources = any(&self.resources, resource) || sub.is_some_and(|sub| self.resources.contains(&sub));
        let named = self.resource_names.is_empty() || name.is_some_and(|name| self.resource_names.iter().any(|only| only == name));
        any(&self.verbs, verb) && any(&self.api_groups, group) && resources && named
    }
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
}

/// The parts between commas that do not stand in braces.
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
    fn f73_rules_that_were_not_read_are_granted_to_nobody_and_say_why() {
        let role = RoleRef { kind: api::eligibility::RoleKind::Role, name: "debug".to_owned() };
        let unread = Rules::too_long(1_048_900);
        let refusal = check_size(&role, &unread).unwrap_err();
        assert_eq!(refusal.reason, Reason::RoleTooLarge);
        assert!(refusal.message.contains("Role 'debug' have 1048900 bytes") && refusal.message.contains("262144 at most"), "{refusal}");
        assert_eq!(super::super::risks::check(&role, &unread, &[]).unwrap_err(), refusal);
        assert!(check_size(&role, &Rules::new([rule(&["get"], &[""], &["pods"], &[])])).is_ok());
        // Unread counts as all there is, and as another one than before.
        assert_eq!(super::super::risks::classify(&unread).len(), super::super::risks::Risk::ALL.len());
        assert!(unread != Rules::default() && unread.hash() != Rules::default().hash() && unread.hash() != Rules::too_long(7).hash());
        let status = unread.status(role.kind, &role.name, true);
        assert!(status.truncated && status.rules.is_empty() && status.risks.len() > 5, "{status:?}");
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
            prop_assert_eq!(Rule::from_words(&rule.in_words()), Some(rule));
        }

        #[test]
        fn no_words_make_it_panic(words in any::<String>(), near in r"[a-z,.{}()/* ]{0,40}") {
            let _ = (Rule::from_words(&words), Rule::from_words(&near));
        }
    }
}
