//! The rules of a role, in a form that can be compared, shown and hashed.

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use super::rule::Rule;

use super::{
    access,
    canonical::{canonical, hex},
    refusal::Refusal,
    rule::sorted,
};
use api::{Reason, eligibility::RoleRef, stored::MAX_RULES};

/// The rules of a role, sorted, with their hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    all: Vec<Rule>,
    hash: String,
    access_hash: String,
    too_long: Option<usize>,
}

impl Rules {
    /// Sorts and hashes rules. Two roles with the same rules have the same hash.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self::hashed(in_order(rules))
    }

    /// Sorts and hashes rules, or returns `known` if the rules are equal. The hashes of a large role take a millisecond, and each grant
    /// reads its role again.
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
        hasher.update(canonical(&rules));
        let hash = format!("sha256:{}", hex(&hasher.finalize()));
        let access_hash = access::hash(&rules).unwrap_or_else(|| hash.clone());
        Self { all: rules, hash, access_hash, too_long: None }
    }

    /// Returns rules that were not read because of their size in bytes. They equal no known rules.
    #[must_use]
    pub fn too_long(bytes: usize) -> Self {
        let hash = format!("unread:{bytes}");
        Self { all: Vec::new(), access_hash: hash.clone(), hash, too_long: Some(bytes) }
    }

    /// Returns their size in bytes, if it is too large to be read.
    #[must_use]
    pub const fn bytes_beyond(&self) -> Option<usize> {
        self.too_long
    }

    /// Returns their approximate size in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// The size of a text in its list, and the minimum allocation for its characters.
        const TEXT: usize = size_of::<String>() + 32;
        let texts = |rule: &Rule| {
            let lists = [&rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls, &rule.verbs];
            lists.into_iter().flatten().map(|text| TEXT + text.len()).sum::<usize>()
        };
        size_of::<Self>() + self.all.iter().map(|rule| size_of::<Rule>() + texts(rule)).sum::<usize>()
    }

    /// Returns the SHA-256 over the sorted rules, with its prefix. For rules that were not read it is a value that no hash equals.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the SHA-256 over what the rules allow, however they are written.
    #[must_use]
    pub fn access_hash(&self) -> &str {
        &self.access_hash
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.all
    }
}

/// Refuses a role whose rules are too large to be read.
pub fn check_size(role: &RoleRef, rules: &Rules) -> Result<(), Refusal> {
    let Some(bytes) = rules.bytes_beyond() else { return Ok(()) };
    Err(Refusal::new(
        Reason::RoleTooLarge,
        format!(
            "the rules of {} '{}' have {bytes} bytes, and a role that can be activated has {MAX_RULES} at most; shorten them, for example \
             with fewer resourceNames, or split them into several roles",
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
