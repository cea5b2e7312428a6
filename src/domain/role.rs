//! What a role allows, in a form that can be compared, shown and hashed.

use sha2::{Digest, Sha256};

use crate::api::{
    eligibility::{MAX_SHOWN_RULE, MAX_SHOWN_RULES, RoleStatus},
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
    rules: Vec<Rule>,
    hash: String,
}

impl Rules {
    /// Rules in any order; two roles with the same rules have the same hash.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut rules: Vec<Rule> = rules.into_iter().map(sorted).collect();
        rules.sort_unstable();
        rules.dedup();
        let mut hasher = Sha256::new();
        hasher.update(b"jitrbac.dev/rules/v1\n");
        hasher.update(super::digest::canonical(&rules));
        let hash = format!("sha256:{}", super::digest::hex(&hasher.finalize()));
        Self { rules, hash }
    }

    /// SHA-256 over the sorted rules, with its prefix.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What a status shows of them.
    #[must_use]
    pub fn status(&self, kind: crate::api::eligibility::RoleKind, name: &str, with_rules: bool) -> RoleStatus {
        let lines: Vec<String> = self.rules.iter().map(Rule::in_words).collect();
        let risks: Vec<String> = super::risks::classify(self).into_iter().map(|risk| risk.as_str().to_owned()).collect();
        let too_long = |line: &String| line.chars().count() > MAX_SHOWN_RULE;
        RoleStatus {
            kind: Some(kind),
            name: name.to_owned(),
            rules_hash: self.hash.clone(),
            truncated: with_rules && (lines.len() > MAX_SHOWN_RULES || lines.iter().any(too_long)),
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
}
